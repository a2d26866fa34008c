"""Answers of models and catalogue documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from autolabel.models.catalogue import CATALOGUE_KEY, CatalogueIndex, Model, model_key
from tests.fakes.bucket import FakeBucket

LABELS = ("person", "bicycle", "car", "kite")
DETECTOR = Model(
    name="detector",
    revision="0001",
    endpoint="autolabel-detector",
    decoder="jumpstart-detection",
    classes={"person": "person", "bicycle": "bicycle", "car": "car"},
    threshold=0.3,
)
BLUR = Model(
    name="blur",
    revision="0001",
    endpoint="autolabel-blur",
    decoder="jumpstart-detection",
    purpose="views",
    classes={"plate": "plate", "head": "head"},
    threshold=0.2,
)
REGIONS = ("plate", "head")
CAR = (0.25, 0.25, 0.5, 0.75)


def answer(
    boxes: Sequence[tuple[float, float, float, float]] = (CAR,),
    classes: Sequence[float] | None = None,
    scores: Sequence[float] | None = None,
    labels: Sequence[str] = LABELS,
    **ballast: Any,
) -> bytes:
    """An answer of a JumpStart detection model; by default one car with a score of 0.9."""
    return msgspec.json.encode(
        {
            **ballast,
            "normalized_boxes": boxes,
            "classes": [2.0] * len(boxes) if classes is None else classes,
            "scores": [0.9] * len(boxes) if scores is None else scores,
            "labels": labels,
        }
    )


def add_to_catalogue(labels: FakeBucket, *models: Model, default: Sequence[str] | None = None) -> None:
    """Write models to the catalogue as current revisions. `default`: names of the active ones; else the first."""
    for model in models:
        labels.write(model_key(model.id), msgspec.json.encode(model))
    current = {model.name: model.revision for model in models}
    chosen = tuple(default) if default is not None else (models[0].name,)
    labels.write(CATALOGUE_KEY, msgspec.json.encode(CatalogueIndex(current, chosen)))
