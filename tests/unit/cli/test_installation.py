"""What the command finds beside its code, in a checkout and installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autolabel_cli import installation
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import Library, endpoint_template

# pytest stands for a library that is installed beside the command.
PRESENT = Library("pytest", "present", ".venv-present", "setup-present", "AUTOLABEL_PRESENT")
ABSENT = Library("no-such-library", "absent", ".venv-absent", "setup-absent", "AUTOLABEL_ABSENT")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path)
    for library in (PRESENT, ABSENT):
        monkeypatch.delenv(library.setting, raising=False)
    return tmp_path


def python_in(folder: Path) -> Path:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return python


def test_a_library_beside_the_command_is_taken_first(checkout: Path) -> None:
    python_in(checkout / ".venv-present")
    assert PRESENT.python()[0] == sys.executable


def test_without_it_the_environment_of_the_checkout_is_taken(checkout: Path) -> None:
    python = python_in(checkout / ".venv-absent")
    assert ABSENT.python()[0] == str(python)


def test_a_python_that_the_setting_names_wins(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = python_in(checkout / "elsewhere")
    monkeypatch.setenv(PRESENT.setting, str(python))
    assert PRESENT.python()[0] == str(python)


def test_a_library_that_is_nowhere_is_refused_with_what_to_install(checkout: Path) -> None:
    with pytest.raises(CommandError, match=r"no-such-library, which is not installed.*\[absent\].*make setup-absent"):
        ABSENT.python()


def test_a_setting_that_names_no_file_is_refused_by_name(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRESENT.setting, str(checkout / "gone"))
    with pytest.raises(CommandError, match=r"AUTOLABEL_PRESENT names .*gone, which does not exist"):
        PRESENT.python()


def test_the_template_that_the_package_carries_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint_template().read_text().startswith("AWSTemplateFormatVersion")
    monkeypatch.setattr(installation, "_PACKAGE", tmp_path)
    assert endpoint_template().parent.parent != tmp_path
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "endpoint.yaml").touch()
    assert endpoint_template() == tmp_path / "models" / "endpoint.yaml"
