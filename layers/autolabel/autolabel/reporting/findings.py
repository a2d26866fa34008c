"""Findings about a run's verification, gathered frame by frame while the dataset is written.

They are: the reviewers' changes to pre-labels that they were shown; the boxes that they drew without a pre-label, in
blind audits and in failed frames; the time that they took; and the labels that may still be wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.labels.agreement import IGNORE
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBy, ManifestLine, Provenance, read_line
from autolabel.labels.reviews import Effort, Review
from autolabel.labels.tracker import Tracker
from autolabel.reporting.edits import (
    ClassEdits,
    EditTally,
    FrameEdits,
    compare,
    corrections_of,
    summarise,
    without_redrawn,
)
from autolabel.reporting.label_errors import Candidates, LabelIssue, PixelBox, find_label_issues
from autolabel.reporting.pace import MAX_WORKERS, EffortTally, Pace, PaceTally, Seconds, SecondsTally, worker_name
from autolabel.reporting.ranking import Foremost, ForemostOfStretches
from autolabel.reporting.time_errors import TimedIssues, TimedLabel, TimeSearch
from autolabel.triage.corrections import MOST_KEPT, Correction, lot
from autolabel.triage.seeds import SeedVerdict

# About this many frames of a run are searched for label issues, in shards spread over it: reading the detections of a
# million frames takes longer than the function may run.
MAX_SEARCHED = 100_000
# Label issues that are listed, and frames that are shown for each kind of picture.
LABEL_ISSUES = 50
WORST = 12
# From this many neighbouring frames of a camera only the worst is shown, because they show the same objects. The
# stretches of a short drive have fewer frames.
STRETCH = 10
_STRETCHES = 4 * WORST
# Reviewers that are listed, those with the most frames.
LISTED_WORKERS = 50
# Label issues of a lower confidence get no picture, because the models' object may not exist.
CONFIDENT = 0.5
# Label issues of a frame that are followed from frame to frame.
_FOLLOWED = 20
# From this `suspicion` on, issues by time count: of seeded errors in KITTI's tracks, half of these were errors.
LIKELY = 0.6
# Issues by time that get pictures, of three frames each.
WORST_BY_TIME = 6
# Frames in a row of a camera that are searched by time, where not all are.
_SEARCHED_BY_TIME = 1_000
_NANOSECONDS = 1_000_000_000
# The groups of judged frames.
How = Literal["shown", "blind", "drawn"]
SHOWN: How = "shown"
BLIND: How = "blind"
DRAWN: How = "drawn"


class MovedIou(msgspec.Struct, frozen=True):
    """IoU of moved boxes before and after the move: the mean and the 10th percentile."""

    mean: float
    p10: float


class Group(msgspec.Struct, frozen=True):
    """The reviewers' changes in a group of a run's frames. `untouched`: frames without a change.

    `boxes`: boxes of the pre-labels; `kept`: those without a change; `relabelled`: counts by the shown class and the
    new class. `seconds`: None if the back-end does not report them.
    """

    frames: int = 0
    untouched: int = 0
    boxes: int = 0
    kept: int = 0
    classes: dict[str, ClassEdits] = {}
    relabelled: dict[str, dict[str, int]] = {}
    moved_iou: MovedIou | None = None
    seconds: Seconds | None = None


class Agreement(msgspec.Struct, frozen=True, rename={"issues": "suspects", "issues_by_time": "suspects_by_time"}):
    """The reviewers' changes to a run's pre-labels.

    `shown`: frames whose pre-label reviewers saw. `blind`: blind audits; their changes are the differences between the
    hidden pre-label and the reviewers' label. `drawn`: frames without a pre-label. `efforts`: edits by kind with their
    active seconds. `pace`: of all reviewers in the shown frames; `workers`: of each reviewer, the busiest first, at
    most LISTED_WORKERS. `searched`: frames that were searched for label issues; `issues`: the number of issues found;
    `issues_by_time`: of those that neighbouring frames tell, with a `suspicion` of at least LIKELY. suspects.jsonl
    lists the most suspicious of both.
    """

    shown: Group
    blind: Group
    drawn: Group
    pace: Pace
    workers: tuple[Pace, ...] = ()
    efforts: dict[str, Effort] = {}
    searched: int = 0
    issues: int = 0
    issues_by_time: int = 0


class Finding(NamedTuple):
    """A frame to look at: its line of the dataset, and what may be wrong in it.

    `before`, `after`: of an issue by time, the lines of the neighbouring frames, if there are any.
    """

    line: bytes
    issues: Sequence[LabelIssue] = ()
    before: bytes | None = None
    after: bytes | None = None


class LabelIssueLine(msgspec.Struct, frozen=True, rename={"source_ref": "source-ref", "issue": "suspect"}):
    """A line of suspects.jsonl: the frame where an object's label issue is most suspicious. `frames`: the number of
    frames in a row with this issue."""

    source_ref: str
    camera: str
    timestamp: str
    frames: int
    issue: LabelIssue


class _Record(msgspec.Struct):
    """The fields of a line of a shard's detections.jsonl that this module reads."""

    key: str
    detections: Candidates


