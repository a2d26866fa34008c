"""Judge from blind frames between key frames whether interpolation holds, class by class.

A class holds when it is proven by the rule of acceptance. It does not hold when bets on the opposite are won. Then its
key frames are chosen for half the error that was allowed before, and the proof begins anew with the frames between
these. A class that is not proven yet keeps the policy's key frames, because an early doubt must not cost every frame.
So does a class on which two persons agree less than the target, because more key frames would not help it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from autolabel.contracts.verification import VerifyKeyFrames
from autolabel.contracts.wording import counted
from autolabel.triage.audits import ClassErrors, Evidence
from autolabel.triage.capital import FallDetector
from autolabel.triage.policy import ANY_CLASS
from autolabel.triage.proof import ClassRecord, ordered_stretches
from autolabel.triage.redrawn import RedrawnBoxes, RedrawnTally

# From a limit of 0.8, these lead to 0.975, which a moving object reaches in neighbouring frames only.
MAX_TIGHTENED = 3
# Which share of the errors that a target allows persons may make, for a proof within some hundred stretches: for 0.95,
# two persons must agree on 0.97 of the boxes (docs/ml-engineers/verifying-less.md has the figures).
_PROVABLE = 0.6


def at_limits(evidence: Evidence, limits: Mapping[str, float]) -> Evidence:
    """Name the classes of a run's evidence by the IoU of its key frames, where that is not the policy's."""
    stretches = tuple(
        msgspec.structs.replace(
            stretch,
            classes={
                _name_at(name, limits[name]) if name in limits else name: errors
                for name, errors in stretch.classes.items()
            },
        )
        for stretch in evidence.stretches
    )
    return msgspec.structs.replace(evidence, stretches=stretches)


class InterpolationRecords:
    """What the evidence of one recipe says of each class under the policy `key-frames`."""

    def __init__(self, evidence: Iterable[Evidence], policy: VerifyKeyFrames) -> None:
        self._policy = policy
        ious = [policy.iou]
        for _ in range(MAX_TIGHTENED):
            ious.append(round((1 + ious[-1]) / 2, 6))
        self._ious = ious
        self._records: dict[str, list[_Record]] = {}
        self._redrawn = RedrawnTally()
        evidence = list(evidence)
        for one in evidence:
            self._redrawn.add(one.redrawn)
        for run, stretch in ordered_stretches(evidence, policy):
            for name, errors in stretch.classes.items():
                self._take(run, name, errors)

    def limits(self) -> dict[str, float]:
        """Return the IoU of each class that does not hold at the policy's own."""
        return {name: limit for name in self._records if (limit := self._limit(name)) != self._policy.iou}

    def sentences(self) -> tuple[str, ...]:
        """Say of each class whether interpolation holds, does not, or is not proven yet."""
        said = [self._say(name, records) for name, records in sorted(self._records.items())] or [
            "interpolation is not proven yet: no person has labelled a frame between key frames blind"
        ]
        return (*said, *(self._say_agreement(name, of) for name, of in sorted(self._redrawn.classes.items())))

    def _take(self, run: str, name: str, errors: ClassErrors) -> None:
        for attempt, iou in enumerate(self._ious[1:], start=1):
            if name.endswith(suffix := _name_at("", iou)):
                base, rung = name.removesuffix(suffix), attempt
                break
        else:
            base, rung = name, 0
        records = self._records.setdefault(base, [])
        while len(records) <= rung:
            records.append(_Record(base, self._policy.target, len(records)))
        records[rung].take(run, errors)

    def _limit(self, name: str) -> float:
        """Return the first IoU at which a class is not contradicted, or the last one."""
        records = self._records[name]
        if (of := self._redrawn.classes.get(name)) and of.interval[1] < self._policy.target:
            return self._policy.iou
        fallen = next((rung for rung, record in enumerate(records) if not record.contradicted), len(records))
        return self._ious[min(fallen, MAX_TIGHTENED)]

    def _say_agreement(self, name: str, of: RedrawnBoxes) -> str:
        low, high = of.interval
        needed = round(1 - _PROVABLE * (1 - self._policy.target), 4)
        boxes = counted(of.boxes, "redrawn key box", "redrawn key boxes")
        said = (
            f"{name}: a second person agrees on {of.share:.1%} of {boxes} in {counted(of.frames, 'frame')} "
            f"(95 % interval {low:.1%} to {high:.1%})"
        )
        if of.share >= needed:
            return said
        return f"{said}; below {needed:.4g}, a target of {self._policy.target:g} cannot be proven"

    def _say(self, name: str, records: list[_Record]) -> str:
        limit = self._limit(name)
        rung = self._ious.index(limit)
        if rung < len(records):
            return records[rung].say(limit)
        last = records[-1]
        return f"{last.say(self._ious[len(records) - 1])}; the next run asks for key frames at an IoU of {limit:g}"


class _Record:
    """The history of a class at one IoU. `rung`: how often the IoU was tightened before."""

    def __init__(self, name: str, target: float, rung: int) -> None:
        # Each further attempt needs more capital, as after a fall.
        self._of = ClassRecord(name, target, rung + 1)
        self._detector = FallDetector(target)
        self.contradicted = False

    def take(self, run: str, errors: ClassErrors) -> None:
        self._of.take(run, errors, blind=True)
        # What no model found is missing in every frame: more key frames would not find it.
        if self._of.name != ANY_CLASS and errors.precision.objects:
            self.contradicted |= self._detector.take(errors.precision.wrong, errors.precision.objects)

    def say(self, iou: float) -> str:
        what = f"{self._of.name}: interpolation between key frames at an IoU of {iou:g}"
        if self.contradicted:
            return f"{what} does not hold ({self._of.proven()})"
        if self._of.is_accepted:
            return f"{what} holds since run {self._of.since} ({self._of.proven()})"
        return f"{what} is not proven yet ({self._of.missing()})"


def _name_at(name: str, iou: float) -> str:
    return f"{name} at IoU {iou:g}"
