"""Measures how well label issues across sensors find errors: seeds errors into right labels, and ranks what is found.

The labels are those of a KITTI folder with points, or of generated scenes. KITTI's second camera has no labels of its
own: the projections of the labelled cuboids stand for them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from autolabel.cuboids import Array, MountedCamera, Projection, corners
from autolabel.labels import IGNORE, LabelledBox, box_iou
from autolabel.labels import corners as box_corners
from autolabel.reporting import CameraLabel, SensorIssue, find_sensor_issues
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.cuboids import CALIBRATIONS, clouds_of, read_calibration, read_cloud, solid_of
from autolabel_cli.evaluation.document import IssuesDocument
from autolabel_cli.evaluation.generated_scenes import box_of, camera_at, generate_scene
from autolabel_cli.models.kitti import CLASSES, KittiObject, read_labelled_folder

INVENTED, MISSING, RENAMED = "invented", "missing", "renamed"
# Errors in a draw, as a share of the boxes.
_SHARE = 0.03
# Errors are made of objects of this many points (of generated ones) and pixels, that are not mostly hidden or cut.
_LEAST_POINTS, _LEAST_HEIGHT, _MOST_HIDDEN, _MOST_CUT = 20, 25.0, 1, 0.1
# An invented box covers no other one, by IoU; this many places are tried.
_APART, _TRIALS = 0.05, 50
_FARTHEST = 40.0
# From this IoU on, an issue says where a missing box was; a LiDAR sees parts of an object.
_SAME_PLACE = 0.3
# A box of a class becomes one of these.
_OTHERS = {"car": ("person", "truck"), "van": ("person",), "truck": ("car",), "person": ("car",), "rider": ("car",)}


class LabelledThing(NamedTuple):
    """A labelled object, or a region. `boxes`: by camera. `is_clear`: an error in it could be seen by its points."""

    boxes: dict[str, LabelledBox]
    is_clear: bool


class Moment(NamedTuple):
    """The labels of the cameras at one moment, and the points."""

    name: str
    cameras: dict[str, MountedCamera]
    things: tuple[LabelledThing, ...]
    points: Array

    def labels(self, things: Sequence[LabelledThing]) -> list[CameraLabel]:
        return [
            CameraLabel(name, camera, [thing.boxes[name] for thing in things if name in thing.boxes])
            for name, camera in self.cameras.items()
        ]


class _Error(NamedTuple):
    """A seeded error. `boxes`: by camera, as they were left in the label, or that were taken away."""

    kind: str
    boxes: dict[str, LabelledBox]


def evaluate_sensor_issues(folder: Path | None, *, scenes: int, draws: int, seed: int, share: float) -> IssuesDocument:
    """Seed errors into labels, and say how many are among the first label issues across sensors.

    `folder`: in KITTI's format with points; None for generated scenes, which are `scenes`. `share`: of the ranking that
    is looked at, by the number of boxes. Each draw seeds other errors. CommandError for a folder that lacks files.
    """
    moments = list(read_moments(folder)) if folder else [_generated(number) for number in range(scenes)]
    boxes = sum(box.name != IGNORE for moment in moments for thing in moment.things for box in thing.boxes.values())
    # The same seed gives the same errors.
    chance = random.Random(seed)  # noqa: S311 (not for secrets)
    seeded, found, first, right = Counter[str](), Counter[str](), 0, 0
    # Without errors; most moments of a draw have none.
    usual = [find_sensor_issues(moment.labels(moment.things), moment.points) for moment in moments]
    for _ in range(draws):
        wrong = chance.sample(range(len(moments)), min(len(moments), max(1, round(_SHARE * boxes))))
        ranking = list[tuple[float, str, str]]()
        for at, moment in enumerate(moments):
            things, error = _seed(moment, chance) if at in wrong else (moment.things, None)
            if error:
                seeded[error.kind] += 1
            issues = find_sensor_issues(moment.labels(things), moment.points) if error else usual[at]
            for issue in issues:
                kind = error.kind if error and _is_of(issue, error) else ""
                ranking.append((issue.suspicion, moment.name, kind))
        looked = sorted(ranking, key=lambda one: -one[0])[: round(share * boxes)]
        # A moment has one error at most.
        found.update(kind for _, kind in {(name, kind) for _, name, kind in looked if kind})
        first += len(looked)
        right += sum(bool(kind) for *_, kind in looked)
    if not seeded:
        raise CommandError(f"{folder} has too few boxes with points to seed errors: it needs cars up to 40 m")
    return IssuesDocument(
        sequences=draws,
        frames=len(moments),
        boxes=boxes,
        share=share,
        issues=first,
        seeded=dict(seeded),
        found={
            "all": round(found.total() / seeded.total(), 3),
            **{kind: round(found[kind] / count, 3) for kind, count in seeded.items()},
        },
        right=round(right / first, 3) if first else 0.0,
    )


def list_sensor_issues(folder: Path) -> list[tuple[str, SensorIssue]]:
    """Return the label issues of a KITTI folder with the names of their frames, the most suspicious first."""
    found = [
        (moment.name, issue)
        for moment in read_moments(folder)
        for issue in find_sensor_issues(moment.labels(moment.things), moment.points)
    ]
    return sorted(found, key=lambda one: -one[1].suspicion)


def read_moments(folder: Path) -> Iterator[Moment]:
    """Read the frames of a KITTI folder that have points. CommandError names what is missing or broken."""
    for frame in read_labelled_folder(folder):
        cloud = next((path for path in clouds_of(folder, frame.name) if path.is_file()), None)
        if cloud is None:
            continue
        known = read_calibration(folder / CALIBRATIONS / f"{frame.name}.txt", optional="P3")
        to_camera, rectify = known["Tr_velo_to_cam"].reshape(3, 4), known["R0_rect"].reshape(3, 3)
        points = (read_cloud(cloud) @ to_camera[:, :3].T + to_camera[:, 3]) @ rectify.T
        cameras = {
            name: MountedCamera(
                "camera 0",
                np.eye(4),
                Projection(known[matrix].reshape(3, 4), frame.width, frame.height),
                (0.0, 0.0),
                None,
                frame.width,
                frame.height,
            )
            for name, matrix in (("image_2", "P2"), ("image_3", "P3"))
            if matrix in known
        }
        things = tuple(_thing(one, cameras, f"{one.type} of frame {frame.name}") for one in frame.objects if one.box)
        yield Moment(frame.name, cameras, things, points)


def _generated(number: int) -> Moment:
    scene = generate_scene(number)
    cameras = {"front": camera_at(), "right": camera_at(0.5, 12.0)}
    things = list[LabelledThing]()
    for thing in scene.things:
        boxes = {name: box for name, camera in cameras.items() if (box := box_of(thing, camera))}
        near = thing.cuboid.z < _FARTHEST and thing.points >= _LEAST_POINTS
        whole = all(
            box.height >= _LEAST_HEIGHT and box.left > 0 and box.left + box.width < cameras[name].width
            for name, box in boxes.items()
        )
        things.append(LabelledThing(boxes, near and whole))
    return Moment(str(number), cameras, tuple(things), scene.points)


def _thing(one: KittiObject, cameras: dict[str, MountedCamera], origin: str) -> LabelledThing:
    left, top, right, bottom = one.box or (0.0, 0.0, 0.0, 0.0)
    box = LabelledBox(CLASSES.get(one.type, IGNORE), left, top, right - left, bottom - top, 0.0)
    if box.name == IGNORE:
        # Regions have no cuboid: they are taken to be in the same place in both cameras, which are half a metre apart.
        return LabelledThing(dict.fromkeys(cameras, box), is_clear=False)
    boxes, cuboid = {"image_2": box}, solid_of(one, origin)
    there = corners(np.array([cuboid]))[0]
    if "image_3" in cameras and there[:, 2].min() > 1:
        pixels = cameras["image_3"].projection.pixels(there)
        size = cameras["image_3"].width, cameras["image_3"].height
        low, high = (np.clip(ends, 0, size) for ends in (pixels.min(axis=0), pixels.max(axis=0)))
        if (high - low).min() > 1:
            wide, tall = (float(side) for side in high - low)
            boxes["image_3"] = LabelledBox(box.name, float(low[0]), float(low[1]), wide, tall, 0.0)
    near = box.height >= _LEAST_HEIGHT and cuboid.z < _FARTHEST
    return LabelledThing(boxes, near and one.occlusion <= _MOST_HIDDEN and one.truncation < _MOST_CUT)


def _seed(moment: Moment, chance: random.Random) -> tuple[Sequence[LabelledThing], _Error | None]:
    """Return the objects with one error, and the error; None where no object is clear."""
    clear = [at for at, thing in enumerate(moment.things) if thing.is_clear and thing.boxes]
    kinds = [INVENTED, MISSING, RENAMED]
    chance.shuffle(kinds)
    for kind in kinds:
        things = list(moment.things)
        fitting = [at for at in clear if _fits(kind, things[at])]
        if not fitting:
            continue
        at = chance.choice(fitting)
        boxes = things[at].boxes
        camera = chance.choice(sorted(boxes))
        if kind == MISSING:
            # In all cameras: where another one has it, its box says so to people.
            return things[:at] + things[at + 1 :], _Error(kind, boxes)
        if kind == RENAMED:
            wrong = msgspec.structs.replace(boxes[camera], name=chance.choice(_OTHERS[boxes[camera].name]))
            things[at] = LabelledThing(boxes | {camera: wrong}, is_clear=True)
            return things, _Error(kind, boxes | {camera: wrong})
        if free := _somewhere(moment, camera, boxes[camera], chance):
            return [*things, LabelledThing({camera: free}, is_clear=True)], _Error(kind, {camera: free})
    return moment.things, None


def _fits(kind: str, thing: LabelledThing) -> bool:
    name = next(iter(thing.boxes.values())).name
    if kind == MISSING:
        return name == "car"
    return kind == INVENTED or (len(thing.boxes) > 1 and name in _OTHERS)


def _somewhere(moment: Moment, camera: str, box: LabelledBox, chance: random.Random) -> LabelledBox | None:
    """Put a box of the same class and size where it covers no other one."""
    taken = [box_corners(thing.boxes[camera]) for thing in moment.things if camera in thing.boxes]
    for _ in range(_TRIALS):
        left = chance.uniform(0, max(0.0, moment.cameras[camera].width - box.width))
        top = max(0.0, box.top + chance.uniform(-0.2, 0.2) * box.height)
        found = msgspec.structs.replace(box, left=left, top=top)
        if all(box_iou(box_corners(found), other) < _APART for other in taken):
            return found
    return None


def _is_of(issue: SensorIssue, error: _Error) -> bool:
    box = error.boxes.get(issue.camera)
    if box is None:
        return False
    if error.kind == MISSING:
        return issue.at is None and box_iou(issue.box, box_corners(box)) >= _SAME_PLACE
    return issue.at is not None and issue.box == box_corners(box)
