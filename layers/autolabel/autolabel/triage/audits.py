"""Audits: what verified frames prove about the classes of a recipe.

A trial is one object over the audited frames of a segment, wrong if any of its boxes was wrong: its boxes in
neighbouring frames are not independent. A box is right when it has the right class and is well placed; an object is
found when a box of its class is in its place. So a box of the wrong class is an error of both classes. Of `any class`
there is recall alone: whether anything at all was in the object's place.

Evidence belongs to a recipe: other models, fusion or classes start anew. It also belongs to the frames that were
acceptable, so evidence for less doubt proves nothing for more, while evidence for more holds what is known of less.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import VerifyUncertain
from autolabel.labelling.fusion import FUSION
from autolabel.labelling.uncertainty import UNCERTAINTY_VERSION
from autolabel.labels.agreement import WELL_PLACED, Pair, corners
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBox
from autolabel.labels.tracker import Tracker
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.bounds import lower_bound, proves, trials_needed
from autolabel.triage.policy import ANY_CLASS

PRECISION = "precision"
RECALL = "recall"
# So many times the trials that prove a target without an error count, the newest (413 for 0.95, of which 12 may be
# wrong): of more, a fall would drown in what was good long ago.
WINDOW = 7
# Of a recipe there may be thousands of runs.
_READERS = 16


class AuditedFrame(NamedTuple):
    """An audited frame of a segment: its doubt, and its boxes as the models said them, paired with a person's."""

    level: float
    pairs: Sequence[Pair]


class Count(NamedTuple):
    """Trials and errors of a class and side."""

    trials: int
    errors: int

    @property
    def bound(self) -> float:
        """The share that is right at least, at 95 % confidence."""
        return lower_bound(self.trials, self.errors)


