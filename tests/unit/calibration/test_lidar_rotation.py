"""A camera that is turned against its LiDAR is measured; one that is not raises no alarm, nor does bad evidence."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from autolabel.calibration import EdgeMaps, RangeJumps, RotationView, check_by_lidar, find_range_jumps, turn_matrix
from autolabel.calibration.watch import propose
from autolabel.contracts.logs import Transform
from autolabel.cuboids import Array, matrix_of
from autolabel_cli.evaluation.generated_scenes import camera_at, generate_scene

FRAMES = 20
CAMERA = camera_at()
PLACE = Transform("eye", "vehicle", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@cache
def frames() -> list[tuple[EdgeMaps, RangeJumps]]:
    """Polygons at some distances, as the camera sees them, and as a LiDAR in the same place scans them."""
    found = []
    for seed in range(FRAMES):
        chance = np.random.default_rng(seed)
        picture = np.full((CAMERA.height, CAMERA.width), 100, np.uint8)
        depths = np.full(picture.shape, 50.0, np.float32)
        for depth in sorted(chance.uniform(5, 40, 9), reverse=True):
            middle = chance.uniform((80, 60), (920, 340))
            polygon = (middle + chance.uniform(-120, 120, (5, 2))).round().astype(np.int32)
            cv2.fillConvexPoly(picture, cv2.convexHull(polygon), int(chance.integers(0, 255)))
            cv2.fillConvexPoly(depths, cv2.convexHull(polygon), depth)
        y, x = np.mgrid[2 : CAMERA.height : 7, 1 : CAMERA.width : 2].reshape(2, -1)
        rays = np.column_stack([x, y, np.ones(len(x))]) @ np.linalg.inv(CAMERA.projection.matrix[:, :3]).T
        found.append((EdgeMaps(picture), find_range_jumps(rays * depths[y, x][:, None])))
    return found


def views(turn: Array, count: int = FRAMES) -> list[RotationView]:
    """Frames whose points are turned: the turn back is what should be found."""
    away = turn_matrix(-turn)
    return [
        RotationView(maps, RangeJumps(jumps.points @ away.T, jumps.weights), CAMERA) for maps, jumps in frames()[:count]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (0.6, -0.7, 0.4), (-0.2, 0.3, -1.0)])
def test_a_turn_is_found_within_0_3_degrees_and_proposed(degrees: tuple[float, float, float]) -> None:
    turn = np.array(degrees)
    check = check_by_lidar("front", "top", CAMERA, PLACE, views(turn))
    assert check.turn
    assert check.uncertainty is not None
    assert check.verdict == ("turned" if turn.any() else "in place"), check
    assert np.linalg.norm(np.array(check.turn) - turn) < 0.3
    assert (check.proposal is not None) == turn.any()


def test_a_proposal_turns_the_view_as_it_was_measured() -> None:
    degrees = np.array([0.5, -1.2, 0.8])
    proposed = propose(CAMERA, PLACE, degrees)
    turned = np.linalg.inv(matrix_of(proposed))[:3, :3] @ matrix_of(PLACE)[:3, :3]
    np.testing.assert_allclose(turned, turn_matrix(degrees), atol=1e-9)
    assert (proposed.frame, proposed.parent, proposed.translation) == (PLACE.frame, PLACE.parent, PLACE.translation)


def test_few_frames_or_frames_without_points_are_too_little_evidence() -> None:
    few = check_by_lidar("front", "top", CAMERA, PLACE, views(np.zeros(3), 19))
    assert (few.verdict, few.frames) == ("too little evidence", 19)
    assert "20 are needed" in few.why
    nothing = RangeJumps(np.empty((0, 3)), np.empty(0))
    empty = [RotationView(maps, nothing, CAMERA) for maps, _ in frames()]
    assert check_by_lidar("front", "top", CAMERA, PLACE, empty).frames == 0


@pytest.mark.slow
def test_pictures_that_say_nothing_are_too_little_evidence() -> None:
    blank = EdgeMaps(np.full((CAMERA.height, CAMERA.width), 90, np.uint8))
    noise = [
        EdgeMaps(np.random.default_rng(seed).integers(0, 255, (CAMERA.height, CAMERA.width), np.uint8))
        for seed in range(FRAMES)
    ]
    for maps in ([blank] * FRAMES, noise):
        seen = [RotationView(one, jumps, CAMERA) for one, (_, jumps) in zip(maps, frames(), strict=True)]
        check = check_by_lidar("front", "top", CAMERA, PLACE, seen)
        assert check.verdict == "too little evidence", check
        assert check.why
        assert check.proposal is None


@pytest.mark.parametrize("beams", [16, 64])
def test_range_jumps_are_the_same_in_the_order_of_beams_and_of_directions(beams: int) -> None:
    """A pole before a wall, scanned beam after beam, and direction after direction."""
    up, aside = np.meshgrid(np.radians(np.linspace(-10, 10, beams)), np.radians(np.arange(-20, 20, 0.2)), indexing="ij")
    ranges = np.where(np.abs(aside) < np.radians(1), 5.0, 20.0)[..., None]
    cloud = ranges * np.stack([np.cos(up) * np.cos(aside), np.cos(up) * np.sin(aside), np.sin(up)], axis=-1)
    for points in (cloud.reshape(-1, 3), cloud.swapaxes(0, 1).reshape(-1, 3)):
        jumps = find_range_jumps(points)
        assert len(jumps.points) == 2 * beams
        np.testing.assert_allclose(np.linalg.norm(jumps.points, axis=1), 5.0)
        np.testing.assert_allclose(jumps.weights, 15**0.5)


def test_points_in_no_order_have_few_jumps() -> None:
    shuffled = np.random.default_rng(1).permutation(generate_scene(0).points)
    assert len(find_range_jumps(shuffled).points) < 0.1 * len(shuffled)
    assert not len(find_range_jumps(shuffled[:1]).points)
