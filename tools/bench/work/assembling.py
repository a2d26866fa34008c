"""Measures assembling a run's shards, over generated pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from autolabel.aws import AwsAnnouncements
from autolabel.contracts.ports import ObjectPart
from autolabel.datasets.assembly import Assembly, assemble_run
from autolabel.labelling.shards import FrameIssue, Shard, ShardResult, Tally
from autolabel.labels.detections import Detection, Detections
from autolabel.labels.manifest import LabelledBy, Provenance, encode_line, prelabelled_line
from autolabel.verification.jobs import GROUND_TRUTH, BackEnds
from tools.bench.work.drive import (
    CAMERA,
    CLASSES,
    DRIVE,
    ETAG,
    FOLDER,
    HEIGHT,
    JOB_FRAMES,
    MODEL,
    SHARD_FRAMES,
    WIDTH,
    frame_key,
    make_run,
)
from tools.bench.work.generated_units import GeneratedIngest, GeneratedLabels, GeneratedLedger, Shares
from tools.bench.work.pace import Pace

BOXES = 15
# Frames of each shard that failed inference, and that are not images.
FAILED, REJECTED = 10, 5


class _Ingest(GeneratedIngest):
    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        # Not an image, so the report has no picture of it; pictures are the same work for every drive.
        return ObjectPart(b"")


class _Labels(GeneratedLabels):
    """The label bucket of a run whose shards are labelled."""

    def __init__(self, frames: int, pace: Pace) -> None:
        super().__init__(frames, Shares(answered=100), pace.add)
        self._line = manifest_line()
        self._issues = [
            msgspec.json.encode({"outcome": outcome, "frame": FrameIssue(frame_key(i).key, "reason", "detail")})
            for outcome, count in (("failed", FAILED), ("rejected", REJECTED))
            for i in range(count)
        ]

    def read(self, key: str) -> bytes | None:
        # A first run: nothing was fixed, collected or taken over.
        if key in (FOLDER.acceptance_criteria, FOLDER.earlier_labels, FOLDER.taken_over, FOLDER.links):
            return None
        if not key.endswith(".result.json"):
            return super().read(key)
        labelled = SHARD_FRAMES - FAILED - REJECTED
        tally = Tally(labelled=labelled)
        tally.count_labels({"car": labelled * BOXES}, {"below-threshold": labelled})
        tally.count_issues("failed", "inference-failed", FAILED)
        tally.count_issues("rejected", "not-an-image", REJECTED)
        size = len(self._line) * (labelled + FAILED)
        return msgspec.json.encode(ShardResult(int(key.rpartition("/")[2].partition(".")[0]), tally, size))

    def lines(self, key: str) -> Iterator[bytes]:
        if key == FOLDER.shard_list:
            for index in range(self._frames // SHARD_FRAMES):
                shard = Shard(index, CAMERA, SHARD_FRAMES, FOLDER.shard(index, "frames.jsonl"))
                yield msgspec.json.encode(shard)
        elif key.endswith(".issues.jsonl"):
            yield from self._issues
        elif key.endswith(".manifest.jsonl"):
            yield from [self._line] * (SHARD_FRAMES - REJECTED)
        elif key in (FOLDER.failed, FOLDER.rejected):
            yield from (msgspec.json.encode(FrameIssue(frame_key(i).key, "reason", "detail")) for i in range(100))
        else:
            yield from super().lines(key)


WORKTEAM = "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/w"
BACK_ENDS = BackEnds(GROUND_TRUTH, WORKTEAM, "us-east-1", label_studio=False)


def assemble_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Assemble a drive of `frames` frames; `short` and `stops` as in Pace."""
    pace = Pace(frames, "tools.bench.work.assembling:assemble_frames", short=short, stops=stops)
    assemble(frames, pace)
    return pace.stop()


def assemble(frames: int, pace: Pace) -> Assembly:
    """Assemble a drive of `frames` frames; returns what the execution gets."""
    ledger = GeneratedLedger(frames, Shares(answered=100))
    assembly = assemble_run(
        make_run(),
        ingest=_Ingest(frames),
        label_bucket=_Labels(frames, pace),
        ledger=ledger.port,
        announcements=AwsAnnouncements(),
        back_ends=BACK_ENDS,
        max_objects=JOB_FRAMES,
        strip_frames=0,
    )
    lines = sum(job.frames for job in assembly.jobs)
    if (assembly.frames.uploaded, lines) != (frames, frames // SHARD_FRAMES * (SHARD_FRAMES - REJECTED)):
        raise AssertionError(f"unexpected counts of {frames} frames: {assembly}")
    return assembly


def manifest_line() -> bytes:
    """The line of the first frame, with BOXES boxes."""
    places = [(100.0 * i, 10.0, 100.0 * i + 90.0, 90.0) for i in range(BOXES)]
    boxes = tuple(Detection("car", place, 0.5, 0.5, "car", (MODEL.id,)) for place in places)
    line = prelabelled_line(
        source=f"s3://bench/{frame_key(0).key}",
        detections=Detections(WIDTH, HEIGHT, boxes),
        depth=3,
        labels=CLASSES,
        job="bench-0001",
        created="2026-01-01T00:00:00.000000",
        provenance=Provenance(
            drive=DRIVE,
            camera=CAMERA,
            timestamp=frame_key(0).timestamp,
            etag=ETAG,
            labelled_by=LabelledBy.MODEL,
        ),
    )
    return encode_line(line)
