"""`autolabel evaluate label-issues`: what it seeds into labelled tracks, and what it counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main

FRAMES, LANES = 300, 12


def evaluate(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", "label-issues", "--labels", str(folder), *more])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Cars that drive to the right in lanes of their own."""
    rows = [
        f"{frame} {lane} Car 0 0 -10 {frame} {60 * lane} {frame + 50} {60 * lane + 40} -1 -1 -1"
        for frame in range(FRAMES)
        for lane in range(LANES)
    ]
    (tmp_path / "0000.txt").write_text("\n".join(rows) + "\n0 -1 DontCare -1 -1 -10 0 0 90 90\n")
    return tmp_path


def test_most_seeded_errors_are_among_the_first_issues(labels: Path) -> None:
    document = json.loads(evaluate(labels, "--json").output)
    assert document.keys() >= {"sequences", "frames", "boxes", "share", "issues", "seeded", "found", "right"}
    seeded = document["seeded"]
    assert seeded.keys() == {"side", "missing", "class", "invented"}
    assert document["boxes"] == FRAMES * LANES - seeded["missing"] + seeded["invented"]
    assert document["found"]["all"] >= 0.85
    # Fewer issues than errors cannot hold them all.
    few = json.loads(evaluate(labels, "--json", "--share", "0.001").output)
    assert few["issues"] == round(0.001 * few["boxes"])
    assert few["found"]["all"] <= few["issues"] / sum(seeded.values())


def test_a_seed_chooses_the_errors(labels: Path) -> None:
    first, again, other = (evaluate(labels, "--seed", seed).output for seed in ("1", "1", "2"))
    assert first == again != other


def test_a_folder_without_tracks_is_refused(tmp_path: Path) -> None:
    said = evaluate(tmp_path)
    assert said.exit_code == 1
    assert "too few boxes" in said.output
