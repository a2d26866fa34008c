"""A run's turns: what its execution asks for while it waits for answers, and the plan of its shards."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from autolabel.drives import Run, run_prefix
from autolabel.listing import freeze_listing
from autolabel.ports import Bucket, Executions, Ledger, SubmitQueue, WaitingRun
from autolabel.reconciliation import Found, Limits, Turn, compare, reconcile
from autolabel.shards import Shard, ShardFrame, UnitAnswer, plan_shards, shard_key


class TurnReport(msgspec.Struct, frozen=True):
    """What someone who watches the execution sees of a turn. `units`: frames times models."""

    drive: str
    run: str
    frames: int
    refused: int
    units: int
    answered: int
    failed: int
    pending: int
    submitted: int
    resubmitted: int


def reconcile_run(
    run: Run,
    *,
    ingest: Bucket,
    labels: Bucket,
    ledger: Ledger,
    queue: SubmitQueue,
    limits: Limits,
    now: float,
) -> TurnReport:
    """One turn of a run: freeze the listing at the first, then repair every model's units and count what is pending."""
    listing = freeze_listing(ingest, labels, run.drive, run.run, frozenset(run.document.cameras))
    total = Turn()
    for model in run.models:
        found = compare(labels, ledger, run.drive, run.run, model)
        turn = reconcile(found, labels, ledger, queue, limits, now)
        for count in Turn.__struct_fields__:
            setattr(total, count, getattr(total, count) + getattr(turn, count))
    return TurnReport(
        drive=run.drive,
        run=run.run,
        frames=listing.frames,
        refused=listing.objects - listing.frames,
        units=total.units,
        answered=total.answered,
        failed=total.failed,
        pending=total.pending,
        submitted=total.submitted,
        resubmitted=total.resubmitted,
    )


def await_answers(run: Run, token: str, *, ledger: Ledger, executions: Executions) -> bool:
    """Store the token with which collect wakes the run; whether the run is woken at once.

    Whether anything is pending is asked after the token is stored: an answer that came before found no token.
    """
    waiting = WaitingRun(run.drive, run.run, token, run.models)
    ledger.wait(waiting)
    if ledger.any_pending(run.drive, run.models):
        return False
    woken = executions.wake(token)
    ledger.stop_waiting(waiting)
    return woken


class Plan(msgspec.Struct, frozen=True):
    """A run cut into shards. `key`: the list of shards in the label bucket, one JSON line each."""

    drive: str
    run: str
    shards: int
    frames: int
    key: str


def shard_list_key(drive: str, run: str) -> str:
    return run_prefix(drive, run) + "shards.jsonl"


def plan_run(run: Run, *, labels: Bucket, ledger: Ledger, shard_frames: int) -> Plan:
    """Write every shard's frames with the answers to them, and the list of shards; call it when nothing is pending."""
    counts = {"shards": 0, "frames": 0}

    def write_shards() -> Iterator[bytes]:
        pieces = plan_shards(_frames(run, labels, ledger), shard_frames)
        for index, (camera, frames) in enumerate(pieces):
            key = shard_key(run.drive, run.run, index, "frames.jsonl")
            labels.write(key, b"".join(msgspec.json.encode(f) + b"\n" for f in frames), "application/jsonl")
            counts["shards"] += 1
            counts["frames"] += len(frames)
            yield msgspec.json.encode(Shard(index, camera, len(frames), key)) + b"\n"

    key = shard_list_key(run.drive, run.run)
    labels.write_stream(key, write_shards(), "application/jsonl")
    return Plan(run.drive, run.run, counts["shards"], counts["frames"], key)


def read_shards(labels: Bucket, drive: str, run: str) -> Iterator[Shard]:
    """The planned shards in order."""
    decoder = msgspec.json.Decoder(Shard)
    return map(decoder.decode, labels.lines(shard_list_key(drive, run)))


def _frames(run: Run, labels: Bucket, ledger: Ledger) -> Iterator[tuple[str, ShardFrame]]:
    by_model = [compare(labels, ledger, run.drive, run.run, model) for model in run.models]
    for units in zip(*by_model, strict=True):
        first = units[0]
        yield first.frame.camera, ShardFrame(first.key, first.etag, tuple(map(_answer, units)))


def _answer(found: Found) -> UnitAnswer:
    if found.answer:
        return UnitAnswer(found.unit.model, key=found.answer)
    return UnitAnswer(found.unit.model, failure=found.failed.reason if found.failed else "no answer")
