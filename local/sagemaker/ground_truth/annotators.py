"""The interface of an annotator, which answers labelling tasks, and a scripted one.

An annotator is a function of one manifest line and its job. It is called from several threads at once. It may take as
long as a person does, but must return soon after `job.stopping` is set.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.sagemaker.ground_truth.cuboids import BadScene, Cuboids, Scene, Scenes
from local.sagemaker.ground_truth.labeling_requests import Kind
from local.sagemaker.ground_truth.sequences import BadSequence, Sequences, Tracks, VideoSequence


class MalformedPrelabel(ValueError):
    """The pre-label of a task does not have the shape of a bounding box label."""


class JobFails(Exception):
    """An annotator raises this to fail the whole job."""


class JobStops(Exception):
    """An annotator raises this to stop the whole job, or to say how a job that is being stopped ends.

    `manifest_delay`: for this job, in the place of the setting `stopped_manifest_delay`.
    """

    def __init__(self, manifest_delay: float | None) -> None:
        super().__init__("the job stops")
        self.manifest_delay = manifest_delay


@dataclass(frozen=True)
class Box:
    """A labelled box in pixels of the image, origin at the top left."""

    label: str
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Boxes:
    """The answer to an adjustment task: all boxes as the worker leaves them.

    `image`: width and height that the worker's browser measured; None when no browser did.
    """

    boxes: tuple[Box, ...]
    image: tuple[int, int] | None = None


@dataclass(frozen=True)
class Segments:
    """The answer to a segmentation task.

    `picture`: the segments as the worker leaves them, a PNG; None when they stay as shown. `image`: as in Boxes.
    `colors`: the colour of each label in the picture. `adjusted`: whether the worker changed the picture.
    """

    picture: bytes | None = None
    image: tuple[int, int] | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    adjusted: bool = False


@dataclass(frozen=True)
class Verdict:
    """The answer to a verification task: one of the job's labels, and the worker's comment."""

    label: str
    comment: str | None = None


@dataclass(frozen=True)
class Failure:
    """The object cannot be labelled."""

    reason: str


Annotation = Boxes | Segments | Tracks | Cuboids | Verdict


@dataclass(frozen=True)
class AnsweredBy:
    """An answer of a certain worker: jobs with one worker for each object may have different ones."""

    worker: str
    annotation: Annotation


@dataclass(frozen=True)
class JobView:
    """A labelling job as its workers see it.

    `labels`: the label category file's texts, in its order. `prelabel_attribute`: the attribute whose boxes or segments
    the template shows; None when it shows none. `human_annotated`: whether the answers count as those of people.
    `sequences`: reads the sequences of a tracking job, `scenes` the frames of points of a job of cuboids; None for
    others.
    `worker`: who answers, for an annotator of a job with several workers for each object.
    """

    name: str
    kind: Kind
    labels: Sequence[str]
    label_attribute: str
    prelabel_attribute: str | None
    title: str
    description: str
    template: str
    human_annotated: bool
    stopping: threading.Event
    sequences: Sequences | None = None
    scenes: Scenes | None = None
    worker: str = ""

    def prelabels(self, line: Mapping[str, Any]) -> tuple[Box, ...]:
        """Return the boxes that the task shows, in whole pixels; raises MalformedPrelabel."""
        name = self.prelabel_attribute
        if name is None or name not in line or self.kind in ("segmentation", "tracking", "cuboids"):
            return ()
        try:
            class_map = line[f"{name}-metadata"]["class-map"]
            return tuple(
                Box(class_map[str(a["class_id"])], *(round(a[side]) for side in ("left", "top", "width", "height")))
                for a in line[name]["annotations"]
            )
        except (KeyError, TypeError, AttributeError) as e:
            raise MalformedPrelabel(f"The pre-label {name!r} is malformed: {type(e).__name__} {e}") from e

    def segments(self, line: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, Any]]] | None:
        """Return the S3 URI of a segmentation task's picture and its internal-color-map.

        Returns None when the task shows no segments. Raises MalformedPrelabel.
        """
        name = self.prelabel_attribute
        if name is None or name not in line or self.kind != "segmentation":
            return None
        try:
            colors = {
                str(index): {"class-name": str(one["class-name"]), "hex-color": str(one["hex-color"])}
                for index, one in line[f"{name}-metadata"]["internal-color-map"].items()
            }
        except (KeyError, TypeError, AttributeError) as e:
            raise MalformedPrelabel(f"The pre-label {name!r} is malformed: {type(e).__name__} {e}") from e
        return str(line[name]), colors

    def sequence(self, line: Mapping[str, Any]) -> VideoSequence:
        """Read the frames of a tracking task and the tracks that it shows; raises BadSequence."""
        if self.sequences is None:
            raise BadSequence(f"A job of kind {self.kind} has no sequences")
        return self.sequences.of(line)

    def scene(self, line: Mapping[str, Any]) -> Scene:
        """Read the points of a task of cuboids, its pictures and the cuboids that it shows; raises BadScene."""
        if self.scenes is None:
            raise BadScene(f"A job of kind {self.kind} has no points")
        return self.scenes.of(line)

    def cuboid_label(self, cuboids: Cuboids) -> dict[str, Any]:
        """Make the value of the label attribute of a task of cuboids; raises BadScene."""
        if self.scenes is None:
            raise BadScene(f"A job of kind {self.kind} has no cuboids")
        return self.scenes.label(cuboids)

    def seq_label(self, line: Mapping[str, Any], tracks: Tracks) -> dict[str, Any]:
        """Make the content of the SeqLabel of a tracking task; raises BadSequence."""
        if self.sequences is None:
            raise BadSequence(f"A job of kind {self.kind} has no tracks")
        return self.sequences.label(self.sequences.of(line), tracks)


Annotator = Callable[[Mapping[str, Any], JobView], Annotation | AnsweredBy | Failure]


def keep_every_box(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Submit every task as it is shown: boxes, segments, tracks and cuboids unchanged, always the first verdict."""
    if job.kind == "tracking":
        return job.sequence(line).shown
    if job.kind == "cuboids":
        return job.scene(line).shown
    if job.kind == "segmentation":
        return Segments()
    return Boxes(job.prelabels(line)) if job.kind == "adjustment" else Verdict(job.labels[0])


def load_annotator(name: str) -> Annotator:
    """Import the annotator called `module:function`; raises ValueError that names the missing part."""
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise ValueError(f"annotator {name!r}: {e}") from e
    if not callable(found):
        raise ValueError(f"annotator {name!r} is not callable")
    annotator: Annotator = found
    return annotator
