"""Reconciliation: the frozen listing, the answers in S3 and the ledger are compared, and what differs is repaired.

All sources come in one order, that of `camera/timestamp`, so that one pass over them in step does for any number of
frames without holding them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

from autolabel.frames import FrameKey, parse_frame_key
from autolabel.listing import read_listing
from autolabel.ports import Bucket, FailedUnit, Ledger, PendingUnit, SubmitQueue
from autolabel.units import Unit, answers_prefix, parse_answer_key

Item = TypeVar("Item")
# SQS takes ten messages at a time; so many asks are gathered before they are sent.
_ASKS = 10


class Found(msgspec.Struct, frozen=True):
    """What the three sources say of one unit. `answer`: the key of its newest answer, or empty."""

    frame: FrameKey
    key: str
    etag: str
    unit: Unit
    answer: str = ""
    failed: FailedUnit | None = None
    pending: PendingUnit | None = None


class Limits(msgspec.Struct, frozen=True):
    """When a unit is asked for again.

    `unsubmitted_after`: seconds after which a unit that no endpoint took is queued once more. `max_silences`:
    invocations in a row that nothing is heard of, after which the unit is failed. A request that the endpoint reports
    as expired is none of them: an endpoint with much to do lets requests expire.
    """

    unsubmitted_after: float
    max_silences: int


class Turn(msgspec.Struct):
    """What one reconciliation found and did, in units."""

    units: int = 0
    answered: int = 0
    failed: int = 0
    pending: int = 0
    submitted: int = 0
    resubmitted: int = 0
    settled: int = 0


class _InStep(Generic[Item]):
    """A source in the order of positions that is read along with the listing."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        self._items = iter(items)
        self._next = next(self._items, None)

    def at(self, position: str) -> list[Item]:
        """The items of a position; those of earlier ones, which the listing does not hold, are passed over."""
        while self._next is not None and self._next[0] < position:
            self._next = next(self._items, None)
        found = []
        while self._next is not None and self._next[0] == position:
            found.append(self._next[1])
            self._next = next(self._items, None)
        return found


def compare(labels: Bucket, ledger: Ledger, drive: str, run: str, model: str) -> Iterator[Found]:
    """What is known of every unit of a run before one model, in listing order; refused objects are no units."""
    answers = _InStep(_answers(labels, drive, model))
    elsewhere = _InStep((unit.position, (unit, key)) for unit, key in ledger.locations_of_model(drive, model))
    failed = _InStep((unit.unit.position, unit) for unit in ledger.failed_of_model(drive, model))
    pending = _InStep((unit.unit.position, unit) for unit in ledger.pending_of_model(drive, model))
    for line in read_listing(labels, drive, run):
        if line.refused:
            continue
        frame = parse_frame_key(line.key)
        unit = Unit.of(frame, line.etag, model)
        # The answer of the latest attempt; one that the endpoint reported elsewhere wins.
        keys = [key for _, key in sorted((n, key) for of, n, key in answers.at(unit.position) if of == unit)]
        keys += [key for of, key in elsewhere.at(unit.position) if of == unit]
        yield Found(
            frame=frame,
            key=line.key,
            etag=line.etag,
            unit=unit,
            answer=keys[-1] if keys else "",
            failed=next((f for f in failed.at(unit.position) if f.unit == unit), None),
            pending=next((p for p in pending.at(unit.position) if p.unit == unit), None),
        )


def _answers(labels: Bucket, drive: str, model: str) -> Iterator[tuple[str, tuple[Unit, int, str]]]:
    for thing in labels.list(answers_prefix(drive, model)):
        parsed = parse_answer_key(thing.key)
        if parsed:
            yield parsed[0].position, (*parsed, thing.key)


def reconcile(
    found: Iterable[Found], labels: Bucket, ledger: Ledger, queue: SubmitQueue, limits: Limits, now: float
) -> Turn:
    """Repair what the sources disagree on, and count; the run may go on when nothing is pending.

    An answer wins over everything. A unit that nobody knows is recorded as pending, then queued for submission; one
    whose deadline has passed goes to its next attempt, or is failed after `limits.max_silences`. `now`: seconds since
    the epoch.
    """
    turn = Turn()
    asks: list[tuple[Unit, str, str]] = []
    for one in found:
        turn.units += 1
        if one.answer:
            turn.answered += 1
            if one.pending:
                ledger.settle(one.unit, None)
                turn.settled += 1
            continue
        if one.pending is None and one.failed:
            turn.failed += 1
            continue
        if one.pending and one.pending.location and labels.exists(one.pending.location):
            ledger.settle(one.unit, one.pending.location)
            turn.answered += 1
            turn.settled += 1
            continue
        ask = _ask(one, ledger, limits, now, turn)
        if ask:
            asks.append((one.unit, one.key, one.etag))
            if len(asks) == _ASKS:
                queue.send(asks)
                asks = []
    if asks:
        queue.send(asks)
    return turn


def _ask(one: Found, ledger: Ledger, limits: Limits, now: float, turn: Turn) -> bool:
    """Bring a unit without an answer on its way; whether it is to be queued."""
    pending = one.pending
    if pending is None:
        turn.pending += 1
        turn.submitted += 1
        ledger.add_pending(PendingUnit(one.unit, one.key, one.etag, attempt=1, errors=0, since=now))
        return True
    if pending.invoked:
        if now <= pending.deadline:
            turn.pending += 1
            return False
        silences = pending.silences + 1
        if silences >= limits.max_silences:
            if ledger.fail(pending, f"nothing was heard of {silences} invocations"):
                turn.failed += 1
            else:
                turn.pending += 1
            return False
        turn.pending += 1
        if ledger.next_attempt(pending, errors=pending.errors, since=now, silences=silences):
            turn.resubmitted += 1
            return True
        return False
    turn.pending += 1
    if now - pending.since > limits.unsubmitted_after and ledger.touch(pending, since=now):
        turn.resubmitted += 1
        return True
    return False
