"""What `pip install` brings: the wheel's files, and every library that the command imports."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import grimp
import pytest

from autolabel_cli import __version__

PROJECT = Path(__file__).resolve().parents[3]
DOCUMENT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
DECLARED = DOCUMENT["project"]
PACKAGES = {"autolabel_cli": PROJECT / "cli", "autolabel": PROJECT / "layers" / "autolabel"}
# They run in the process of a library, which an extra installs.
IN_OTHER_PROCESSES = {
    "autolabel_cli.datasets.datumaro_formats",
    "autolabel_cli.evaluation.tracking_metrics",
    "autolabel_cli.models.sagemaker_sdk",
}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[=<>\[]", requirement)[0] for requirement in requirements}


@pytest.mark.skipif(not importlib.util.find_spec("hatchling"), reason="the build backend hatchling is not installed")
def test_the_wheel_holds_both_packages_the_template_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith(f"autolabel-{__version__}.dist-info/")}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        template = archive.read("autolabel_cli/models/endpoint.yaml")
    files = {
        path.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == files | {"autolabel_cli/models/endpoint.yaml"}
    assert template == (PROJECT / "models" / "endpoint.yaml").read_bytes()
    assert len(licences) == 1


def behind_faces(module: str) -> set[str]:
    """The modules of the names that a module imports from the lazy faces of rooms."""
    found = set()
    for node in imports_of(module):
        room = importlib.import_module(node.module or "")
        if getattr(room, "__getattr__", None):
            homes = {name.name: home.module for home in imports_of(room.__name__) for name in home.names}
            found |= {str(homes[name.name]) for name in node.names if name.name in homes}
    return found


def imports_of(module: str) -> list[ast.ImportFrom]:
    source = Path(str(importlib.import_module(module).__file__)).read_text()
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    return [node for node in nodes if (node.module or "").split(".")[0] in PACKAGES]


def test_every_library_that_the_command_imports_is_required() -> None:
    asked = {"include_external_packages": True, "exclude_type_checking_imports": True, "cache_dir": None}
    graph = grimp.build_graph(*PACKAGES, **asked)
    ours = {name for name in graph.modules if name.split(".")[0] in PACKAGES}
    left = {name for name in ours if name.startswith("autolabel_cli")} - IN_OTHER_PROCESSES
    reached: set[str] = set()
    while left:
        name = left.pop()
        reached.add(name)
        # To import a module is to import the packages that it is in.
        parents = {name.rpartition(".")[0]} - {""}
        left |= (
            parents | graph.find_modules_directly_imported_by(name) | (behind_faces(name) if name in ours else set())
        ) - reached
    libraries = {name.split(".")[0] for name in reached - ours} - sys.stdlib_module_names
    known = packages_distributions()
    imported = {known[library][0].lower() for library in libraries}
    # OpenCV, which only videos need, and the readers of logs.
    extras = [DECLARED["optional-dependencies"][extra] for extra in ("video", "logs", "cuboids", "calibration")]
    assert imported == names(DECLARED["dependencies"]) | {name for extra in extras for name in names(extra)}


@pytest.mark.parametrize("extra", ["export", "sagemaker"])
def test_an_extra_has_the_release_that_the_checkout_has(extra: str) -> None:
    lines = (PROJECT / "requirements" / f"{extra}.in").read_text().splitlines()
    assert DECLARED["optional-dependencies"][extra] == [line for line in lines if not line.startswith("#")]


def test_the_tests_build_with_the_release_that_pip_builds_with() -> None:
    (backend,) = DOCUMENT["build-system"]["requires"]
    assert backend in (PROJECT / "requirements" / "dev.in").read_text().splitlines()
