"""Objects that move through a sequence get one track each, also with missed, doubled and disordered boxes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.detections import Box, box_iou
from autolabel.sequences.linking import CONFIRMED, Linker, Sight
from autolabel.sequences.tracks import FILLED_SECONDS, Track, fill_gaps, link_frames

RATE = 10.0
# Objects in lanes that never meet. They cross a third of their width in a frame at most.
LANES = 5


def place(lane: int, frame: int, speed: float) -> Box:
    left = 40 * speed + speed * frame
    return left, 100.0 * lane, left + 60, 100.0 * lane + 50


def drive(
    seen: Sequence[Sequence[bool]], speeds: Sequence[float], noise: float = 0.0
) -> list[tuple[float, list[Sight]]]:
    """Make a sequence. `seen`: for each frame, which lanes' objects are detected."""
    draw = Random(3)
    frames = []
    for index, row in enumerate(seen):
        time = index / RATE
        boxes = (
            tuple(side + draw.uniform(-noise, noise) for side in place(lane, index, speeds[lane]))
            for lane, found in enumerate(row)
            if found
        )
        frames.append((time, [Sight(time, (box[0], box[1], box[2], box[3]), "car") for box in boxes]))
    return frames


def seen(track: Track) -> int:
    return sum(box.seen for box in track.boxes)


rows = st.lists(st.lists(st.booleans(), min_size=LANES, max_size=LANES), min_size=1, max_size=60)
speeds = st.lists(st.floats(0, 20), min_size=LANES, max_size=LANES)


@given(rows, speeds, st.floats(0, 1.5))
def test_every_box_is_in_exactly_one_track_and_no_track_changes_lanes(
    shown: list[list[bool]], fast: list[float], noise: float
) -> None:
    tracks = link_frames(drive(shown, fast, noise))
    assert sum(map(seen, tracks)) == sum(map(sum, shown))
    for track in tracks:
        assert len({round((box.box[1] - noise) / 100) for box in track.boxes}) == 1
        frames = [box.frame for box in track.boxes]
        assert frames == sorted(set(frames))


@given(rows, speeds, st.randoms(use_true_random=False))
def test_the_order_of_a_frames_boxes_does_not_matter(shown: list[list[bool]], fast: list[float], draw: Random) -> None:
    frames = drive(shown, fast)
    shuffled = [(time, draw.sample(sights, len(sights))) for time, sights in frames]
    assert sorted(map(repr, link_frames(frames))) == sorted(map(repr, link_frames(shuffled)))


@given(speeds, st.sets(st.integers(10, 49), max_size=8), st.integers(1, 4))
def test_short_misses_are_bridged_and_marked(fast: list[float], missed: set[int], longest: int) -> None:
    # Gaps of at most `longest` frames, far enough apart to find the way again.
    gaps = {frame for start in missed if start % 8 == 0 for frame in range(start, start + longest)}
    shown = [[index not in gaps] * LANES for index in range(60)]
    tracks = link_frames(drive(shown, fast))
    assert len(tracks) == LANES
    for track in tracks:
        assert [box.frame for box in track.boxes] == list(range(60))
        assert {box.frame for box in track.boxes if not box.seen} == gaps
        for box in track.boxes:
            lane = round(box.box[1] / 100)
            assert box_iou(box.box, place(lane, box.frame, fast[lane])) > 0.99


def test_a_track_goes_on_behind_a_gap_that_is_not_filled() -> None:
    shown = [[not 20 <= index < 30] for index in range(50)]
    (track,) = link_frames(drive(shown, [6.0]))
    assert [box.frame for box in track.boxes] == [*range(20), *range(30, 50)]
    assert all(box.seen for box in track.boxes)


def test_nothing_is_linked_over_time_that_does_not_advance() -> None:
    frames = drive([[True]] * 10, [0.0])
    again = [*frames, *frames]
    assert [seen(track) for track in link_frames(again)] == [10, 10]


def test_a_class_is_chosen_by_vote_and_a_wrong_one_breaks_no_track() -> None:
    frames = drive([[True]] * 10, [3.0])
    frames[4] = (frames[4][0], [frames[4][1][0]._replace(name="truck")])
    (track,) = link_frames(frames)
    assert (track.name, seen(track)) == ("car", 10)


def test_a_rider_and_the_bicycle_stay_apart() -> None:
    frames = []
    for index in range(10):
        left = 5.0 * index
        rider = Sight(index / RATE, (left, 0, left + 30, 80), "rider")
        bicycle = Sight(index / RATE, (left, 20, left + 30, 90), "bicycle")
        frames.append((index / RATE, [rider, bicycle] if index % 2 else [bicycle, rider]))
    assert sorted((track.name, seen(track)) for track in link_frames(frames)) == [("bicycle", 10), ("rider", 10)]


def test_short_tracks_are_not_confirmed_and_not_filled() -> None:
    (short,) = link_frames(drive([[True], [False], [True]], [0.0]))
    assert not short.confirmed
    assert [box.seen for box in short.boxes] == [True, True]
    (long,) = link_frames(drive([[True]] * CONFIRMED, [0.0]))
    assert long.confirmed


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=20))
def test_gaps_are_filled_by_their_length_in_time(steps: list[float]) -> None:
    times = [sum(steps[:count]) for count in range(len(steps) + 1)]
    ends = drive([[True]], [0.0])[0][1][0].box
    (track,) = link_frames([(0.0, [Sight(0.0, ends)])])
    whole = [track.boxes[0], track.boxes[0]._replace(frame=len(steps))]
    filled = fill_gaps(whole, times)
    assert len(filled) == (len(steps) + 1 if times[-1] - times[0] <= FILLED_SECONDS else 2)


def test_noise_of_sides_is_smoothed() -> None:
    frames = drive([[True]] * 200, [5.0], noise=2.0)
    (track,) = link_frames(frames)

    def error(box: Box, frame: int) -> float:
        return sum(abs(a - b) for a, b in zip(box, place(0, frame, 5.0), strict=True))

    raw = sum(error(sights[0].box, index) for index, (_, sights) in enumerate(frames))
    assert sum(error(box.box, box.frame) for box in track.boxes) < 0.75 * raw


def test_memory_is_that_of_the_last_seconds() -> None:
    linker = Linker()
    draw = Random(5)
    most = 0
    for index in range(5_000):
        boxes = [(x := draw.uniform(0, 5_000), 0.0, x + 20, 20.0) for _ in range(3)]
        linker.step(index / RATE, [Sight(index / RATE, box) for box in boxes])
        most = max(most, len(linker._paths))
    assert most < 100


@pytest.mark.parametrize(("gap", "name", "joined"), [(13, "car", True), (13, "person", False), (2, "person", True)])
def test_a_lost_track_goes_on_as_another_class_only_after_a_short_gap(gap: int, name: str, joined: bool) -> None:
    before, after = (drive([[True]] * count, [3.0]) for count in (15, 25 + gap))
    later = [(time, [sights[0]._replace(name=name)]) for time, sights in after[15 + gap :]]
    tracks = link_frames([*before, *((time, []) for time, _ in after[15 : 15 + gap]), *later])
    assert len(tracks) == (1 if joined else 2)


def test_nothing_is_linked_over_a_change_of_the_frames_size() -> None:
    linker = Linker()
    sizes = [(1920, 1080)] * 5 + [(960, 540)] * 5
    for (time, sights), size in zip(drive([[True]] * 10, [0.0]), sizes, strict=True):
        linker.step(time, sights, size)
    assert linker.live == {1}
    assert not linker.joins
