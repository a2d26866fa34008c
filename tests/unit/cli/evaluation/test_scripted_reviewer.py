"""The scripted reviewer of strips: what they correct at their stops, and what they cannot know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.labels import Box
from autolabel_cli.evaluation.review_speed import Score, score_boxes
from autolabel_cli.evaluation.scripted_reviewer import Habits, Lane, Reviewed, review, uncertain_stops
from autolabel_cli.evaluation.tracks import CAR, ScoredFrame, TruthObject

FRAMES = 11
LOW = (0.0, 500.0, 30.0, 520.0)
PERFECT = Habits(chance=1.0)


def car(frame: float, row: int = 0, off: float = 0) -> Box:
    """The place of a car of 100 x 50 pixels that drives to the right, in a row of its own."""
    return (10 * frame + off, 100.0 * row, 10 * frame + off + 100, 100.0 * row + 50)


def strip(cars: int = 1, frames: Iterable[int] = range(FRAMES)) -> list[ScoredFrame]:
    there = set(frames)
    return [
        ScoredFrame([TruthObject(row, car(frame, row), True) for row in range(cars)] if frame in there else [])
        for frame in range(FRAMES)
    ]


def lane(frames: Iterable[int], place: Callable[[int], Box] = car, number: int = 0, name: str = CAR) -> Lane:
    return Lane(number, name, {frame: place(frame) for frame in frames})


def reviewed(lanes: Sequence[Lane], truth: Sequence[ScoredFrame], stops: Iterable[int], habits: Habits) -> Reviewed:
    return review(lanes, {stop: truth[stop] for stop in stops}, habits)


def left(done: Reviewed) -> list[dict[int, Box]]:
    return [one.boxes for one in done.lanes]


def test_a_corrected_offset_follows_the_track() -> None:
    done = reviewed([lane(range(FRAMES), lambda frame: car(frame, off=40))], strip(), [3, 10], PERFECT)
    assert done.edits == {"correct": 1}
    assert left(done) == [{frame: pytest.approx(car(frame)) for frame in range(FRAMES)}]


def test_between_two_stops_the_offset_grows_linearly() -> None:
    drifting = lane(range(FRAMES), lambda frame: car(frame, off=4 * frame))
    done = reviewed([drifting], strip(), [0, 10], PERFECT)
    assert done.edits == {"correct": 1}
    assert left(done) == [{frame: pytest.approx(car(frame)) for frame in range(FRAMES)}]


def test_straight_lines_drop_the_models_motion() -> None:
    jumping = lane(range(FRAMES), lambda frame: car(frame, off=5 if frame == 5 else 0))
    assert left(reviewed([jumping], strip(), [0, 10], PERFECT))[0][5] == car(5, off=5)
    assert left(reviewed([jumping], strip(), [0, 10], Habits(1.0, straight=True)))[0][5] == pytest.approx(car(5))


def test_a_missing_object_is_drawn_at_stops_and_interpolated() -> None:
    done = reviewed([], strip(), [2, 6, 8], PERFECT)
    assert done.edits == {"draw": 3}
    assert left(done) == [{frame: pytest.approx(car(frame)) for frame in range(2, 9)}]


@pytest.mark.parametrize("between", [[], [TruthObject(0, car(5), False)]], ids=["gone", "hidden"])
def test_nothing_is_interpolated_over_a_stop_without_the_object(between: list[TruthObject]) -> None:
    truth = strip(frames=[0, 10])
    truth[5] = ScoredFrame(between)
    assert left(reviewed([], truth, [0, 5, 10], PERFECT)) == [{0: car(0), 10: car(10)}]


def test_a_gap_is_filled_from_one_box_on_both_sides() -> None:
    done = reviewed([lane([0, 1, 2, 8, 9, 10])], strip(), [0, 5, 10], PERFECT)
    assert done.edits == {"draw": 1}
    assert sorted(left(done)[0]) == list(range(FRAMES))


def test_a_false_track_is_deleted_whole_and_a_known_one_ended_at_the_stop() -> None:
    done = reviewed([lane(range(FRAMES), lambda frame: car(frame, 3), 1)], strip(0), [5], PERFECT)
    assert (left(done), done.edits) == ([], {"delete": 1})
    done = reviewed([lane(range(FRAMES))], strip(frames=range(4)), [0, 5, 10], PERFECT)
    assert (sorted(left(done)[0]), done.edits) == ([0, 1, 2, 3, 4], {"end": 1})


def test_two_halves_are_merged_and_the_gap_is_filled() -> None:
    done = reviewed([lane(range(4)), lane(range(6, 11), number=1)], strip(), [0, 10], PERFECT)
    assert (sorted(left(done)[0]), done.edits, len(done.lanes)) == (list(range(FRAMES)), {"merge": 1}, 1)


def test_tracks_that_change_places_are_split_and_merged() -> None:
    swapped = [
        Lane(row, CAR, {frame: car(frame, row if frame < 5 else 1 - row) for frame in range(FRAMES)}) for row in (0, 1)
    ]
    done = reviewed(swapped, strip(2), range(FRAMES), PERFECT)
    assert done.edits == {"split": 2, "merge": 2}
    rows = sorted(done.lanes, key=lambda one: one.object or 0)
    assert left(Reviewed(rows, done.edits)) == [{frame: car(frame, row) for frame in range(FRAMES)} for row in (0, 1)]


def test_a_wrong_class_is_renamed_once() -> None:
    done = reviewed([lane(range(FRAMES), name="other")], strip(), [0, 5, 10], PERFECT)
    assert (done.lanes[0].name, done.edits) == (CAR, {"rename": 1})


def test_a_box_that_is_drawn_into_a_track_of_another_class_renames_it() -> None:
    truth = strip(frames=[5])
    truth[0] = ScoredFrame([TruthObject(0, car(0), False)])
    done = reviewed([lane([0], name="other")], truth, [0, 5], PERFECT)
    assert (done.lanes[0].name, done.edits) == (CAR, {"draw": 1, "rename": 1})


def test_what_does_not_count_costs_nothing() -> None:
    hidden = ScoredFrame([TruthObject(0, car(0), False), TruthObject(1, car(0, 1), False)], [(0, 300, 400, 400)])
    lanes = [lane([0], lambda _: car(0, off=20)), lane([0], lambda _: car(0, 3), 1), lane([0], lambda _: LOW, 2)]
    done = review(lanes, {0: hidden}, PERFECT)
    assert (len(done.lanes), done.edits) == (3, {})


def test_uncertain_places_get_a_stop_unless_they_have_one() -> None:
    lanes = [
        Lane(0, CAR, {}, {2: 0.9, 3: 0.9, 7: 0.5, 8: 0.6}),
        Lane(1, CAR, {}, {3: 1.0, 4: 1.0, 9: 1.0, 10: 1.0}),
        Lane(2, CAR, {}),
    ]
    assert uncertain_stops(lanes, [0, 10], 0.6) == [0, 2, 3, 8, 10]


class World(NamedTuple):
    truth: list[ScoredFrame]
    lanes: list[Lane]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Cars in rows of their own, some hidden or gone; and lanes on them and elsewhere, in pieces, off and misnamed."""
    states = draw(
        st.lists(
            st.lists(st.sampled_from(["here", "here", "here", "hidden", "gone"]), min_size=FRAMES, max_size=FRAMES),
            max_size=3,
        )
    )
    truth = [
        ScoredFrame(
            [
                TruthObject(row, car(frame, row), row_states[frame] == "here")
                for row, row_states in enumerate(states)
                if row_states[frame] != "gone"
            ]
        )
        for frame in range(FRAMES)
    ]
    lanes = []
    for number in range(draw(st.integers(0, 5))):
        frames = draw(st.sets(st.integers(0, FRAMES - 1), min_size=1))
        rows, turn = draw(st.tuples(st.integers(0, 4), st.integers(0, 4))), draw(st.integers(0, FRAMES))
        off = draw(st.sampled_from([0, 0, 10, 30, 60]))
        name = draw(st.sampled_from([CAR, CAR, "other"]))
        boxes = {frame: car(frame, rows[frame >= turn], off) for frame in frames}
        lanes.append(Lane(number, name, boxes))
    return World(truth, lanes)


