"""Converts annotations of Label Studio into augmented manifest lines, in Ground Truth's format.

The format is in SageMaker's developer guide, "Bounding box job output", with the metadata of an adjustment job.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from autolabel.labels.manifest import BOX_TYPE, ImageSize, ManifestLine, raw, whole_pixels
from autolabel.labels.reviews import Marks, Review
from autolabel.verification.label_studio.config import CHECK, FRAME, MARKS, OCCLUDED, TRUNCATED, UNSURE
from autolabel.verification.label_studio.tasks import NEW, SOURCE

SKIPPED = "a reviewer skipped it in Label Studio"
UNTOUCHED = "no reviewer annotated it in Label Studio"
DELETED = "its task was deleted in Label Studio"


class Annotation(msgspec.Struct, frozen=True):
    """A reviewer's answer to a task, as the API gives it. `lead_time`: in seconds."""

    id: int
    updated_at: datetime
    result: list[dict[str, Any]] | None = None
    was_cancelled: bool | None = False
    completed_by: int | dict[str, Any] | None = None
    lead_time: float | None = None

    @property
    def age(self) -> tuple[datetime, int]:
        return self.updated_at, self.id


class Task(msgspec.Struct, frozen=True):
    """A task, as the API gives it. `annotations`: empty if the request did not ask for them."""

    id: int
    data: dict[str, Any]
    annotations: list[Annotation] = []

    @property
    def source(self) -> str:
        """The S3 URI of the task's frame; empty for a task that is not autolabel's."""
        source = self.data.get(SOURCE)
        return source if isinstance(source, str) else ""


class _Unreadable(Exception):
    """An annotation that cannot be converted into boxes. The message becomes the failure-reason."""


