"""Reconciliation: the frozen listing, the answers in S3 and the ledger are compared, and what differs is repaired.

All sources come in one order, that of `camera/timestamp`, so that one pass over them in step does for any number of
frames without holding them, and can be broken off after any frame and taken up there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from autolabel.contracts.frames import FrameKey, parse_frame_key
from autolabel.contracts.ports import Bucket, FailedUnit, PendingUnit, PendingUnits, SubmitQueue
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit, answers_prefix, answers_prefix_after, parse_answer_key
from autolabel.drives.listing import read_listing
from autolabel.streams.ordered_map import map_in_order

Item = TypeVar("Item")
# SQS takes ten messages at a time; so many repairs are made before their units are queued.
_GROUP = 10


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
    max_unanswered: int
    max_failed_percent: float = 50.0


class PassCounts(msgspec.Struct):
    """What a reconciliation found and did, in units; `dropped` are pending units that the listing does not hold."""

    units: int = 0
    answered: int = 0
    failed: int = 0
    pending: int = 0
    submitted: int = 0
    resubmitted: int = 0
    dropped: int = 0


class _InStep(Generic[Item]):
    """A source in the order of positions that is read along with the listing."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        self._items = iter(items)
        self._next = next(self._items, None)

    def before(self, position: str | None) -> Iterator[Item]:
        """The items of earlier positions, which the listing does not hold; with None, all that are left."""
        while (item := self._next) is not None and (position is None or item[0] < position):
            self._next = next(self._items, None)
            yield item[1]

    def at(self, position: str) -> list[Item]:
        """The items of a position; those of earlier ones are passed over."""
        for _ in self.before(position):
            pass
        found = []
        while (item := self._next) is not None and item[0] == position:
            self._next = next(self._items, None)
            found.append(item[1])
        return found


class Comparison:
    """What is known of every unit of a run before one model, in listing order, behind the position `after`.

    Refused objects are no units.
    """

    def __init__(self, labels: Bucket, ledger: PendingUnits, folder: RunFolder, model: str, after: str = "") -> None:
        self._labels = labels
        self._ledger = ledger
        self._folder = folder
        self._model = model
        self._after = after

    def __iter__(self) -> Iterator[Found]:
        return (one for one in self.with_strays() if isinstance(one, Found))

    def with_strays(self) -> Iterator[Found | PendingUnit]:
        """The same, and between them the pending units that the listing does not hold, all in order of position."""
        drive, model, after = self._folder.drive, self._model, self._after
        ledger = self._ledger
        # What is settled or failed after pending units were read is found where it went to. Read the other way round it
        # would be in neither place, and asked for again.
        pending = _InStep((p.unit.position, p) for p in ledger.pending_of_model(drive, model, after))
        answers = _InStep(self._answers())
        elsewhere = _InStep((u.position, (u, key)) for u, key in ledger.locations_of_model(drive, model, after))
        failed = _InStep((f.unit.position, f) for f in ledger.failed_of_model(drive, model, after))
        for line in read_listing(self._labels, self._folder):
            if line.refused:
                continue
            frame = parse_frame_key(line.key)
            if frame.position <= after:
                continue
            unit = Unit.of(frame, line.etag, model)
            yield from pending.before(unit.position)
            waiting = pending.at(unit.position)
            yield from (p for p in waiting if p.unit != unit)
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
                pending=next((p for p in waiting if p.unit == unit), None),
            )
        yield from pending.before(None)

    def _answers(self) -> Iterator[tuple[str, tuple[Unit, int, str]]]:
        start = answers_prefix_after(self._folder.drive, self._model, self._after) if self._after else ""
        for thing in self._labels.list(answers_prefix(self._folder.drive, self._model), start):
            parsed = parse_answer_key(thing.key)
            if parsed:
                yield parsed[0].position, (*parsed, thing.key)


Count = Literal["answered", "failed", "pending", "submitted", "resubmitted", "dropped"]


class _Repair(NamedTuple):
    """What one repair came to: what it counts as, and whether the unit is to be queued."""

    counts: tuple[Count, ...]
    queue: bool = False


class Pause(NamedTuple):
    """Why a model's endpoint takes nothing, empty when it does; `removed`: it is not to come back."""

    why: str = ""
    removed: bool = False


