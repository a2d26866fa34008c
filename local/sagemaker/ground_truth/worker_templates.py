"""Worker templates and label category files, which a job reads before its first task."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from local.sagemaker.ground_truth.labeling_requests import Kind

_ELEMENTS: dict[Kind, str] = {
    "adjustment": "crowd-bounding-box",
    "verification": "crowd-image-classifier",
    "segmentation": "crowd-semantic-segmentation",
}
_ATTRIBUTE = re.compile(
    r"""task\.input\.manifestLine(?:\.(?P<plain>[A-Za-z0-9][A-Za-z0-9_-]*)|\[\s*["'](?P<quoted>[^"']+)["']\s*\])"""
    r"""(?P<boxes>\.annotations)?"""
)
# Developer guide, quotas of input data: labels of a bounding box job, characters of a label.
_LABELS = 50
_LABEL_CHARACTERS = 256


class BadTemplate(Exception):
    """The worker template cannot be used."""


class BadCategories(Exception):
    """The label category file cannot be used."""


@dataclass(frozen=True)
class WorkerTemplate:
    """A template, the image attributes that it reads from a manifest line, and the pre-label that it draws."""

    text: str
    images: frozenset[str]
    prelabel: str | None


def read_template(text: str, kind: Kind) -> WorkerTemplate:
    """Find a Liquid template's attributes without rendering it; raises BadTemplate."""
    for element in ("crowd-form", _ELEMENTS[kind]):
        if f"<{element}" not in text:
            raise BadTemplate(f"The worker template has no <{element}> element")
    found = [(match["plain"] or match["quoted"], match["boxes"]) for match in _ATTRIBUTE.finditer(text)]
    names = {name for name, _ in found}
    images = {name for name in names if name.endswith("-ref")}
    if "task.input.taskObject" in text:
        images.add("source-ref")
    # Other attributes are remarks for the worker.
    prelabels = {name for name, boxes in found if boxes or f"{name}-metadata" in names}
    if len(prelabels) > 1:
        raise BadTemplate(f"The worker template shows several label attributes: {', '.join(sorted(prelabels))}")
    if kind == "segmentation":
        # A frame may have no segments.
        images -= prelabels
    if not images:
        raise BadTemplate(
            "The worker template shows no image: no task.input.taskObject, and no attribute that ends with -ref"
        )
    return WorkerTemplate(text, frozenset(images), next(iter(prelabels), None))


def read_categories(text: str) -> list[str]:
    """Read the labels of a category file for an image job, in its order; raises BadCategories."""
    try:
        document: Any = json.loads(text)
        if document["document-version"] != "2018-11-28":
            raise BadCategories(f"document-version {document['document-version']!r} is not '2018-11-28'")
        labels = [entry["label"] for entry in document["labels"]]
    except (ValueError, KeyError, TypeError) as e:
        raise BadCategories(f"The label category file is malformed: {type(e).__name__} {e}") from e
    if not labels or len(labels) > _LABELS:
        raise BadCategories(f"The label category file has {len(labels)} labels; 1 to {_LABELS} are allowed")
    for label in labels:
        if not isinstance(label, str) or not 0 < len(label) <= _LABEL_CHARACTERS:
            raise BadCategories(f"The label {label!r} is not a text of 1 to {_LABEL_CHARACTERS} characters")
    if len(set(labels)) != len(labels):
        raise BadCategories("The label category file names a label twice")
    return labels