@given(worlds())
@settings(max_examples=200)
def test_a_perfect_reviewer_of_every_frame_leaves_no_error(world: World) -> None:
    done = reviewed(world.lanes, world.truth, range(FRAMES), PERFECT)
    objects = sum(each.counts for frame in world.truth for each in frame.objects)
    assert score_boxes(done.lanes, world.truth) == Score(objects, 0, 0)


@given(worlds(), worlds(), st.sets(st.integers(0, FRAMES - 1)), st.sampled_from([0.3, 0.8, 1.0]))
def test_frames_without_a_stop_tell_nothing(world: World, other: World, stops: set[int], chance: float) -> None:
    changed = [world.truth[frame] if frame in stops else other.truth[frame] for frame in range(FRAMES)]
    one, two = (reviewed(world.lanes, truth, stops, Habits(chance)) for truth in (world.truth, changed))
    assert (one.edits, left(one)) == (two.edits, left(two))


@given(
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(0, 30)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(0, 9),
)
def test_a_greater_chance_notices_the_same_errors_and_more(
    missing: set[int], false: set[int], chances: tuple[float, float], seed: int
) -> None:
    truth = {
        frame: ScoredFrame([TruthObject(frame, car(frame), True)] if frame in missing else []) for frame in range(31)
    }
    lanes = [lane([frame], lambda frame: car(frame, 5), frame) for frame in false]
    fewer, more = (review(lanes, truth, Habits(chance, seed)).edits for chance in sorted(chances))
    assert fewer <= more
    assert review(lanes, truth, Habits(0.0, seed)).edits == {}
    assert review(lanes, truth, PERFECT).edits == {
        k: n for k, n in (("draw", len(missing)), ("delete", len(false))) if n
    }
