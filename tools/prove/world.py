"""The world around the functions: queues, endpoint, state machine, clock and faults.

A state holds everything that a step may depend on: items of the table, objects of the buckets, messages on the
queues, requests at the endpoint, running processes, the stage of each run, the clock, and the faults that may still
come. A step is one call of a process to AWS, or an event that happens by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from autolabel.inference.submission import DEADLINE_MARGIN
from tests.fakes.answers import DETECTOR
from tools.prove.functions import PRODUCTION, Code
from tools.prove.replay import Position

NOW = 1_000_000.0
# One step of the clock is so long that every earlier deadline passes.
LONG = DETECTOR.queue_ttl + DETECTOR.invocation_timeout + DEADLINE_MARGIN + 1.0
MODEL = DETECTOR.id


class Budget(msgspec.Struct, frozen=True, cache_hash=True):
    """How many faults of each kind may still come.

    `duplicates`: deliveries of a message that stays on its queue. `crashes`: processes that die after a call.
    `repeats`: calls that the SDK makes twice because the first answer is lost. `overlaps`: reconcile passes that the
    state machine gives up and starts again while they still run. `losses`: messages and requests that disappear.
    `timeouts`: waits that end by themselves. `delays`: moments at which all deadlines pass. `failures`, `expiries`:
    requests that the endpoint reports as failed or expired.
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
    """The start of an exploration. `frames`: keys uploaded at the start; `late`: keys uploaded at any later time.

    `begun`: submit has already taken the uploads, so the endpoint has the requests and the run is started.
    `honours_names`: the endpoint writes answers under the names that it is asked for. `page`: items in a page of a
    query or listing. `batch`: notifications that one call of collect takes. `max_unanswered`: unanswered attempts after
    which a unit is failed. `slow_waits`: the call that stores a wait's token may outlive the wait's time-out.
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
    """The stage of a run's execution; `token` numbers its waits.

    In order: `none`, `turn` (a reconcile pass is due), `turning`, `wait` (due), `waiting`, and at the end `passed`.
    """

    name: str = "none"
    token: int = 0


class State(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """A state, small: large values are interned and have a number here.

    `asked`: requests at the endpoint; `elsewhere`: ids of all requests it took, where it does not honour names;
    `processes`: position ids, each with whether the state machine has given it up; `failed`: InferenceIds that the
    endpoint failed.
    """

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
    """A step; `what` says what happened. `begin` and `end`: positions of the process before and after its calls."""

    what: str
    begin: Position | None = None
    end: Position | None = None


class Violation(Exception):
    """A promise is broken."""

    def __init__(self, promise: str, detail: str, step: Step | None = None) -> None:
        super().__init__(f"broken: {promise} ({detail})")
        self.promise = promise
        self.step = step


class Interned:
    """Numbers values; equal values have the same number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.values: list[Any] = []

    def number(self, value: Any, name: Any = None) -> int:
        key = msgspec.json.encode(value if name is None else name, order="sorted")
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]
