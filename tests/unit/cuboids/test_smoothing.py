"""The cuboids of a track get one size, a steady heading and a smooth path, and come nearer to the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.cuboids import TrackCuboid, smooth_track, smoothing
from autolabel.labels.box_cuboids import BoxCuboid

SIZE = np.array([4.2, 1.7, 1.5])
FRAMES = 20


def car(center: np.ndarray, yaw: float, size: np.ndarray = SIZE, points: int = 100) -> BoxCuboid:
    return BoxCuboid(tuple(map(float, center)), tuple(map(float, size)), float(yaw), 0.2, points)


def errors(cuboids: list[BoxCuboid], centers: np.ndarray, yaw: float) -> tuple[float, float]:
    """Mean distance of the places, and of the headings modulo half a turn."""
    places = np.array([one.center for one in cuboids])
    turns = np.array([one.yaw for one in cuboids]) - yaw
    return float(np.linalg.norm(places - centers, axis=1).mean()), float(np.abs(np.sin(turns)).mean())


@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(-8, 8), st.booleans())
def test_noise_becomes_less_and_fits_across_are_outvoted(seed: int, yaw: float, speed: float, poses: bool) -> None:
    draw = np.random.default_rng(seed)
    times = np.arange(FRAMES) / 10 + 1_700_000_000
    travelled = np.outer(speed * np.arange(FRAMES) / 10, (np.cos(yaw), np.sin(yaw), 0))
    centers = np.array([20.0, 3.0, 0.7]) + travelled
    track, raw = list[TrackCuboid](), list[BoxCuboid]()
    # The vehicle drives at 10 m/s, and the object is given in its frame.
    for at, time in enumerate(times):
        world = np.eye(4)
        world[0, 3] = 10.0 * at / 10 if poses else 0.0
        seen = centers[at] - world[:3, 3] + draw.normal(0, 0.15, 3) * (1, 1, 0.2)
        turned = yaw + draw.normal(0, 0.05) + (np.pi / 2 if at % 6 == 5 else 0) + np.pi * draw.integers(0, 2)
        size = SIZE + draw.normal(0, 0.15, 3)
        raw.append(car(seen, turned, size[[1, 0, 2]] if at % 6 == 5 else size))
        track.append(TrackCuboid(time, raw[-1], np.zeros(3), world if poses else None))
    smooth = smooth_track(track)
    truth = centers - ([(10.0 * at / 10, 0, 0) for at in range(FRAMES)] if poses else 0)
    before, after = errors(raw, truth, yaw), errors(smooth, truth, yaw)
    assert after[0] < before[0]
    assert after[1] < before[1] / 2
    assert len({one.size for one in smooth}) == 1
    assert np.allclose(smooth[0].size or (), SIZE, atol=0.2)
    assert [(one.cost, one.points) for one in smooth] == [(0.2, 100)] * FRAMES
    # The headings agree along the track; with poses, a car that moves is headed where it goes.
    assert np.cos(np.diff([one.yaw for one in smooth if one.yaw is not None])).min() > 0.9
    if poses and abs(speed) > 2:
        ahead = np.mean([np.cos((one.yaw or 0.0) - yaw) for one in smooth])
        assert ahead * np.sign(speed) > 0.9


def test_a_new_size_keeps_the_faces_that_are_seen() -> None:
    # Seen from behind, on the right: the length is a guess, rear and left side are seen, so they stay.
    near = [car(np.array([10.0, -4.0, 0.75]), 0.0, points=250) for _ in range(3)]
    short = car(np.array([10.0 - 0.5, -4.0 + 0.1, 0.65]), 0.0, np.array([3.2, 1.5, 1.3]), points=10)
    smooth = smooth_track([TrackCuboid(at * 10.0, one, np.zeros(3)) for at, one in enumerate([*near, short])])
    assert smooth[-1].size == tuple(SIZE)
    assert np.allclose(smooth[-1].center or (), (9.5 + 0.5, -3.9 - 0.1, 0.75))


def test_a_cuboid_far_off_the_path_is_drawn_to_it() -> None:
    track = [TrackCuboid(at / 10, car(np.array([20.0 - at / 10, 2.0, 0.7]), 0.0), np.zeros(3)) for at in range(9)]
    track[4] = track[4]._replace(cuboid=car(np.array([45.0, 5.0, 0.7]), 0.0))
    assert np.linalg.norm(np.array(smooth_track(track)[4].center) - (19.6, 2.0, 0.7)) < 1.0


def test_a_long_track_is_smoothed_in_stretches_with_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    sizes = [SIZE + draw.normal(0, 0.2, 3) for _ in range(11)]
    centers = [np.array([20.0 + at, 2.0, 0.7]) for at in range(11)]
    track = [TrackCuboid(at / 10, car(centers[at], 0.1, size), np.zeros(3)) for at, size in enumerate(sizes)]
    whole = smooth_track(track)
    monkeypatch.setattr(smoothing, "_STRETCH", 4)
    cut = smooth_track(track)
    assert {one.size for one in cut} == {one.size for one in whole}
    assert np.allclose([one.center for one in cut], [one.center for one in whole], atol=0.3)


def test_one_cuboid_stays_as_it_is() -> None:
    one = car(np.array([9.0, 1.0, 0.7]), 0.3)
    assert smooth_track([TrackCuboid(0.0, one, np.zeros(3))]) == [one]
