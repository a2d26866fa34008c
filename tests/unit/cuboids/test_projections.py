"""Cuboids are projected into pictures, cut off at their edges, and hidden by nearer ones."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.contracts.drive import DriveDocument
from autolabel.cuboids import MountedCamera, Projection, Rig, project
from autolabel.labels import BoxCuboid, CuboidProjection
from tests.fakes.clouds import CAMERA, lidar_drive

LENS = [-0.28, 0.07, 0.0006, -0.0004, -0.006]
# 127° wide, as surround-view cameras are.
WIDE = Projection(np.array([[300.0, 0, 600, 0], [0, 300, 180, 0], [0, 0, 1, 0]]), 1200, 370)
STILL = np.eye(4)
numbers = st.floats(-1, 1)


def mounted(projection: Projection = CAMERA, **intrinsics: Any) -> MountedCamera:
    fields = lidar_drive(projection)
    fields["cameras"]["front"]["intrinsics"] |= intrinsics
    camera = Rig(msgspec.convert({"vehicle": "car", **fields}, DriveDocument)).camera("front")
    assert isinstance(camera, MountedCamera), camera
    return camera


def solid(x: float, y: float, size: tuple[float, float, float] = (4.0, 1.8, 1.5), yaw: float = 0.3) -> BoxCuboid:
    return BoxCuboid((x, y, size[2] / 2), size, yaw, 0.1, 100)


CAMERAS = {
    "front": mounted(),
    "wide": mounted(WIDE),
    "lens": mounted(D=LENS),
    # P of the right camera of a rectified pair: it stands 0.5 m to the right.
    "stereo": mounted(P=[700.0, 0, 600, -350, 0, 700, 180, 0, 0, 0, 1, 0]),
}


@st.composite
def scenes(draw: st.DrawFn) -> list[BoxCuboid]:
    return [
        solid(
            draw(st.floats(-15, 40)),
            draw(st.floats(-15, 15)),
            (draw(st.floats(0, 8)), draw(st.floats(0, 3)), draw(st.floats(0, 3))),
            draw(st.floats(-3.2, 3.2)),
        )
        for _ in range(draw(st.integers(0, 6)))
    ]


def first_hits(camera: MountedCamera, cuboids: list[BoxCuboid], steps: int = 4) -> np.ndarray[Any, Any]:
    """Which cuboids each pixel's ray meets, one by one in the vehicle's frame: the way in, or infinity; (n, pixels)."""
    xs, ys = np.meshgrid(np.arange(0.5, camera.width, steps), np.arange(0.5, camera.height, steps))
    rays = (
        np.stack([xs, ys, np.ones_like(xs)], axis=-1).reshape(-1, 3) @ np.linalg.inv(camera.projection.matrix[:, :3]).T
    )
    back = np.linalg.inv(camera.to_camera)
    start, rays = back[:3, :3] @ camera.eye + back[:3, 3], rays @ back[:3, :3].T
    found = np.full((len(cuboids), len(rays)), np.inf)
    for at, cuboid in enumerate(cuboids):
        assert cuboid.center
        assert cuboid.size
        turn = np.array(
            [[np.cos(cuboid.yaw), np.sin(cuboid.yaw), 0], [-np.sin(cuboid.yaw), np.cos(cuboid.yaw), 0], [0, 0, 1]]
        )
        origin, ways = turn @ (start - cuboid.center), rays @ turn.T
        with np.errstate(all="ignore"):
            ends = np.stack([(side * np.array(cuboid.size) / 2 - origin) / ways for side in (-1, 1)])
        enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
        hit = (enter < leave) & (enter > 0)
        found[at, hit] = enter[hit]
    return found


@pytest.mark.parametrize("name", ["front", "wide", "stereo"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cuboids=scenes())
def test_boxes_and_shares_are_those_of_rays(name: str, cuboids: list[BoxCuboid]) -> None:
    camera = CAMERAS[name]
    hits = first_hits(camera, cuboids)
    nearest = hits.min(axis=0, initial=np.inf)
    for found, ways in zip(project(camera, STILL, cuboids), hits, strict=True):
        seen = np.isfinite(ways)
        if seen.sum() < 400:
            continue
        assert found
        columns, rows = np.unravel_index(np.flatnonzero(seen), (-(-camera.height // 4), -(-camera.width // 4)))[::-1]
        sides = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * 4
        box = found.left, found.top, found.left + found.width, found.top + found.height
        # A sharp corner may be between the rows of rays.
        assert np.abs(sides - box).max() <= 12
        # Pixels near the edge of a wide picture look at less than those in its middle.
        assert found.occluded == pytest.approx((ways[seen] > nearest[seen] * 1.001).mean(), abs=0.12)


@pytest.mark.parametrize("name", CAMERAS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cuboids=scenes())
def test_what_is_projected_is_inside_the_picture(name: str, cuboids: list[BoxCuboid]) -> None:
    camera = CAMERAS[name]
    with np.errstate(all="raise", under="ignore"):
        found = project(camera, STILL, [*cuboids, BoxCuboid(why="poor fit")])
    assert found.pop() is None
    for one, cuboid in zip(found, cuboids, strict=True):
        if one:
            assert 0 <= one.left < one.left + one.width <= camera.width + 0.11
            assert 0 <= one.top < one.top + one.height <= camera.height + 0.11
            assert 0 <= one.truncated <= 1
            assert 0 <= one.occluded <= 1
            # What the camera faces is ahead of it, at x 1.5.
            assert cuboid.center
            assert cuboid.size
            assert cuboid.center[0] + np.linalg.norm(cuboid.size) / 2 > 1.5
    alone = [project(camera, STILL, [cuboid])[0] for cuboid in cuboids]
    assert [one and msgspec.structs.replace(one, occluded=0.0) for one in found] == alone


def test_the_shares_of_a_car_that_is_half_outside_or_half_hidden() -> None:
    camera = CAMERAS["front"]
    # A wall of 2 x 2 m, whose middle is at the edge of the picture: at x / z = 600 / 700.
    wall = BoxCuboid((21.5, 0.1 - 600 / 700 * 20, 1.65), (0.001, 2.0, 2.0), 0.0)
    (half,) = project(camera, STILL, [wall])
    assert half
    assert half.truncated == pytest.approx(0.5, abs=0.04)
    assert half.left + half.width == 1200
    # The left half of a wall is behind another, which is half as far away and half as wide.
    far, near = (
        BoxCuboid((21.5, 0.1, 1.65), (0.001, 2.0, 2.0), 0.0),
        BoxCuboid((11.5, 0.6, 1.65), (0.001, 1.0, 2.0), 0.0),
    )
    hidden, free = project(camera, STILL, [far, near])
    assert hidden
    assert free
    assert (hidden.occluded, free.occluded) == (pytest.approx(0.5, abs=0.02), 0)
    assert (hidden.truncated, free.truncated) == (0, 0)


@pytest.mark.parametrize("size", [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0)])
def test_what_has_no_area_is_not_visible(size: tuple[float, float, float]) -> None:
    assert project(CAMERAS["front"], STILL, [BoxCuboid((10.0, 0.0, 1.0), size, 0.0)]) == [None]


def test_a_cuboid_around_the_camera_is_not_visible_and_hides_nothing() -> None:
    found = project(CAMERAS["wide"], STILL, [solid(1.5, 0.1, (6.0, 4.0, 4.0)), solid(12.0, 0.0)])
    assert found[0] is None
    assert found[1]
    assert found[1].occluded == 0


@given(points=st.lists(st.tuples(st.floats(-0.8, 0.8), st.floats(-0.25, 0.25), st.floats(1, 60)), min_size=1))
def test_a_lens_bends_as_it_is_taken_out(points: list[tuple[float, float, float]]) -> None:
    camera = CAMERAS["lens"]
    at = np.array([(x * z, y * z, z) for x, y, z in points])
    bent, shown = camera.project(at)
    for pixel, point in zip(bent[shown], at[shown], strict=True):
        left, top, right, bottom = camera.ideal((*pixel, *pixel))
        assert np.allclose((left, top, right, bottom), np.tile(camera.projection.pixels(point), 2), atol=0.5)


@given(forward=st.floats(0, 5), turn=st.floats(-0.3, 0.3))
def test_the_vehicles_motion_moves_what_stands(forward: float, turn: float) -> None:
    cos, sin = np.cos(turn), np.sin(turn)
    step = np.array([[cos, sin, 0, -forward], [-sin, cos, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]])
    before = [solid(15.0, 1.0), solid(22.0, -2.0)]
    after = [
        msgspec.structs.replace(one, center=tuple((step @ (*(one.center or ()), 1.0))[:3]), yaw=(one.yaw or 0) - turn)
        for one in before
    ]
    moved, made = (project(CAMERAS["wide"], *request) for request in ((step, before), (STILL, after)))
    assert [isinstance(one, CuboidProjection) for one in moved] == [isinstance(one, CuboidProjection) for one in made]
    for one, other in zip(moved, made, strict=True):
        if one and other:
            assert np.allclose(msgspec.structs.astuple(one), msgspec.structs.astuple(other), atol=0.11)
