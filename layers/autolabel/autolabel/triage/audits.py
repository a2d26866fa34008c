"""Audits: turn verified frames into evidence, and decide which classes of a recipe are proven.

A trial is one object over the audited frames of an audit stretch. It is wrong if any of its boxes was wrong, because
its boxes in neighbouring frames are not independent. A box is right if it has the right class and is well placed. An
object is found if a box of its class is in its place. So a box of the wrong class is an error of both classes. `any
class` has recall alone: whether any box was in the object's place.

Evidence belongs to a recipe: other models, fusion or classes start without evidence. It also belongs to the frames that
were acceptable: evidence up to a low uncertainty proves nothing for a higher one, but evidence up to a high uncertainty
has trials for all lower ones.
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
from autolabel.contracts.wording import counted
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
# The newest trials that count, as a multiple of the trials that prove a target without an error: 413 for 0.95, and 12
# of these may be wrong. With more, old good trials would hide a fall.
WINDOW = 7
# Evidence documents read at a time: a recipe may have thousands of runs.
_READERS = 16


class AuditedFrame(NamedTuple):
    """An audited frame: its uncertainty level, and the models' boxes paired with a person's."""

    level: float
    pairs: Sequence[Pair]


class Count(NamedTuple):
    """Trials and errors of a class and side."""

    trials: int
    errors: int

    @property
    def bound(self) -> float:
        """The lower bound of the share that is right, at 95 % confidence."""
        return lower_bound(self.trials, self.errors)


class Trials(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Trials of one class and side (`precision` or `recall`), blind or not. `level`: uncertainty rounded up to 0.01."""

    name: str
    side: str
    blind: bool
    level: float
    trials: int
    errors: int


class Evidence(msgspec.Struct, frozen=True, rename={"max_uncertainty": "max_doubt"}):
    """Evidence of one published run's audits. `published`: ISO 8601 time in UTC; `max_uncertainty`: the policy's."""

    recipe: str
    drive: str
    run: str
    published: str
    max_uncertainty: float
    trials: tuple[Trials, ...]

    @property
    def order(self) -> tuple[str, str, str]:
        """The key that sorts evidence, oldest first."""
        return self.published, self.drive, self.run

    def count(self, name: str, max_uncertainty: float) -> dict[tuple[str, bool], Count]:
        """Count the trials of one class in frames up to `max_uncertainty`, by side and by whether they were blind."""
        counts: dict[tuple[str, bool], Count] = {}
        for row in self.trials:
            if row.name == name and row.level <= max_uncertainty:
                before = counts.get((row.side, row.blind), Count(0, 0))
                counts[row.side, row.blind] = Count(before.trials + row.trials, before.errors + row.errors)
        return counts


def recipe(run: Run) -> str:
    """Compute the digest of all that a run's pre-labels depend on beside its frames."""
    parts = [sorted(run.models), FUSION, UNCERTAINTY_VERSION, run.taxonomy, sorted(run.labels)]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def evidence_prefix(recipe: str) -> str:
    """Return the key prefix of a recipe's evidence in the label bucket."""
    return f"audits/{recipe}/"


def evidence_key(recipe: str, drive: str, run: str) -> str:
    return f"{evidence_prefix(recipe)}{drive}-{run}.json"


def read_evidence(label_bucket: Bucket, recipe: str) -> Iterator[Evidence]:
    """Read all evidence of a recipe."""
    decoder = msgspec.json.Decoder(Evidence)
    keys = (found.key for found in label_bucket.list(evidence_prefix(recipe)))
    for body in map_in_order(label_bucket.read, keys, _READERS):
        if body is not None:
            yield decoder.decode(body)


class Auditing:
    """Gathers the evidence of a run from its audited stretches, in any order."""

    def __init__(self, max_uncertainty: float) -> None:
        self._max_uncertainty = max_uncertainty
        self._trials: Counter[tuple[str, str, bool, float]] = Counter()
        self._errors: Counter[tuple[str, str, bool, float]] = Counter()

    def take(self, frames: Sequence[AuditedFrame], *, blind: bool) -> None:
        """Take the audited frames of an audit stretch, in the drive's order. Either all were blind, or none."""
        judged = [_judge(frame) for frame in frames]
        for side in (PRECISION, RECALL, ANY_CLASS):
            for track in _tracks([one[side] for one in judged]):
                whose = (ANY_CLASS, RECALL) if side == ANY_CLASS else (track.box.name, side)
                # Rounded up, but not above what the policy accepts.
                place = (*whose, blind, min(math.ceil(round(track.level * 100, 6)) / 100, self._max_uncertainty))
                self._trials[place] += 1
                self._errors[place] += track.wrong

    def evidence(self, run: Run, published: str) -> Evidence:
        rows = (Trials(*place, trials, self._errors[place]) for place, trials in self._trials.items())
        return Evidence(recipe(run), run.drive, run.run, published, self._max_uncertainty, tuple(sorted(rows)))


