"""The progress of a run on the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.drives.log_status import LogStatus
from autolabel_cli.drives.run_progress import RunProgress


def shown(*seen: RunProgress, terminal: bool) -> str:
    """What a display shows at the end, without the lines that a terminal replaces."""
    out = io.StringIO()
    with RunDisplay(Console(file=out, force_terminal=terminal, width=100, no_color=True)) as display:
        for progress in seen:
            display.show(progress)
    return out.getvalue().rpartition("\r")[2] if terminal else out.getvalue()


def test_frames_that_a_script_labelled_are_not_shown_as_verified() -> None:
    before = RunProgress(labelled=3, verified=3, frames=3)
    after = RunProgress(labelled=3, verified=0, scripted=3, frames=3)
    assert shown(before, after, terminal=False).splitlines() == [
        "  labelled 3, verified 3",
        "  labelled 3, by script 3",
    ]
    page = shown(before, after, terminal=True)
    assert "by script" in page
    assert "verified" not in page


def test_rejected_frames_are_shown_by_reason() -> None:
    seen = RunProgress(labelled=3, frames=5, rejected={"rotated": 1, "animated": 1})
    assert shown(seen, terminal=False).splitlines() == ["  labelled 3, rejected 2 (1 rotated, 1 animated)"]


def test_a_run_that_people_verified_has_no_word_of_a_script() -> None:
    for terminal in (False, True):
        page = shown(RunProgress(labelled=3, verified=3, frames=3), terminal=terminal)
        assert "verified" in page
        assert "script" not in page


def test_logs_are_shown_while_they_are_extracted() -> None:
    extracted = LogStatus("a.mcap", "extracted")
    seen = (
        RunProgress(logs=(extracted, LogStatus("b.mcap", "extracting"))),
        RunProgress(logs=(extracted, LogStatus("b.mcap", "extracting", done=3, slices=7)), submitted=2),
        RunProgress(logs=(extracted, extracted), submitted=5),
        RunProgress(submitted=5, frames=5),
    )
    assert shown(*seen, terminal=False).splitlines() == [
        "  logs 1 of 2",
        "  logs 1 of 2, slices 3 of 7, submitted 2",
        "  logs 2 of 2, submitted 5",
        "  submitted 5",
    ]
    page = shown(*seen[:2], terminal=True)
    assert "slices" in page
    assert "3/7" in page
    assert "slices" not in shown(*seen, terminal=True)