class Trials(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Trials of one class and side (`precision` or `recall`), blind or not, at a level of doubt, rounded up to 0.01."""

    name: str
    side: str
    blind: bool
    level: float
    trials: int
    errors: int


class Evidence(msgspec.Struct, frozen=True, rename={"max_uncertainty": "max_doubt"}):
    """What the audits of one published run tell; `published`: an ISO 8601 time in UTC, `max_doubt`: the policy's."""

    recipe: str
    drive: str
    run: str
    published: str
    max_uncertainty: float
    trials: tuple[Trials, ...]

    @property
    def order(self) -> tuple[str, str, str]:
        """What sorts evidence, the oldest first."""
        return self.published, self.drive, self.run

    def count(self, name: str, max_uncertainty: float) -> dict[tuple[str, bool], Count]:
        """The trials of one class for frames of at most `max_doubt`, by side and whether they were blind."""
        counts: dict[tuple[str, bool], Count] = {}
        for row in self.trials:
            if row.name == name and row.level <= max_uncertainty:
                before = counts.get((row.side, row.blind), Count(0, 0))
                counts[row.side, row.blind] = Count(before.trials + row.trials, before.errors + row.errors)
        return counts


def recipe(run: Run) -> str:
    """What a run's pre-labels depend on, beside its frames, as a digest."""
    parts = [sorted(run.models), FUSION, UNCERTAINTY_VERSION, run.taxonomy, sorted(run.labels)]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def evidence_prefix(recipe: str) -> str:
    """Where in the label bucket all evidence of a recipe lies."""
    return f"audits/{recipe}/"


def evidence_key(recipe: str, drive: str, run: str) -> str:
    return f"{evidence_prefix(recipe)}{drive}-{run}.json"


def read_evidence(labels: Bucket, recipe: str) -> Iterator[Evidence]:
    """All evidence of a recipe."""
    decoder = msgspec.json.Decoder(Evidence)
    keys = (found.key for found in labels.list(evidence_prefix(recipe)))
    for body in map_in_order(labels.read, keys, _READERS):
        if body is not None:
            yield decoder.decode(body)


class Auditing:
    """Gathers the evidence of a run from its audited segments, in any order."""

    def __init__(self, max_uncertainty: float) -> None:
        self._max_uncertainty = max_uncertainty
        self._trials: Counter[tuple[str, str, bool, float]] = Counter()
        self._errors: Counter[tuple[str, str, bool, float]] = Counter()

    def take(self, frames: Sequence[AuditedFrame], *, blind: bool) -> None:
        """Take in the audited frames of a segment, in the drive's order, which were all blind or all shown."""
        judged = [_judge(frame) for frame in frames]
        for side in (PRECISION, RECALL, ANY_CLASS):
            for track in _tracks([one[side] for one in judged]):
                whose = (ANY_CLASS, RECALL) if side == ANY_CLASS else (track.box.name, side)
                # Rounded up, but not out of what the policy accepts.
                place = (*whose, blind, min(math.ceil(round(track.level * 100, 6)) / 100, self._max_uncertainty))
                self._trials[place] += 1
                self._errors[place] += track.wrong

    def evidence(self, run: Run, published: str) -> Evidence:
        rows = (Trials(*place, trials, self._errors[place]) for place, trials in self._trials.items())
        return Evidence(recipe(run), run.drive, run.run, published, self._max_uncertainty, tuple(sorted(rows)))


class _Track(NamedTuple):
    """An object so far: its last box, whether any of its boxes was wrong, and the least doubt of its frames.

    The least, so that a wrong object stays in the evidence for the least doubt that it touches.
    """

    box: LabelledBox
    wrong: bool
    level: float


def _judge(frame: AuditedFrame) -> dict[str, list[_Track]]:
    """A frame's boxes by what they are a trial of."""
    judged: dict[str, list[_Track]] = {PRECISION: [], RECALL: [], ANY_CLASS: []}
    for predicted, verified, iou in frame.pairs:
        same = predicted is not None and verified is not None and predicted.name == verified.name
        if predicted is not None:
            judged[PRECISION].append(_Track(predicted, not (same and iou >= WELL_PLACED), frame.level))
        if verified is not None:
            judged[RECALL].append(_Track(verified, not same, frame.level))
            judged[ANY_CLASS].append(_Track(verified, predicted is None, frame.level))
    return judged


def _tracks(frames: Iterable[Sequence[_Track]]) -> Iterator[_Track]:
    """The objects of a segment, from the boxes of its frames in order."""
    tracker = Tracker(_likeness, _join)
    for boxes in frames:
        yield from tracker.follow(boxes)
    yield from tracker.end()


def _likeness(track: _Track, one: _Track) -> float:
    return box_iou(corners(track.box), corners(one.box)) if track.box.name == one.box.name else 0.0


def _join(track: _Track, one: _Track) -> _Track:
    return _Track(one.box, track.wrong or one.wrong, min(track.level, one.level))


class ClassRecord:
    """What all evidence of a recipe says of one class under a policy."""

    def __init__(self, evidence: Iterable[Evidence], name: str, policy: VerifyUncertain) -> None:
        self.name = name
        self.sides = (RECALL,) if name == ANY_CLASS else (PRECISION, RECALL)
        self._target = policy.target
        self._most = WINDOW * trials_needed(0, policy.target)
        # Runs that tell nothing of the class are many, and to be gone through again for each that does.
        self._runs = [
            (one, counts)
            for one in sorted(evidence, key=lambda one: one.order)
            if one.max_uncertainty >= policy.max_uncertainty and (counts := one.count(name, policy.max_uncertainty))
        ]

    def count(self, side: str, *, blind_only: bool, runs: int | None = None) -> Count:
        """The newest trials, of whole runs until there are enough; `runs`: as it was after so many.

        Of each drive its newest run that has any: the next one shows the same objects, and one whose audits met none
        takes nothing back.
        """
        trials = errors = 0
        drives = set[str]()
        kinds = (True,) if blind_only else (True, False)
        for one, counts in reversed(self._runs[:runs]):
            found = [counts[side, blind] for blind in kinds if (side, blind) in counts]
            if not found or one.drive in drives:
                continue
            drives.add(one.drive)
            trials += sum(count.trials for count in found)
            errors += sum(count.errors for count in found)
            if trials >= self._most:
                break
        return Count(trials, errors)

    def is_proven(self, runs: int | None = None) -> bool:
        """Whether precision and recall reach the target by blind audits, and by all audits as well."""
        counts = (self.count(side, blind_only=only, runs=runs) for side in self.sides for only in (True, False))
        return all(proves(*count, self._target) for count in counts)

    def __str__(self) -> str:
        """A sentence: accepted, how far it is, or when and why acceptance ended."""
        blind = {side: self.count(side, blind_only=True) for side in self.sides}
        if self.is_proven():
            said = (f"{side} ≥ {_down(c.bound)} ({c.trials} objects, {_errors(c.errors)})" for side, c in blind.items())
            return f"{self.name}: {', '.join(said)}: accepted"
        for runs in range(len(self._runs) - 1, 0, -1):
            if self.is_proven(runs):
                both = [*blind.items(), *((side, self.count(side, blind_only=False)) for side in self.sides)]
                side, bound = next((side, count.bound) for side, count in both if not proves(*count, self._target))
                fell = f"its {side} bound fell to {_down(bound)}"
                ended = self._runs[runs][0]
                return f"{self.name} was accepted until run {ended.drive} {ended.run}: {fell}; acceptance is off"
        return f"{self.name}: {', '.join(self._so_far(side, count) for side, count in blind.items())}"

    def _so_far(self, side: str, count: Count) -> str:
        needed = trials_needed(count.errors, self._target)
        if needed > self._most:
            return f"{side} is only {_down(count.bound)} at least ({count.trials} objects, {_errors(count.errors)})"
        return f"{side} {count.trials} of {needed} objects so far ({_errors(count.errors)})"


def proven_classes(evidence: Sequence[Evidence], policy: VerifyUncertain) -> frozenset[str]:
    """The classes, ANY_CLASS among them, that may be accepted without a person. `evidence`: of one recipe."""
    return frozenset(name for name in _names(evidence) if ClassRecord(evidence, name, policy).is_proven())


def acceptance_status(evidence: Sequence[Evidence], policy: VerifyUncertain) -> dict[str, str]:
    """A sentence for each class that was audited, by its name. `evidence`: of one recipe."""
    return {name: str(ClassRecord(evidence, name, policy)) for name in _names(evidence)}


def _names(evidence: Iterable[Evidence]) -> list[str]:
    return sorted({row.name for one in evidence for row in one.trials})


def _down(bound: float) -> str:
    """Rounded down: a bound of 0.9499 is none of 0.95."""
    return f"{math.floor(bound * 1_000) / 1_000:.3f}"


def _errors(count: int) -> str:
    return "1 error" if count == 1 else f"{count} errors"
