"""A small world around the functions: queues, endpoint, state machine, clock and faults, as states and their steps.

A state is everything that a step may depend on: the items of the table, the objects of the buckets, the messages on
the queues, the requests that the endpoint took, the processes that run, each run of the state machine, the clock, and
the faults that may still come. A step is one call to AWS that a process makes, or something that happens by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from autolabel.inference.submission import DEADLINE_MARGIN
from tests.fakes.answers import DETECTOR
from tools.prove.functions import PRODUCTION, Code
from tools.prove.replay import Position

NOW = 1_000_000.0
# In one step of the clock every deadline passes that was set before it.
LONG = DETECTOR.queue_ttl + DETECTOR.invocation_timeout + DEADLINE_MARGIN + 1.0
MODEL = DETECTOR.id


class Budget(msgspec.Struct, frozen=True, cache_hash=True):
    """How many of each fault may still come.

    `duplicates`: deliveries of a message that stays on its queue. `crashes`: processes that die behind a call.
    `repeats`: calls that the SDK makes twice, since the first answer got lost. `overlaps`: calls that the state
    machine gives up and makes again while they still run. `losses`: messages and requests that disappear. `timeouts`:
    waits that end by themselves. `delays`: times that all deadlines pass. `failures`, `expiries`: requests that the
    endpoint reports as such.
    """

    duplicates: int = 0
    crashes: int = 0
    repeats: int = 0
    overlaps: int = 0
    losses: int = 0
    timeouts: int = 0
    delays: int = 0
    failures: int = 0
    expiries: int = 0


class World(msgspec.Struct, frozen=True):
    """What an exploration begins with. `frames`: their keys; `late`: those that are uploaded at any later time.

    `begun`: the uploads have been taken up already, so that requests are with the endpoint and the run is started.
    `page`: items in a page of a query or listing. `batch`: notifications that one call of collect takes. `slow_waits`:
    the call that stores a wait's token may go on when the wait has timed out.
    """

    frames: tuple[str, ...]
    budget: Budget
    late: tuple[str, ...] = ()
    begun: bool = False
    honours_names: bool = True
    page: int = 100
    batch: int = 1
    max_unanswered: int = 3
    slow_waits: bool = False
    code: Code = PRODUCTION


class Stage(NamedTuple):
    """Where the execution of a run is; `token` numbers its waits."""

    name: str = "none"
    token: int = 0


class State(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """All of the world, small: what is large is interned, and has a number here."""

    items: int
    objects: int
    submit: tuple[int, ...]
    collect: tuple[int, ...]
    asked: tuple[int, ...]
    elsewhere: tuple[int, ...]
    processes: tuple[tuple[int, bool], ...]
    stages: tuple[Stage, ...]
    failed: tuple[str, ...]
    clock: int
    late: tuple[str, ...]
    budget: Budget


class Step(NamedTuple):
    """What happened; `begin` and `end` are the positions of the process that made calls."""

    what: str
    begin: Position | None = None
    end: Position | None = None


class Violation(Exception):
    """A property does not hold."""

    def __init__(self, property_: str, detail: str, step: Step | None = None) -> None:
        super().__init__(f"{property_}: {detail}")
        self.property = property_
        self.step = step


class Interned:
    """Numbers for values, the same for values that are equal."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.values: list[Any] = []

    def number(self, value: Any, name: Any = None) -> int:
        key = msgspec.json.encode(value if name is None else name, order="sorted")
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]
