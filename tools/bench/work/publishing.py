"""Measures settling the rounds of a run's jobs, and publishing the run part by part, over generated pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import ObjectHead, ObjectPart, StoredObject
from autolabel.datasets.parts import plan_parts
from autolabel.datasets.publication import publish_part, publish_run
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labelling.shards import Shard, ShardResult, Tally
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.manifest import VERIFIED, metadata_of
from autolabel.reporting.summary import FrameCounts, Summary
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from autolabel.verification.settlement import Result, Settled, settle_round
from tools.bench.work.assembling import BOXES, manifest_line
from tools.bench.work.drive import (
    CAMERA,
    CLASSES,
    DRIVE,
    FOLDER,
    JOB_FRAMES,
    PART_FRAMES,
    RUN,
    SHARD_FRAMES,
    frame_key,
    make_run,
)
from tools.bench.work.generated_bucket import GeneratedBucket, NotGenerated
from tools.bench.work.pace import Pace

_NOW = 1_800_000_000.0
_MADE = b'"human-annotated":"yes","adjustment-status":"unadjusted"'


class _Labels(GeneratedBucket):
    """The label bucket of a run whose reviewers kept every box. `count` is told of each result and dataset line.

    Of the files of a part it keeps the first line, and generates the others from that.
    """

    def __init__(self, frames: int, count: Callable[[], None]) -> None:
        super().__init__()
        self._frames = frames
        self._count = count
        self._results: dict[str, bytes] = {}
        self._firsts: dict[str, tuple[bytes, int]] = {}
        line = manifest_line()
        self._first = frame_key(0).timestamp.encode()
        parts = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        label = bytes(parts["prelabel"])
        metadata = bytes(parts["prelabel-metadata"]).replace(b'"human-annotated":"no"', _MADE)
        self._line = line.rstrip(b"\n")
        added = f'"{VERIFIED}":'.encode() + label + f',"{metadata_of(VERIFIED)}":'.encode() + metadata
        self._output = self._line[:-1] + b"," + added + b"}"
        source = f"s3://bench/{frame_key(0).key}"
        self._result = msgspec.json.encode(Result(source, "bench", msgspec.Raw(label), msgspec.Raw(metadata)))
        self._uncertainty = msgspec.json.encode(FrameUncertainty(0.2, (0.1,) * BOXES, (), 0.0, ("car",)))

    def read(self, key: str) -> bytes | None:
        if key == FOLDER.summary:
            counts = FrameCounts(self._frames, self._frames, 0, 0)
            return msgspec.json.encode(
                Summary(DRIVE, RUN, counts, 0, {}, {}, {}, ("bench.0001",), "2026.1", CLASSES, ())
            )
        if key in (FOLDER.links, FOLDER.acceptance_criteria):
            return None
        if key.startswith(FOLDER.parts):
            return self._results.get(key)
        if not key.endswith(".result.json"):
            return super().read(key)
        tally = Tally(labelled=SHARD_FRAMES)
        size = SHARD_FRAMES * (len(self._line) + 1)
        return msgspec.json.encode(ShardResult(int(key.rpartition("/")[2].partition(".")[0]), tally, size))

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        super().write(key, body, content_type)
        if key.startswith(FOLDER.parts):
            self._results[key] = body

    def head(self, key: str) -> ObjectHead | None:
        return ObjectHead("etag", 1)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        # No responses, and no evidence of other runs.
        return iter(())

    def lines(self, key: str) -> Iterator[bytes]:
        name = key.rpartition("/")[2]
        if key in self._firsts:
            return self._part(key)
        if key == FOLDER.shard_list:
            return self._shards()
        if key in (FOLDER.failed, FOLDER.rejected):
            return iter(())
        if name.startswith("verify-"):
            body = self._result if name.endswith(".results.jsonl") else self._line
            return self._of(body, int(name[7:10]) * JOB_FRAMES, JOB_FRAMES)
        if name.startswith("output-"):
            return self._of(self._output, int(name[7:]) * JOB_FRAMES, JOB_FRAMES)
        part = name.partition(".")[2]
        first = int(name.partition(".")[0]) * SHARD_FRAMES
        if part == "manifest.jsonl":
            return self._of(self._line, first, SHARD_FRAMES)
        if part == "doubts.jsonl":
            return iter([self._uncertainty] * SHARD_FRAMES)
        if part == "detections.jsonl":
            return iter(())
        raise NotGenerated(key)

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        counted = key.endswith((".dataset.jsonl", ".results.jsonl"))
        lines = 0
        for chunk in chunks:
            self.written += len(chunk)
            if not lines and key.startswith(FOLDER.parts):
                self._firsts[key] = chunk.rstrip(b"\n"), 0
            lines += 1
            if counted:
                self._count()
        if key in self._firsts:
            self._firsts[key] = self._firsts[key][0], lines

    def _part(self, key: str) -> Iterator[bytes]:
        """Yield the lines of a part's file, each with a key of its own."""
        first, lines = self._firsts[key]
        for index in range(lines):
            if key.endswith(".dataset.jsonl"):
                self._count()
            yield first.replace(self._first, frame_key(index).timestamp.encode())

    def _shards(self) -> Iterator[bytes]:
        for index in range(self._frames // SHARD_FRAMES):
            yield msgspec.json.encode(Shard(index, CAMERA, SHARD_FRAMES, FOLDER.shard(index, "frames.jsonl")))

    def _of(self, body: bytes, first: int, count: int) -> Iterator[bytes]:
        """Yield the lines of the frames from `first` on, each with its own key."""
        for index in range(first, min(first + count, self._frames)):
            yield body.replace(self._first, frame_key(index).timestamp.encode())


class _Ledger:
    def finish_run(self, run: Run, outcome: str, at: float) -> None:
        pass


class _Announcements:
    def tell_ops(self, subject: str, message: str) -> None:
        pass

    def publish(self, kind: str, detail: dict[str, object]) -> None:
        pass


class _Ingest(GeneratedBucket):
    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        # Not an image, so the report has no picture of it; pictures are the same work for every drive.
        return ObjectPart(b"")

    def read(self, key: str) -> bytes | None:
        return None


def settle_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Settle the jobs of a drive of `frames` frames; `short` and `stops` as in Pace."""
    pace = Pace(frames, "tools.bench.work.publishing:settle_frames", short=short, stops=stops)
    labels = _Labels(frames, pace.add)
    for index, size in _jobs(frames):
        one = JobRound(f"bench-{index}", GROUND_TRUTH, 1, labels.uri(FOLDER.job_manifest(index)), size, "")
        output = labels.lines(f"{FOLDER.prefix}output-{index}")
        settled = settle_round(one, output, label_bucket=labels, names=frozenset(CLASSES))
        if settled.verified != size:
            raise AssertionError(f"unexpected counts of {size} frames: {settled}")
    return pace.stop()


def write_parts(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Write the parts of a drive of `frames` frames; `short` and `stops` as in Pace."""
    pace = Pace(frames, "tools.bench.work.publishing:write_parts", short=short, stops=stops)
    _write_parts(_Labels(frames, pace.add), frames)
    return pace.stop()


def join_parts(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Publish a drive of `frames` frames whose parts are written; `short` and `stops` as in Pace."""
    paces: list[Pace] = []
    labels = _Labels(frames, lambda: paces[0].add() if paces else None)
    _write_parts(labels, frames)
    paces.append(Pace(frames, "tools.bench.work.publishing:join_parts", short=short, stops=stops))
    publication = publish_run(
        make_run(),
        _finished(labels, frames),
        ingest=_Ingest(),
        label_bucket=labels,
        ledger=_Ledger(),  # type: ignore[arg-type]
        announcements=_Announcements(),
        now=_NOW,
        part_frames=PART_FRAMES,
    )
    if publication.verified != frames:
        raise AssertionError(f"unexpected counts of {frames} frames: {publication}")
    return paces[0].stop()


def _write_parts(labels: _Labels, frames: int) -> None:
    run = make_run()
    for part in plan_parts(run, _finished(labels, frames), labels, PART_FRAMES):
        publish_part(run, part, labels)


def _finished(labels: _Labels, frames: int) -> list[FinishedJob]:
    per_job = JOB_FRAMES // SHARD_FRAMES
    return [
        FinishedJob(
            f"bench-{index}",
            "Completed",
            size,
            index * per_job,
            index * per_job + size // SHARD_FRAMES - 1,
            (Settled(f"bench-{index}", labels.uri(f"{FOLDER.manifests}verify-{index:03d}.results.jsonl"), size),),
        )
        for index, size in _jobs(frames)
    ]


def _jobs(frames: int) -> Iterator[tuple[int, int]]:
    """Yield the index and the number of frames of each job."""
    for index, first in enumerate(range(0, frames, JOB_FRAMES)):
        yield index, min(JOB_FRAMES, frames - first)
