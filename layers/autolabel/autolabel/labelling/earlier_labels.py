"""Judges the labels that persons made of a frame in earlier runs: is one kept, or do reviewers get the frame again?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import AGAIN, KEPT, REVIEW_ALL, REVIEW_NONE, SEGMENTS
from autolabel.labelling.shards import LabelledShard
from autolabel.labels.manifest import (
    CandidateBox,
    KeptFrom,
    LabelledBox,
    LabelledBy,
    LineTooLong,
    ManifestLine,
    ShownUncertainty,
    Unsure,
    encode_line,
    read_line,
)
from autolabel.labels.person_labels import (
    Adopted,
    PersonLabel,
    adopt,
    contradictions,
    offered_all,
    segment_classes,
)
from autolabel.labels.reviews import MAX_COMMENT, Review

# Why reviewers get a frame again. The summary counts frames by these.
CONTRADICTED = "the models find something that the reviewer was not shown"
NOT_OFFERED = "the earlier job did not offer every class"
DROPPED = "the earlier segments have a class that this run does not have"
UNSURE = "a reviewer was unsure"
DISPUTED = "reviewers differ about some objects"
PICTURE_GONE = "the picture of the earlier segments is gone"
UNREADABLE = "the earlier label cannot be read"


class EarlierFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run does with the earlier labels of one frame: a line of a shard's part `kept`.

    `kind`: KEPT or AGAIN; empty without an earlier label that counts. `label`: the one that is kept, or that counts if
    no reviewer labels the frame in this run. `dropped`: the number of its boxes that are left out. `why`: why reviewers
    get the frame again. `asked`: the line that they get then, if it is not the frame's own.
    """

    kind: str = ""
    label: PersonLabel | None = None
    dropped: int = 0
    why: str = ""
    asked: str = ""


NOTHING = EarlierFrame()


class EarlierCounts(msgspec.Struct, omit_defaults=True):
    """Counts what a run does with the labels of earlier runs.

    `kept`: frames by the run whose label they keep; `again`: frames that reviewers get again, by the reason; `dropped`:
    boxes that kept labels lost, because this run does not have their classes.
    """

    kept: dict[str, int] = {}
    again: dict[str, int] = {}
    dropped: int = 0

    def take(self, kind: str, frame: EarlierFrame) -> None:
        """Count a frame. `kind`: of the frame; audits count as neither."""
        if kind == KEPT and frame.label is not None:
            self.kept[frame.label.run] = self.kept.get(frame.label.run, 0) + 1
            self.dropped += frame.dropped
        elif kind == AGAIN:
            self.again[frame.why] = self.again.get(frame.why, 0) + 1


def earlier_frames(run: Run, shard: LabelledShard, label_bucket: Bucket) -> Iterator[EarlierFrame]:
    """Read what becomes of the earlier labels of each line of a shard."""
    if not shard.asked:
        return repeat(NOTHING, shard.lines)
    decoder = msgspec.json.Decoder(EarlierFrame)
    return map(decoder.decode, label_bucket.lines(run.folder.shard(shard.index, "kept.jsonl")))


def judge_frame(line: bytes, earlier: Sequence[PersonLabel], run: Run) -> EarlierFrame:
    """Judge the earlier labels of a frame, the newest first. `line`: its manifest line with the new pre-label."""
    task = run.document.verification.task
    frame = read_line(line)
    wanted = frame.origin.etag, run.taxonomy, task
    counting = [one for one in earlier if (one.etag, one.taxonomy, one.task) == wanted and not one.excluded]
    if not counting:
        return NOTHING
    newest = counting[0]
    # An unsure label counts at last, if no other look at the frame leaves one.
    final = next((one for one in counting if one.final), newest)
    try:
        kept, start = adopt(final, run.labels), adopt(newest, run.labels)
        against = contradictions(frame.prelabel_boxes, start.label.boxes, newest.shown) if task != SEGMENTS else []
        # A class cannot be taken out of a picture.
        stays_whole = task != SEGMENTS or segment_classes(final) <= set(run.labels)
    except (msgspec.DecodeError, IndexError, KeyError, TypeError):
        return NOTHING if run.review == REVIEW_ALL else EarlierFrame(AGAIN, why=UNREADABLE)
    # Segments of another set of classes cannot stand in for a label of this run.
    label, dropped = kept if stays_whole else (None, 0)
    if run.review == REVIEW_ALL:
        return EarlierFrame("", label, dropped)
    why = _why_again(newest, run) or ("" if stays_whole else DROPPED)
    if not why and against and run.review != REVIEW_NONE:
        why = CONTRADICTED
    if not why:
        return EarlierFrame(KEPT, label, dropped)
    asked = _start_from(frame, start, against, why)
    if not asked and why == CONTRADICTED:
        # Asked from the models' boxes, the reviewer would draw all of their own again.
        return EarlierFrame(KEPT, label, dropped)
    return EarlierFrame(AGAIN, label, dropped, why, asked)


def keep_label(line: ManifestLine, earlier: EarlierFrame, label: PersonLabel) -> None:
    """Put a person's label from an earlier run into a frame's line."""
    if label.task != SEGMENTS:
        line.verified, line.verified_metadata = label.label, label.metadata
    else:
        line.verified_segments, line.verified_segments_metadata = label.label, label.metadata
    line.review = label.review
    provenance = line.origin
    provenance.labelled_by, provenance.job, provenance.unsure = label.labelled_by, label.job, label.unsure
    if not label.final and isinstance(label.review, Review) and label.review.unsure:
        provenance.unsure = Unsure(label.review.worker, label.review.comment[:MAX_COMMENT])
    provenance.kept = KeptFrom(label.run, label.models, earlier.dropped)


def _why_again(newest: PersonLabel, run: Run) -> str:
    if not newest.final:
        return UNSURE if isinstance(newest.review, Review) and newest.review.unsure else DISPUTED
    return "" if offered_all(newest, run.labels) else NOT_OFFERED


def _start_from(frame: ManifestLine, start: Adopted, against: Sequence[LabelledBox], why: str) -> str:
    """Return the line with the person's label in place of the pre-label, and the contradictions marked.

    Empty if the line is longer than Ground Truth allows, and for segments that a reviewer does not go on with.
    """
    label = start.label
    segments = label.task == SEGMENTS
    if segments and why != UNSURE:
        return ""
    marked = tuple(
        CandidateBox(
            box.name, int(box.left), int(box.top), int(box.width), int(box.height), round(box.confidence, 2), new=True
        )
        for box in against
    )
    reason = why
    if not label.final and isinstance(label.review, Review) and label.review.comment:
        reason = f"{why}: {label.review.comment[:MAX_COMMENT]}"
    frame.uncertainty = ShownUncertainty(1.0, () if segments else (0.0,) * len(label.boxes), (reason,), marked)
    frame.masks = UNSET
    if segments:
        frame.segmentation, frame.segmentation_metadata = msgspec.json.decode(label.label, type=str), label.metadata
    else:
        frame.prelabel, frame.prelabel_metadata = label.label, label.metadata
        frame.segmentation = frame.segmentation_metadata = UNSET
    frame.origin.labelled_by = LabelledBy.MODEL_AND_PERSON
    try:
        return encode_line(frame).decode().rstrip("\n")
    except LineTooLong:
        return ""
