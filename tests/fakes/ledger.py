"""A ledger in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from autolabel.drives import FIRST_RUN, Run
from autolabel.errors import RunMissing
from autolabel.frames import FrameKey
from autolabel.ports import FailedUnit, PendingUnit, WaitingRun
from autolabel.units import Unit


class FakeLedger:
    """`autolabel.ports.Ledger` in dicts; every method is one atomic step."""

    def __init__(self) -> None:
        self.pending_units: dict[Unit, PendingUnit] = {}
        self.failed_units: dict[Unit, str] = {}
        self.locations: dict[Unit, str] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.outcomes: dict[tuple[str, str], tuple[str, float]] = {}
        self.waiting: dict[tuple[str, str], WaitingRun] = {}
        self.refused: dict[tuple[str, str], tuple[str, str]] = {}

    def add_pending(self, pending: PendingUnit) -> bool:
        if pending.unit in self.pending_units:
            return False
        # A unit that is recorded has not been invoked yet, whatever the record says.
        self.pending_units[pending.unit] = msgspec.structs.replace(pending, invoked=0.0, deadline=0.0, location="")
        return True

    def pending(self, unit: Unit) -> PendingUnit | None:
        return self.pending_units.get(unit)

    def pending_of_model(self, drive: str, model: str) -> Iterator[PendingUnit]:
        for unit in _ordered(self.pending_units, drive, model):
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
        self._change(pending, invoked=invoked, deadline=deadline, location=location)

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, silences: int = 0) -> bool:
        return self._change(
            pending,
            attempt=pending.attempt + 1,
            errors=errors,
            silences=silences,
            since=since,
            invoked=0.0,
            deadline=0.0,
            location="",
        )

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        known = self.pending_units.get(pending.unit)
        return known is not None and not known.invoked and self._change(pending, since=since)

    def fail(self, pending: PendingUnit, reason: str) -> bool:
        if not self._at_attempt(pending):
            return False
        del self.pending_units[pending.unit]
        self.failed_units[pending.unit] = reason
        return True

    def settle(self, unit: Unit, location: str | None) -> None:
        if location is not None:
            self.locations[unit] = location
        self.pending_units.pop(unit, None)

    def failed_of_model(self, drive: str, model: str) -> Iterator[FailedUnit]:
        for unit in _ordered(self.failed_units, drive, model):
            yield FailedUnit(unit, self.failed_units[unit])

    def locations_of_model(self, drive: str, model: str) -> Iterator[tuple[Unit, str]]:
        for unit in _ordered(self.locations, drive, model):
            yield unit, self.locations[unit]

    def allocate_first_run(self, run: Run, since: float) -> Run:
        return self.runs.setdefault((run.drive, FIRST_RUN), run)

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

    def wait(self, waiting: WaitingRun) -> None:
        self.waiting[waiting.drive, waiting.run] = waiting

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        return [waiting for (of, _), waiting in sorted(self.waiting.items()) if of == drive]

    def stop_waiting(self, waiting: WaitingRun) -> None:
        known = self.waiting.get((waiting.drive, waiting.run))
        if known is not None and known.token == waiting.token:
            del self.waiting[waiting.drive, waiting.run]

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        self.refused[place, key] = (reason, detail[:2_000])

    def refusals(self, drive: str) -> Iterator[tuple[str, str, str]]:
        for (place, key), (reason, detail) in sorted(self.refused.items()):
            if place == drive:
                yield key, reason, detail

    def _at_attempt(self, pending: PendingUnit) -> bool:
        known = self.pending_units.get(pending.unit)
        return known is not None and known.attempt == pending.attempt

    def _change(self, pending: PendingUnit, **changes: object) -> bool:
        if not self._at_attempt(pending):
            return False
        self.pending_units[pending.unit] = msgspec.structs.replace(self.pending_units[pending.unit], **changes)
        return True


def _ordered(
    units: dict[Unit, object] | dict[Unit, str] | dict[Unit, PendingUnit], drive: str, model: str
) -> list[Unit]:
    found = (unit for unit in units if unit.drive == drive and unit.model == model)
    return sorted(found, key=lambda unit: unit.place.encode())
