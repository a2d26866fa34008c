"""Fitting a model's calibrations from frames of which the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from autolabel.labels.detections import Detection
from autolabel.models.calibration import Calibration, least_worthwhile
from autolabel.models.calibration_fit import fit_calibration, fit_shift
from autolabel.models.catalogue import Model
from autolabel_cli.models.matching import Guess, judge
from autolabel_cli.models.truth import Truth

# A detection is of an object when their boxes overlap so far; scorers' usual least.
IOU = 0.5


class KnownFrame(NamedTuple):
    """What a model found in a frame, boxes as it drew them, and what is there by class of the taxonomy.

    Other classes are not judged.
    """

    found: Sequence[Detection]
    truth: Mapping[str, Sequence[Truth]]


def fit_calibrations(model: Model, frames: Sequence[KnownFrame], min_height: float = 0.0) -> Model:
    """The model with calibrations fitted on frames, for those of its classes that they know."""
    known = {name for frame in frames for name in frame.truth} & set(model.classes.values())
    fitted = {name: fit_class(name, frames, min_height) for name in sorted(known)}
    return msgspec.structs.replace(model, calibration={**model.calibration, **fitted})


def with_least_work_thresholds(model: Model, delete_cost: float) -> Model:
    """The model with the thresholds of its calibrated classes at what is expected to leave people the least to do.

    `delete_cost`: what deleting a box costs, where drawing one costs 1.
    """
    least = dict.fromkeys(model.calibration, least_worthwhile(delete_cost))
    return msgspec.structs.replace(model, thresholds={**model.thresholds, **least})


def fit_class(name: str, frames: Sequence[KnownFrame], min_height: float = 0.0) -> Calibration:
    """The calibration of one class."""
    judged = [
        ([Guess(d.box, d.score) for d in frame.found if d.name == name], frame.truth[name])
        for frame in frames
        if name in frame.truth
    ]
    verdicts = judge(judged, [IOU], min_height)
    scores = np.concatenate([v.confidences[~v.ignored[0]] for v in verdicts])
    hits = np.concatenate([v.hits[0][~v.ignored[0]] for v in verdicts])
    pairs = [
        (guesses[guess].box, truth[true].box)
        for (guesses, truth), v in zip(judged, verdicts, strict=True)
        for guess, true, hit in zip(v.guesses, v.truths[0], v.hits[0], strict=True)
        if hit
    ]
    fitted = fit_calibration(scores.tolist(), hits.tolist(), sum(v.objects for v in verdicts))
    shift = fit_shift([found for found, _ in pairs], [true for _, true in pairs])
    return msgspec.structs.replace(fitted, shift=shift)
