"""Compares the frozen listing, the answers in S3 and the ledger, and repairs the differences.

All sources come in the order of `camera/timestamp`. So one pass reads them in step, holds no frames in memory, and can
stop after any frame and continue there.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from autolabel.contracts.frames import FrameKey, parse_frame_key
from autolabel.contracts.ports import Bucket, FailedUnit, PendingUnit, PendingUnits, SubmitQueue
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit, answers_prefix, answers_prefix_after, parse_answer_key
from autolabel.drives.listing import read_listing
from autolabel.streams.ordered_map import map_in_order

Item = TypeVar("Item")
# SQS takes ten messages at a time; this number of repairs is made before their units are queued.
_GROUP = 10
# A share in this many frames is wrong by more than an eighth in one of twenty samples. A cursor holds a sample of each
# model, 15 KB at most, and a state's output 256 KB.
SAMPLE = 64


class Found(msgspec.Struct, frozen=True):
    """The records of one unit in the three sources. `answer`: the key of its newest answer, or empty."""

    frame: FrameKey
    key: str
    etag: str
    unit: Unit
    answer: str = ""
    failed: FailedUnit | None = None
    pending: PendingUnit | None = None


class Limits(msgspec.Struct, frozen=True):
    """Says when a unit is asked for again, and when a run stops.

    `unsubmitted_after`: seconds after which a unit that no endpoint took is queued once more. `max_unanswered`:
    consecutive unanswered attempts after which a unit is failed. A request that the endpoint reports as expired does
    not count as unanswered: a busy endpoint lets requests expire. `max_failed_percent`: the share of the frames that
    one model may fail.
    """

    unsubmitted_after: float
    max_unanswered: int
    max_failed_percent: float


class PassCounts(msgspec.Struct):
    """Counts the units that a reconcile pass found and changed; `dropped` are stray units."""

    units: int = 0
    answered: int = 0
    failed: int = 0
    pending: int = 0
    submitted: int = 0
    resubmitted: int = 0
    dropped: int = 0


class SampledFrame(msgspec.Struct, frozen=True):
    """A frame of the sample of those that a model failed."""

    key: str
    etag: str


def draw_sample(frames: Iterable[SampledFrame]) -> list[SampledFrame]:
    """Draw at most SAMPLE frames: those whose keys hash lowest, so that a sample of samples is one of the whole."""
    return heapq.nsmallest(SAMPLE, frames, key=lambda frame: hashlib.sha256(frame.key.encode()).digest())


class _InStep(Generic[Item]):
    """Reads a source in the order of positions, in step with the listing."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        self._items = iter(items)
        self._next = next(self._items, None)

    def before(self, position: str | None) -> Iterator[Item]:
        """Yield the items of earlier positions, which the listing does not hold; with None, all remaining items."""
        while (item := self._next) is not None and (position is None or item[0] < position):
            self._next = next(self._items, None)
            yield item[1]

    def at(self, position: str) -> list[Item]:
        """Return the items of a position; skip those of earlier ones."""
        for _ in self.before(position):
            pass
        found = []
        while (item := self._next) is not None and item[0] == position:
            self._next = next(self._items, None)
            found.append(item[1])
        return found


