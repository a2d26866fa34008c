"""Writes what reviewers of cuboids see of a frame: its points in the vehicle's frame, and its picture."""

from __future__ import annotations

import numpy as np

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.cuboids import MountedCamera, quaternion_of
from autolabel.cuboids.geometry import Array
from autolabel.datasets.cuboid_files import ReviewScene
from autolabel.labels.manifest import ManifestLine
from autolabel.verification.cuboid_labels import MAX_POINTS, Heading, Position, SceneImage, SceneMetadata

_CLOUD = "application/octet-stream"
_SECOND = 1e9


def write_scene(
    run: Run, line: ManifestLine, camera: MountedCamera, points: Array, label_bucket: Bucket
) -> ReviewScene:
    """Write the points of a frame for reviewers, and describe its scene. A repeated call writes the same.

    `points` (n, 4): x, y, z in metres in the vehicle's frame when the picture was taken, and intensity: of all LiDARs.
    They are thinned evenly to MAX_POINTS. Reviewers see the frame's view if the run has views.
    """
    position = f"{line.origin.camera}/{line.origin.timestamp}"
    shown = points[:: max(1, -(-len(points) // MAX_POINTS))]
    key = run.folder.scene(position)
    body = np.nan_to_num(shown.astype("<f4"), posinf=0.0, neginf=0.0).tobytes()
    label_bucket.write(key, body, _CLOUD)
    prefix, _, name = line.shown_ref.rpartition("/")
    time = int(line.origin.timestamp) / _SECOND
    image = _image(camera, name, time)
    return ReviewScene(
        label_bucket.uri(key),
        SceneMetadata(time, f"{prefix}/", (image,) if image else ()),
        tuple(box.name for box in line.label_boxes),
    )


def _image(camera: MountedCamera, name: str, time: float) -> SceneImage | None:
    """Describe the picture; None if its lens has more coefficients of distortion than Ground Truth knows."""
    to_vehicle: Array = np.linalg.inv(camera.to_camera).astype(np.float64)
    position, turn = to_vehicle[:3, 3], to_vehicle[:3, :3]
    k1 = k2 = k3 = p1 = p2 = skew = 0.0
    if camera.lens:
        fx, fy, cx, cy, k1, k2, p1, p2, k3, *more = camera.lens
        if any(more):
            return None
    else:
        matrix = camera.projection.matrix
        fx, fy, cx, cy, skew = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
        # The lens of a rectified picture is beside the camera's frame: of a stereo pair, by the distance of the two.
        position = position - turn @ (np.linalg.inv(matrix[:, :3]) @ matrix[:, 3])
    return SceneImage(
        name,
        time,
        float(fx),
        float(fy),
        float(cx),
        float(cy),
        Position(*(float(value) for value in position)),
        Heading(*quaternion_of(turn)),
        k1=float(k1),
        k2=float(k2),
        k3=float(k3),
        p1=float(p1),
        p2=float(p2),
        skew=skew,
    )