class _Track(NamedTuple):
    """An object so far: its last box, whether any of its boxes was wrong, and the lowest level of its frames.

    With the lowest level, a wrong object counts for every `max_uncertainty` that accepts one of its frames.
    """

    box: LabelledBox
    wrong: bool
    level: float


def _judge(frame: AuditedFrame) -> dict[str, list[_Track]]:
    """Sort a frame's boxes by the side for which they are a trial, and judge them."""
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
    """Track the objects of an audit stretch through the boxes of its frames, in order."""
    tracker = Tracker(_likeness, _join)
    for boxes in frames:
        yield from tracker.follow(boxes)
    yield from tracker.end()


def _likeness(track: _Track, one: _Track) -> float:
    return box_iou(corners(track.box), corners(one.box)) if track.box.name == one.box.name else 0.0


def _join(track: _Track, one: _Track) -> _Track:
    return _Track(one.box, track.wrong or one.wrong, min(track.level, one.level))


class ClassRecord:
    """All evidence of a recipe about one class, under a policy."""

    def __init__(self, evidence: Iterable[Evidence], name: str, policy: VerifyUncertain) -> None:
        self.name = name
        self.sides = (RECALL,) if name == ANY_CLASS else (PRECISION, RECALL)
        self._target = policy.target
        self._most = WINDOW * trials_needed(0, policy.target)
        # Most runs have no trials of the class. Without them, the search for the run that ended acceptance is short.
        self._runs = [
            (one, counts)
            for one in sorted(evidence, key=lambda one: one.order)
            if one.max_uncertainty >= policy.max_uncertainty and (counts := one.count(name, policy.max_uncertainty))
        ]

    def count(self, side: str, *, blind_only: bool, runs: int | None = None) -> Count:
        """Count the newest trials, run by run, until they are enough. `runs`: use only the oldest runs, this many.

        For each drive, only its newest run with such trials counts, because its other runs show the same objects. A
        newer run whose audits met no object of the class does not replace it.
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
        """Return whether precision and recall reach the target, by blind audits alone and by all audits together."""
        counts = (self.count(side, blind_only=only, runs=runs) for side in self.sides for only in (True, False))
        return all(proves(*count, self._target) for count in counts)

    def __str__(self) -> str:
        """Say in one sentence whether the class is accepted, how far it is, or when and why acceptance ended."""
        blind = {side: self.count(side, blind_only=True) for side in self.sides}
        if self.is_proven():
            shares = (f"{side} ≥ {_down(count.bound)} ({_trials(count)})" for side, count in blind.items())
            return f"{self.name}: {', '.join(shares)}: accepted"
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
            return f"{side} bound is only {_down(count.bound)} ({_trials(count)})"
        return f"{side} {count.trials:,} of {counted(needed, 'object')} so far ({counted(count.errors, 'error')})"


def proven_classes(evidence: Sequence[Evidence], policy: VerifyUncertain) -> frozenset[str]:
    """Find the classes, perhaps with ANY_CLASS, that may be accepted without a person. `evidence`: of one recipe."""
    return frozenset(name for name in _names(evidence) if ClassRecord(evidence, name, policy).is_proven())


def acceptance_status(evidence: Sequence[Evidence], policy: VerifyUncertain) -> dict[str, str]:
    """Return a sentence for each audited class, by its name. `evidence`: of one recipe."""
    return {name: str(ClassRecord(evidence, name, policy)) for name in _names(evidence)}


def _names(evidence: Iterable[Evidence]) -> list[str]:
    return sorted({row.name for one in evidence for row in one.trials})


def _down(bound: float) -> str:
    """Round down: a bound of 0.9499 must not read as 0.95."""
    return f"{math.floor(bound * 1_000) / 1_000:.3f}"


def _trials(count: Count) -> str:
    return f"{counted(count.trials, 'object')}, {counted(count.errors, 'error')}"
