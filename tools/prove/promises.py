"""The promises that must hold in every state of a world, judged by its objects and items alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from autolabel.contracts.frames import ListedFrame, parse_frame_key
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit, parse_answer_key
from tools.prove.functions import LABELS, MAX_ERRORS, RUN
from tools.prove.world import MODEL, Budget, State, Violation

if TYPE_CHECKING:
    from tools.prove.steps import Steps

NO_EARLY_PASS = "a run passes only when every unit of its listing is answered or failed"
NO_EARLY_WAKE = "a run is woken only when every unit of its listing is answered or failed"
NO_EARLY_FAILURE = "a unit is failed only after enough of its attempts failed"
ALWAYS_WOKEN = "a run does not sleep when none of its units is pending"
ALWAYS_PASSED = "without losses, crashes, repeats and overlaps, every run passes without a time-out"
ENDS_AT_LAST = "once the faults are over, time-outs bring every run to its end"
ONE_EXECUTION = "each run has one execution"
NO_FAILURE = "no function fails"
# At most this many time-outs repair every loss, and at most this many steps follow each of them.
TIME_OUTS = 4
CALM_STEPS = 1_000


class Promises:
    """Checks the states that `steps` leads to; raises Violation."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._open: dict[tuple[int, int, str, bool], list[str]] = {}
        self._failures_checked: set[tuple[int, tuple[str, ...], int]] = set()
        self._ends: set[State] = set()

    def check_pass(self, state: State, drive: str) -> None:
        """Check the moment at which the run goes on: the states behind it must find every answer or failure."""
        open_units = self._open_units(state, drive, found=True)
        if open_units:
            raise Violation(NO_EARLY_PASS, ", ".join(open_units))

    def check_wake(self, state: State, drive: str) -> None:
        """Check the moment at which the run is woken."""
        # A unit that is answered or failed stays so: this moment stands for every one since the token was stored.
        open_units = self._open_units(state, drive, found=False)
        if open_units:
            raise Violation(NO_EARLY_WAKE, ", ".join(open_units))

    def check_failed(self, state: State) -> None:
        """Check that the endpoint failed every failed unit often enough, or that deadlines passed often enough."""
        silent = self._steps.world.budget.delays - state.budget.delays
        key = (state.items, state.failed, silent)
        if key in self._failures_checked:
            return
        self._failures_checked.add(key)
        for name in self._items(state):
            if not name.startswith("failed#"):
                continue
            unit = _unit(name)
            failed = sum(unit.inference_id(attempt) in state.failed for attempt in range(1, 10))
            if failed < MAX_ERRORS and silent < self._steps.world.max_unanswered:
                raise Violation(NO_EARLY_FAILURE, f"{unit.place} failed {failed} times")

    def check_quiet(self, state: State) -> None:
        """Check a state in which no function runs and no message is on its way."""
        if self._steps.passed(state):
            return
        had = self._steps.world.budget
        spent = {name: getattr(had, name) - getattr(state.budget, name) for name in Budget.__struct_fields__}
        broken = spent["crashes"] or spent["repeats"] or spent["overlaps"]
        if not (broken or spent["losses"]):
            raise Violation(ALWAYS_PASSED, str(state.stages))
        if not (broken and spent["losses"]):
            for drive, stage in zip(self._steps.drives, state.stages, strict=True):
                if stage.name == "waiting" and not self._pending(state, drive):
                    raise Violation(ALWAYS_WOKEN, drive)
        self._check_end(state)

    def _check_end(self, state: State) -> None:
        """Check that the runs pass when no further fault strikes and waits time out."""
        steps, way = self._steps, list[State]()
        state = replace(state, budget=Budget())
        for _ in range(TIME_OUTS):
            for _ in range(CALM_STEPS):
                if state in self._ends or steps.passed(state):
                    self._ends.update(way)
                    return
                way.append(state)
                following = next(steps.after(state), None)
                if following is None:
                    break
                state = following[1]
            for drive, stage in zip(steps.drives, state.stages, strict=True):
                if stage.name == "waiting":
                    state = steps.time_out(state, drive)
            state = replace(state, clock=state.clock + 1)
        raise Violation(ENDS_AT_LAST, str(state.stages))

    def _open_units(self, state: State, drive: str, *, found: bool) -> list[str]:
        """The places of the listed units without an answer or a failure.

        With `found`, an answer counts only where the next states look for it: under its derived key, or where the
        ledger says.
        """
        key = (state.items, state.objects, drive, found)
        if key not in self._open:
            objects = self._steps.objects.values[state.objects]
            self._open[key] = [u.place for u in _listed(objects, drive) if not self._over(state, objects, u, found)]
        return self._open[key]

    def _over(self, state: State, objects: Any, unit: Unit, found: bool) -> bool:
        items = self._items(state)
        if _name("failed", unit) in items:
            return True
        for name in objects:
            key = name.removeprefix(f"{LABELS}/")
            answer = parse_answer_key(key)
            if answer and answer[0] == unit:
                return True
            if found:
                elsewhere = items.get(_name("answer", unit))
                if elsewhere and elsewhere["location"]["S"] == key:
                    return True
            elif any(f"/{unit.inference_id(attempt)}-" in key for attempt in range(1, 10)):
                return True
        return False

    def _pending(self, state: State, drive: str) -> bool:
        return any(name.startswith(f"pending#{drive}#") for name in self._items(state))

    def _items(self, state: State) -> dict[str, Any]:
        items: dict[str, Any] = self._steps.items.values[state.items]
        return items


def _listed(objects: Any, drive: str) -> Iterator[Unit]:
    for line in objects[f"{LABELS}/{RunFolder(drive, RUN).listing}"].splitlines():
        listed = msgspec.json.decode(line, type=ListedFrame)
        if not listed.refused:
            yield Unit.of(parse_frame_key(listed.key), listed.etag, MODEL)


def _name(kind: str, unit: Unit) -> str:
    return f"{kind}#{unit.drive}#{unit.partition}\0{unit.place}"


def _unit(name: str) -> Unit:
    partition, _, place = name.partition("\0")
    model, camera, timestamp, token = place.split("/")
    return Unit(partition.split("#")[1], camera, timestamp, token, model)
