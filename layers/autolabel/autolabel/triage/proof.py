"""Decide from the evidence of a recipe which classes are accepted, and certify it.

A class enters when its capital is large enough, for precision and recall. Only blind audits earn capital; shown ones
can take it away. The reason: a stretch whose pre-label lacks a class is where the class is missed, and it may be shown.
Without such stretches, recall would look too good. An accepted class falls when audits of either kind contradict it.
Then it enters anew, with a smaller chance of error, so that the chances of all attempts stay within ALPHA.

Nothing leaves the sequence of stretches. A stretch counts in the first run that audited it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from autolabel.contracts.verification import AuditedPolicy, VerifyUncertain
from autolabel.contracts.wording import counted
from autolabel.triage.audits import PRECISION, RECALL, AuditedStretch, ClassErrors, Count, Evidence
from autolabel.triage.capital import ALPHA, Capital, FallDetector, alpha_of
from autolabel.triage.policy import ANY_CLASS

# The logarithm above which a certificate says no more of a capital: it stays a finite number.
_LARGEST_LOG = 700.0


class SideProof(msgspec.Struct, frozen=True):
    """What the stretches of an attempt prove of one side: their number, objects, wrong objects, and the capital."""

    stretches: int
    objects: int
    wrong: int
    capital: float


class Certificate(msgspec.Struct, frozen=True):
    """What is proven of a class, and what that promises.

    `accepted`: in effect now; `since`: the drive and run whose audits completed the proof, empty if there is none.
    `alpha`: the chance of a wrong acceptance that the latest of the `attempts` may take; a side is proven at a capital
    of 1 / `alpha`. `precision` is None for `any class`.
    """

    name: str
    accepted: bool
    promise: str
    target: float
    alpha: float
    attempts: int
    since: str
    precision: SideProof | None
    recall: SideProof


class _Entry:
    """The stretches of an attempt that count for one side."""

    def __init__(self, target: float) -> None:
        self.capital = Capital(target)
        self.stretches = self.objects = self.wrong = 0

    def take(self, count: Count) -> None:
        self.capital.take(count.wrong, count.objects)
        self.stretches += 1
        self.objects += count.objects
        self.wrong += count.wrong

    def proof(self) -> SideProof:
        capital = math.exp(min(self.capital.log, _LARGEST_LOG))
        return SideProof(self.stretches, self.objects, self.wrong, float(f"{capital:.4g}"))


class ClassRecord:
    """The history of a class under a policy. Takes its stretches in their order."""

    def __init__(self, name: str, target: float, attempts: int = 1) -> None:
        self.name = name
        self.attempts = attempts
        self.since = ""
        self._target = target
        self._sides = (RECALL,) if name == ANY_CLASS else (PRECISION, RECALL)
        self._fallen = ""
        self._begin()

    @property
    def is_accepted(self) -> bool:
        return bool(self.since)

    def take(self, run: str, errors: ClassErrors, *, blind: bool) -> None:
        """Take an audit stretch with an object of the class. `run`: the drive and run that audited it."""
        counts = [(side, count) for side in self._sides if (count := getattr(errors, side)).objects]
        if self.is_accepted:
            # All sides take it, also after one has fallen.
            fallen = [side for side, count in counts if self._detectors[side].take(count.wrong, count.objects)]
            if fallen:
                self._fallen = f"was accepted until run {run}: its newer audits show a {fallen[0]} below {self._target}"
                self.attempts += 1
                self.since = ""
                self._begin()
            return
        for side, count in counts:
            if blind or count.objects - count.wrong < count.objects * self._target:
                self._entries[side].take(count)
        if all(entry.capital.reaches(alpha_of(self.attempts)) for entry in self._entries.values()):
            self.since = run

    def _begin(self) -> None:
        self._entries = {side: _Entry(self._target) for side in self._sides}
        self._detectors = {side: FallDetector(self._target) for side in self._sides}

    def __str__(self) -> str:
        """Say in one sentence whether the class is accepted, how far it is, or when and why acceptance ended."""
        if self.is_accepted:
            return f"{self.name}: accepted since run {self.since} ({self.proven()})"
        if self._fallen:
            return f"{self.name} {self._fallen}; acceptance is off (attempt {self.attempts}: {self.missing()})"
        return f"{self.name}: {self.missing()}"

    def proven(self) -> str:
        """Say what the attempt's stretches show, by side."""
        return ", ".join(
            f"{side} with {entry.wrong:,} of {counted(entry.objects, 'object')} wrong in "
            f"{counted(entry.stretches, 'audit stretch', 'audit stretches')}"
            for side, entry in self._entries.items()
        )

    def missing(self) -> str:
        """Say how many stretches without an error would complete the proof, by side."""
        alpha = alpha_of(self.attempts)
        return ", ".join(
            f"{side} {counted(entry.stretches, 'audit stretch', 'audit stretches')} so far, "
            f"at least {entry.capital.needed(alpha):,} more"
            for side, entry in self._entries.items()
        )

    def certificate(self) -> Certificate:
        proofs = {side: entry.proof() for side, entry in self._entries.items()}
        return Certificate(
            name=self.name,
            accepted=self.is_accepted,
            promise=_promise(self._sides, self._target),
            target=self._target,
            alpha=alpha_of(self.attempts),
            attempts=self.attempts,
            since=self.since,
            precision=proofs.get(PRECISION),
            recall=proofs[RECALL],
        )


