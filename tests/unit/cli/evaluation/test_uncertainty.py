"""What limits of uncertainty save, and how early errors are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from autolabel_cli.__main__ import main
from autolabel_cli.evaluation.uncertainty import JudgedFrame, found_first, savings
from tests.unit.cli.evaluation.generated import ALL_OF_STUB, Picture, write_coco

# Certain and right, certain and wrong, uncertain and wrong. A review of each takes 2.
FRAMES = [JudgedFrame(0.1, 2, 0.1, 0), JudgedFrame(0.2, 2, 0.2, 1), JudgedFrame(0.8, 2, 0.9, 3)]


@pytest.mark.parametrize(("limit", "within", "faulty", "saved"), [(0.0, 0, 0, 0), (0.1, 1, 0, 0.3), (0.5, 2, 1, 0.6)])
def test_a_limit_saves_the_time_of_its_frames_but_for_audits(
    limit: float, within: int, faulty: int, saved: float
) -> None:
    found = savings(FRAMES, limit)
    assert (found.frames, found.faulty, found.saved) == (within, faulty, saved)


@pytest.mark.parametrize(("share", "found"), [(0.0, 0.0), (1 / 6, 0.375), (1 / 3, 0.75), (2 / 3, 1.0), (1.0, 1.0)])
def test_errors_are_found_in_the_order_of_the_rank(share: float, found: float) -> None:
    assert found_first(FRAMES, share, lambda one: one.level) == pytest.approx(found)
    # An order that tells nothing finds as many errors as its share of the time.
    assert found_first(FRAMES, share, lambda _: 0.0) == pytest.approx(share, abs=1e-4)


def test_the_models_of_a_checkout_are_measured(checkout: Path, tmp_path: Path) -> None:
    write_coco(tmp_path / "labels", [Picture("a", 200, 160, ALL_OF_STUB), Picture("b", 200, 160, ALL_OF_STUB[:1])])
    arguments = ["evaluate", "uncertainty", str(tmp_path / "labels"), "--models", "stub", "--max-doubt", "0.999"]
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    # The stub finds the same boxes everywhere.
    assert (found["frames"], found["faulty"], found["errors"]) == (2, 1, len(ALL_OF_STUB) - 1)
    assert found["limits"] == [{"max_doubt": 0.999, "frames": 2, "faulty": 1, "saved": 0.9}]
    assert set(found["found"].values()) == {0.2}
    assert "90.0%" in CliRunner().invoke(main, arguments).output
