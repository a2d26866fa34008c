"""Findings: what a run's verification showed, gathered line by line while the dataset is written.

What people did to the pre-labels that they were shown; what they drew where nothing was shown, in blind audits and
where the models failed; how long it took them; and which labels may be wrong all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.labels.agreement import IGNORE
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBy, ManifestLine, Provenance
from autolabel.labels.reviews import Effort, Review
from autolabel.labels.tracker import Tracker
from autolabel.reporting.edits import KEPT, Change, ClassEdits, EditTally, compare, cost
from autolabel.reporting.label_errors import Candidates, LabelIssue, find_label_issues
from autolabel.reporting.pace import MAX_WORKERS, EffortTally, Pace, PaceTally, Seconds, SecondsTally, worker_name
from autolabel.reporting.ranking import Foremost, ForemostOfStretches

# So many frames of a run are searched for label errors, shards of them spread over it: what the models saw of a
# million frames takes longer to read than the function may.
MAX_SEARCHED = 100_000
# So many suspects are told, and so many frames shown of each kind of picture.
LABEL_ISSUES = 50
WORST = 12
# Of so many neighbouring frames of a camera the worst is shown, as they are of the same objects; of fewer in a drive
# that is too short for it.
STRETCH = 10
_STRETCHES = 4 * WORST
# So many workers are told of, those with the most frames.
TOLD_WORKERS = 50
# Models that are less so do not make a picture: they may as well see what is not there.
CONFIDENT = 0.5
# So many suspects of a frame are followed from frame to frame.
_FOLLOWED = 20
SHOWN, BLIND, DRAWN = "shown", "blind", "drawn"


class MovedIou(msgspec.Struct, frozen=True):
    """How far moved boxes lay from where people moved them: their IoU."""

    mean: float
    p10: float


class Group(msgspec.Struct, frozen=True):
    """What people did in some of a run's frames; `untouched`: left as they were shown.

    `boxes`: of the pre-labels, of which `kept` stayed as they were; `relabelled`: by the class that was shown and the
    one it became. `seconds`: None where nobody tells.
    """

    frames: int = 0
    untouched: int = 0
    boxes: int = 0
    kept: int = 0
    classes: dict[str, ClassEdits] = {}
    relabelled: dict[str, dict[str, int]] = {}
    moved_iou: MovedIou | None = None
    seconds: Seconds | None = None


class Agreement(msgspec.Struct, frozen=True, rename={"issues": "suspects"}):
    """What people did to a run's pre-labels.

    `shown`: frames whose pre-label people saw. `blind`: frames that they labelled without seeing it; what it would have
    come to. `drawn`: frames without a pre-label. `efforts`: edits by kind with their active seconds. `pace`: of the
    shown ones, by all and by each of `workers`, the busiest first, at most TOLD_WORKERS. `searched`: frames that were
    searched for label errors, with how many `suspects`, of which suspects.jsonl has the first.
    """

    shown: Group
    blind: Group
    drawn: Group
    pace: Pace
    workers: tuple[Pace, ...] = ()
    efforts: dict[str, Effort] = {}
    searched: int = 0
    issues: int = 0


class Finding(NamedTuple):
    """A frame to look at: its line of the dataset, and what may be wrong in it."""

    line: bytes
    issues: Sequence[LabelIssue] = ()


class LabelIssueLine(msgspec.Struct, frozen=True, rename={"source_ref": "source-ref", "issue": "suspect"}):
    """A line of suspects.jsonl; `frames`: in so many in a row models contradict people about the object, of which this
    is the most suspicious."""

    source_ref: str
    camera: str
    timestamp: str
    frames: int
    issue: LabelIssue


class _Record(msgspec.Struct):
    """What counts of a line of a shard's detections.jsonl."""

    key: str
    detections: Candidates


class _Ranked(NamedTuple):
    """A suspect where it was most suspicious, and that frame."""

    row: LabelIssueLine
    frame: Finding


class _Track(NamedTuple):
    """A suspect over the frames so far: where it was last, and where it was most suspicious."""

    last: LabelIssue
    worst: _Ranked


