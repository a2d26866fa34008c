"""The tasks of a labelling job: their manifest lines, leases and results.

Lines and results are on disk, so that a job of 100,000 tasks keeps only some bytes of each in memory.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from local.sagemaker.ground_truth.worker_answers import is_unsure, sender_of

Clock = Callable[[], float]

# A revised task has a result, which counts until the answer that replaces it is stored.
_OPEN, _CLAIMED, _DONE, _REVISED = range(4)
_SENT, _UNSURE = 1, 2
# A sent task is kept this long for a worker who looks at it again, after each sign of work: they may have gone.
_LOOK_SECONDS = 120
# A job that ends may still write answers to S3.
_CLOSING_SECONDS = 30


@dataclass(frozen=True)
class Lease:
    """A worker's time for a task; `accepted` in seconds since the epoch, `until` on the tasks' clock."""

    accepted: float
    until: float


class TaskState(StrEnum):
    """A task as one worker sees it: `TAKEN` is at or by another worker, or failed."""

    OPEN = "open"
    SENT = "sent"
    UNSURE = "unsure"
    TAKEN = "taken"


@dataclass(frozen=True)
class Result:
    """The result of a task: its line's new attributes, and the worker's answer, None without one.

    `answers`: of all workers, the newest in `answer`, where several answer a task.
    """

    attributes: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None
    answers: Sequence[Mapping[str, Any]] = ()

    @property
    def all_answers(self) -> Sequence[Mapping[str, Any]]:
        return self.answers or ([self.answer] if self.answer else [])


class Tasks:
    """The tasks of one job by their position in its manifest, from 0; safe for threads.

    A task is open until an answer claims it, even when another worker has leased it: the first worker's answer counts.
    That worker may replace it until the tasks are closed. `on_result` is called with each result before it counts.
    With several `workers`, a task stays open until that number of them have answered it, each once. `looked`: by
    worker, the tasks whose images they have answered before, which they do not get while `others_only` tells True.
    """

    def __init__(self, lines: Iterable[Mapping[str, Any]], clock: Clock = time.monotonic, workers: int = 1) -> None:
        self.workers = workers
        self._clock = clock
        self.on_result: Callable[[int, Result], None] = lambda number, result: None
        self.looked: Mapping[str, Set[int]] = {}
        self.others_only: Callable[[], bool] = lambda: True
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
        # By worker, a byte for each task: whether they sent it, and were unsure.
        self._sent: dict[str, bytearray] = {}
        # By worker, the sent task that they look at again, and until when it is kept for them.
        self._again: dict[str, tuple[int, float]] = {}
        # By task, the number of its answers.
        self._given = bytearray(self.total)
        self._first = 0
        self._closed = False
        self._counts: Counter[int] = Counter({_OPEN: self.total})
        self._changed = threading.Condition()

    def _add_line(self, number: int, line: Mapping[str, Any]) -> int:
        folder, _, name = line["source-ref"].rpartition("/")
        self._cameras.append((folder, name, number))
        return self._lines.add(line)

    def line(self, number: int) -> dict[str, Any]:
        """Return the manifest line of a task."""
        return self._lines.read(self._line_places[number])

    def neighbours(self, number: int) -> tuple[int | None, int | None]:
        """Return the tasks of the same camera's previous and next frame."""
        folder, _, name = self.line(number)["source-ref"].rpartition("/")
        place = bisect_left(self._cameras, (folder, name, number))
        return self._of_camera(place - 1, folder), self._of_camera(place + 1, folder)

    def _of_camera(self, place: int, folder: str) -> int | None:
        if not 0 <= place < self.total or self._cameras[place][0] != folder:
            return None
        return self._cameras[place][2]

    @property
    def done(self) -> int:
        """The number of tasks with a result."""
        with self._changed:
            return self._counts[_DONE] + self._counts[_REVISED]

    def is_open(self, number: int) -> bool:
        """Tell whether a task can still be answered."""
        with self._changed:
            return not self._closed and self._states[number] == _OPEN

    def keeps_from(self, worker: str) -> bool:
        """Tell whether an open task is only for others, because the worker has answered its image before."""
        with self._changed:
            return any(self._is_kept(number, worker) for number in self.looked.get(worker, ()))

    def states(self, worker: str) -> list[tuple[str, TaskState]]:
        """Return the name (camera/frame) and the state of every task for a worker, in the manifest's order."""
        names = [""] * self.total
        for folder, name, number in self._cameras:
            names[number] = f"{folder.rpartition('/')[2]}/{name}"
        with self._changed:
            now = self._clock()
            return [(name, self._state(number, worker, now)) for number, name in enumerate(names)]

    def take(self, worker: str, seconds: float, leaving: int | None = None) -> int | None:
        """Lease the worker's next task after the one that they are `leaving`, then from the start.

        In both passes, tasks that the worker has leased already come before free ones. Returns None when none is left.
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
        """Lease the task that another worker has had for longest: they may be gone. None when there is none."""
        with self._changed:
            now = self._clock()
            held = [
                (lease.until, number)
                for number, leases in self._leases.items()
                for name, lease in leases.items()
                if name != worker and self._states[number] == _OPEN and not self._has_sent(number, worker)
            ]
            for _, number in sorted(held):
                self._leases[number].clear()
                if self._lease(number, worker, seconds, now):
                    return number
        return None

    def lease(self, number: int, worker: str, seconds: float) -> bool:
        """Lease a task, also one that the worker has sent; return False when it is another worker's, or closed."""
        with self._changed:
            now = self._clock()
            if not self._closed and self._has_sent(number, worker):
                self._again[worker] = (number, now + min(seconds, _LOOK_SECONDS))
                return True
            return self._lease(number, worker, seconds, now)

    def arrive(self, worker: str, number: int | None) -> None:
        """Say that a worker is at this task or at none, and so no longer at a sent one that they looked at again."""
        with self._changed:
            if self._again.get(worker, (number,))[0] != number:
                del self._again[worker]

    def stay(self, worker: str, number: int) -> None:
        """Say that a worker still works at this task; has no effect unless it is the sent one that they look at."""
        with self._changed:
            if self._again.get(worker, (-1,))[0] == number:
                self._again[worker] = (number, self._clock() + _LOOK_SECONDS)

    def claim(self, number: int, worker: str | None = None) -> bool:
        """Claim a task for an answer; with a `worker`, also a task that they have sent.

        Returns False when it is claimed already, another worker's answer counts, or the job takes no more answers. With
        several workers, waits until another's answer is stored.
        """
        with self._changed:
            if self.workers > 1:
                self._changed.wait_for(lambda: self._states[number] in (_OPEN, _DONE), timeout=_CLOSING_SECONDS)
            revises = worker is not None and self._states[number] == _DONE and self._has_sent(number, worker)
            if self._closed or not (revises or self._states[number] == _OPEN):
                return False
            self._move(number, _REVISED if revises else _CLAIMED)
            return True

    def accepted(self, number: int, worker: str) -> float | None:
        """Return the time when the worker got a task, in seconds since the epoch; None if they never did."""
        with self._changed:
            lease = self._leases.get(number, {}).get(worker)
            return lease.accepted if lease else None

    def finish(self, number: int, result: Result) -> None:
        """Record the result of a claimed task."""
        self.on_result(number, result)
        place = self._results.add(
            {"attributes": result.attributes, "answer": result.answer, "answers": list(result.answers)}
        )
        with self._changed:
            self._result_places[number] = place
            self._given[number] = len(result.all_answers)
            for answer in result.all_answers:
                worker = sender_of(answer)
                sent = self._sent.setdefault(worker, bytearray(self.total))
                sent[number] = _UNSURE if is_unsure(answer) else _SENT
                self._leases.get(number, {}).pop(worker, None)
                if answer == result.answer and self._again.get(worker, (-1,))[0] == number:
                    del self._again[worker]
            if self.is_whole(result):
                self._leases.pop(number, None)
            self._move(number, _DONE if self.is_whole(result) else _OPEN)

    def is_whole(self, result: Result) -> bool:
        """Tell whether a result has the answers of all workers, or needs none."""
        return result.answer is None or len(result.all_answers) >= self.workers

    def reopen(self, number: int) -> None:
        """Give back a claimed task whose answer could not be stored."""
        with self._changed:
            self._move(number, _DONE if self._states[number] == _REVISED else _OPEN)

    def close_when_done(self) -> bool:
        """Close and return True if every task has a result and no worker looks at a sent one again."""
        with self._changed:
            now = self._clock()
            looks = any(until > now for _, until in self._again.values())
            self._closed = self._closed or (self._counts[_DONE] == self.total and not looks)
            return self._closed

    def close(self) -> None:
        """Take no more answers, and wait for those that are being stored."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(
                lambda: not self._counts[_CLAIMED] + self._counts[_REVISED], timeout=_CLOSING_SECONDS
            )

    def result(self, number: int) -> Result | None:
        """Return the result of a task, None for one without."""
        with self._changed:
            if self._states[number] not in (_DONE, _REVISED):
                return None
        return self._read(number)

    def answers(self, number: int) -> Sequence[Mapping[str, Any]]:
        """Return the answers to a task so far."""
        with self._changed:
            if not self._given[number]:
                return ()
        return self._read(number).all_answers

    def _read(self, number: int) -> Result:
        return Result(**self._results.read(self._result_places[number]))

    def sent(self, number: int, worker: str) -> Mapping[str, Any] | None:
        """Return the worker's answer to a task, None if they have sent none that counts."""
        with self._changed:
            if not self._has_sent(number, worker):
                return None
        return next((answer for answer in self.answers(number) if sender_of(answer) == worker), None)

    def results(self) -> Iterator[tuple[int, dict[str, Any], Result | None]]:
        """Yield all tasks with their lines and results, None for those without one, in the manifest's order."""
        for number in range(self.total):
            yield number, self.line(number), self.result(number)

    def _has_sent(self, number: int, worker: str) -> bool:
        return worker in self._sent and self._sent[worker][number] != 0

    def _state(self, number: int, worker: str, now: float) -> TaskState:
        if self._has_sent(number, worker):
            return TaskState.UNSURE if self._sent[worker][number] == _UNSURE else TaskState.SENT
        return (
            TaskState.OPEN if self._states[number] == _OPEN and self._is_free(number, worker, now) else TaskState.TAKEN
        )

    def _is_free(self, number: int, worker: str, now: float) -> bool:
        """Tell whether an open task still needs an answer beside those of others who have answered it or lease it."""
        if self._is_kept(number, worker):
            return False
        leases = self._leases.get(number, {})
        others = sum(lease.until > now for name, lease in leases.items() if name != worker)
        return not self._has_sent(number, worker) and self._given[number] + others < self.workers

    def _is_kept(self, number: int, worker: str) -> bool:
        return self._states[number] == _OPEN and number in self.looked.get(worker, ()) and self.others_only()

    def _has(self, worker: str, number: int, now: float) -> bool:
        lease = self._leases[number].get(worker)
        return lease is not None and lease.until > now

    def _lease(self, number: int, worker: str, seconds: float, now: float) -> bool:
        if self._closed or self._states[number] != _OPEN:
            return False
        if not self._is_free(number, worker, now):
            return False
        leases = self._leases.setdefault(number, {})
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
    """JSON documents in a nameless file, found by their offsets."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._lock = threading.Lock()

    def add(self, document: Mapping[str, Any]) -> int:
        """Append a document; return its offset."""
        text = json.dumps(document, ensure_ascii=False).encode()
        with self._lock:
            place = self._end
            self._file.write(len(text).to_bytes(4, "big") + text)
            self._end += 4 + len(text)
        return place

    def read(self, place: int) -> dict[str, Any]:
        """Return the document at an offset."""
        size = int.from_bytes(os.pread(self._file.fileno(), 4, place), "big")
        document: dict[str, Any] = json.loads(os.pread(self._file.fileno(), size, place + 4))
        return document
