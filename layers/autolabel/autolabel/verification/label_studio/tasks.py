"""Converts a manifest line into a task of Label Studio, with its pre-label as a prediction.

Label Studio's boxes are floats in percent of the image's width and height, origin top left
(labelstud.io/guide/predictions).
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from autolabel.labels.manifest import PRELABEL, ImageSize, LabelledBox, ManifestLine
from autolabel.verification.label_studio.config import BOXES, CHECK, IMAGE, MARKS

# Fields of a task's data beside `image`. The page shows only the image and WHY.
SOURCE = "source-ref"
REVIEW = "review-ref"
JOB = "job"
WHY = "why"
# The ids of boxes with the mark CHECK begin with it.
NEW = "new-"


def model_version(line: ManifestLine) -> str:
    """Name the prediction of a line by its models and their revisions."""
    return "+".join(line.provenance.models if line.provenance is not UNSET else ()) or PRELABEL


def task_of(line: ManifestLine, job: str, image: str) -> dict[str, Any]:
    """Make the task of a line, ready for import. `image`: the address at which the page finds the frame.

    A line without boxes has no prediction, so its task opens empty. Contradictions of an earlier reviewer's label are
    boxes with the mark CHECK.
    """
    size, boxes = line.size, line.prelabel_boxes
    new = [c for c in line.uncertainty.candidates if c.new] if line.uncertainty is not UNSET else []
    marked = [LabelledBox(c.label, c.left, c.top, c.width, c.height, c.confidence) for c in new]
    task: dict[str, Any] = {
        "data": {
            IMAGE: image,
            WHY: "; ".join(line.uncertainty.why) if line.uncertainty is not UNSET else "",
            SOURCE: line.source_ref,
            REVIEW: line.shown_ref,
            JOB: job,
        },
        "predictions": [],
    }
    if boxes or marked:
        result = [_region(f"prelabel-{i}", box, size) for i, box in enumerate(boxes)]
        for i, box in enumerate(marked):
            region = _region(f"{NEW}{i}", box, size)
            place = {name: region["value"][name] for name in ("x", "y", "width", "height", "rotation")}
            check = {"type": "choices", "from_name": MARKS, "value": {**place, "choices": [CHECK]}}
            result += [region, {**region, **check}]
        # The score of the whole frame: a lower score means that the frame needs a review more.
        sure = min(box.confidence for box in boxes) if line.uncertainty is UNSET else 1 - line.uncertainty.level
        task["predictions"] = [{"model_version": model_version(line), "score": sure, "result": result}]
    return task


def _region(name: str, box: LabelledBox, size: ImageSize) -> dict[str, Any]:
    return {
        "id": name,
        "type": "rectanglelabels",
        "from_name": BOXES,
        "to_name": IMAGE,
        "original_width": size.width,
        "original_height": size.height,
        "image_rotation": 0,
        "score": box.confidence,
        "value": {
            "x": box.left * 100 / size.width,
            "y": box.top * 100 / size.height,
            "width": box.width * 100 / size.width,
            "height": box.height * 100 / size.height,
            "rotation": 0,
            "rectanglelabels": [box.name],
        },
    }
