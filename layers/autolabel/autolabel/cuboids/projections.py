"""Projects the cuboids of a frame into a picture, and tells how much of each is cut off or behind others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autolabel.cuboids.geometry import NEAREST, Array
from autolabel.cuboids.rig import MountedCamera
from autolabel.labels.box_cuboids import BoxCuboid, CuboidProjection

_Mask = npt.NDArray[np.bool_]
# The corners of a cuboid as shares of its size, and the pairs of them that are edges: those that differ in one sign.
_CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_EDGES = np.array([(a, b) for a in range(8) for b in range(a) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1])
# Points of an edge that a lens bends.
_BENT_EDGE = 9
# Points of a face each way. A share has steps of one hundredth or two.
_EACH_WAY = 8
# A point of a face is behind another cuboid if this share of the line to it ends before: not at a face that touches.
_BEFORE = 0.999
_SHARE_DECIMALS, _PIXEL_DECIMALS = 2, 1
# In pixels. What looks smaller is not visible.
_LEAST_SIDE = 0.1


def _face_points() -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return the points (6, n, 3) of the six faces as shares of the size, the side of each face, and its axis."""
    steps = (np.arange(_EACH_WAY) + 0.5) / _EACH_WAY - 0.5
    u, v = (values.ravel() for values in np.meshgrid(steps, steps))
    axes, sides = np.repeat(np.arange(3), 2), np.tile([-1.0, 1.0], 3)
    points = np.empty((6, len(u), 3))
    for face, (axis, side) in enumerate(zip(axes, sides, strict=True)):
        points[face, :, axis] = side / 2
        points[face, :, (axis + 1) % 3], points[face, :, (axis + 2) % 3] = u, v
    return points, sides, axes


_FACES, _SIDES, _AXES = _face_points()


class _Solids:
    """Cuboids in a camera's frame. `middles` (n, 3), `sizes` (n, 3); `axes` (n, 3, 3): length, width, height as rows.

    `eyes` (n, 3): where the lines of sight meet, in each cuboid's own axes from its middle.
    """

    def __init__(self, cuboids: Sequence[BoxCuboid], to_camera: Array, eye: Array) -> None:
        yaw = np.array([one.yaw for one in cuboids], np.float64)
        cos, sin, zero = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
        axes = np.stack([cos, sin, zero, -sin, cos, zero, zero, zero, zero + 1], axis=1).reshape(-1, 3, 3)
        self.axes = axes @ to_camera[:3, :3].T
        self.middles = np.array([one.center for one in cuboids], np.float64) @ to_camera[:3, :3].T + to_camera[:3, 3]
        self.sizes = np.array([one.size for one in cuboids], np.float64)
        self.eye = eye
        self.eyes = np.einsum("nij,nj->ni", self.axes, eye - self.middles)

    def points(self, shares: Array) -> Array:
        """Return points (n, m, 3) of all cuboids, given as shares (m, 3) of the size from the middle."""
        moved: Array = (shares * self.sizes[:, None]) @ self.axes + self.middles[:, None]
        return moved


def project(camera: MountedCamera, step: Array, cuboids: Sequence[BoxCuboid]) -> list[CuboidProjection | None]:
    """Project the cuboids of a frame, in their order; None for boxes without a cuboid, and for what is not visible.

    `step` (4 x 4): from the vehicle's frame of the cuboids to its frame when the picture was taken. A cuboid that holds
    the camera is not visible, and hides nothing. Boxes are in pixels of pictures of the intrinsics' size.
    """
    found: list[CuboidProjection | None] = [None] * len(cuboids)
    known = [at for at, one in enumerate(cuboids) if one.center and one.size and one.yaw is not None]
    if not known:
        return found
    solids = _Solids([cuboids[at] for at in known], camera.to_camera @ step, camera.eye)
    boxes = _boxes(camera, solids)
    points = solids.points(_FACES.reshape(-1, 3))
    pixels, shown = camera.project(points)
    shown &= ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=-1)
    weights = _solid_angles(solids, points)
    inside = weights * shown
    hidden = _hidden(solids, points, pixels, (inside > 0) & ~np.isnan(boxes[:, :1]), boxes)
    wholes, insides, behind = weights.sum(axis=1), inside.sum(axis=1), (inside * hidden).sum(axis=1)
    for at, box, whole, seen, lost in zip(known, boxes, wholes, insides, behind, strict=True):
        if seen > 0 and not np.isnan(box[0]):
            left, top, width, height = (round(float(n), _PIXEL_DECIMALS) for n in (*box[:2], *(box[2:] - box[:2])))
            truncated, occluded = (round(float(share), _SHARE_DECIMALS) for share in (1 - seen / whole, lost / seen))
            found[at] = CuboidProjection(left, top, width, height, abs(truncated), occluded)
    return found


def wireframe(camera: MountedCamera, cuboid: BoxCuboid) -> list[tuple[Array, bool]]:
    """Return the edges of a cuboid in its own camera's picture: points (m, 2) in pixels, and whether it is in front.

    Edges may go beyond the picture; those behind the camera are left out.
    """
    solids = _Solids([cuboid], camera.to_camera, camera.eye)
    (ahead,), (pixels,) = _edges(camera, solids)
    return [(pixels[at], bool((_CORNERS[_EDGES[at], 0] > 0).all())) for at in np.flatnonzero(ahead)]


