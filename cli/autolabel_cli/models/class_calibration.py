"""Calibration by class: fits a model's calibrations to frames with known objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from autolabel.labels import Detection
from autolabel.models import Calibration, Model, fit_calibration, fit_shift, least_worthwhile
from autolabel_cli.models.matching import Guess, judge
from autolabel_cli.models.truth import Truth

# The least IoU of a detection with the object that it found, as scorers usually set it.
IOU = 0.5


class KnownFrame(NamedTuple):
    """Detections of a model in a frame, with uncalibrated boxes, and the true objects by class of the taxonomy.

    Classes that are not in `truth` are not judged.
    """

    found: Sequence[Detection]
    truth: Mapping[str, Sequence[Truth]]


def fit_calibrations(model: Model, frames: Sequence[KnownFrame], min_height: float = 0.0) -> Model:
    """Return the model with calibrations fitted to frames, for each of its classes that the frames know."""
    known = {name for frame in frames for name in frame.truth} & set(model.classes.values())
    fitted = {name: fit_class(name, frames, min_height) for name in sorted(known)}
    return msgspec.structs.replace(model, calibration={**model.calibration, **fitted})


def with_least_work_thresholds(model: Model, delete_cost: float) -> Model:
    """Return the model with the thresholds of its calibrated classes where the expected work of reviewers is least.

    `delete_cost`: cost of deleting a box, where drawing one costs 1.
    """
    least = dict.fromkeys(model.calibration, least_worthwhile(delete_cost))
    return msgspec.structs.replace(model, thresholds={**model.thresholds, **least})


def fit_class(name: str, frames: Sequence[KnownFrame], min_height: float = 0.0) -> Calibration:
    """Fit the calibration of one class."""
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
