"""Simulated detections of a camera's model: what it would find of labelled objects, with errors of known size."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from autolabel.labels import Box
from autolabel.sequences import Sight
from autolabel_cli.evaluation.document import CameraErrors
from autolabel_cli.evaluation.tracks import CAR, ScoredFrame

OTHER_CLASS = "other"


class _Seen(msgspec.Struct):
    """The state of an object: whether it is being missed, whether it is confused, and its lasting error by side."""

    missed: bool
    confused: bool
    lasting: list[float]


def simulate(frames: Sequence[ScoredFrame], rate: float, errors: CameraErrors, seed: str) -> list[list[Sight]]:
    """Detect the objects of a sequence. `rate`: frames a second; the same seed gives the same detections."""
    lot = random.Random(seed)  # noqa: S311 (not for secrets)
    sizes = [(box[2] - box[0], box[3] - box[1]) for frame in frames for _, box, counts in frame.objects if counts]
    width = max((each.box[2] for frame in frames for each in frame.objects), default=0.0)
    height = max((each.box[3] for frame in frames for each in frame.objects), default=0.0)
    seen = dict[int, _Seen]()
    false = list[Box]()
    found = []
    for index, frame in enumerate(frames):
        sights = []
        for track, box, _ in frame.objects:
            state = seen.get(track) or _Seen(
                lot.random() < errors.missed,
                lot.random() < errors.confused,
                [lot.gauss(0, 1) for _ in range(4)],
            )
            seen[track] = _next(state, rate, errors, lot)
            if not state.missed:
                wrong = errors.confused_boxes if state.confused else errors.other_class
                name = OTHER_CLASS if lot.random() < wrong else CAR
                sights.append(Sight(index / rate, _noisy(box, state.lasting, errors, lot), name))
        false = [box for box in false if lot.random() < 1 - 1 / errors.false_frames]
        if sizes and lot.random() < errors.false_boxes / errors.false_frames:
            wide, high = lot.choice(sizes)
            left, top = lot.uniform(0, max(width - wide, 0)), lot.uniform(0, max(height - high, 0))
            false.append((left, top, left + wide, top + high))
        sights += [Sight(index / rate, _noisy(box, [0.0] * 4, errors, lot), CAR) for box in false]
        found.append(sights)
    return found


def _next(state: _Seen, rate: float, errors: CameraErrors, lot: random.Random) -> _Seen:
    # Streaks end with this chance, and begin as often as the share of missed boxes wants it.
    ends = 1 / errors.streak
    begins = ends * errors.missed / (1 - errors.missed)
    missed = lot.random() >= ends if state.missed else lot.random() < begins
    keeps = 1 - 1 / (errors.lasting_seconds * rate)
    lasting = [keeps * at + (1 - keeps**2) ** 0.5 * lot.gauss(0, 1) for at in state.lasting]
    return _Seen(missed, state.confused, lasting)


def _noisy(box: Box, lasting: Sequence[float], errors: CameraErrors, lot: random.Random) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    slow, fast = errors.sides * errors.lasting**0.5, errors.sides * (1 - errors.lasting) ** 0.5
    left, top, right, bottom = (
        at + size * (slow * stays + fast * lot.gauss(0, 1))
        for at, size, stays in zip(box, (width, height, width, height), lasting, strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else box
