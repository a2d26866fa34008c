"""Rooms export their public names lazily, and their users import rooms and contracts only."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "autolabel"
ROOMS = sorted(
    path.parent.name for path in (LAYER / "autolabel").glob("*/__init__.py") if path.parent.name != "contracts"
)


def imported(source: Path) -> set[tuple[str, str]]:
    """The modules and names that a file imports."""
    nodes = ast.walk(ast.parse(source.read_text()))
    return {(node.module or "", name.name) for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_has_the_names_that_type_checkers_see(room: str) -> None:
    face = import_module(f"autolabel.{room}")
    seen = {name for module, name in imported(Path(str(face.__file__))) if module.startswith(f"autolabel.{room}.")}
    assert set(face.__all__) == seen
    assert all(getattr(face, name) is not None for name in face.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = face.no_such_name


def test_a_face_imports_the_module_of_the_name_and_no_other() -> None:
    program = (
        "import sys; from autolabel.inference import parse_notification\n"
        "print(*sorted(m for m in sys.modules if m.startswith('autolabel.inference.')))"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, env={"PYTHONPATH": str(LAYER)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["autolabel.inference.completion"]


USERS = sorted([*(ROOT / "functions").glob("*/app.py"), *(ROOT / "cli" / "autolabel_cli").rglob("*.py")])


@pytest.mark.parametrize("source", USERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_functions_and_the_command_import_faces_and_contracts_only(source: Path) -> None:
    modules = {module for module, _ in imported(source) if module.split(".")[0] == "autolabel"}
    inner = {m for m in modules if m.count(".") > 1 and not m.startswith("autolabel.contracts.")}
    assert inner == set()
