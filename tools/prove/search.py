"""Visits every state of a world, nearest first, so that a violation comes with a shortest schedule."""

from __future__ import annotations

import gc
from collections import deque
from typing import NamedTuple

from tools.prove.schedule import described
from tools.prove.steps import Steps
from tools.prove.world import State, Step, Violation, World

# An explorer that overlooks steps finds no violation. Every world of worlds.py has more states than this.
FEWEST_STATES = 1_000


class Explored(NamedTuple):
    """Result of an exploration.

    `quiet`: states in which only a time-out goes on; `passed`: states in which all runs have passed. `whole`: whether
    every state was visited. `violation`: the first one, with the steps that lead to it.
    """

    states: int
    transitions: int
    quiet: int
    passed: int
    whole: bool
    violation: Violation | None = None
    schedule: tuple[Step, ...] = ()

    def figures(self) -> str:
        """The counts, in columns."""
        return (
            f"{self.states:10,} states {self.transitions:11,} transitions {self.quiet:6,} quiet {self.passed:8,} passed"
        )

    def objection(self, world: World) -> str:
        """Why this does not prove the promises for the world; empty when it does."""
        if self.violation:
            return f"{self.violation}\n{described(self.schedule)}"
        if not self.whole:
            return f"there are more than {self.states:,} states, and the rest were not visited"
        if self.states < FEWEST_STATES:
            return f"only {self.states:,} states: the explorer overlooks steps"
        if not self.passed:
            return "no run passes in any state"
        if world.budget.losses and not self.quiet:
            return "something may be lost, and yet there is no state in which only a time-out helps"
        return ""


def explore(world: World, *, most: int = 20_000_000) -> Explored:
    """Explore a world up to its first violation, and at most `most` states."""
    # There are millions of states and no cycles among them: looking for cycles would take half of the time.
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
                # No later step can undo the pass.
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