class Reconciliation:
    """Repairs what the sources disagree on, and counts; a run may go on when nothing is pending.

    An answer wins over everything. A unit that nobody knows is recorded as pending, then queued for submission; one
    whose deadline has passed goes to its next attempt, or is failed after `limits.max_silences`; one that failed
    before `retry_failed_before` is tried once more. While `paused` says why the model's endpoint takes nothing,
    such units are recorded, and nothing is queued; when the model was removed for good, they are failed. With
    `drop_strays`, pending units that the listing does not hold are forgotten once they are overdue. `now` and
    `retry_failed_before`: seconds since the epoch. `workers`: repairs made at a time.
    """

    def __init__(
        self,
        *,
        labels: Bucket,
        ledger: PendingUnits,
        queue: SubmitQueue,
        limits: Limits,
        now: float,
        paused: Callable[[], Pause] = Pause,
        retry_failed_before: float = 0.0,
        drop_strays: bool = False,
        workers: int = 1,
    ) -> None:
        self._labels = labels
        self._ledger = ledger
        self._queue = queue
        self._limits = limits
        self._now = now
        self._ask_paused = paused
        self._retry_failed_before = retry_failed_before
        self._drop_strays = drop_strays
        self._workers = workers
        self.paused = Pause()

    def take(self, comparison: Comparison, turn: PassCounts, enough: Callable[[], bool] = lambda: False) -> str | None:
        """Repair what a comparison finds and count it into `turn`.

        Breaks off when `enough` says so; the position to go on behind, or None when all of it is done.
        """
        reached: str | None = None

        def groups() -> Iterator[list[Found | PendingUnit]]:
            nonlocal reached
            group: list[Found | PendingUnit] = []
            behind, due = "", False
            for seen, one in enumerate(comparison.with_strays(), start=1):
                # Between positions, so that no call leaves a part of one to nobody.
                if due and one.unit.position != behind:
                    if enough():
                        reached = behind
                        break
                    due = False
                behind = one.unit.position
                if self._is_to_repair(one, turn):
                    group.append(one)
                due = due or seen % 1_000 == 0
                if len(group) >= _GROUP:
                    yield group
                    group, due = [], True
            if group:
                yield group

        for repairs in map_in_order(self._repair_group, groups(), self._workers):
            for repair in repairs:
                _count(turn, repair.counts)
        return reached

    def _is_to_repair(self, one: Found | PendingUnit, turn: PassCounts) -> bool:
        """Whether anything is to be done; a unit that is as it should be is counted."""
        if isinstance(one, PendingUnit):
            return self._drop_strays and self._is_overdue(one)
        turn.units += 1
        settled = self._settled(one)
        if settled:
            _count(turn, (settled,))
        return settled is None

    def _settled(self, one: Found) -> Count | None:
        """What a unit counts as that needs no repair."""
        pending = one.pending
        if one.answer:
            return None if pending else "answered"
        if pending is None:
            return "failed" if one.failed and one.failed.at >= self._retry_failed_before else None
        if pending.location:
            return None
        return None if self._is_overdue(pending) else "pending"

    def _is_overdue(self, pending: PendingUnit) -> bool:
        if pending.invoked:
            return self._now > pending.deadline
        return self._now - pending.since > self._limits.unsubmitted_after

    def _repair_group(self, group: list[Found | PendingUnit]) -> list[_Repair]:
        if not self.paused.why:
            self.paused = self._ask_paused()
        repairs = [self._repair(one) if isinstance(one, Found) else self._drop(one) for one in group]
        # The units are recorded as pending before they are queued, so that nobody finds them unknown meanwhile.
        asked = [
            (one.unit, one.key, one.etag)
            for one, repair in zip(group, repairs, strict=True)
            if repair.queue and isinstance(one, Found)
        ]
        if asked:
            self._queue.send(asked)
        return repairs

    def _drop(self, stray: PendingUnit) -> _Repair:
        return _Repair(("dropped",) if self._ledger.drop(stray) else ())

    def _repair(self, one: Found) -> _Repair:
        pending = one.pending
        if one.answer:
            self._ledger.settle(one.unit, None)
            return _Repair(("answered",))
        if pending and pending.location and self._labels.exists(pending.location):
            self._ledger.settle(one.unit, pending.location)
            return _Repair(("answered",))
        paused = bool(self.paused.why)
        if pending and not self._is_overdue(pending):
            return _Repair(("pending",))
        if pending and not paused:
            return self._retry(pending)
        if pending:
            return self._give_up(pending) if self.paused.removed else _Repair(("pending",))
        # A run waits only for what the ledger says is pending. What cannot be queued yet is parked there, as by submit.
        first = PendingUnit(one.unit, one.key, one.etag, attempt=1, errors=0, since=0.0 if paused else self._now)
        if one.failed is None:
            self._ledger.add_pending(first)
            return _Repair(("pending",) if paused else ("pending", "submitted"), queue=not paused)
        self._ledger.revive(msgspec.structs.replace(first, attempt=one.failed.attempt + 1))
        return _Repair(("pending",) if paused else ("pending", "resubmitted"), queue=not paused)

    def _give_up(self, pending: PendingUnit) -> _Repair:
        failed = self._ledger.fail(pending, "its model was removed", self._now)
        return _Repair(("failed",) if failed else ("pending",))

    def _retry(self, pending: PendingUnit) -> _Repair:
        """Bring a unit on its way once more whose message or answer is overdue.

        It is queued whatever the ledger says: a change whose answer was lost looks like one that somebody else made.
        """
        if not pending.invoked:
            self._ledger.touch(pending, since=self._now)
            return _Repair(("pending", "resubmitted"), queue=True)
        unanswered = pending.unanswered + 1
        if unanswered >= self._limits.max_unanswered:
            failed = self._ledger.fail(pending, f"nothing was heard of {unanswered} invocations", self._now)
            return _Repair(("failed",) if failed else ("pending",))
        self._ledger.next_attempt(pending, errors=pending.errors, since=self._now, unanswered=unanswered)
        return _Repair(("pending", "resubmitted"), queue=True)


def _count(turn: PassCounts, counts: Iterable[Count]) -> None:
    for name in counts:
        setattr(turn, name, getattr(turn, name) + 1)
