"""Shards: contiguous parts of one camera's frames in a run. One function call labels one shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from autolabel.contracts.errors import CountMismatch, ShardMissing
from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.wording import counted
from autolabel.streams.ordered_map import map_in_order


class UnitAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame's result from one model: the key of its answer in the label bucket, or why there is no answer."""

    model: str
    key: str = ""
    failure: str = ""


class ShardFrame(msgspec.Struct, frozen=True):
    """A frame of a shard with its answers."""

    key: str
    etag: str
    answers: tuple[UnitAnswer, ...]


class Shard(msgspec.Struct, frozen=True):
    """One line of the shard list: LabelShards passes it to one call. `key`: the shard's frames in the label bucket."""

    index: int
    camera: str
    frames: int
    key: str


# Small objects are read this many at a time: a million frames make some thousand shards.
READERS = 16
# Different reasons for which dropped boxes are counted: a reason can contain a model's own class name.
MAX_KINDS = 1_000
OTHER_KINDS = "other kinds"


class FrameIssue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame that was rejected or failed. `reason`: one word; `detail`: a sentence; `source`: as in the provenance."""

    key: str
    reason: str
    detail: str
    source: str = ""


class ModelTally(msgspec.Struct):
    """Counts of one model in a part of a run: frames that it answered or failed, and boxes of the pre-labels.

    `boxes`: those that it found; `alone`: those that no other model found; `missed`: those within its coverage that
    only others found. `clipped`: detections of its answers whose score was a little above 1, and became 1.
    """

    answered: int = 0
    failed: int = 0
    boxes: int = 0
    alone: int = 0
    missed: int = 0
    clipped: int = 0

    def add(self, other: ModelTally) -> None:
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Tally(msgspec.Struct):
    """Counts of a part of a run.

    `reasons`: frames by outcome and reason. `dropped`: dropped boxes by reason. `models`: by `name.revision`.
    """

    labelled: int = 0
    failed: int = 0
    rejected: int = 0
    boxes: int = 0
    classes: dict[str, int] = {}
    reasons: dict[str, dict[str, int]] = {}
    dropped: dict[str, int] = {}
    models: dict[str, ModelTally] = {}

    @property
    def frames(self) -> int:
        return self.labelled + self.failed + self.rejected

    def count_labels(self, boxes: Mapping[str, int], dropped: Mapping[str, int]) -> None:
        """Count a frame's boxes by class, and its dropped boxes by reason."""
        self.boxes += sum(boxes.values())
        _add(self.classes, boxes)
        for why, count in dropped.items():
            separate = why in self.dropped or len(self.dropped) < MAX_KINDS
            _add(self.dropped, {why if separate else OTHER_KINDS: count})

    def count_issues(self, outcome: str, reason: str, count: int = 1) -> None:
        """Count frames as `failed` or `rejected`."""
        if outcome == "failed":
            self.failed += count
        else:
            self.rejected += count
        _add(self.reasons.setdefault(outcome, {}), {reason: count})

    def count_models(self, models: Mapping[str, ModelTally]) -> None:
        for model, counts in models.items():
            self.models.setdefault(model, ModelTally()).add(counts)

    def add(self, other: Tally) -> None:
        self.labelled += other.labelled
        self.count_models(other.models)
        self.count_labels(other.classes, other.dropped)
        for outcome, reasons in other.reasons.items():
            for reason, count in reasons.items():
                self.count_issues(outcome, reason, count)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


class AskedLines(msgspec.Struct, frozen=True):
    """The lines of a shard's part `asked`: the frames without a kept label, as reviewers get them."""

    lines: int
    bytes: int


class ShardResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Result of one call of the label function: its counts and the size of its manifest.

    `asked`: what reviewers get if they get every frame; None if it is the manifest, because no frame has a label from
    an earlier run that counts.
    """

    index: int
    tally: Tally
    manifest_bytes: int
    asked: AskedLines | None = None


class LabelledShard(msgspec.Struct, frozen=True):
    """A labelled shard as assembly needs it.

    `before`: the number of lines of the same camera in earlier shards. `outcomes`: `failed` and `rejected`, if it has
    such frames. `linked`: Link wrote its lines again, with tracks.
    """

    index: int
    camera: str
    lines: int
    before: int
    manifest_bytes: int
    outcomes: frozenset[str] = frozenset()
    asked: AskedLines | None = None
    linked: bool = False

    def part(self, name: str) -> str:
        """Return the name of the part that counts: `manifest`, `doubts` or `asked`, as Link wrote it if it did."""
        return f"linked.{name}.jsonl" if self.linked else f"{name}.jsonl"


def read_results(label_bucket: Bucket, folder: RunFolder) -> tuple[list[LabelledShard], Tally]:
    """Read the result of every planned shard; raise ShardMissing or CountMismatch for one that is not as planned."""

    def read(shard: Shard) -> tuple[Shard, ShardResult]:
        return shard, check_result(shard, label_bucket.read(folder.shard(shard.index, "result.json")))

    shards, total, before = list[LabelledShard](), Tally(), Counter[str]()
    for shard, result in map_in_order(read, read_shards(label_bucket, folder), READERS):
        tally, camera = result.tally, shard.camera
        total.add(tally)
        lines = tally.labelled + tally.failed
        outcomes = frozenset(tally.reasons)
        shards.append(
            LabelledShard(shard.index, camera, lines, before[camera], result.manifest_bytes, outcomes, result.asked)
        )
        before[camera] += lines
    return shards, total


def read_shards(label_bucket: Bucket, folder: RunFolder) -> Iterator[Shard]:
    """Read the planned shards in order."""
    decoder = msgspec.json.Decoder(Shard)
    return map(decoder.decode, label_bucket.lines(folder.shard_list))


def plan_shards(frames: Iterable[tuple[str, ShardFrame]], shard_frames: int) -> Iterator[tuple[str, list[ShardFrame]]]:
    """Cut (camera, frame) pairs, in listing order, into contiguous parts of one camera, `shard_frames` at most."""
    camera, piece = "", list[ShardFrame]()
    for frame_camera, frame in frames:
        if piece and (frame_camera != camera or len(piece) == shard_frames):
            yield camera, piece
            piece = []
        camera = frame_camera
        piece.append(frame)
    if piece:
        yield camera, piece


def check_result(shard: Shard, body: bytes | None) -> ShardResult:
    """Read the result of a planned shard; raise ShardMissing or CountMismatch if it is not as planned."""
    if body is None:
        raise ShardMissing(f"shard {shard.index} of {counted(shard.frames, 'frame')} ({shard.key}) has no result")
    result = msgspec.json.decode(body, type=ShardResult)
    if result.index != shard.index or result.tally.frames != shard.frames:
        raise CountMismatch(
            f"shard {shard.index} was planned with {counted(shard.frames, 'frame')}, "
            f"its result (of shard {result.index}) has {result.tally.frames}"
        )
    return result
