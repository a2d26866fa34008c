"""Plan the shards of a run whose units are all settled: its frames with their answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from autolabel.contracts.drive import FIRST_RUN, Run
from autolabel.contracts.ports import Bucket, PendingUnits, RunTokens, UnitLedger
from autolabel.inference.reconciliation import Comparison, Found
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer, plan_shards, read_shards
from autolabel.labelling.uncertainty_map import keep_map


class Plan(msgspec.Struct, frozen=True):
    """A run cut into shards. `key`: the list of shards in the label bucket, one JSON line for each.

    `earlier`: whether the drive has earlier runs, whose reviewers' work is to be taken over.
    """

    drive: str
    run: str
    shards: int
    frames: int
    key: str
    earlier: bool


def plan_run(run: Run, *, label_bucket: Bucket, ledger: UnitLedger, shard_frames: int) -> Plan:
    """Write the frames of every shard with their answers, and the list of shards. Call it when nothing is pending.

    `shard_frames`: the most frames of a shard. A run that was planned before keeps its shards, also with another size,
    because the labels of earlier runs were collected for them.
    """
    _forget_wait(run, ledger)
    planned = _planned(run, label_bucket)
    if planned is None:
        # Later, some shards may be labelled without a map.
        keep_map(run, label_bucket)
    shard_frames = max((shard.frames for shard in planned or ()), default=shard_frames)
    counts = {"shards": 0, "frames": 0}

    def write_shards() -> Iterator[bytes]:
        pieces = plan_shards(_frames(run, label_bucket, ledger), shard_frames)
        for index, (camera, frames) in enumerate(pieces):
            key = run.folder.shard(index, "frames.jsonl")
            label_bucket.write(key, b"".join(msgspec.json.encode(f) + b"\n" for f in frames), "application/jsonl")
            counts["shards"] += 1
            counts["frames"] += len(frames)
            yield msgspec.json.encode(Shard(index, camera, len(frames), key)) + b"\n"

    key = run.folder.shard_list
    label_bucket.write_stream(key, write_shards(), "application/jsonl")
    return Plan(run.drive, run.run, counts["shards"], counts["frames"], key, run.run != FIRST_RUN)


def _planned(run: Run, label_bucket: Bucket) -> list[Shard] | None:
    return list(read_shards(label_bucket, run.folder)) if label_bucket.exists(run.folder.shard_list) else None


def _forget_wait(run: Run, ledger: RunTokens) -> None:
    """Delete the token of a wait that timed out, because perhaps no notification will delete it.

    A reconcile pass must not do it: a pass that outlives its call would remove the token of a later wait.
    """
    for waiting in ledger.waiting_runs(run.drive):
        if waiting.run == run.run:
            ledger.stop_waiting(waiting)


def _frames(run: Run, label_bucket: Bucket, ledger: PendingUnits) -> Iterator[tuple[str, ShardFrame]]:
    by_model = [Comparison(label_bucket, ledger, run.folder, model) for model in run.asked]
    for units in zip(*by_model, strict=True):
        first = units[0]
        yield first.frame.camera, ShardFrame(first.key, first.etag, tuple(map(_answer, units)))


def _answer(found: Found) -> UnitAnswer:
    if found.answer:
        return UnitAnswer(found.unit.model, key=found.answer)
    return UnitAnswer(found.unit.model, failure=found.failed.reason if found.failed else "no answer")
