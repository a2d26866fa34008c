"""Completion of the names of drives and models in the shell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from click.shell_completion import ShellComplete

from autolabel.models import CATALOGUE_KEY, CatalogueIndex
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from tests.fakes.bucket import FakeBucket


@dataclass
class Shelf:
    """A stack with three drives and two models."""

    ingest: FakeBucket = field(default_factory=lambda: FakeBucket("ingest"))
    labels: FakeBucket = field(default_factory=lambda: FakeBucket("labels"))

    def __post_init__(self) -> None:
        for drive in ("2026-11-22-a", "2026-11-22-b", "demo"):
            self.ingest.write(f"drives/{drive}/front/1.png", b"x")
        index = CatalogueIndex({"yolox-tiles": "0001", "yolox-nano": "0002"}, ())
        self.labels.write(CATALOGUE_KEY, msgspec.json.encode(index))


def completed(*words: str) -> list[str]:
    """What the shell suggests for the last word."""
    found = ShellComplete(main, {}, "autolabel", "_AUTOLABEL_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [f"{item.type} {item.value}" if item.type != "plain" else item.value for item in found]


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (("status", ""), ["2026-11-22-a", "2026-11-22-b", "demo"]),
        (("watch", "2026-"), ["2026-11-22-a", "2026-11-22-b"]),
        (("fetch", "x"), []),
        (("triage", "demo", "2026-11-22-b"), ["2026-11-22-b"]),
        (("export", "de"), ["demo"]),
        (("export", "build/da"), ["file build/da"]),
        (("models", "show", "yolox-n"), ["yolox-nano"]),
        (("models", "calibrate", "yolox-nano", "--drive", "d"), ["demo"]),
        (("upload", "clip.mp4", "--model", ""), ["yolox-nano", "yolox-tiles"]),
    ],
)
def test_names_of_drives_and_models_are_suggested(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], suggested: list[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Stack, "find", lambda name, client: asked.append(name) or Shelf())
    assert completed(*words) == suggested
    assert asked == ["autolabel"]


def test_the_named_stack_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Stack, "find", lambda name, client: asked.append(name) or Shelf())
    completed("status", "--stack", "other", "")
    assert asked == ["other"]


@pytest.mark.parametrize("error", [CommandError("no stack"), OSError("no network"), KeyError("LabelBucketName")])
def test_nothing_is_suggested_and_nothing_said_when_the_stack_cannot_be_asked(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def find(name: str, client: Any) -> Stack:
        raise error

    monkeypatch.setattr(Stack, "find", find)
    assert completed("status", "") == completed("models", "show", "") == []
    assert completed("export", "") == ["file "]
    assert capfd.readouterr() == ("", "")
