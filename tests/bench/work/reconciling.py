"""A turn of a run, from freezing its listing to the last repair, over generated pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from autolabel.drives import Run
from autolabel.frames import FrameKey, ListedFrame
from autolabel.ports import FailedUnit, PendingUnit, StoredObject, WaitingRun
from autolabel.reconciliation import Limits
from autolabel.runs import reconcile_run
from autolabel.units import Unit
from tests.bench.work.drive import ETAG, frame_key, make_run, unit_of
from tests.bench.work.generated_bucket import GeneratedBucket
from tests.bench.work.pace import Pace

PLACE = "tests.bench.work.reconciling:reconcile_frames"
NOW = 1_800_000_000.0
LIMITS = Limits(unsubmitted_after=3_600.0, max_silences=3)
# Of every hundred units so many are answered, under way, overdue, failed, and unknown to everybody.
_ANSWERED, _PENDING, _OVERDUE, _FAILED, _UNKNOWN = 90, 4, 2, 2, 2


def _share(index: int, first: int, count: int) -> bool:
    return first <= index % 100 < first + count


class _Ingest(GeneratedBucket):
    def __init__(self, frames: int) -> None:
        super().__init__()
        self._frames = frames

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for index in range(self._frames):
            yield StoredObject(frame_key(index).key, ETAG, 1_000_000)


class _Labels(GeneratedBucket):
    """`seen` is told of every line of the listing that the comparison reads."""

    def __init__(self, frames: int, seen: Callable[[], None]) -> None:
        super().__init__()
        self._frames = frames
        self._seen = seen
        self._listings_read = 0

    def read(self, key: str) -> bytes | None:
        return None

    def lines(self, key: str) -> Iterator[bytes]:
        self._listings_read += 1
        # The first reading is freezing's, which counts what it has written.
        told = self._listings_read > 1
        for index in range(self._frames):
            yield msgspec.json.encode(ListedFrame(frame_key(index).key, ETAG, 1_000_000))
            if told:
                self._seen()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for index in range(self._frames):
            if _share(index, 0, _ANSWERED):
                yield StoredObject(unit_of(index).answer_key(1), ETAG, 2_000)


class _Ledger:
    """`autolabel.ports.Ledger` with generated units; what is changed in it is counted and forgotten."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.changes = 0

    def _changed(self) -> bool:
        self.changes += 1
        return True

    def _units(self, first: int, count: int) -> Iterator[tuple[int, Unit]]:
        for index in range(self._frames):
            if _share(index, first, count):
                yield index, unit_of(index)

    def pending_of_model(self, drive: str, model: str) -> Iterator[PendingUnit]:
        for index, unit in self._units(_ANSWERED, _PENDING + _OVERDUE):
            late = _share(index, _ANSWERED + _PENDING, _OVERDUE)
            deadline = NOW - 1 if late else NOW + 1_000
            invoked = NOW - 8_000
            yield PendingUnit(
                unit, frame_key(index).key, ETAG, attempt=1, errors=0, since=invoked, invoked=invoked, deadline=deadline
            )

    def failed_of_model(self, drive: str, model: str) -> Iterator[FailedUnit]:
        for _, unit in self._units(_ANSWERED + _PENDING + _OVERDUE, _FAILED):
            yield FailedUnit(unit, "the model failed")

    def locations_of_model(self, drive: str, model: str) -> Iterator[tuple[Unit, str]]:
        return iter(())

    def add_pending(self, pending: PendingUnit) -> bool:
        return self._changed()

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, silences: int = 0) -> bool:
        return self._changed()

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        return self._changed()

    def fail(self, pending: PendingUnit, reason: str) -> bool:
        return self._changed()

    def settle(self, unit: Unit, location: str | None) -> None:
        self._changed()

    def pending(self, unit: Unit) -> PendingUnit | None:
        raise NotImplementedError

    def pending_of_frame(self, frame: FrameKey, model: str) -> list[PendingUnit]:
        raise NotImplementedError

    def any_pending(self, drive: str, models: Sequence[str]) -> bool:
        raise NotImplementedError

    def mark_invoked(self, pending: PendingUnit, *, invoked: float, deadline: float, location: str) -> None:
        raise NotImplementedError

    def allocate_first_run(self, run: Run, since: float) -> Run:
        raise NotImplementedError

    def run(self, drive: str, run: str) -> Run:
        raise NotImplementedError

    def find_run(self, drive: str, run: str) -> Run | None:
        raise NotImplementedError

    def outcome(self, drive: str, run: str) -> str:
        raise NotImplementedError

    def finish_run(self, run: Run, outcome: str, at: float) -> None:
        raise NotImplementedError

    def wait(self, waiting: WaitingRun) -> None:
        raise NotImplementedError

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        raise NotImplementedError

    def stop_waiting(self, waiting: WaitingRun) -> None:
        raise NotImplementedError

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        raise NotImplementedError

    def refusals(self, drive: str) -> Iterator[tuple[str, str, str]]:
        raise NotImplementedError


class _Queue:
    def __init__(self) -> None:
        self.sent = 0

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        self.sent += len(units)


def reconcile_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """The first turn of a drive of `frames` frames, at a pace that is compared with `stops` drives of `short`."""
    ledger, queue = _Ledger(frames), _Queue()
    pace = Pace(frames, PLACE, short=short, stops=stops)
    report = reconcile_run(
        make_run(),
        ingest=_Ingest(frames),
        labels=_Labels(frames, pace.add),
        ledger=ledger,
        queue=queue,
        limits=LIMITS,
        now=NOW,
    )
    measured = pace.stop()
    expected = {
        "answered": _ANSWERED,
        "pending": _PENDING + _OVERDUE + _UNKNOWN,
        "failed": _FAILED,
        "submitted": _UNKNOWN,
        "resubmitted": _OVERDUE,
    }
    came = {name: getattr(report, name) * 100 / frames for name in expected}
    if came != expected or queue.sent != ledger.changes:
        raise AssertionError(f"the turn came to {report}, with {queue.sent} asks")
    return measured
