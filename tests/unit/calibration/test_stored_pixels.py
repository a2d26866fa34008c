"""Points fall where the lens shows them, and pictures of any calibration can be checked."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autolabel.calibration import evenly
from autolabel.calibration.stored_pixels import stored_pixels
from autolabel.calibration.turns import turn_matrix
from autolabel.contracts.drive import Camera, DriveDocument
from autolabel.contracts.logs import Transform
from autolabel.cuboids import MountedCamera, Rig, matrix_of, quaternion_of

EXTRINSICS = {
    "frame": "eye",
    "parent": "base_link",
    "translation": [1.5, 0, 1.6],
    "rotation": [-0.5, 0.5, -0.5, 0.5],
}
WIDTH, HEIGHT, FOCAL = 1000, 600, 700.0


def camera(distortion: list[float]) -> MountedCamera:
    matrix = [FOCAL, 0, WIDTH / 2, 0, FOCAL, HEIGHT / 2, 0, 0, 1]
    intrinsics = {"width": WIDTH, "height": HEIGHT, "distortion_model": "plumb_bob", "D": distortion}
    intrinsics |= {"K": matrix, "R": [], "P": []}
    found = Rig(DriveDocument("car", {"front": Camera(None, None, intrinsics, EXTRINSICS)})).camera("front")
    assert isinstance(found, MountedCamera)
    return found


@given(st.floats(-4, 4), st.floats(-2, 2), st.floats(6, 30), st.floats(-0.25, 0.1))
def test_a_point_falls_where_the_ideal_picture_has_it(x: float, y: float, z: float, k1: float) -> None:
    lens = camera([k1, 0.02, 0.001, -0.001, 0.0])
    [[u, v]] = stored_pixels(lens, np.array([[x, y, z]]))
    left, top, *_ = lens.ideal((u, v, u, v))
    np.testing.assert_allclose((left, top), lens.projection.pixels(np.array([x, y, z])), atol=0.5)


def test_points_behind_or_far_outside_have_no_pixel() -> None:
    pixels = stored_pixels(camera([-0.2, 0.02, 0, 0, 0]), np.array([[0.0, 0, -5], [50.0, 0, 5], [0.0, 0, 5]]))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], (WIDTH / 2, HEIGHT / 2), atol=1)


@given(st.lists(st.floats(-120, 120), min_size=3, max_size=3))
def test_a_quaternion_is_the_same_rotation(degrees: list[float]) -> None:
    matrix = turn_matrix(np.array(degrees))
    rotation = quaternion_of(matrix)
    assert rotation[3] >= 0
    np.testing.assert_allclose(matrix_of(Transform("", "", (0.0, 0.0, 0.0), rotation))[:3, :3], matrix, atol=1e-9)


@given(st.integers(0, 3000), st.integers(1, 50))
def test_items_are_taken_evenly_from_a_stream_of_any_length(count: int, most: int) -> None:
    taken = evenly(iter(range(count)), most)
    assert len(taken) == min(count, most)
    assert taken == sorted(set(taken))
    if count > 8 * most:
        gaps = np.diff([-1, *taken, count])
        assert gaps.max() <= 4 * count / most
