"""Useless models as negative controls: a merge with one of them must not get worse."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from autolabel.labels.detections import Detection
from autolabel.models.catalogue import Model

_BOXES = 20
# Width over height of the objects that it reports.
_SHAPES = {"car": 1.5, "truck": 1.2, "bus": 1.2, "person": 0.4}
_HEIGHTS = (20.0, 250.0)
_SCORES = (0.5, 1.0)


def random_model() -> Model:
    """A model with a network of its own, whose class map has every class that it reports."""
    return Model("random", "0001", "random", "jumpstart-detection", {name: name for name in _SHAPES})


def random_detections(model: Model, width: int, height: int, seed: int) -> list[Detection]:
    """Boxes anywhere in a frame, with high scores; the same boxes for the same seed."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(_BOXES):
        name = str(draw.choice(list(_SHAPES)))
        tall = min(float(np.exp(draw.uniform(*np.log(_HEIGHTS)))), height / 1.0)
        wide = min(tall * _SHAPES[name], float(width))
        left, top = draw.uniform(0.0, width - wide), draw.uniform(0.0, height - tall)
        box = (float(left), float(top), min(float(left + wide), width), min(float(top + tall), height))
        score = float(draw.uniform(*_SCORES))
        found.append(Detection(name, box, score, score, name, (model.id,)))
    return found


def shifted_model(model: Model) -> Model:
    """A model that reports the detections of another one in the next frame: plausible boxes in the wrong place."""
    return msgspec.structs.replace(model, name="shifted", network="shifted", weight=1.0)


def shifted_detections(model: Model, found: Sequence[Sequence[Detection]]) -> list[list[Detection]]:
    """The detections of each next frame, the first after the last, as those of the shifted model."""
    turned = [*found[1:], *found[:1]]
    return [[msgspec.structs.replace(d, models=(model.id,)) for d in detections] for detections in turned]