class Comparison:
    """Iterates over what is known about each unit of one model in a run, in listing order, behind the position `after`.

    Refused objects are not units.
    """

    def __init__(
        self, label_bucket: Bucket, ledger: PendingUnits, folder: RunFolder, model: str, after: str = ""
    ) -> None:
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._folder = folder
        self._model = model
        self._after = after

    def __iter__(self) -> Iterator[Found]:
        return (one for one in self.with_strays() if isinstance(one, Found))

    def with_strays(self) -> Iterator[Found | PendingUnit]:
        """Yield the units and the stray units, ordered by position."""
        drive, model, after = self._folder.drive, self._model, self._after
        ledger = self._ledger
        # Pending units are read first. A unit that is settled or failed later is then found among the answers or failed
        # units. In the other order it might be in neither place, and would be asked for again.
        pending = _InStep((p.unit.position, p) for p in ledger.pending_of_model(drive, model, after))
        answers = _InStep(self._answers())
        elsewhere = _InStep((u.position, (u, key)) for u, key in ledger.locations_of_model(drive, model, after))
        failed = _InStep((f.unit.position, f) for f in ledger.failed_of_model(drive, model, after))
        for line in read_listing(self._label_bucket, self._folder):
            if line.refused:
                continue
            frame = parse_frame_key(line.key)
            if frame.position <= after:
                continue
            unit = Unit.of(frame, line.etag, model)
            yield from pending.before(unit.position)
            waiting = pending.at(unit.position)
            yield from (p for p in waiting if p.unit != unit)
            # The latest attempt's answer is used; one at a key that the endpoint chose takes precedence.
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
        for thing in self._label_bucket.list(answers_prefix(self._folder.drive, self._model), start):
            parsed = parse_answer_key(thing.key)
            if parsed:
                yield parsed[0].position, (*parsed, thing.key)


Count = Literal["answered", "failed", "pending", "submitted", "resubmitted", "dropped"]


class _Repair(NamedTuple):
    """The result of one repair: what it counts as, and whether the unit must be queued."""

    counts: tuple[Count, ...]
    queue: bool = False


class Pause(NamedTuple):
    """Why a model's endpoint takes no requests; empty if it takes them. `removed`: it will not come back."""

    why: str = ""
    removed: bool = False


