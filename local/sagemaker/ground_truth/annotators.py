"""Who answers labelling tasks: the interface of an annotator, and the scripted ones.

An annotator is a function of one manifest line and the job. It is called for several lines at once, from threads, and
may take as long as a person takes, as long as it returns soon after `job.stopping` is set.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


class MalformedPrelabel(ValueError):
    """The label that a task is to show does not have the shape of a bounding box label."""


class JobFails(Exception):
    """Raised by an annotator to let the job as a whole fail."""


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

    `image`: width and height that the worker's browser measured, None where there was none.
    """

    boxes: tuple[Box, ...]
    image: tuple[int, int] | None = None


@dataclass(frozen=True)
class Segments:
    """The answer to a segmentation task: the picture as the worker leaves it, a PNG; None as it was shown.

    `image`: as above. `colors`: the picture's colours by the labels that they stand for. `adjusted`: whether it is
    another than was shown.
    """

    picture: bytes | None = None
    image: tuple[int, int] | None = None
    colors: Mapping[str, str] = field(default_factory=dict)
    adjusted: bool = False


@dataclass(frozen=True)
class Verdict:
    """The answer to a verification task: one of the job's labels, and what the worker remarks."""

    label: str
    comment: str | None = None


@dataclass(frozen=True)
class Failure:
    """The object cannot be labelled."""

    reason: str


Annotation = Boxes | Segments | Verdict


@dataclass(frozen=True)
class JobView:
    """A labelling job as its workers see it.

    `prelabel_attribute` is the attribute whose boxes or segments the template shows, None when it shows none; `labels`
    are the texts of the label category file, in its order.
    """

    name: str
    kind: Literal["adjustment", "verification", "segmentation"]
    labels: Sequence[str]
    label_attribute: str
    prelabel_attribute: str | None
    title: str
    description: str
    template: str
    stopping: threading.Event

    def prelabels(self, line: Mapping[str, Any]) -> tuple[Box, ...]:
        """The boxes that the task shows, in whole pixels; raises MalformedPrelabel."""
        name = self.prelabel_attribute
        if name is None or name not in line or self.kind == "segmentation":
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
        """The S3 URI of the picture that a segmentation task shows and its internal-color-map; None where it shows
        none. Raises MalformedPrelabel."""
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


Annotator = Callable[[Mapping[str, Any], JobView], Annotation | Failure]


def keep_every_box(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Submit every task as it is shown: all boxes or segments untouched, the first verdict for everything."""
    if job.kind == "segmentation":
        return Segments()
    return Boxes(job.prelabels(line)) if job.kind == "adjustment" else Verdict(job.labels[0])


def load_annotator(name: str) -> Annotator:
    """The annotator called `module:function`; raises ValueError that names what is missing."""
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise ValueError(f"annotator {name!r}: {e}") from e
    if not callable(found):
        raise ValueError(f"annotator {name!r} is not callable")
    annotator: Annotator = found
    return annotator