def _solid_angles(solids: _Solids, points: Array) -> Array:
    """Return how large the part of a face around each point (n, m, 3) looks from the camera: 0 if it is turned away."""
    areas = np.stack([solids.sizes[:, (axis + 1) % 3] * solids.sizes[:, (axis + 2) % 3] for axis in _AXES], axis=1)
    ahead = np.maximum(_SIDES * solids.eyes[:, _AXES] - solids.sizes[:, _AXES] / 2, 0)
    facing = np.repeat(areas * ahead, _FACES.shape[1], axis=1)
    angles: Array = facing / np.maximum(np.linalg.norm(points - solids.eye, axis=-1), NEAREST) ** 3
    return angles


def _hidden(solids: _Solids, points: Array, pixels: Array, asked: _Mask, boxes: Array) -> _Mask:
    """Tell of the points (n, m) that are asked for whether another cuboid is on the line of sight before them."""
    owners, _ = np.nonzero(asked)
    points, pixels = points[asked] - solids.eye, pixels[asked]
    lost = np.zeros(len(owners), np.bool_)
    for at in np.unique(owners):
        left, top, right, bottom = boxes[at]
        x, y = pixels.T
        # What a cuboid hides is inside the box of its projection.
        behind = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom) & (owners != at) & ~lost)
        lines, half = points[behind] @ solids.axes[at].T, solids.sizes[at] / 2
        # A line that is parallel to a face is inside of it everywhere or nowhere.
        with np.errstate(divide="ignore", invalid="ignore"):
            ones, others = (-half - solids.eyes[at]) / lines, (half - solids.eyes[at]) / lines
        begins, ends = np.minimum(ones, others).max(axis=1), np.maximum(ones, others).min(axis=1)
        lost[behind] = (begins < ends) & (ends > 0) & (begins < _BEFORE)
    hidden = np.zeros_like(asked)
    hidden[asked] = lost
    return hidden


def _boxes(camera: MountedCamera, solids: _Solids) -> Array:
    """Return the boxes (n, 4) of the projections, xyxy, inside the picture; NaN where it shows none."""
    ahead, pixels = _edges(camera, solids)
    found = np.full((len(ahead), 4), np.nan)
    for at, (visible, outline) in enumerate(zip(ahead, pixels, strict=True)):
        if visible.any():
            shape = outline[visible].reshape(-1, 2)
            low, high = shape.min(axis=0), shape.max(axis=0)
            if (low < 0).any() or (high > (camera.width, camera.height)).any():
                shape = _inside(_hull(shape), camera.width, camera.height)
                if not len(shape):
                    continue
                low, high = shape.min(axis=0), shape.max(axis=0)
            if (high - low >= _LEAST_SIDE).all():
                found[at] = (*low, *high)
    return found


def _edges(camera: MountedCamera, solids: _Solids) -> tuple[_Mask, Array]:
    """Return which edges (n, 12) are ahead, and points (n, 12, m, 2) along the part that is, in pixels."""
    corners = solids.points(_CORNERS)
    begin, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    depths = begin[..., 2], end[..., 2]
    ahead = np.maximum(*depths) > NEAREST
    crosses = ahead & (np.minimum(*depths) < NEAREST)
    cut = np.divide(NEAREST - depths[0], depths[1] - depths[0], out=np.zeros_like(depths[0]), where=crosses)
    first = np.where(crosses & (depths[0] < NEAREST), cut, 0.0)
    last = np.where(crosses & (depths[1] < NEAREST), cut, 1.0)
    shares = np.linspace(0, 1, _BENT_EDGE if camera.lens else 2)
    along = (first[..., None] + shares * (last - first)[..., None])[..., None]
    pixels, _ = camera.project(begin[:, :, None] + along * (end - begin)[:, :, None])
    return ahead, pixels


def _hull(points: Array) -> Array:
    """Return the convex hull of points (n, 2), in order around it."""
    ordered = sorted(set(map(tuple, points.tolist())))
    chains = list[list[tuple[float, ...]]]()
    for way in (ordered, ordered[::-1]):
        chain = list[tuple[float, ...]]()
        for x, y in way:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        chains.append(chain[:-1])
    return np.array(chains[0] + chains[1] or ordered)


def _inside(shape: Array, width: int, height: int) -> Array:
    """Cut a convex shape (n, 2) off at the edges of a picture, one after the other. The result may be empty."""
    for axis, limit in ((0, 0.0), (1, 0.0), (0, float(width)), (1, float(height))):
        if not len(shape):
            break
        beyond = shape[:, axis] - limit if limit else -shape[:, axis]
        after, later = np.roll(shape, -1, axis=0), np.roll(beyond, -1)
        crosses = (beyond > 0) != (later > 0)
        share = np.divide(beyond, beyond - later, out=np.zeros_like(beyond), where=crosses)[:, None]
        crossed = shape + share * (after - shape)
        crossed[:, axis] = limit
        shape = np.concatenate([shape[beyond <= 0], crossed[crosses]])
        if len(shape):
            shape = _hull(shape)
    return shape
