"""Runs exports by the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import DATUMARO
from autolabel_cli.stack import Stack
from tests.datasets.drives import Shelf

Run = Callable[..., Result]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A stack that the command finds."""
    shelf = Shelf()
    monkeypatch.setattr(Stack, "find", lambda name: shelf)
    return shelf


@pytest.fixture(scope="session")
def library() -> None:
    """Skips the test where datumaro's environment is missing."""
    try:
        DATUMARO.python()
    except CommandError as e:
        pytest.skip(e.message)


@pytest.fixture
def export(library: None, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs `autolabel export` into `tmp_path/"out"` and returns the card."""

    def run(*words: str, folder: Path = tmp_path / "out") -> dict[str, Any]:
        ended = CliRunner().invoke(main, ["export", *words, "--to", str(folder)], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
        card: dict[str, Any] = msgspec.json.decode((folder / "dataset.json").read_bytes())
        return card

    return run


@pytest.fixture
def refusal(library: None, tmp_path: Path) -> Callable[..., str]:
    """Runs `autolabel export`, which must refuse and write nothing, and returns its output."""

    def run(*words: str, folder: Path = tmp_path / "out") -> str:
        before = sorted(folder.parent.iterdir())
        ended = CliRunner().invoke(main, ["export", *words, "--to", str(folder)], catch_exceptions=False)
        assert ended.exit_code != 0
        assert sorted(folder.parent.iterdir()) == before
        return ended.output

    return run