def class_records(evidence: Iterable[Evidence], policy: VerifyUncertain) -> dict[str, ClassRecord]:
    """Return the record of each audited class, perhaps with ANY_CLASS, by its name. `evidence`: of one recipe."""
    records: dict[str, ClassRecord] = {}
    for run, stretch in ordered_stretches(evidence, policy):
        for name, errors in stretch.classes.items():
            if name not in records:
                records[name] = ClassRecord(name, policy.target)
            records[name].take(run, errors, blind=stretch.blind)
    return dict(sorted(records.items()))


def ordered_stretches(evidence: Iterable[Evidence], policy: AuditedPolicy) -> Iterator[tuple[str, AuditedStretch]]:
    """Yield the audit stretches that count under a policy, in their order, each with the drive and run of its audit."""
    taken: set[tuple[str, str, int]] = set()
    for one in sorted((one for one in evidence if one.counts_under(policy)), key=lambda one: one.order):
        for stretch in sorted(one.stretches, key=lambda stretch: (stretch.camera, stretch.position)):
            place = one.drive, stretch.camera, stretch.position
            if place not in taken:
                taken.add(place)
                yield f"{one.drive} {one.run}", stretch


def accepted_classes(records: dict[str, ClassRecord]) -> frozenset[str]:
    """Find the classes that may be accepted without a person."""
    return frozenset(name for name, record in records.items() if record.is_accepted)


def acceptance_sentences(
    records: dict[str, ClassRecord], evidence: Sequence[Evidence], policy: VerifyUncertain, old: int
) -> tuple[str, ...]:
    """Say how far each class is, and which evidence does not count. `old`: runs with evidence of version 1."""
    sentences = [str(record) for record in records.values()]
    if others := sum(not one.counts_under(policy) for one in evidence):
        what = counted(others, "run has", "runs have")
        sentences.append(f"{what} audits under another target, max_doubt, segment or task, which do not count here")
    if old:
        what = counted(old, "run has", "runs have")
        sentences.append(f"{what} audits from before they were kept by stretch, which do not count any more")
    return tuple(sentences)


def _promise(sides: Sequence[str], target: float) -> str:
    return (
        f"with a chance of at least {1 - ALPHA:g}, acceptance never begins while the expected share of wrong objects "
        f"({' or '.join(sides)}), in the mean over the audit stretches of the attempt, is above {1 - target:.6g}; "
        f"audits go on, and end it when they contradict it"
    )
