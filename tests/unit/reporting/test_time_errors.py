"""Label issues by time: boxes that do not go with those of their object in neighbouring frames."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.findings import LIKELY
from autolabel.reporting.time_errors import CLASS_CHANGE, MISSING, OUT_OF_LINE, SINGLE, TimedLabel, TimeSearch

FRAMES, HERE = 12, 6
Frames = list[list[LabelledBox]]


def box(name: str, left: float, top: float = 100, width: float = 60, height: float = 40) -> LabelledBox:
    return LabelledBox(name, left, top, width, height, 0.0)


def drive(speeds: Sequence[float] = (4, -3), frames: int = FRAMES) -> Frames:
    """Cars in lanes of their own."""
    return [
        [box("car", 400 + speed * index, 100 * lane + 20) for lane, speed in enumerate(speeds)]
        for index in range(frames)
    ]


def found(frames: Frames, *, accepted: Sequence[int] = (), pauses: Sequence[int] = ()) -> list[tuple[int, str]]:
    """Frame and kind of the likely issues. `pauses`: frames after which a second passes."""
    search, time, issues = TimeSearch[int](), 0.0, list[tuple[int, str]]()
    for index, boxes in enumerate(frames):
        label = TimedLabel(time, 1_000, 400, boxes, index not in accepted)
        for timed in search.take(index, label):
            issues += [(timed.here, issue.kind) for issue in timed.issues if issue.suspicion >= LIKELY]
        time += 1.0 if index in pauses else 0.1
    for timed in search.end():
        issues += [(timed.here, issue.kind) for issue in timed.issues if issue.suspicion >= LIKELY]
    return issues


@given(st.lists(st.floats(-10, 10), max_size=3), st.integers(0, 30), st.sets(st.integers(0, 30)))
def test_objects_that_move_steadily_have_no_issue(speeds: list[float], frames: int, pauses: set[int]) -> None:
    assert found(drive(speeds, frames), pauses=sorted(pauses)) == []


@pytest.mark.parametrize("at", [0, 1, HERE, FRAMES - 2, FRAMES - 1])
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (MISSING, None),
        (CLASS_CHANGE, box("van", 0)),
        (OUT_OF_LINE, box("car", 0, width=78)),
        (SINGLE, box("car", 700)),
    ],
)
def test_an_error_is_found_where_the_frames_beside_it_tell(kind: str, wrong: LabelledBox | None, at: int) -> None:
    frames = drive((4,))
    right = frames[at].pop()
    if kind == SINGLE:
        frames[at].append(right)
    if wrong:
        frames[at].append(LabelledBox(wrong.name, wrong.left or right.left, right.top, wrong.width, wrong.height, 0.0))
    # At an end, an object may come or go. Its class does not change there either.
    at_end = at in (0, FRAMES - 1) and kind != CLASS_CHANGE
    assert found(frames) == ([] if at_end else [(at, kind)])


def test_a_box_that_no_frame_beside_it_can_deny_is_no_issue() -> None:
    frames = drive()
    frames[HERE].append(box("person", 700, width=20))
    assert found(frames) == [(HERE, SINGLE)]
    assert found(frames, accepted=[HERE - 1]) == [], "the models may have missed it in an accepted frame"
    assert found(frames, accepted=[HERE - 1, HERE, HERE + 1]) == [(HERE, SINGLE)]
    assert found(frames, pauses=[HERE]) == [], "after a pause, other objects are in sight"


def test_an_object_may_be_hidden_or_in_a_region_without_labels() -> None:
    frames = drive((4,))
    [gone] = frames[HERE]
    for instead in (box("ignore", 0, 0, 1_000, 400), box("bus", gone.left - 20, gone.top - 10, 120, 80)):
        frames[HERE] = [instead]
        assert (HERE, MISSING) not in found(frames)


def test_the_neighbours_of_an_issue_are_the_frames_beside_it() -> None:
    frames = drive()
    frames[HERE].pop()
    search, seen = TimeSearch[int](), []
    for index, boxes in enumerate(frames):
        seen += list(search.take(index, TimedLabel(index / 10, 1_000, 400, boxes)))
    seen += list(search.end())
    assert [(timed.before, timed.here, timed.after) for timed in seen] == [
        (at - 1 if at else None, at, at + 1 if at + 1 < FRAMES else None) for at in range(FRAMES)
    ]
    [issue] = [timed.issues[0] for timed in seen if timed.here == HERE]
    expected, right = issue.expected, drive()[HERE][1]
    assert expected is not None
    assert (expected.label, expected.left, expected.top) == ("car", right.left, right.top)
