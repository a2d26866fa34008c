"""Rooms export their public names lazily, and their users import rooms and contracts only."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from autolabel.aws.wiring import Adapters

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "autolabel"
ROOMS = sorted(
    path.parent.name for path in (LAYER / "autolabel").glob("*/__init__.py") if path.parent.name != "contracts"
)


def imported(source: Path) -> set[tuple[str, str]]:
    """The modules and names that a file imports."""
    found = set[tuple[str, str]]()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "", name.name) for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {(name.name, "") for name in node.names}
    return found


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
    used = {(module, name) for module, name in imported(source) if module.split(".")[0] == "autolabel"}
    for module, name in used:
        if not module.startswith("autolabel.contracts"):
            assert module.count(".") == 1, module
            assert name in import_module(module).__all__, f"{module}.{name}"


@pytest.mark.parametrize("source", sorted((ROOT / "functions").glob("*/app.py")), ids=lambda path: path.parent.name)
def test_settings_have_the_fields_that_the_functions_adapters_read(source: Path) -> None:
    text = source.read_text()
    members = set(re.findall(r"\badapters\.(\w+)", text))
    read = {
        field
        for name in members
        for field in re.findall(r"self\._settings\.(\w+)", inspect.getsource(_function(Adapters, name)))
    }
    struct = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    fields = {n.target.id for n in struct.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    assert members
    assert read <= fields


def _function(owner: type, name: str) -> Any:
    member = inspect.getattr_static(owner, name)
    return getattr(member, "func", member)
