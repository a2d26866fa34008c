"""Measures what the uncertainty of frames tells: which frames it would accept, and how early its order reaches faults.

Nothing is fitted here: levels, floor and bounds are the product's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from autolabel.labelling.prelabel import FrameLabels
from autolabel.labelling.uncertainty import FLOOR, Uncertainty, frame_uncertainty
from autolabel.models.catalogue import Model
from tools.quality.edits import Edits
from tools.quality.figures import Comparison, describe
from tools.quality.precision import Floats
from tools.quality.systems import CALIBRATED, FUSED

MAX_DOUBTS = (0.05, 0.15, 0.3, 0.5, 0.6, 0.7, 0.8)


class Acceptance(NamedTuple):
    """A rule and the frames that it accepts: how many, how many of them need an edit, and the edits."""

    rule: str
    accepted: int
    faulty: int
    edits: Edits


class Ordering(NamedTuple):
    """An order of the queue, with values for the set itself and for each resample of the frames.

    `auroc`: the chance that, of two frames, the one that needs an edit comes first. `first_half`: the share of the
    edits in the first half of the queue.
    """

    name: str
    auroc: Floats
    first_half: Floats


class UncertaintyFigures(NamedTuple):
    """The figures of one system; `faulty`: number of frames that need an edit."""

    system: str
    faulty: int
    acceptances: list[Acceptance]
    orderings: list[Ordering]


def uncertainty_figures(comparison: Comparison, models: Sequence[Model]) -> Iterator[UncertaintyFigures]:
    """The figures of each model alone and of their merge; `models`: all models of the systems."""
    for system in comparison.systems:
        if system.name in (*comparison.alone, FUSED, FUSED + CALIBRATED):
            edits = comparison.edits[system.name]
            uncertainties = [frame_uncertainty(labels, models, 0) for labels in system.labels]
            found = list(_acceptances(uncertainties, system.labels, edits, models))
            orderings = [
                _ordering(name, of, uncertainties, edits, comparison.resamples) for name, of in _ORDERS.items()
            ]
            yield UncertaintyFigures(system.name, sum(e.total > 0 for e in edits), found, orderings)


def as_document(figures: UncertaintyFigures) -> dict[str, object]:
    """The figures as JSON."""
    return {
        "faulty": figures.faulty,
        "accepted": {
            one.rule: {"frames": one.accepted, "faulty": one.faulty, **one.edits._asdict()}
            for one in figures.acceptances
        },
        "queue": {
            one.name: {"auroc": describe(one.auroc), "edits_in_first_half": describe(one.first_half)}
            for one in figures.orderings
        },
    }


def auroc(levels: Floats, faulty: Floats, resamples: Floats) -> Floats:
    """The chance that a faulty frame has the higher level, a tie counting half: [r] from [n], [n] and [r, n]."""
    above = (levels[:, None] > levels) + 0.5 * (levels[:, None] == levels)
    bad, good = resamples * faulty, resamples * (1.0 - faulty)
    with np.errstate(invalid="ignore"):
        return np.asarray(((bad @ above) * good).sum(axis=1) / (bad.sum(axis=1) * good.sum(axis=1)))


def share_in_first_half(levels: Floats, edits: Floats, resamples: Floats) -> Floats:
    """The share of edits in the first half of the queue, highest level first: [r] from [n], [n] and [r, n]."""
    order = np.argsort(-levels, kind="stable")
    drawn, weight = resamples[:, order], edits[order]
    before = np.cumsum(drawn, axis=1) - drawn
    taken = np.clip(drawn.sum(axis=1, keepdims=True) / 2 - before, 0.0, drawn)
    with np.errstate(invalid="ignore"):
        return np.asarray((taken @ weight) / (drawn @ weight))


_ORDERS: dict[str, Callable[[Uncertainty], float]] = {
    "uncertainty": lambda uncertainty: uncertainty.level,
    "the most uncertain object alone": lambda uncertainty: max(_levels(uncertainty), default=0.0),
    "number of boxes": lambda uncertainty: float(len(uncertainty.boxes)),
}


def _levels(uncertainty: Uncertainty) -> list[float]:
    return [*uncertainty.boxes, *(level for level in uncertainty.candidate_levels if level >= FLOOR)]


def _ordering(
    name: str,
    level: Callable[[Uncertainty], float],
    uncertainties: Sequence[Uncertainty],
    edits: Sequence[Edits],
    resamples: Floats,
) -> Ordering:
    levels = np.array([level(uncertainty) for uncertainty in uncertainties])
    totals = np.array([e.total for e in edits], np.float64)
    return Ordering(
        name,
        auroc(levels, (totals > 0).astype(np.float64), resamples),
        share_in_first_half(levels, totals, resamples),
    )


def _acceptances(
    uncertainties: Sequence[Uncertainty], labels: Sequence[FrameLabels], edits: Sequence[Edits], models: Sequence[Model]
) -> Iterator[Acceptance]:
    for most in MAX_DOUBTS:
        yield _acceptance(
            f"uncertainty of at most {most}", [uncertainty.level <= most for uncertainty in uncertainties], edits
        )
    agreed = [_all_agree(of, models) for of in labels]
    yield _acceptance("naive: all agree", agreed, edits)
    sure = [
        ok and not any(g >= FLOOR for g in uncertainty.candidate_levels)
        for ok, uncertainty in zip(agreed, uncertainties, strict=True)
    ]
    yield _acceptance(f"naive: all agree, no candidate of {FLOOR}", sure, edits)


def _all_agree(labels: FrameLabels, models: Sequence[Model]) -> bool:
    """Whether all networks that cover a box detected it under one class, for every box of the pre-label."""
    networks = {model.id: model.view_of for model in models}
    for one in labels.prelabel:
        if {networks[model] for model in one.missed} - {networks[model] for model in one.models}:
            return False
        if len({vote.name for vote in one.votes}) > 1:
            return False
    return True


def _acceptance(rule: str, accepted: Sequence[bool], edits: Sequence[Edits]) -> Acceptance:
    taken = [e for e, ok in zip(edits, accepted, strict=True) if ok]
    return Acceptance(
        rule, len(taken), sum(e.total > 0 for e in taken), Edits(*map(sum, zip(Edits(), *taken, strict=True)))
    )
