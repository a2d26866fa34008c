"""Writes the files of a part: its lines of the dataset and of the review log, and what the whole run needs of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import AUDITS, TRACKS, VerifyKeyFrames
from autolabel.datasets.cuboid_files import add_cuboids, read_cuboids
from autolabel.datasets.cuboid_jobs import read_verified
from autolabel.datasets.joining import Join
from autolabel.datasets.parts import DatasetCounts, Part
from autolabel.datasets.strip_tracks import judge_identities
from autolabel.datasets.verified_labels import JobTally
from autolabel.labels.agreement import Pair, pair_boxes
from autolabel.reporting.findings import FrameJudge, JudgedFrame
from autolabel.reporting.vigilance import SeedTally
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.redrawn import RedrawnTally
from autolabel.triage.review_log import review_frame

_JSON_LINES = "application/jsonl"


class PartResult(msgspec.Struct, frozen=True):
    """The content of a part's result.json: the counts of its dataset lines, and those of its job's frames.

    `dataset_bytes`, `review_bytes`: of its lines of the dataset and of the review log. `seeds`: what reviewers made of
    the seeds of its frames. `redrawn`: its key boxes that a second person labelled blind.
    """

    part: Part
    counts: DatasetCounts
    tally: JobTally
    dataset_bytes: int
    review_bytes: int
    seeds: SeedTally = msgspec.field(default_factory=SeedTally)
    redrawn: RedrawnTally = msgspec.field(default_factory=RedrawnTally)


class PartFrame(NamedTuple):
    """A frame of a part: its line of the dataset, and what the run's findings and audits need.

    `pairs`: the boxes of an audited frame that a person labelled; None for other frames, also in `reviewed`.
    """

    line: bytes
    camera: str
    judged: JudgedFrame | None
    reviewed: Reviewed | None
    pairs: tuple[Pair, ...] | None


class _JudgedLine(msgspec.Struct, frozen=True, array_like=True):
    """A line of a part's judged.jsonl; the fields are those of PartFrame."""

    camera: str
    judged: JudgedFrame | None = None
    reviewed: Reviewed | None = None
    pairs: tuple[Pair, ...] | None = None


def write_part(run: Run, part: Part, label_bucket: Bucket) -> PartResult:
    """Write the files of a part, its result last; return that. A repeated call writes the same.

    Raises CountMismatch when a frame is missing.
    """
    join, judge, counts = Join(run, part, label_bucket), FrameJudge(run.labels), DatasetCounts()
    judged, reviews, dataset_bytes, seeds, redrawn = list[bytes](), list[bytes](), 0, SeedTally(), RedrawnTally()
    policy = run.document.verification
    cuboids = read_cuboids(run, part, label_bucket) if run.document.cuboids else iter(())
    verified = read_verified(run, part, label_bucket) if run.document.verifies_cuboids else {}
    key_frames = isinstance(policy, VerifyKeyFrames)

    def lines() -> Iterator[bytes]:
        nonlocal dataset_bytes
        for frame in join.frames():
            line = frame.line
            if run.document.cuboids:
                add_cuboids(line, next(cuboids, None), verified, run.labels)
            counts.take(line)
            if frame.seed:
                seeds.take(frame.seed)
            if frame.redrawn is not None:
                redrawn.take(pair_boxes(line.verified_boxes, frame.redrawn))
            reviewed, pairs = review_frame(line, frame.uncertainty, frame.position)
            if pairs is not None and policy.task == TRACKS:
                pairs = judge_identities(line, pairs)
            if key_frames and pairs is not None:
                # What is audited is the interpolation.
                pairs = None if frame.expected is None else pair_boxes(frame.expected, line.verified_boxes)
            audited = pairs is not None and reviewed.triage in AUDITS
            reviews.append(msgspec.json.encode(reviewed) + b"\n")
            kept = _JudgedLine(
                line.origin.camera,
                judge.judge(line, frame.candidates, frame.seed),
                reviewed if audited else None,
                tuple(pairs or ()) if audited else None,
            )
            judged.append(msgspec.json.encode(kept) + b"\n")
            encoded = msgspec.json.encode(line) + b"\n"
            dataset_bytes += len(encoded)
            yield encoded

    folder = run.folder
    label_bucket.write_stream(folder.part(part.id, "dataset.jsonl"), lines(), _JSON_LINES)
    label_bucket.write_stream(folder.part(part.id, "reviewed.jsonl"), reviews, _JSON_LINES)
    label_bucket.write_stream(folder.part(part.id, "judged.jsonl"), judged, _JSON_LINES)
    result = PartResult(part, counts, join.tally, dataset_bytes, sum(map(len, reviews)), seeds, redrawn)
    label_bucket.write(folder.part(part.id, "result.json"), msgspec.json.encode(result))
    return result


def read_result(run: Run, part: Part, label_bucket: Bucket) -> PartResult | None:
    """Read the result of a part; None if it was not written yet, or not of these shards and this job."""
    body = label_bucket.read(run.folder.part(part.id, "result.json"))
    result = msgspec.json.decode(body, type=PartResult) if body else None
    return result if result and result.part == part else None


def read_part(run: Run, part: Part, label_bucket: Bucket) -> Iterator[PartFrame]:
    """Read the frames of a part that was written, in the drive's order."""
    lines = label_bucket.lines(run.folder.part(part.id, "dataset.jsonl"))
    judged = map(msgspec.json.Decoder(_JudgedLine).decode, label_bucket.lines(run.folder.part(part.id, "judged.jsonl")))
    for line, one in zip(lines, judged, strict=True):
        yield PartFrame(line + b"\n", one.camera, one.judged, one.reviewed, one.pairs)
