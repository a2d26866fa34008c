"""A ledger in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import RunMissing
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.logs import LogRecord
from autolabel.contracts.ports import FailedUnit, PendingUnit, Refusal, WaitingJob, WaitingRun
from autolabel.contracts.units import Unit


class FakeLedger:
    """`Ledger` and `JobTokens` in dicts; every method is one atomic step."""

    def __init__(self) -> None:
        self.pending_units: dict[Unit, PendingUnit] = {}
        self.failed_units: dict[Unit, FailedUnit] = {}
        self.locations: dict[Unit, str] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.outcomes: dict[tuple[str, str], tuple[str, float]] = {}
        self.waiting: dict[tuple[str, str], WaitingRun] = {}
        self.jobs: dict[str, WaitingJob] = {}
        self.refused: dict[tuple[str, str], Refusal] = {}
        self.closed: set[str] = set()
        self.frozen: set[str] = set()
        self.late: dict[str, float] = {}
        self.log_records: dict[tuple[str, str, str], LogRecord] = {}

    def begin_log(self, record: LogRecord) -> None:
        key = record.drive, record.name, record.etag
        if key not in self.log_records or self.log_records[key].attempt < record.attempt:
            self.log_records[key] = record

    def end_log(self, record: LogRecord) -> None:
        self.log_records[record.drive, record.name, record.etag] = record

    def leave_out_log(self, record: LogRecord, known: LogRecord | None) -> bool:
        if self.log_records.get((record.drive, record.name, record.etag)) != known:
            return False
        self.end_log(record)
        return True

    def logs(self, drive: str) -> list[LogRecord]:
        return [record for (of, *_), record in sorted(self.log_records.items()) if of == drive]

    def add_pending(self, pending: PendingUnit) -> bool:
        if pending.unit in self.pending_units:
            return False
        self.pending_units[pending.unit] = msgspec.structs.replace(pending, location="")
        return True

    def pending(self, unit: Unit) -> PendingUnit | None:
        return self.pending_units.get(unit)

    def pending_of_model(self, drive: str, model: str, after: str = "") -> Iterator[PendingUnit]:
        for unit in _ordered(self.pending_units, drive, model, after):
            if unit in self.pending_units:
                yield self.pending_units[unit]

    def pending_of_frame(self, frame: FrameKey, model: str) -> list[PendingUnit]:
        return [
            self.pending_units[unit]
            for unit in _ordered(self.pending_units, frame.drive, model)
            if unit.position == frame.position
        ]

    def any_pending(self, drive: str, models: Sequence[str]) -> bool:
        return any(unit.drive == drive and unit.model in models for unit in self.pending_units)

    def mark_invoked(self, pending: PendingUnit, *, invoked: float, deadline: float, location: str) -> None:
        known = self.pending_units.get(pending.unit)
        if known is not None and known.since == pending.since:
            self._change(pending, invoked=invoked, deadline=deadline, location=location, unconfirmed=False)

    def put_back(self, pending: PendingUnit, *, since: float) -> None:
        known = self.pending_units.get(pending.unit)
        if known is not None and (known.since, known.invoked) == (pending.since, pending.invoked):
            self._change(pending, since=since, invoked=0.0, deadline=0.0, unconfirmed=False)

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        return self._change(
            pending,
            attempt=pending.attempt + 1,
            errors=errors,
            unanswered=unanswered,
            since=since,
            invoked=0.0,
            deadline=0.0,
            location="",
            unconfirmed=False,
        )

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        known = self.pending_units.get(pending.unit)
        return known is not None and not known.invoked and self._change(pending, since=since)

    def fail(self, pending: PendingUnit, reason: str, at: float) -> bool:
        if not self._at_attempt(pending):
            return False
        del self.pending_units[pending.unit]
        self.failed_units[pending.unit] = FailedUnit(pending.unit, reason, pending.attempt, at)
        return True

    def revive(self, pending: PendingUnit) -> bool:
        failed = self.failed_units.get(pending.unit)
        if failed is None or failed.attempt != pending.attempt - 1 or not self.add_pending(pending):
            return False
        del self.failed_units[pending.unit]
        return True

    def drop(self, pending: PendingUnit) -> bool:
        known = self.pending_units.get(pending.unit)
        if known is None or (known.attempt, known.since, bool(known.invoked)) != (
            pending.attempt,
            pending.since,
            bool(pending.invoked),
        ):
            return False
        del self.pending_units[pending.unit]
        return True

    def settle(self, unit: Unit, location: str | None) -> None:
        if location is not None:
            self.locations[unit] = location
        self.pending_units.pop(unit, None)

    def settle_all(self, units: Iterable[Unit]) -> frozenset[Unit]:
        # Takes every second one, so that callers have some left to settle.
        taken = frozenset(list(units)[::2])
        for unit in taken:
            self.settle(unit, None)
        return taken

    def failed_of_model(self, drive: str, model: str, after: str = "") -> Iterator[FailedUnit]:
        for unit in _ordered(self.failed_units, drive, model, after):
            yield self.failed_units[unit]

    def locations_of_model(self, drive: str, model: str, after: str = "") -> Iterator[tuple[Unit, str]]:
        for unit in _ordered(self.locations, drive, model, after):
            yield unit, self.locations[unit]

    def allocate_run(self, run: Run) -> Run:
        return self.runs.setdefault((run.drive, run.run), run)

    def latest_run(self, drive: str) -> Run | None:
        names = sorted(name for of, name in self.runs if of == drive)
        return self.runs[drive, names[-1]] if names else None

    def retry_failed(self, run: Run, before: float) -> None:
        self.runs[run.drive, run.run] = msgspec.structs.replace(run, retry_failed_before=before)

    def find_run(self, drive: str, run: str) -> Run | None:
        return self.runs.get((drive, run))

    def outcome(self, drive: str, run: str) -> str:
        return self.outcomes.get((drive, run), ("", 0.0))[0]

    def run(self, drive: str, run: str) -> Run:
        if (drive, run) not in self.runs:
            raise RunMissing(f"drive {drive!r} has no run {run!r}")
        return self.runs[drive, run]

    def finish_run(self, run: Run, outcome: str, at: float) -> None:
        self.outcomes[run.drive, run.run] = (outcome, at)

    def wait(self, waiting: WaitingRun) -> bool:
        known = self.waiting.get((waiting.drive, waiting.run))
        if known is not None and known.order > waiting.order:
            return False
        self.waiting[waiting.drive, waiting.run] = waiting
        return True

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        return [waiting for (of, _), waiting in sorted(self.waiting.items()) if of == drive]

    def stop_waiting(self, waiting: WaitingRun) -> None:
        known = self.waiting.get((waiting.drive, waiting.run))
        if known is not None and known.token == waiting.token:
            del self.waiting[waiting.drive, waiting.run]

    def hold(self, waiting: WaitingJob) -> bool:
        known = self.jobs.get(waiting.job)
        if known is not None and known.order > waiting.order:
            return False
        self.jobs[waiting.job] = waiting
        return True

    def held(self, job: str) -> WaitingJob | None:
        return self.jobs.get(job)

    def release(self, waiting: WaitingJob) -> None:
        known = self.jobs.get(waiting.job)
        if known is not None and known.token == waiting.token:
            del self.jobs[waiting.job]

    def mark_closed(self, drive: str) -> None:
        self.closed.add(drive)

    def closed_drives(self) -> Iterator[str]:
        return iter(sorted(self.closed, key=lambda drive: f"{drive}/"))

    def mark_frozen(self, drive: str) -> None:
        self.frozen.add(drive)

    def is_frozen(self, drive: str) -> bool:
        return drive in self.frozen

    def mark_late(self, drive: str, at: float) -> None:
        self.late[drive] = at

    def late_drives(self) -> Iterator[tuple[str, float]]:
        return iter(sorted(self.late.items(), key=lambda item: f"{item[0]}/"))

    def forget_late(self, drive: str, at: float) -> None:
        if self.late.get(drive) == at:
            del self.late[drive]

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        self.refused[place, key] = Refusal(key, reason, detail[:2_000], at)

    def refusals(self, drive: str) -> Iterator[Refusal]:
        for (place, _), refusal in sorted(self.refused.items()):
            if place == drive:
                yield refusal

    def _at_attempt(self, pending: PendingUnit) -> bool:
        known = self.pending_units.get(pending.unit)
        return known is not None and known.attempt == pending.attempt

    def _change(self, pending: PendingUnit, **changes: object) -> bool:
        if not self._at_attempt(pending):
            return False
        self.pending_units[pending.unit] = msgspec.structs.replace(self.pending_units[pending.unit], **changes)
        return True


def _ordered(units: Mapping[Unit, object], drive: str, model: str, after: str = "") -> list[Unit]:
    found = (u for u in units if u.drive == drive and u.model == model and u.position > after)
    return sorted(found, key=lambda unit: unit.place.encode())