class Reconciliation:
    """Repairs the differences between the sources, and counts; a run may go on when no unit is pending.

    An answer takes precedence. An unknown unit is recorded as pending, then queued for submission; one whose deadline
    has passed goes to its next attempt, or is failed after `limits.max_unanswered`; one that failed before
    `retry_failed_before` is tried once more. While `paused` gives a reason why the endpoint takes no requests, units
    are recorded but not queued; overdue ones are failed if the model was removed for good. `created` gives the time at
    which the endpoint was created: what an earlier endpoint of its name took is lost, and asked for again at once. With
    `drop_strays`, stray units are deleted once they are overdue. `now` and `retry_failed_before`: seconds since the
    epoch. `workers`: repairs made at a time. `sample`: of the failed frames before the comparison begins.
    """

    def __init__(
        self,
        *,
        label_bucket: Bucket,
        ledger: PendingUnits,
        queue: SubmitQueue,
        limits: Limits,
        now: float,
        paused: Callable[[], Pause] = Pause,
        created: Callable[[], float] = lambda: 0.0,
        retry_failed_before: float = 0.0,
        drop_strays: bool = False,
        workers: int = 1,
        sample: Sequence[SampledFrame] = (),
    ) -> None:
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._queue = queue
        self._limits = limits
        self._now = now
        self._ask_paused = paused
        self._created = created
        self._retry_failed_before = retry_failed_before
        self._drop_strays = drop_strays
        self._workers = workers
        self._sampled = list(sample)
        self.paused = Pause()

    @property
    def sample(self) -> tuple[SampledFrame, ...]:
        """The sample of the failed frames so far."""
        return tuple(draw_sample(self._sampled))

    def take(
        self, comparison: Comparison, counts: PassCounts, enough: Callable[[], bool] = lambda: False
    ) -> str | None:
        """Repair the differences that a comparison finds, and add to `counts`.

        Stops early if `enough` returns True. Returns the position behind which to continue; None if all is done.
        """
        reached: str | None = None

        def groups() -> Iterator[list[Found | PendingUnit]]:
            nonlocal reached
            group: list[Found | PendingUnit] = []
            behind, due = "", False
            for number, one in enumerate(comparison.with_strays(), start=1):
                # Stop only between positions: the next call begins behind a whole one.
                if due and one.unit.position != behind:
                    if enough():
                        reached = behind
                        break
                    due = False
                behind = one.unit.position
                if self._is_to_repair(one, counts):
                    group.append(one)
                due = due or number % 1_000 == 0
                if len(group) >= _GROUP:
                    yield group
                    group, due = [], True
            if group:
                yield group

        for repairs in map_in_order(self._repair_group, groups(), self._workers):
            for one, repair in repairs:
                self._count(one, counts, repair.counts)
        return reached

    def _is_to_repair(self, one: Found | PendingUnit, counts: PassCounts) -> bool:
        """Check whether a unit needs a repair; count it if it does not."""
        if isinstance(one, PendingUnit):
            return self._drop_strays and self._is_overdue(one)
        counts.units += 1
        settled = self._settled(one)
        if settled:
            self._count(one, counts, (settled,))
        return settled is None

    def _count(self, one: Found | PendingUnit, counts: PassCounts, names: Iterable[Count]) -> None:
        for name in names:
            setattr(counts, name, getattr(counts, name) + 1)
            if name == "failed":
                self._sampled.append(SampledFrame(one.key, one.etag))
        if len(self._sampled) > 100 * SAMPLE:
            self._sampled = draw_sample(self._sampled)

    def _settled(self, one: Found) -> Count | None:
        """Return the count that a unit adds to if it needs no repair; None if it needs one."""
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
            return self._now > pending.deadline or self._is_lost(pending)
        return self._now - pending.since > self._limits.unsubmitted_after

    def _is_lost(self, pending: PendingUnit) -> bool:
        """Check whether an endpoint took the unit that was deleted since, and its queue with it."""
        return pending.invoked < self._created()

    def _repair_group(self, group: list[Found | PendingUnit]) -> list[tuple[Found | PendingUnit, _Repair]]:
        if not self.paused.why:
            self.paused = self._ask_paused()
        repairs = [self._repair(one) if isinstance(one, Found) else self._drop(one) for one in group]
        # Units are recorded as pending before they are queued, so that submit finds them in the ledger.
        asked = [
            (one.unit, one.key, one.etag)
            for one, repair in zip(group, repairs, strict=True)
            if repair.queue and isinstance(one, Found)
        ]
        if asked:
            self._queue.send(asked)
        return list(zip(group, repairs, strict=True))

    def _drop(self, stray: PendingUnit) -> _Repair:
        return _Repair(("dropped",) if self._ledger.drop(stray) else ())

    def _repair(self, one: Found) -> _Repair:
        pending = one.pending
        if one.answer:
            self._ledger.settle(one.unit, None)
            return _Repair(("answered",))
        if pending and pending.location and self._label_bucket.exists(pending.location):
            self._ledger.settle(one.unit, pending.location)
            return _Repair(("answered",))
        paused = bool(self.paused.why)
        if pending and not self._is_overdue(pending):
            return _Repair(("pending",))
        if pending and not paused:
            return self._retry(pending)
        if pending:
            return self._give_up(pending) if self.paused.removed else _Repair(("pending",))
        # A run waits only for the ledger's pending units. One that cannot be queued yet is parked there, as by submit.
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
        """Queue again a unit whose message or answer is overdue; fail it after too many unanswered attempts.

        It is queued also if the ledger reports no change: a change of our own, whose response was lost, looks the same.
        """
        if not pending.invoked:
            self._ledger.touch(pending, since=self._now)
            return _Repair(("pending", "resubmitted"), queue=True)
        # A lost endpoint says nothing about the frame.
        unanswered = pending.unanswered + (not self._is_lost(pending))
        if unanswered >= self._limits.max_unanswered:
            failed = self._ledger.fail(pending, f"{unanswered} consecutive invocations were not answered", self._now)
            return _Repair(("failed",) if failed else ("pending",))
        self._ledger.next_attempt(pending, errors=pending.errors, since=self._now, unanswered=unanswered)
        return _Repair(("pending", "resubmitted"), queue=True)
