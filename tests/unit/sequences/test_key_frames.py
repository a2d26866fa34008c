"""Key frames are few, and straight lines lead from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autolabel.labels.detections import Box, box_iou
from autolabel.sequences.key_frames import StripFrame, choose_key_frames


class Moving(NamedTuple):
    """An object from frame `first` on. `speeds`: pixels to the right in each frame; `gone`: frames without a box."""

    first: int
    speeds: list[int]
    gone: frozenset[int]

    def boxes(self) -> dict[int, Box]:
        found, left = dict[int, Box](), 0.0
        for frame, speed in enumerate(self.speeds, start=self.first):
            left += speed
            if frame not in self.gone:
                found[frame] = (left, 0.0, left + 40.0, 30.0)
        return found


scenes = st.lists(
    st.builds(
        Moving,
        st.integers(0, 20),
        st.lists(st.integers(-12, 12), min_size=1, max_size=25),
        st.frozensets(st.integers(0, 45), max_size=4),
    ),
    max_size=5,
)
# Of 0.1 s, and of a recorder that missed frames.
pauses = st.lists(st.sampled_from([0.1, 0.1, 0.1, 0.7]), min_size=1, max_size=40)


def strip(scene: Sequence[Moving], times: Sequence[float], known: frozenset[int] = frozenset()) -> list[StripFrame]:
    boxes = {str(number): one.boxes() for number, one in enumerate(scene)}
    return [
        StripFrame(time, {track: at[index] for track, at in boxes.items() if index in at}, index in known)
        for index, time in enumerate(times)
    ]


def times_of(pauses: Sequence[float]) -> list[float]:
    return [sum(pauses[:index]) for index in range(len(pauses) + 1)]


@given(scenes, pauses, st.frozensets(st.integers(0, 40), max_size=3), st.sampled_from([0.5, 0.8, 0.95]))
@example([Moving(0, [0] * 10, frozenset())], [0.1] * 30, frozenset(), 0.8)
def test_each_box_is_in_a_key_frame_or_near_the_line_between_two(
    scene: list[Moving], pauses: list[float], known: frozenset[int], least: float
) -> None:
    frames = strip(scene, times_of(pauses), known)
    limits = {str(number): least for number in range(len(scene))}
    chosen = choose_key_frames(frames, limits, 1.0)
    assert list(chosen) == sorted(set(chosen))
    assert {0, len(frames) - 1} | {index for index in known if index < len(frames)} <= set(chosen)
    for first, last in pairwise(chosen):
        before, after = frames[first], frames[last]
        assert last - first == 1 or after.time - before.time <= 1.0 + 1e-5
        for frame in frames[first + 1 : last]:
            share = (frame.time - before.time) / (after.time - before.time)
            for track, box in frame.boxes.items():
                sides = zip(before.boxes[track], after.boxes[track], strict=True)
                left, top, right, bottom = (a + (b - a) * share for a, b in sides)
                assert box_iou(box, (left, top, right, bottom)) >= least - 1e-9


@pytest.mark.parametrize(
    ("speeds", "gap", "chosen"),
    [
        ([5] * 21, 9.0, (0, 20)),
        ([5] * 21, 1.0, (0, 10, 20)),
        ([0] * 11 + [3] * 10, 9.0, (0, 10, 20)),
    ],
    ids=["straight", "gap", "turn"],
)
def test_only_turns_and_gaps_cost_more_key_frames_than_the_ends(
    speeds: list[int], gap: float, chosen: tuple[int, ...]
) -> None:
    frames = strip([Moving(0, speeds, frozenset())], times_of([0.1] * 20))
    assert choose_key_frames(frames, {"0": 0.9}, gap) == chosen


def test_the_limit_is_of_a_track() -> None:
    turning = Moving(0, [3, 0] * 10, frozenset())
    frames = strip([turning, turning], times_of([0.1] * 19))
    loose = choose_key_frames(frames, {"0": 0.5, "1": 0.5}, 9.0)
    assert len(loose) < len(choose_key_frames(frames, {"0": 0.5, "1": 0.99}, 9.0)) == 20


@pytest.mark.parametrize("count", [0, 1, 2])
def test_all_frames_of_the_shortest_strips_are_key_frames(count: int) -> None:
    assert choose_key_frames([StripFrame(float(n), {}) for n in range(count)], {}, 9.0) == tuple(range(count))
