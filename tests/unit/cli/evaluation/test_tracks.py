"""`autolabel evaluate tracks`: what it scores, and what it says of files that it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import TRACKERS

# Each test starts the package trackers in a process.
pytestmark = pytest.mark.slow

Evaluate = Callable[..., Result]
FRAMES = 20


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two sequences: cars that drive to the right in lanes of their own, and detections exactly on them."""
    for part in ("labels", "detections"):
        (tmp_path / part).mkdir()
    for name, lanes in (("0000", 3), ("0001", 1)):
        places = [(frame, lane, 10 * frame, 60 * lane) for frame in range(FRAMES) for lane in range(lanes)]
        write(
            tmp_path,
            name,
            [f"{frame} {lane} Car 0 0 -10 {x} {y} {x + 50} {y + 40}" for frame, lane, x, y in places],
            [f"{frame},2,{x},{y},{x + 50},{y + 40},9.5" for frame, _, x, y in places],
        )
    return tmp_path


def write(folder: Path, name: str, labels: list[str], detections: list[str]) -> None:
    (folder / f"labels/{name}.txt").write_text("\n".join(labels) + "\n")
    (folder / f"detections/{name}.txt").write_text("\n".join(detections) + "\n")


def evaluate(folder: Path, *more: str) -> Result:
    given = ["--labels", str(folder / "labels"), "--detections", str(folder / "detections")]
    return CliRunner().invoke(main, ["evaluate", "tracks", *given, *more])


@pytest.fixture
def scores(folders: Path) -> Callable[..., dict[str, Any]]:
    """Skips the test where the environment of the metrics is missing."""
    try:
        TRACKERS.python()
    except CommandError as e:
        pytest.skip(e.message)

    def run(*more: str) -> dict[str, Any]:
        ended = evaluate(folders, "--json", *more)
        assert ended.exit_code == 0, ended.output
        document: dict[str, Any] = json.loads(ended.stdout)
        return document

    return run


def change(path: Path, edit: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")


def test_detections_on_every_car_score_full(scores: Callable[..., dict[str, Any]]) -> None:
    document = scores()
    assert (document["sequences"], document["frames"]) == (2, 2 * FRAMES)
    assert [round(document[name], 6) for name in ("hota", "idf1", "mota", "precision", "recall")] == [1.0] * 5
    assert (document["switches"], document["fragments"]) == (0, 0)


def test_a_false_car_of_two_frames_counts_in_all_tracks_alone(
    folders: Path, scores: Callable[..., dict[str, Any]]
) -> None:
    false = [f"{frame},2,500,300,550,340,9.5" for frame in (3, 4)]
    change(folders / "detections/0001.txt", lambda lines: [*lines, *false])
    document = scores()
    assert document["precision"] == 1.0
    assert document["all"]["precision"] == pytest.approx(4 * FRAMES / (4 * FRAMES + 2))


@pytest.mark.parametrize(
    "ignored",
    [
        # A region without labels, a van, a car that is hidden or small, and a box that is low and on nothing.
        ["3 -1 DontCare -1 -1 -10 490 290 560 350", "4 -1 DontCare -1 -1 -10 490 290 560 350"],
        [f"{frame} 9 Van 0 0 -10 500 300 550 340" for frame in (3, 4)],
        [f"{frame} 9 Car 0 3 -10 500 300 550 340" for frame in (3, 4)],
    ],
    ids=["region", "van", "hidden"],
)
def test_what_does_not_count_is_neither_right_nor_wrong(
    folders: Path, scores: Callable[..., dict[str, Any]], ignored: list[str]
) -> None:
    change(folders / "labels/0001.txt", lambda lines: [*lines, *ignored])
    change(folders / "detections/0001.txt", lambda lines: [*lines, *(f"{f},2,500,300,550,340,9.5" for f in (3, 4))])
    assert (scores()["all"]["precision"], scores()["all"]["recall"]) == (1.0, 1.0)


def test_low_boxes_on_nothing_and_low_scores_do_not_count(folders: Path, scores: Callable[..., dict[str, Any]]) -> None:
    more = ["3,2,500,300,550,324,9.5", "3,2,500,400,550,450,1.0", "3,1,500,400,550,450,9.5", "3,2,500,400,500,450,9.5"]
    change(folders / "detections/0001.txt", lambda lines: [*lines, *more])
    document = scores()
    assert document["all"]["precision"] == 1.0
    assert document["left_out"] == {"detections of other classes": 1, "detections without an area": 1}


def test_cars_that_change_places_are_switches(folders: Path, scores: Callable[..., dict[str, Any]]) -> None:
    def swapped(lines: list[str]) -> list[str]:
        cells = [line.split() for line in lines]
        return [
            " ".join([c[0], str(1 - int(c[1])) if int(c[0]) >= 10 and c[1] in "01" else c[1], *c[2:]]) for c in cells
        ]

    change(folders / "labels/0000.txt", swapped)
    assert scores()["switches"] == 2


def test_sequences_without_detections_or_cars_have_no_shares(
    folders: Path, scores: Callable[..., dict[str, Any]]
) -> None:
    for name in ("0000", "0001"):
        change(folders / f"detections/{name}.txt", lambda lines: [])
    document = scores()
    assert (document["hota"], document["precision"], document["recall"]) == (0.0, None, 0.0)
    for name in ("0000", "0001"):
        change(folders / f"labels/{name}.txt", lambda lines: [])
    assert scores()["hota"] is None


@pytest.mark.parametrize(
    ("part", "line", "said"),
    [
        ("labels", "0 1 Car 0 0", "labels/0001.txt:1 has 5 columns, not 10 or more"),
        ("labels", "0 1 Car 0 x -10 1 2 3 4", "labels/0001.txt:1: column 5 is 'x', not a number"),
        ("labels", "-1 1 Car 0 0 -10 1 2 3 4", "labels/0001.txt:1: '-1' is not the number of a frame"),
        ("detections", "0,2,1,2,nan,4,9", "detections/0001.txt:1: column 5 is 'nan', not a number"),
        ("detections", "0 2 1 2 3 4 9", "detections/0001.txt:1 has 1 column, not 7 or more"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(folders: Path, part: str, line: str, said: str) -> None:
    (folders / part / "0001.txt").write_text(line + "\n")
    ended = evaluate(folders)
    assert (ended.exit_code, said in ended.output) == (1, True)


def test_other_folders_and_rates_are_refused(folders: Path) -> None:
    (folders / "labels/0002.txt").write_text("")
    assert "only one of them has 0002.txt" in evaluate(folders).output
    assert "5 are needed" in evaluate(folders, "--every", "5").output
    for path in (folders / "labels").iterdir():
        path.unlink()
    assert "labels has no <sequence>.txt" in evaluate(folders).output