class Findings:
    """Gathers the findings of a run of `frames` lines, in the order of the drive.

    `labels`: the classes that people were asked for.
    """

    def __init__(self, labels: Iterable[str], frames: int) -> None:
        self._labels = frozenset(labels) - {IGNORE}
        self._every = max(1, math.ceil(frames / MAX_SEARCHED))
        self._decoder = msgspec.json.Decoder(_Record)
        self._tallies = {how: (EditTally(), SecondsTally()) for how in (SHOWN, BLIND, DRAWN)}
        self._efforts = EffortTally()
        self._pace = PaceTally()
        self._workers: dict[str, PaceTally] = {}
        self._stretch = min(max(frames // _STRETCHES, 1), STRETCH)
        self._positions: Counter[str] = Counter()
        self._worst = ForemostOfStretches[Finding](WORST)
        self._suspects = Foremost[_Ranked](LABEL_ISSUES)
        self._tracker = Tracker(_likeness, _join)
        self._camera = ""
        self._searched = self._found = 0

    def wants_candidates(self, shard: int) -> bool:
        """Whether the frames of the shard of this index are searched for label errors."""
        return shard % self._every == 0

    def take(self, line: ManifestLine, encoded: bytes, candidates: bytes = b"") -> None:
        """Take in a line of the dataset, and the frame's line of detections.jsonl where it is searched.

        CountMismatch when these are of another frame.
        """
        camera = line.origin.camera
        stretch = (camera, self._positions[camera] // self._stretch)
        self._positions[camera] += 1
        if not line.verified_by_person:
            return
        predicted, verified = line.prelabel_boxes, line.verified_boxes
        how = _how(line.origin)
        changes = compare(predicted, verified)
        review = line.review if line.review is not UNSET else Review()
        edits, seconds = self._tallies[how]
        edits.take(changes)
        if review.seconds is not None:
            seconds.take(review.seconds)
        if how == SHOWN:
            self._take_pace(review, changes)
            if (spent := cost(changes)) > 0:
                self._worst.take(stretch, spent, Finding(encoded))
        if candidates:
            record = self._decoder.decode(candidates)
            if not line.source_ref.endswith(f"/{record.key}"):
                raise CountMismatch(f"the candidates of {record.key} lie where those of {line.source_ref} belong")
            issues = find_label_issues(record.detections, predicted if how == SHOWN else (), verified, self._labels)
            self._take_suspects(line, Finding(encoded, issues[:_FOLLOWED]))

    def agreement(self) -> Agreement:
        self._rank(self._tracker.end())
        busiest = sorted((tally.pace for tally in self._workers.values()), key=lambda p: (-p.frames, p.worker))
        return Agreement(
            shown=_group(*self._tallies[SHOWN]),
            blind=_group(*self._tallies[BLIND]),
            drawn=_group(*self._tallies[DRAWN]),
            pace=self._pace.pace,
            workers=tuple(busiest[:TOLD_WORKERS]),
            efforts=self._efforts.efforts,
            searched=self._searched,
            issues=self._found,
        )

    def issues(self) -> Iterator[bytes]:
        """The lines of suspects.jsonl, when all frames were taken."""
        for ranked in self._ranked():
            yield msgspec.json.encode(ranked.row) + b"\n"

    def worst(self) -> list[Finding]:
        """The frames in which people changed most, by what it cost them."""
        return self._worst.ranked()

    def contradicted(self) -> list[Finding]:
        """The frames of the most suspicious labels of which models are confident."""
        sure = (one for one in self._ranked() if one.row.issue.confidence >= CONFIDENT)
        frames = {one.row.source_ref: one.frame for one in sure}
        return list(frames.values())[:WORST]

    def _take_pace(self, review: Review, changes: Sequence[Change]) -> None:
        self._efforts.take(review.edits)
        tallies = [self._pace]
        if review.worker:
            name = worker_name(review.worker)
            if name in self._workers or len(self._workers) < MAX_WORKERS:
                tallies.append(self._workers.setdefault(name, PaceTally(name)))
        changed = sum(change.kind != KEPT for change in changes)
        for tally in tallies:
            tally.take(review, changed)

    def _ranked(self) -> list[_Ranked]:
        self._rank(self._tracker.end())
        return self._suspects.ranked()

    def _take_suspects(self, line: ManifestLine, frame: Finding) -> None:
        self._searched += 1
        camera, timestamp = line.origin.camera, line.origin.timestamp
        if camera != self._camera:
            self._rank(self._tracker.end())
            self._camera = camera
        found = (_Ranked(LabelIssueLine(line.source_ref, camera, timestamp, 1, s), frame) for s in frame.issues)
        self._rank(self._tracker.follow([_Track(one.row.issue, one) for one in found]))

    def _rank(self, ended: Sequence[_Track]) -> None:
        self._found += len(ended)
        for track in ended:
            self._suspects.take(track.worst.row.issue.suspicion, track.worst)


def _how(provenance: Provenance) -> str:
    if provenance.triage == BLIND_AUDIT:
        return BLIND
    return SHOWN if provenance.labelled_by == LabelledBy.MODEL_AND_PERSON else DRAWN


def _likeness(track: _Track, one: _Track) -> float:
    last, now = track.last, one.last
    same = last.kind == now.kind and last.models.label == now.models.label
    return box_iou(last.models.corners, now.models.corners) if same else 0.0


def _join(track: _Track, one: _Track) -> _Track:
    worst = max(track.worst, one.worst, key=lambda ranked: ranked.row.issue.suspicion)
    row = msgspec.structs.replace(worst.row, frames=track.worst.row.frames + 1)
    return _Track(one.last, worst._replace(row=row))


def _group(edits: EditTally, seconds: SecondsTally) -> Group:
    moved, relabelled = edits.moved, dict[str, dict[str, int]]()
    for (shown, became), count in edits.relabelled.most_common():
        relabelled.setdefault(shown, {})[became] = count
    return Group(
        frames=edits.frames,
        untouched=edits.untouched,
        boxes=sum(of.shown for of in edits.classes.values()),
        kept=sum(of.kept for of in edits.classes.values()),
        classes=dict(sorted(edits.classes.items(), key=lambda item: (-item[1].shown - item[1].added, item[0]))),
        relabelled=relabelled,
        moved_iou=MovedIou(round(moved.total / moved.count, 3), moved.quantile(0.1)) if moved.count else None,
        seconds=seconds.seconds,
    )
