"""The queue of a job's tasks, under any order of workers."""

from __future__ import annotations

import json
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from local.sagemaker.ground_truth.annotation_files import worker_answer
from local.sagemaker.ground_truth.tasks import Result, Tasks

WORKERS = st.sampled_from(["a", "b", "c"])
LIMIT = 100


def _lines(count: int) -> list[dict[str, Any]]:
    return [{"source-ref": f"s3://drives/d/front/{number:04d}.png", "text": "ü\n" * number} for number in range(count)]


class Workers(RuleBasedStateMachine):
    """Workers who take, answer late, twice or never, and look at their answers again, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tasks = Tasks(_lines(6), lambda: self.now)
        self.holder: dict[int, tuple[str, float]] = {}
        self.answers: dict[int, tuple[str, int]] = {}
        self.again: dict[str, tuple[int, float]] = {}
        self.count = 0
        self.closed = False

    def _note(self, number: int, worker: str) -> None:
        name, until = self.holder.get(number, ("", -1.0))
        assert name in ("", worker) or until <= self.now, "two workers have one task"
        if name != worker or until <= self.now:
            self.holder[number] = (worker, self.now + LIMIT)

    @rule(worker=WORKERS, leaving=st.none() | st.integers(0, 5))
    def take(self, worker: str, leaving: int | None) -> None:
        number = self.tasks.take(worker, LIMIT, leaving)
        if number is None and not self.closed:
            free = [
                n
                for n in range(6)
                if n not in self.answers
                and n != leaving
                and not (n in self.holder and self.holder[n][0] != worker and self.holder[n][1] > self.now)
            ]
            assert not free
        if number is None:
            return
        assert not self.closed
        assert number not in self.answers
        assert number != leaving
        self._note(number, worker)

    @rule(worker=WORKERS, number=st.integers(0, 5))
    def lease(self, worker: str, number: int) -> None:
        leased = self.tasks.lease(number, worker, LIMIT)
        if self.answers.get(number, ("", 0))[0] == worker:
            assert leased != self.closed
            if leased:
                self.again[worker] = (number, self.now + LIMIT)
        elif leased:
            assert number not in self.answers
            self._note(number, worker)

    @rule(worker=WORKERS, number=st.none() | st.integers(0, 5))
    def arrive(self, worker: str, number: int | None) -> None:
        self.tasks.arrive(worker, number)
        if worker in self.again and self.again[worker][0] != number:
            del self.again[worker]

    @rule(worker=WORKERS, number=st.integers(0, 5), stored=st.booleans(), unsure=st.booleans())
    def answer(self, worker: str, number: int, stored: bool, unsure: bool) -> None:
        claimed = self.tasks.claim(number, worker)
        sender = self.answers.get(number, (worker, 0))[0]
        assert claimed == (not self.closed and sender == worker)
        if not claimed:
            return
        assert not self.tasks.claim(number, worker)
        # Until the new answer is stored, the earlier one is not lost.
        assert (self.tasks.result(number) is not None) == (number in self.answers)
        if not stored:
            self.tasks.reopen(number)
            return
        self.count += 1
        self.answers[number] = (worker, self.count)
        if self.again.get(worker, (-1,))[0] == number:
            del self.again[worker]
        content = {"review": json.dumps({"unsure": unsure})}
        answer = worker_answer(worker, content, accepted=0, submitted=self.count, spent=1)
        self.tasks.finish(number, Result({"by": [worker, self.count]}, answer))
        for name in ("a", "b", "c"):
            state = "unsure" if unsure else "sent"
            assert self.tasks.states(name)[number][1] == (state if name == worker else "taken")

    @rule()
    def close_when_done(self) -> None:
        looks = any(until > self.now for _, until in self.again.values())
        self.closed = self.closed or (len(self.answers) == 6 and not looks)
        assert self.tasks.close_when_done() == self.closed

    @rule(seconds=st.sampled_from([1, LIMIT - 1, LIMIT]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def results_are_the_answers_in_the_manifests_order(self) -> None:
        found = [
            (number, line, tuple(result.attributes["by"]) if result else None)
            for number, line, result in self.tasks.results()
        ]
        assert found == [(number, line, self.answers.get(number)) for number, line in enumerate(_lines(6))]
        assert self.tasks.done == len(self.answers)


TestWorkers = Workers.TestCase


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40), st.integers(2, 3))
def test_each_of_several_workers_answers_a_task_once(turns: list[tuple[str, bool]], workers: int) -> None:
    tasks = Tasks(_lines(3), lambda: 0.0, workers)
    given: dict[int, dict[str, Any]] = {number: {} for number in range(3)}
    holds: dict[str, int] = {}
    for worker, answers in turns:
        number = tasks.take(worker, LIMIT)
        if number is None:
            assert all(
                worker in by or len(by.keys() | {w for w, n in holds.items() if n == at}) >= workers
                for at, by in given.items()
            )
            continue
        assert worker not in given[number]
        holds[worker] = number
        if answers:
            assert tasks.claim(number, worker)
            given[number][worker] = worker_answer(worker, {}, accepted=0, submitted=1, spent=1)
            tasks.finish(number, Result({}, given[number][worker], list(given[number].values())))
            del holds[worker]
            assert tasks.sent(number, worker) == given[number][worker]
            assert tasks.is_open(number) == (len(given[number]) < workers)
    assert tasks.done == sum(len(by) == workers for by in given.values())


@given(st.permutations(range(8)))
def test_neighbours_follow_time_not_the_manifests_order(order: list[int]) -> None:
    tasks = Tasks(_lines(8)[number] for number in order)
    for place, number in enumerate(order):
        before, after = tasks.neighbours(place)
        assert (None if before is None else order[before]) == (number - 1 if number > 0 else None)
        assert (None if after is None else order[after]) == (number + 1 if number < 7 else None)


def test_of_simultaneous_answers_to_a_task_one_is_taken() -> None:
    tasks = Tasks(_lines(50))
    heard: list[int] = []

    def answer_all() -> None:
        for number in range(50):
            if tasks.claim(number):
                heard.append(number)
                tasks.finish(number, Result({"task": number}))

    workers = [threading.Thread(target=answer_all) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(heard) == list(range(50))
    assert [result.attributes["task"] for _, _, result in tasks.results() if result] == list(range(50))


def test_closing_waits_for_the_current_answer_and_takes_no_other() -> None:
    tasks = Tasks(_lines(2))
    assert tasks.claim(0)
    closing = threading.Thread(target=tasks.close)
    closing.start()
    tasks.finish(0, Result({}))
    closing.join(timeout=10)
    assert not closing.is_alive()
    assert not tasks.claim(1)
    assert tasks.take("a", LIMIT) is None
