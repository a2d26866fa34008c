"""The systems that are compared: models alone, the product's merge, other merges, and merges with a useless model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.prelabel import FrameLabels, label_frame
from autolabel.labels.detections import Detection, Detections
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Model
from autolabel_cli.models.class_calibration import KnownFrame, fit_calibrations, with_least_work_thresholds
from autolabel_cli.models.kitti import SCORED, LabelledFrame, Level, truths
from tools.quality import baselines, controls

# A calibration is fitted on all frames outside a fold and applied to the fold: never to the frames it was fitted on.
FOLDS = 5
CALIBRATED = ", calibrated"
# With thresholds that expect the fewest edits, where adding and deleting a box cost the same.
LEAST_WORK = ", calibrated for edits"
DELETE_COST = 1.0
FUSED = "fused"
_LABELS = frozenset(current_taxonomy().names)


class Entrant(NamedTuple):
    """A model and its detections in each frame, before any calibration."""

    model: Model
    found: Sequence[Sequence[Detection]]


class System(NamedTuple):
    """A system: labels for each frame. `alone`: the name of its only model; empty for a merge."""

    name: str
    labels: Sequence[FrameLabels]
    alone: str = ""


def decode_answers(model: Model, answers: Sequence[bytes], frames: Sequence[LabelledFrame]) -> Entrant:
    """Decode a model's answers by the product's decoder."""
    raw = msgspec.structs.replace(model, calibration={})
    pairs = zip(answers, frames, strict=True)
    return Entrant(model, [decode_answer([answer], raw, f.width, f.height)[0] for answer, f in pairs])


def all_systems(entrants: Sequence[Entrant], frames: Sequence[LabelledFrame], level: Level) -> Iterator[System]:
    """Every system that these models make, the single models first."""
    fitted = [cross_fit(entrant, frames, level) for entrant in entrants]
    for entrant, folded in zip(entrants, fitted, strict=True):
        name = entrant.model.name
        yield System(name, merge([_unfolded(entrant, frames)], frames), name)
        yield System(name + CALIBRATED, merge([folded], frames), name)
        yield System(name + LEAST_WORK, merge([_for_edits(folded)], frames), name)
    if len(entrants) < 2:
        return
    plain = [_unfolded(entrant, frames) for entrant in entrants]
    for network in dict.fromkeys(entrant.model.view_of for entrant in entrants):
        views = [voice for voice, entrant in zip(plain, entrants, strict=True) if entrant.model.view_of == network]
        if 1 < len(views) < len(entrants):
            yield System(f"{len(views)} views of {network}", merge(views, frames))
    yield System(FUSED, merge(plain, frames))
    yield System(FUSED + CALIBRATED, merge(fitted, frames))
    yield System(FUSED + LEAST_WORK, merge([_for_edits(voice) for voice in fitted], frames))
    yield System("suppression across models", merge_otherwise(baselines.merge_by_suppression, entrants, frames))
    yield System("weighted boxes (ensemble-boxes)", merge_otherwise(baselines.merge_by_boxes, entrants, frames))
    for control in (_random(frames), _shifted(max(entrants, key=lambda e: e.model.weight))):
        name = f"{FUSED} + {control.model.name}"
        yield System(name, merge([*plain, _unfolded(control, frames)], frames))
        yield System(name + CALIBRATED, merge([*fitted, cross_fit(control, frames, level)], frames))


Voice = Sequence[ModelDetections]
"""A model as it takes part in a merge: its detections in each frame."""


def cross_fit(entrant: Entrant, frames: Sequence[LabelledFrame], level: Level) -> Voice:
    """For each frame, the model calibrated on the other folds, and its detections so calibrated."""
    known = [
        KnownFrame(found, {name: truths(frame.objects, SCORED[name], level) for name in SCORED if name in _LABELS})
        for found, frame in zip(entrant.found, frames, strict=True)
    ]
    folds = [index * FOLDS // len(frames) for index in range(len(frames))]
    models = {
        fold: fit_calibrations(
            entrant.model, [k for k, of in zip(known, folds, strict=True) if of != fold], level.min_height
        )
        for fold in set(folds)
    }
    return [
        _calibrated(models[fold], found, frame) for fold, found, frame in zip(folds, entrant.found, frames, strict=True)
    ]


def merge(voices: Sequence[Voice], frames: Sequence[LabelledFrame]) -> list[FrameLabels]:
    """The product's labels of each frame."""
    labels = []
    for frame, *seen in zip(frames, *voices, strict=True):
        labels.append(label_frame(seen, "front", frame.width, frame.height, labels=_LABELS, ego_mask=None))
    return labels


def merge_otherwise(
    how: Callable[[Sequence[ModelDetections], int, int], Detections],
    entrants: Sequence[Entrant],
    frames: Sequence[LabelledFrame],
) -> list[FrameLabels]:
    """A baseline's labels of each frame, with the thresholds of the first model."""
    labels = []
    for index, frame in enumerate(frames):
        merged = how([ModelDetections(e.model, e.found[index]) for e in entrants], frame.width, frame.height)
        kept = tuple(d for d in merged if d.confidence >= entrants[0].model.threshold_of(d.name))
        chosen = Detections(frame.width, frame.height, kept)
        labels.append(FrameLabels(merged, chosen, Counter()))
    return labels


def _unfolded(entrant: Entrant, frames: Sequence[LabelledFrame]) -> Voice:
    """The detections with the calibration of the catalogue."""
    return [_calibrated(entrant.model, found, frame) for found, frame in zip(entrant.found, frames, strict=True)]


def _for_edits(voice: Voice) -> Voice:
    return [ModelDetections(with_least_work_thresholds(model, DELETE_COST), found) for model, found in voice]


def _calibrated(model: Model, found: Sequence[Detection], frame: LabelledFrame) -> ModelDetections:
    calibrations = [model.calibration_of(d.name) for d in found]
    return ModelDetections(
        model,
        [
            msgspec.structs.replace(d, confidence=c.confidence(d.score), box=c.place(d.box, frame.width, frame.height))
            for d, c in zip(found, calibrations, strict=True)
        ],
    )


def _random(frames: Sequence[LabelledFrame]) -> Entrant:
    model = controls.random_model()
    return Entrant(model, [controls.random_detections(model, f.width, f.height, i) for i, f in enumerate(frames)])


def _shifted(entrant: Entrant) -> Entrant:
    model = controls.shifted_model(entrant.model)
    return Entrant(model, controls.shifted_detections(model, entrant.found))
