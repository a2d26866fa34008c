"""The notebooks: their links lead somewhere, and no output is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
NOTEBOOKS = sorted((PROJECT / "examples").rglob("*.ipynb"))


assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_no_outputs_and_no_broken_links(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert [line for line in text.splitlines() if len(line) > 120] == []
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert targets
    assert [target for target in targets if not (notebook.parent / target).exists()] == []