class _Value(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0
    rectanglelabels: list[str] = []


class _Region(msgspec.Struct):
    id: str
    value: _Value
    image_rotation: float = 0.0


class _Choice(msgspec.Struct):
    choices: list[str]


PixelBox = tuple[str, int, int, int, int]


def answered_line(
    line: ManifestLine, annotations: Iterable[Annotation], *, job: str, labels: Sequence[str], now: datetime
) -> ManifestLine:
    """Return the line with the label of the newest annotation that is not a skip, or with a failure-reason.

    `labels`: the job's labels, whose positions are the class ids. `now`: the creation date of a line without an
    annotation.
    """
    answers = sorted(annotations, key=lambda one: one.age)
    kept = [one for one in answers if not one.was_cancelled]
    if not answers:
        return failed_line(line, UNTOUCHED, job=job, created=written(now))
    answer = (kept or answers)[-1]
    created = written(answer.updated_at)
    if not kept:
        line.review = _review(answer, {}, [])
        return failed_line(line, SKIPPED, job=job, created=created)
    try:
        size = line.size
        marks = _marks(answer.result or [])
        drawn = _boxes(answer.result or [], size, labels)
        # A reviewer may set the mark for a box of their own by mistake: it counts for the boxes that came with it.
        regions = [
            (region, box) for region, box in drawn if not region.startswith(NEW) or CHECK not in marks.get(region, ())
        ]
    except (_Unreadable, msgspec.ValidationError) as e:
        reason = f"annotation {answer.id} of Label Studio cannot be read: {e}"
        return failed_line(line, reason, job=job, created=created)
    ids = {name: i for i, name in enumerate(labels)}
    boxes = [box for _, box in regions]
    shown: Counter[PixelBox] = Counter(
        (box.name, int(box.left), int(box.top), int(box.width), int(box.height)) for box in line.prelabel_boxes
    )
    line.verified = raw(
        {
            "image_size": [size],
            "annotations": [
                {"class_id": ids[name], "left": left, "top": top, "width": width, "height": height}
                for name, left, top, width, height in boxes
            ],
        }
    )
    line.verified_metadata = raw(
        {
            # Ground Truth's confidence comes from the agreement of several workers; with one worker it is 0.
            "objects": [{"confidence": 0.0} for _ in boxes],
            "class-map": {str(i): name for name, i in ids.items() if any(box[0] == name for box in boxes)},
            "type": BOX_TYPE,
            "adjustment-status": "unadjusted" if Counter(boxes) == shown else "adjusted",
            **_origin(job, created),
        }
    )
    line.review = _review(answer, marks, [region for region, _ in regions])
    return line


def is_skipped(annotations: Iterable[Annotation]) -> bool:
    """Whether a frame has annotations and all of them are skips."""
    cancelled = [bool(one.was_cancelled) for one in annotations]
    return bool(cancelled) and all(cancelled)


def failed_line(line: ManifestLine, reason: str, *, job: str, created: str) -> ManifestLine:
    """Return the line of a frame without a label, with the reason."""
    line.verified_metadata = raw({"failure-reason": reason, **_origin(job, created)})
    return line


def _origin(job: str, created: str) -> dict[str, str]:
    return {"human-annotated": "yes", "creation-date": created, "job-name": f"labeling-job/{job.lower()}"}


def _review(answer: Annotation, marks: Mapping[str, set[str]], regions: Sequence[str]) -> Review:
    """Collect the facts about the work on a frame. `worker`: the reviewer's number in Label Studio."""
    seconds = answer.lead_time
    worker = answer.completed_by.get("id") if isinstance(answer.completed_by, dict) else answer.completed_by
    ticked = [marks.get(region, set()) for region in regions]
    return Review(
        worker="" if worker is None else str(worker),
        seconds=round(seconds, 3) if seconds is not None and 0 <= seconds < 1e9 else None,
        unsure=UNSURE in marks.get("", ()),
        boxes=tuple(Marks(OCCLUDED in box, TRUNCATED in box) for box in ticked) if any(ticked) else (),
    )


def _boxes(result: Iterable[dict[str, Any]], size: ImageSize, labels: Sequence[str]) -> list[tuple[str, PixelBox]]:
    """Return the boxes of a result with the ids of their regions, in whole pixels inside the frame."""
    boxes = []
    for item in result:
        if item.get("type") != "rectanglelabels":
            continue
        region = msgspec.convert(item, _Region)
        if region.image_rotation:
            raise _Unreadable("the image was rotated")
        if len(region.value.rectanglelabels) != 1:
            raise _Unreadable(f"a box has {len(region.value.rectanglelabels)} classes")
        name = region.value.rectanglelabels[0]
        if name not in labels:
            raise _Unreadable(f"{name!r} is not one of the job's labels")
        left, top, right, bottom = _corners(region.value, size)
        inside = max(left, 0.0), max(top, 0.0), min(right, size.width), min(bottom, size.height)
        # The comparisons are also false for NaN.
        if inside[0] < inside[2] and inside[1] < inside[3]:
            boxes.append((region.id, (name, *whole_pixels(inside, size.width, size.height))))
    return boxes


def _corners(value: _Value, size: ImageSize) -> tuple[float, float, float, float]:
    """Return a box as xyxy in pixels. A box rotated about its top left corner becomes the upright box around it."""
    left, top = value.x * size.width / 100, value.y * size.height / 100
    across, down = value.width * size.width / 100, value.height * size.height / 100
    if not value.rotation:
        return left, top, left + across, top + down
    cos, sin = math.cos(math.radians(value.rotation)), math.sin(math.radians(value.rotation))
    xs = [left + dx * cos - dy * sin for dx in (0, across) for dy in (0, down)]
    ys = [top + dx * sin + dy * cos for dx in (0, across) for dy in (0, down)]
    return min(xs), min(ys), max(xs), max(ys)


def _marks(result: Iterable[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the marks that were set, by region; the marks of the whole frame are under the empty name."""
    marks: dict[str, set[str]] = {}
    for item in result:
        if item.get("type") == "choices" and item.get("from_name") in (MARKS, FRAME):
            region = str(item.get("id", "")) if item["from_name"] == MARKS else ""
            marks.setdefault(region, set()).update(msgspec.convert(item.get("value"), _Choice).choices)
    return marks


def written(time: datetime) -> str:
    """Format a time as Ground Truth does: UTC, without zone."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
