"""`autolabel evaluate review-speed`: its times, its baselines, and the camera that it simulates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels import Box, box_iou
from autolabel_cli.__main__ import main
from autolabel_cli.evaluation.document import CameraErrors
from autolabel_cli.evaluation.key_boxes import fewest_key_boxes
from autolabel_cli.evaluation.review_speed import Score, score_boxes
from autolabel_cli.evaluation.scripted_reviewer import Lane
from autolabel_cli.evaluation.simulated_camera import simulate
from autolabel_cli.evaluation.tracks import CAR, ScoredFrame, TruthObject

FRAMES = 21


def evaluate(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", "review-speed", "--labels", str(folder / "labels"), *more])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One car that drives to the right for 21 frames, and is detected in all of them; and a false box in frame 3."""
    for part in ("labels", "detections"):
        (tmp_path / part).mkdir()
    places = [(frame, 5 * frame, 5 * frame + 100) for frame in range(FRAMES)]
    labels = [f"{frame} 7 Car 0 0 -10 {left} 50 {right} 100" for frame, left, right in places]
    boxes = [f"{frame},2,{left},50,{right},100,9.5" for frame, left, right in places]
    (tmp_path / "labels/0000.txt").write_text("\n".join(labels) + "\n")
    (tmp_path / "detections/0000.txt").write_text("\n".join([*boxes, "3,2,500,300,550,340,9.5"]) + "\n")
    return tmp_path


def test_times_are_looks_and_edits_against_the_baselines(folder: Path) -> None:
    ended = evaluate(folder, "--detections", str(folder / "detections"), "--json")
    assert ended.exit_code == 0, ended.output
    document: dict[str, Any] = json.loads(ended.stdout)
    assert (document["boxes"], document["key_boxes"], document["camera"]) == (FRAMES, 2, None)
    assert document["unreviewed"]["all"] == {"precision": FRAMES / (FRAMES + 1), "recall": 1.0}
    assert document["unreviewed"]["confirmed"] == {"precision": 1.0, "recall": 1.0}
    cells = {
        (cell["tracks"], cell["stops"], cell["stride"]): cell
        for cell in document["cells"]
        if (cell["look"], cell["chance"]) == (2.5, 1.0)
    }
    assert len(document["cells"]) == 9 * len(cells) == 9 * 2 * 2 * 6
    # The false box is in frame 3: regular stops at every 5th frame miss it, and it is an uncertain place.
    regular, uncertain = cells["all", "regular", 5], cells["all", "uncertain", 5]
    assert (regular["looks"], regular["edits"], regular["seconds"]) == (5, {}, 12.5)
    assert (regular["faster"], regular["faster_than_key_boxes"]) == (FRAMES * 7 / 12.5, 14 / 12.5)
    assert (uncertain["looks"], uncertain["edits"], uncertain["seconds"]) == (6, {"delete": 1}, 17.0)
    assert (regular["precision"], uncertain["precision"]) == (FRAMES / (FRAMES + 1), 1.0)
    assert cells["all", "regular", 3]["edits"] == {"delete": 1}
    assert cells["confirmed", "uncertain", 5]["looks"] == 5


def test_a_seed_chooses_the_camera_and_the_table_names_its_errors(folder: Path) -> None:
    first, again, other = (evaluate(folder, "--seed", seed).output for seed in ("1", "1", "2"))
    assert first == again != other
    assert "sides 0.04" in first
    assert len([line for line in first.splitlines() if line.startswith(("all ", "confirmed "))]) == 24


def test_labels_without_a_car_are_refused(folder: Path) -> None:
    (folder / "labels/0000.txt").write_text("0 7 Pedestrian 0 0 -10 0 50 100 100\n")
    ended = evaluate(folder)
    assert (ended.exit_code, "no car that counts" in ended.output) == (1, True)


def frames_of(boxes: Sequence[Box | None], hidden: Sequence[int] = ()) -> list[ScoredFrame]:
    return [ScoredFrame([TruthObject(1, box, at not in hidden)] if box else []) for at, box in enumerate(boxes)]


def at(left: float, width: float = 100) -> Box:
    return (left, 0, left + width, 100)


@pytest.mark.parametrize(
    ("boxes", "hidden", "expected"),
    [
        ([at(0)], [], 1),
        ([at(10 * n) for n in range(9)], [], 2),
        # There and back: the turn is a key box.
        ([at(40 * min(n, 8 - n)) for n in range(9)], [], 3),
        # The lines at both sides of a frame without a label begin anew.
        ([at(10 * n) if n != 4 else None for n in range(9)], [], 4),
        # A hidden box may be anywhere, and hidden ends need no box.
        ([at(10 * n + (60 if n == 4 else 0)) for n in range(9)], [4], 2),
        ([at(10 * n) for n in range(9)], [0, 1, 2, 3, 4, 5, 6, 7], 1),
        ([at(0)] * 3, [0, 1, 2], 0),
    ],
)
def test_fewest_key_boxes_of_a_track(boxes: list[Box | None], hidden: list[int], expected: int) -> None:
    assert fewest_key_boxes(frames_of(boxes, hidden), 0.7) == expected


@given(st.lists(st.integers(-25, 25), min_size=1, max_size=9))
def test_no_fewer_key_boxes_would_do(offsets: list[int]) -> None:
    boxes = [at(100 + offset) for offset in offsets]

    def good(first: int, last: int) -> bool:
        def line(k: int) -> Box:
            return at(boxes[first][0] + (boxes[last][0] - boxes[first][0]) * (k - first) / (last - first))

        return all(box_iou(line(k), boxes[k]) >= 0.7 for k in range(first + 1, last))

    fewest = [1]
    for last in range(1, len(boxes)):
        fewest.append(min(fewest[first] + 1 for first in range(last) if good(first, last)))
    assert fewest_key_boxes(frames_of(boxes), 0.7) == fewest[-1]


def test_boxes_are_scored_at_the_iou() -> None:
    frames = [ScoredFrame([TruthObject(1, at(0), True), TruthObject(2, at(500), False)], [(800, 0, 1000, 100)])]
    shown = [at(10), at(502), at(810), at(300), (300, 300, 320, 320), at(40)]
    lanes = [Lane(number, CAR, {0: box}) for number, box in enumerate(shown)]
    assert score_boxes(lanes, frames) == Score(1, 2, 0)
    # At 100 x 100 pixels, 20 pixels off is an IoU of 0.67.
    assert score_boxes([Lane(0, CAR, {0: at(20)})], frames) == Score(0, 1, 1)
    assert score_boxes([Lane(0, "other", {0: at(0)})], frames) == Score(0, 0, 1)


def test_the_simulated_camera_errs_as_much_as_it_says() -> None:
    frames = [ScoredFrame([TruthObject(n, (200 * n, 0, 200 * n + 100, 50), True) for n in range(20)])] * 2000
    found = simulate(frames, 10.0, CameraErrors(false_boxes=0), "1")
    seen = [sight for sights in found for sight in sights]
    assert len(seen) / (20 * len(frames)) == pytest.approx(0.9, abs=0.02)
    offs = [(sight.box[0] - 200 * round(sight.box[0] / 200)) / 100 for sight in seen]
    assert sum(off**2 for off in offs) ** 0.5 / len(offs) ** 0.5 == pytest.approx(0.04, abs=0.004)
    false = simulate(frames, 10.0, CameraErrors(missed=0), "1")
    assert sum(len(sights) - 20 for sights in false) / len(frames) == pytest.approx(0.4, abs=0.05)
