from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from autolabel_cli.errors import CommandError
from autolabel_cli.models.kitti import LEVELS, SCORED, LabelledFrame, read_labelled_folder, truths
from autolabel_cli.models.matching import Guess, judge
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth

HARD = LEVELS["hard"]
CAR = SCORED["car"]


def _line(kind: str, box: tuple[float, float, float, float], truncated: float = 0.0, occluded: int = 0) -> str:
    return f"{kind} {truncated} {occluded} -1.0 {box[0]} {box[1]} {box[2]} {box[3]} 1 1 1 1 1 1 1"


def _frame(folder: Path, *lines: str) -> LabelledFrame:
    (folder / "image_2").mkdir()
    (folder / "label_2").mkdir()
    Image.new("RGB", (400, 200)).save(folder / "image_2" / "000000.png")
    (folder / "label_2" / "000000.txt").write_text("\n".join(lines) + "\n")
    [frame] = read_labelled_folder(folder)
    return frame


@pytest.mark.parametrize(
    ("line", "easy", "moderate", "hard"),
    [
        (_line("Car", (10, 10, 90, 50)), COUNTS, COUNTS, COUNTS),
        (_line("Car", (10, 10, 90, 49)), IGNORED, COUNTS, COUNTS),
        (_line("Car", (10, 10, 90, 34)), IGNORED, IGNORED, IGNORED),
        (_line("Car", (10, 10, 90, 60), occluded=1), IGNORED, COUNTS, COUNTS),
        (_line("Car", (10, 10, 90, 60), occluded=2), IGNORED, IGNORED, COUNTS),
        (_line("Car", (10, 10, 90, 60), occluded=3), IGNORED, IGNORED, IGNORED),
        (_line("Car", (10, 10, 90, 60), truncated=0.3), IGNORED, COUNTS, COUNTS),
        (_line("Car", (10, 10, 90, 60), truncated=0.5), IGNORED, IGNORED, COUNTS),
        (_line("Car", (10, 10, 90, 60), truncated=0.6), IGNORED, IGNORED, IGNORED),
        (_line("Van", (10, 10, 90, 60)), IGNORED, IGNORED, IGNORED),
        (_line("DontCare", (10, 10, 90, 60), -1, -1), REGION, REGION, REGION),
    ],
)
def test_a_level_says_what_counts(tmp_path: Path, line: str, easy: str, moderate: str, hard: str) -> None:
    frame = _frame(tmp_path, line)
    roles = [truths(frame.objects, CAR, LEVELS[name])[0].role for name in ("easy", "moderate", "hard")]
    assert roles == [easy, moderate, hard]


def test_other_classes_than_neighbours_are_not_there_for_a_class(tmp_path: Path) -> None:
    frame = _frame(tmp_path, _line("Truck", (10, 10, 90, 60)), _line("Pedestrian", (10, 10, 40, 90)))
    assert truths(frame.objects, CAR, HARD) == []


def test_boxes_are_clipped_to_the_frame_and_what_is_mostly_cut_away_is_ignored(tmp_path: Path) -> None:
    frame = _frame(
        tmp_path, _line("Car", (360, 10, 420, 60)), _line("Car", (390, 10, 450, 60)), _line("Car", (410, 10, 450, 60))
    )
    assert truths(frame.objects, CAR, HARD) == [((360, 10, 400, 60), COUNTS), ((390, 10, 400, 60), IGNORED)]


def test_what_lies_in_a_region_or_on_a_neighbour_or_is_too_low_is_no_false_alarm(tmp_path: Path) -> None:
    frame = _frame(
        tmp_path,
        _line("Car", (10, 10, 90, 60)),
        _line("Van", (110, 10, 190, 60)),
        _line("DontCare", (210, 10, 390, 190), -1, -1),
    )
    guesses = [
        Guess((10, 10, 90, 60), 0.9),  # the car
        Guess((110, 10, 190, 60), 0.8),  # the van
        Guess((220, 20, 260, 60), 0.7),  # two in the region
        Guess((300, 20, 340, 60), 0.6),
        Guess((10, 100, 60, 120), 0.5),  # 20 pixels high
        Guess((10, 100, 60, 150), 0.4),  # a false alarm
        Guess((12, 12, 92, 62), 0.3),  # the car a second time
    ]
    [verdict] = judge([(guesses, truths(frame.objects, CAR, HARD))], [0.5], HARD.min_height)
    assert verdict.objects == 1
    assert verdict.hits[0].tolist() == [True] + [False] * 6
    assert verdict.ignored[0].tolist() == [False, True, True, True, True, False, False]


def test_a_guess_is_told_with_the_object_of_its_own_frame_that_it_matched() -> None:
    first = ([Guess((0, 0, 40, 40), 0.5)], [Truth((200, 0, 240, 40), COUNTS)])
    nobody = ([], [])
    second = (
        [Guess((100, 0, 140, 40), 0.3), Guess((0, 0, 41, 40), 0.9), Guess((300, 0, 340, 40), 0.6)],
        [Truth((101, 0, 140, 40), COUNTS), Truth((0, 0, 40, 40), COUNTS)],
    )
    verdicts = judge([first, nobody, second], [0.5, 0.99])
    assert [v.guesses.tolist() for v in verdicts] == [[0], [], [1, 2, 0]]
    assert [v.truths.tolist() for v in verdicts] == [[[-1], [-1]], [[], []], [[1, -1, 0], [-1, -1, -1]]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Car 0 0 0 1 2 3 4", "8 fields, but KITTI's format has 15"),
        (_line("Kangaroo", (1, 2, 3, 4)), "unknown type 'Kangaroo'; known are Car,"),
        (_line("Car", (5, 2, 3, 4)), "is not the left, top, right and bottom of a box"),
        (_line("Car", (float("nan"), 2, 3, 4)), "is not the left, top, right and bottom of a box"),
        (_line("Car", (1, 2, 3, 4)).replace(" 0 ", " none ", 1), "invalid literal"),
    ],
)
def test_a_line_that_is_no_label_is_refused_by_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint) as refused:
        _frame(tmp_path, _line("Car", (1, 2, 3, 4)), line)
    assert "000000.txt, line 2" in str(refused.value)


def test_a_folder_of_another_kind_is_refused_with_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"is not a labelled folder: it needs image_2/\*.png and label_2/\*.txt"):
        read_labelled_folder(tmp_path)


def test_a_frame_without_labels_is_refused_by_name(tmp_path: Path) -> None:
    _frame(tmp_path, _line("Car", (1, 2, 3, 4)))
    Image.new("RGB", (4, 4)).save(tmp_path / "image_2" / "000001.png")
    with pytest.raises(CommandError, match=r"1 frame of .* has no labels; .* is .*000001\.txt"):
        read_labelled_folder(tmp_path)
