"""Lanes tell yaw and pitch of a camera; without lanes on both sides nothing is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.calibration import check_by_lanes, lane_segments, turn_matrix
from autolabel.cuboids import Array, MountedCamera
from autolabel_cli.evaluation.generated_scenes import GROUND, camera_at

# A camera at the vehicle's middle, x ahead in the vehicle's frame.
AHEAD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
CAMERA: MountedCamera = camera_at()._replace(to_camera=AHEAD)
LANES = (-5.2, -1.8, 1.7, 5.3)
angles = st.floats(-1.5, 1.5)


def picture(turn: Array, lanes: tuple[float, ...], seed: int, clutter: int = 10) -> Array:
    """Segments of lanes with some noise, as a camera sees them that is turned, and segments of other things."""
    chance = np.random.default_rng(seed)
    found = []
    for x in lanes:
        for _ in range(2):
            near = chance.uniform(5, 9)
            ends = np.array([[x, GROUND, near], [x, GROUND, near + chance.uniform(3, 10)]]) @ turn_matrix(turn).T
            found.append((CAMERA.projection.pixels(ends) + chance.normal(0, 0.3, (2, 2))).ravel())
    other = chance.uniform((0, 210, 0, 210), (1000, 390, 1000, 390), (clutter, 4))
    return np.vstack([*found, other])


@settings(max_examples=20, deadline=None)
@given(angles, angles, st.integers(0, 1000))
def test_yaw_and_pitch_are_found_in_clutter(pitch: float, yaw: float, seed: int) -> None:
    turn = np.array([pitch, yaw, 0.0])
    frames = [lane_segments(picture(turn, LANES, seed + at), CAMERA) for at in range(20)]
    check = check_by_lanes("front", CAMERA, None, frames)
    assert check.turn, check
    assert np.linalg.norm(np.array(check.turn) - turn) < 0.2
    size = np.hypot(pitch, yaw)
    if abs(size - 0.4) > 0.2:
        assert check.verdict == ("turned" if size > 0.4 else "in place"), check


@pytest.mark.parametrize(
    ("lanes", "clutter", "count"), [((), 40, 20), ((1.7, 5.3), 0, 20), (LANES, 10, 19), ((), 0, 20)]
)
def test_without_lanes_on_both_sides_nothing_is_said(lanes: tuple[float, ...], clutter: int, count: int) -> None:
    frames = [lane_segments(picture(np.zeros(3), lanes, at, clutter), CAMERA) for at in range(count)]
    check = check_by_lanes("front", CAMERA, None, frames)
    assert (check.verdict, check.turn) == ("too little evidence", None)
    assert check.why


def test_a_camera_that_looks_aside_says_nothing() -> None:
    aside = CAMERA._replace(to_camera=np.array([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]))
    frames = [lane_segments(picture(np.zeros(3), LANES, at), aside) for at in range(20)]
    assert check_by_lanes("left", aside, None, frames).verdict == "too little evidence"
