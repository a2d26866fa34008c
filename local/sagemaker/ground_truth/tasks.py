"""The tasks of a labelling job: what each shows, who works on it, and what came of it.

Lines and results lie on disk, so that a job of 100,000 tasks keeps some bytes of each in memory.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
import time
import weakref
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]

_OPEN, _CLAIMED, _DONE = range(3)
# The last requests of a job that ends are writes to S3.
_CLOSING_SECONDS = 30


@dataclass(frozen=True)
class Lease:
    """A worker's time for a task; `accepted` is seconds since the epoch, `until` a time of the tasks' clock."""

    accepted: float
    until: float


@dataclass(frozen=True)
class Result:
    """What came of a task: the attributes that its line gets, and the worker's answer, None when nobody gave one."""

    attributes: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None


class Tasks:
    """The tasks of one job by their position in its manifest, beginning with 0; for many threads.

    A task is open until somebody claims it for an answer, whoever has leased it meanwhile: the first answer counts.
    """

    def __init__(self, lines: Iterable[Mapping[str, Any]], clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lines = _Records()
        self._results = _Records()
        self._cameras: list[tuple[str, str, int]] = []
        places = (self._add_line(number, line) for number, line in enumerate(lines))
        self._line_places = array("Q", places)
        self._cameras.sort()
        self.total = len(self._line_places)
        self._states = bytearray(self.total)
        self._result_places = array("Q", bytes(8 * self.total))
        self._leases: dict[int, dict[str, Lease]] = {}
        self._first = 0
        self._closed = False
        self._counts: Counter[int] = Counter({_OPEN: self.total})
        self._changed = threading.Condition()

    def _add_line(self, number: int, line: Mapping[str, Any]) -> int:
        folder, _, name = line["source-ref"].rpartition("/")
        self._cameras.append((folder, name, number))
        return self._lines.add(line)

    def line(self, number: int) -> dict[str, Any]:
        """The manifest line of a task."""
        return self._lines.read(self._line_places[number])

    def neighbours(self, number: int) -> tuple[int | None, int | None]:
        """The tasks of the frames before and after this one, of the same camera."""
        folder, _, name = self.line(number)["source-ref"].rpartition("/")
        place = bisect_left(self._cameras, (folder, name, number))
        return self._of_camera(place - 1, folder), self._of_camera(place + 1, folder)

    def _of_camera(self, place: int, folder: str) -> int | None:
        if not 0 <= place < self.total or self._cameras[place][0] != folder:
            return None
        return self._cameras[place][2]

    @property
    def done(self) -> int:
        """How many tasks have a result."""
        with self._changed:
            return self._counts[_DONE]

    def is_open(self, number: int) -> bool:
        """Whether a task can still be answered."""
        with self._changed:
            return not self._closed and self._states[number] == _OPEN

    def take(self, worker: str, seconds: float, leaving: int | None = None) -> int | None:
        """Lease the worker's next task: after the one that they are `leaving`, one that they have already, else the
        first that nobody has; then from the start. None when nothing is left for them.
        """
        with self._changed:
            now = self._clock()
            mine = sorted(number for number in self._leases if self._has(worker, number, now))
            after = -1 if leaving is None else leaving
            later = (number for number in mine if number > after)
            free = range(max(self._first, after + 1), self.total)
            for number in itertools.chain(later, free, mine, range(self._first, self.total)):
                if number != leaving and self._lease(number, worker, seconds, now):
                    return number
        return None

    def take_over(self, worker: str, seconds: float) -> int | None:
        """Lease the task that somebody else has had for longest: they may be gone. None when nobody has any."""
        with self._changed:
            now = self._clock()
            held = [
                (lease.until, number)
                for number, leases in self._leases.items()
                for name, lease in leases.items()
                if name != worker and self._states[number] == _OPEN
            ]
            for _, number in sorted(held):
                self._leases[number].clear()
                if self._lease(number, worker, seconds, now):
                    return number
        return None

    def lease(self, number: int, worker: str, seconds: float) -> bool:
        """Lease a task, unless it is another worker's or answered."""
        with self._changed:
            return self._lease(number, worker, seconds, self._clock())

    def claim(self, number: int) -> bool:
        """Take a task for good, to answer it; False when somebody has, or the job takes no more answers."""
        with self._changed:
            if self._closed or self._states[number] != _OPEN:
                return False
            self._move(number, _CLAIMED)
            return True

    def accepted(self, number: int, worker: str) -> float | None:
        """When the worker got a task, in seconds since the epoch; None when they never did."""
        with self._changed:
            lease = self._leases.get(number, {}).get(worker)
            return lease.accepted if lease else None

    def finish(self, number: int, result: Result) -> None:
        """Record what came of a claimed task."""
        place = self._results.add({"attributes": result.attributes, "answer": result.answer})
        with self._changed:
            self._result_places[number] = place
            self._leases.pop(number, None)
            self._move(number, _DONE)

    def reopen(self, number: int) -> None:
        """Give back a claimed task that was not answered after all."""
        with self._changed:
            self._move(number, _OPEN)

    def close(self) -> None:
        """Take no more answers, and wait for those under way."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._counts[_CLAIMED], timeout=_CLOSING_SECONDS)

    def result(self, number: int) -> Result | None:
        """What came of a task, None for one that is open."""
        with self._changed:
            if self._states[number] != _DONE:
                return None
        found = self._results.read(self._result_places[number])
        return Result(found["attributes"], found["answer"])

    def results(self) -> Iterator[tuple[int, dict[str, Any], Result]]:
        """The finished tasks with their lines, in the manifest's order."""
        for number in range(self.total):
            if result := self.result(number):
                yield number, self.line(number), result

    def _has(self, worker: str, number: int, now: float) -> bool:
        lease = self._leases[number].get(worker)
        return lease is not None and lease.until > now

    def _lease(self, number: int, worker: str, seconds: float, now: float) -> bool:
        if self._closed or self._states[number] != _OPEN:
            return False
        leases = self._leases.setdefault(number, {})
        if any(lease.until > now for name, lease in leases.items() if name != worker):
            return False
        if worker not in leases or leases[worker].until <= now:
            leases[worker] = Lease(time.time(), now + seconds)
        return True

    def _move(self, number: int, state: int) -> None:
        self._counts[self._states[number]] -= 1
        self._counts[state] += 1
        self._states[number] = state
        while self._first < self.total and self._states[self._first] == _DONE:
            self._first += 1
        self._changed.notify_all()


class _Records:
    """JSON documents in a file that has no name, found again by where they begin."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._lock = threading.Lock()

    def add(self, document: Mapping[str, Any]) -> int:
        """Append a document; where it begins."""
        text = json.dumps(document, ensure_ascii=False).encode()
        with self._lock:
            place = self._end
            self._file.write(len(text).to_bytes(4, "big") + text)
            self._end += 4 + len(text)
        return place

    def read(self, place: int) -> dict[str, Any]:
        """The document that begins there."""
        size = int.from_bytes(os.pread(self._file.fileno(), 4, place), "big")
        document: dict[str, Any] = json.loads(os.pread(self._file.fileno(), size, place + 4))
        return document
