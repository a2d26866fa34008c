"""Draws the audits of fleets, and takes them through the rule of acceptance."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from autolabel.triage.audits import ClassErrors, Count
from autolabel.triage.policy import ANY_CLASS
from autolabel.triage.proof import ClassRecord

TARGET = 0.95
OBJECTS = 5
# Within this many stretches a class of 0.99 is to be accepted.
SOON = 200
# Sums of floats: an error that is 1 - target in the mean counts as not below it.
_NOISE = 1e-9


class Scenario(NamedTuple):
    """A class and its audits. `precision`: of the objects of each stretch, in order.

    `correlation`: of the errors in a stretch. `turn`: the stretch from which a class that was good is bad.
    """

    name: str
    precision: Sequence[float]
    correlation: float
    turn: int = 0


class Figures(NamedTuple):
    """Results of a scenario, as shares of its fleets and as medians of stretches.

    `accepted`: at any time; `wrongly`: acceptance began while the error so far was not below 1 - target; `soon`:
    accepted within SOON stretches; `after`: the median of the first acceptance. `noticed`: the median from the turn to
    the fall, over fleets accepted at the turn. A median is None where less than half of the fleets come so far.
    """

    accepted: float
    wrongly: float
    soon: float
    after: float | None
    noticed: float | None


class _Fleet:
    """One fleet: the stretches at which acceptance began and ended, and whether it began wrongly."""

    def __init__(self, errors: Sequence[int], scenario: Scenario) -> None:
        record = ClassRecord(ANY_CLASS, TARGET)
        self.began: list[int] = []
        self.ended: list[int] = []
        self.wrongly = False
        excess = 0.0
        for number, (wrong, precision) in enumerate(zip(errors, scenario.precision, strict=True), start=1):
            was = record.is_accepted
            excess += TARGET - precision
            record.take(str(number), ClassErrors(recall=Count(OBJECTS, wrong)), blind=True)
            if record.is_accepted and not was:
                self.began.append(number)
                self.wrongly |= excess >= -_NOISE
            elif was and not record.is_accepted:
                self.ended.append(number)
                excess = 0.0

    def noticed(self, turn: int) -> float | None:
        """Return after how many stretches the turn was noticed; None if the class was not accepted then."""
        began, ended = (sum(number <= turn for number in when) for when in (self.began, self.ended))
        if began == ended:
            return None
        return self.ended[ended] - turn if len(self.ended) > ended else float("inf")


def simulate(scenario: Scenario, fleets: int, seed: int) -> Figures:
    """Simulate fleets of OBJECTS objects a stretch. Errors of a stretch have a beta-binomial distribution."""
    draw = np.random.default_rng(seed)
    error = np.broadcast_to(1.0 - np.asarray(scenario.precision), (fleets, len(scenario.precision)))
    if scenario.correlation:
        spread = 1.0 / scenario.correlation - 1.0
        error = draw.beta(error * spread, (1.0 - error) * spread)
    wrong = draw.binomial(OBJECTS, error)
    found = [_Fleet(row.tolist(), scenario) for row in wrong]
    first = [fleet.began[0] if fleet.began else float("inf") for fleet in found]
    noticed = [after for fleet in found if scenario.turn and (after := fleet.noticed(scenario.turn)) is not None]
    return Figures(
        accepted=sum(bool(fleet.began) for fleet in found) / fleets,
        wrongly=sum(fleet.wrongly for fleet in found) / fleets,
        soon=sum(began <= SOON for began in first) / fleets,
        after=_median(first),
        noticed=_median(noticed),
    )


def _median(found: Sequence[float]) -> float | None:
    middle = median(found) if found else float("inf")
    return None if middle == float("inf") else middle


def scenarios(stretches: int) -> list[Scenario]:
    """Return the scenarios, each of this many stretches."""
    half = stretches // 2
    found = []
    for correlation in (0.0, 0.1, 0.3):
        for precision in (0.94, 0.95, 0.97, 0.98, 0.99):
            found.append(Scenario(f"always {precision}", [precision] * stretches, correlation))
    for precision in (0.94, 0.95):
        easy, hard = precision + 0.04, precision - 0.04
        drives = ([easy] * 20 + [hard] * 20) * (stretches // 40)
        found.append(Scenario(f"20 stretches of {easy:.2f}, then 20 of {hard:.2f}, and so on", drives, 0.1))
        easy, hard = 0.98, 2 * precision - 0.98
        found.append(Scenario(f"{easy:.2f} in the first half, then {hard:.2f}", [easy] * half + [hard] * half, 0.1))
    for precision in (0.93, 0.9, 0.8):
        name = f"0.99 in the first half, then {precision}"
        found.append(Scenario(name, [0.99] * half + [precision] * half, 0.1, half))
    return found


def objections(scenario: Scenario, figures: Figures) -> list[str]:
    """Say which promise the figures break."""
    broken = []
    if figures.wrongly > 1.0 - TARGET:
        broken.append(f"accepted wrongly in {figures.wrongly:.1%} of fleets, more than {1 - TARGET:.0%}")
    if min(scenario.precision) == 0.99 and figures.soon < 0.9:
        broken.append(f"accepted within {SOON} stretches in only {figures.soon:.1%} of fleets, less than 90%")
    if scenario.turn and figures.noticed is None:
        broken.append("the fall is not noticed in most fleets")
    return broken