class _Ranked(NamedTuple):
    """A label issue where it is most suspicious, and its frame."""

    row: LabelIssueLine
    frame: Finding


class _Track(NamedTuple):
    """A label issue followed over frames: in its last frame, and where it is most suspicious."""

    last: LabelIssue
    worst: _Ranked


class JudgedFrame(msgspec.Struct, frozen=True, array_like=True):
    """What a person's label says about the pre-label of its frame.

    `how`: the group of the frame, `shown`, `blind` or `drawn`. `issues`: the label issues; None if they were not
    searched for. `corrections`: of the boxes that were shown.
    """

    how: How
    source_ref: str
    timestamp: str
    edits: FrameEdits
    review: Review
    issues: tuple[LabelIssue, ...] | None = None
    corrections: tuple[Correction, ...] = ()


class FrameJudge:
    """Judges the frames of a run one by one. `labels`: the job labels, which reviewers can choose."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels = frozenset(labels) - {IGNORE}
        self._decoder = msgspec.json.Decoder(_Record)

    def judge(self, line: ManifestLine, candidates: bytes = b"", seed: SeedVerdict | None = None) -> JudgedFrame | None:
        """Judge a line of the dataset; None if no person judged its pre-label.

        `candidates`: the frame's line of detections.jsonl, if the frame is searched for label issues. `seed`: what a
        reviewer made of the frame's seed; undoing it does not count. Raises CountMismatch when the candidates are of
        another frame.
        """
        if not line.judges_prelabel:
            return None
        predicted, verified, how = line.prelabel_boxes, line.verified_boxes, _how(line.origin)
        issues = None
        if candidates:
            record = self._decoder.decode(candidates)
            if not line.source_ref.endswith(f"/{record.key}"):
                raise CountMismatch(f"expected the candidates of {line.source_ref}, found those of {record.key}")
            shown = predicted if how == SHOWN else ()
            issues = tuple(find_label_issues(record.detections, shown, verified, self._labels)[:_FOLLOWED])
        review = line.review if line.review is not UNSET else Review()
        changes = compare(predicted, verified)
        if seed and seed.right and seed.caught:
            changes = without_redrawn(changes, seed.right)
        found = corrections_of(changes, line.size) if how == SHOWN else ()
        return JudgedFrame(how, line.source_ref, line.origin.timestamp, summarise(changes), review, issues, found)


def is_searched(shard: int, frames: int) -> bool:
    """Whether the shard with this index, of a run of `frames` frames, is searched for label issues."""
    return shard % max(1, math.ceil(frames / MAX_SEARCHED)) == 0


class Findings:
    """Gathers the findings of a run of `frames` lines, in the order of the drive.

    `corrected`: the number of corrections of shown boxes.
    """

    def __init__(self, frames: int) -> None:
        self._tallies: dict[How, tuple[EditTally, SecondsTally]] = {
            how: (EditTally(), SecondsTally()) for how in (SHOWN, BLIND, DRAWN)
        }
        self._efforts = EffortTally()
        self._pace = PaceTally()
        self._workers: dict[str, PaceTally] = {}
        self._stretch = min(max(frames // _STRETCHES, 1), STRETCH)
        self._positions: Counter[str] = Counter()
        self._worst = ForemostOfStretches[Finding](WORST)
        self._issues = Foremost[_Ranked](LABEL_ISSUES)
        self._tracker = Tracker(_likeness, _join)
        self._camera = ""
        self._searched = self._found = 0
        self._by_time = _IssuesByTime(frames)
        self._corrections = Foremost[Correction](MOST_KEPT)
        self.corrected = 0

    def take(self, camera: str, judged: JudgedFrame | None, encoded: bytes) -> None:
        """Take in a frame of a camera, and its line of the dataset."""
        position = self._positions[camera]
        stretch = (camera, position // self._stretch)
        self._positions[camera] += 1
        self._by_time.take(camera, position, encoded)
        if judged is None:
            return
        edits, seconds = self._tallies[judged.how]
        edits.take(judged.edits)
        if judged.review.seconds is not None:
            seconds.take(judged.review.seconds)
        if judged.how == SHOWN:
            self._take_pace(judged)
            self.corrected += len(judged.corrections)
            for at, correction in enumerate(judged.corrections):
                self._corrections.take(lot(f"{judged.source_ref} {at}"), correction)
            if judged.edits.cost > 0:
                self._worst.take(stretch, judged.edits.cost, Finding(encoded))
        if judged.issues is not None:
            self._take_issues(camera, judged, Finding(encoded, judged.issues))

    def agreement(self) -> Agreement:
        self._rank(self._tracker.end())
        busiest = sorted((tally.pace for tally in self._workers.values()), key=lambda p: (-p.frames, p.worker))
        return Agreement(
            shown=_group(*self._tallies[SHOWN]),
            blind=_group(*self._tallies[BLIND]),
            drawn=_group(*self._tallies[DRAWN]),
            pace=self._pace.pace,
            workers=tuple(busiest[:LISTED_WORKERS]),
            efforts=self._efforts.efforts,
            searched=self._searched,
            issues=self._found,
            issues_by_time=self._by_time.count(),
        )

    def issues(self) -> Iterator[bytes]:
        """Yield the lines of suspects.jsonl. Call it after all frames were taken in."""
        both = [*self._ranked(), *self._by_time.ranked()]
        for ranked in sorted(both, key=lambda one: -one.row.issue.suspicion)[:LABEL_ISSUES]:
            yield msgspec.json.encode(ranked.row) + b"\n"

    def corrections(self) -> tuple[Correction, ...]:
        """Return at most MOST_KEPT of the corrections of shown boxes, drawn by lot."""
        return tuple(self._corrections.ranked())

    def worst(self) -> list[Finding]:
        """Return the frames with the most changes, by their cost."""
        return self._worst.ranked()

    def contradicted(self) -> list[Finding]:
        """Return the frames of the most suspicious labels that confident models contradict."""
        sure = (one for one in self._ranked() if one.row.issue.confidence >= CONFIDENT)
        frames = {one.row.source_ref: one.frame for one in sure}
        return list(frames.values())[:WORST]

    def out_of_time(self) -> list[Finding]:
        """Return the frames of the most suspicious labels that neighbouring frames contradict."""
        frames = {one.row.source_ref: one.frame for one in self._by_time.ranked()}
        return list(frames.values())[:WORST_BY_TIME]

    def _take_pace(self, judged: JudgedFrame) -> None:
        review = judged.review
        self._efforts.take(review.edits)
        tallies = [self._pace]
        if review.worker:
            name = worker_name(review.worker)
            if name in self._workers or len(self._workers) < MAX_WORKERS:
                tallies.append(self._workers.setdefault(name, PaceTally(name)))
        for tally in tallies:
            tally.take(review, len(judged.edits.others))

    def _ranked(self) -> list[_Ranked]:
        self._rank(self._tracker.end())
        return self._issues.ranked()

    def _take_issues(self, camera: str, judged: JudgedFrame, frame: Finding) -> None:
        self._searched += 1
        if camera != self._camera:
            self._rank(self._tracker.end())
            self._camera = camera
        found = (
            _Ranked(LabelIssueLine(judged.source_ref, camera, judged.timestamp, 1, issue), frame)
            for issue in frame.issues
        )
        self._rank(self._tracker.follow([_Track(one.row.issue, one) for one in found]))

    def _rank(self, ended: Sequence[_Track]) -> None:
        self._found += len(ended)
        for track in ended:
            self._issues.take(track.worst.row.issue.suspicion, track.worst)


class _IssuesByTime:
    """Gathers the label issues that neighbouring frames tell, of a run of `frames` lines whose boxes were linked."""

    def __init__(self, frames: int) -> None:
        self._every = max(1, math.ceil(frames / MAX_SEARCHED))
        self._search = TimeSearch[bytes]()
        self._camera = ""
        self._tracker = Tracker(_likeness, _join)
        self._foremost = Foremost[_Ranked](LABEL_ISSUES)
        self._found = 0

    def take(self, camera: str, position: int, encoded: bytes) -> None:
        if position // _SEARCHED_BY_TIME % self._every:
            return
        line = read_line(encoded)
        # A script's label says as little here as elsewhere. Segments have no boxes.
        if line.verified is UNSET or line.tracks is UNSET or line.labelled_by_script:
            return
        if camera != self._camera:
            self._end()
            self._camera = camera
        time = int(line.origin.timestamp) / _NANOSECONDS
        label = TimedLabel(time, line.size.width, line.size.height, line.verified_boxes, line.verified_by_person)
        for timed in self._search.take(encoded, label):
            self._follow(timed)

    def count(self) -> int:
        self._end()
        return self._found

    def ranked(self) -> list[_Ranked]:
        self._end()
        return self._foremost.ranked()

    def _end(self) -> None:
        for timed in self._search.end():
            self._follow(timed)
        self._rank(self._tracker.end())

    def _follow(self, timed: TimedIssues[bytes]) -> None:
        likely = [issue for issue in timed.issues[:_FOLLOWED] if issue.suspicion >= LIKELY]
        found = []
        if likely:
            line = read_line(timed.here)
            for issue in likely:
                row = LabelIssueLine(line.source_ref, self._camera, line.origin.timestamp, 1, issue)
                found.append(_Track(issue, _Ranked(row, Finding(timed.here, [issue], timed.before, timed.after))))
        self._rank(self._tracker.follow(found))

    def _rank(self, ended: Sequence[_Track]) -> None:
        self._found += len(ended)
        for track in ended:
            self._foremost.take(track.worst.row.issue.suspicion, track.worst)


def _how(provenance: Provenance) -> How:
    if provenance.triage == BLIND_AUDIT:
        return BLIND
    return SHOWN if provenance.labelled_by == LabelledBy.MODEL_AND_PERSON else DRAWN


def _likeness(track: _Track, one: _Track) -> float:
    last, now = _seen_in(track.last), _seen_in(one.last)
    same = track.last.kind == one.last.kind and last.label == now.label
    return box_iou(last.corners, now.corners) if same else 0.0


def _seen_in(issue: LabelIssue) -> PixelBox:
    """Return the box by which an issue is followed."""
    if box := issue.models or issue.expected or issue.verified:
        return box
    raise AssertionError("an issue has a box")


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
