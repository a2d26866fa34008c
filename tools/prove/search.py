"""Looks at every state of a world, nearest first, so that what it finds wrong comes with a shortest schedule."""

from __future__ import annotations

import gc
from collections import deque
from typing import NamedTuple

from tools.prove.steps import Steps
from tools.prove.world import State, Step, Violation, World


class Explored(NamedTuple):
    """What an exploration saw. `whole`: no state was left out. `violation`: the first one, with the steps to it."""

    states: int
    transitions: int
    quiet: int
    passed: int
    whole: bool
    violation: Violation | None = None
    schedule: tuple[Step, ...] = ()


def explore(world: World, *, most: int = 20_000_000) -> Explored:
    """Explore a world up to its first violation; no more than `most` states."""
    # States are many and never in circles: looking for circles among them takes half of the time.
    gc.disable()
    try:
        return _explore(world, most)
    finally:
        gc.enable()


def _explore(world: World, most: int) -> Explored:
    steps = Steps(world)
    start = steps.start()
    before: dict[State, State | None] = {start: None}
    todo = deque([start])
    transitions = quiet = passed = 0
    while todo and len(before) <= most:
        state = todo.popleft()
        try:
            if steps.passed(state):
                # Nothing that comes behind can take the pass back.
                passed += 1
                continue
            if steps.quiet(state):
                quiet += 1
                steps.check_quiet(state)
            for _, following in steps.after(state):
                transitions += 1
                if following not in before:
                    before[following] = state
                    todo.append(following)
        except Violation as e:
            schedule = _schedule(steps, before, state) + ((e.step,) if e.step else ())
            return Explored(len(before), transitions, quiet, passed, False, e, schedule)
    return Explored(len(before), transitions, quiet, passed, not todo)


def _schedule(steps: Steps, before: dict[State, State | None], state: State) -> tuple[Step, ...]:
    """The steps that lead to a state."""
    way: list[Step] = []
    at = before[state]
    while at is not None:
        way.append(next(step for step, following in steps.after(at) if following == state))
        state, at = at, before[at]
    return tuple(way[::-1])
