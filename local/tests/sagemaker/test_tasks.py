"""The queue of a job's tasks, under any order of workers."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local.sagemaker.ground_truth.tasks import Result, Tasks

WORKERS = st.sampled_from(["a", "b", "c"])
LIMIT = 100


def _lines(count: int) -> list[dict[str, Any]]:
    return [{"source-ref": f"s3://drives/d/front/{number:04d}.png", "text": "ü\n" * number} for number in range(count)]


class Workers(RuleBasedStateMachine):
    """Workers who take, answer late, twice or never, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tasks = Tasks(_lines(6), lambda: self.now)
        self.holder: dict[int, tuple[str, float]] = {}
        self.answers: dict[int, str] = {}

    def _note(self, number: int, worker: str) -> None:
        name, until = self.holder.get(number, ("", -1.0))
        assert name in ("", worker) or until <= self.now, "two workers have one task"
        if name != worker or until <= self.now:
            self.holder[number] = (worker, self.now + LIMIT)

    @rule(worker=WORKERS, leaving=st.none() | st.integers(0, 5))
    def take(self, worker: str, leaving: int | None) -> None:
        number = self.tasks.take(worker, LIMIT, leaving)
        if number is None:
            free = [
                n
                for n in range(6)
                if n not in self.answers
                and n != leaving
                and not (n in self.holder and self.holder[n][0] != worker and self.holder[n][1] > self.now)
            ]
            assert not free
            return
        assert number not in self.answers
        assert number != leaving
        self._note(number, worker)

    @rule(worker=WORKERS, number=st.integers(0, 5))
    def lease(self, worker: str, number: int) -> None:
        if self.tasks.lease(number, worker, LIMIT):
            assert number not in self.answers
            self._note(number, worker)

    @rule(worker=WORKERS, number=st.integers(0, 5))
    def answer(self, worker: str, number: int) -> None:
        claimed = self.tasks.claim(number)
        assert claimed == (number not in self.answers)
        if claimed:
            self.answers[number] = worker
            self.tasks.finish(number, Result({"by": worker}, {"worker": worker}))

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: len(self.answers) < 6)
    def give_back(self, number: int) -> None:
        if self.tasks.claim(number):
            self.tasks.reopen(number)

    @rule(seconds=st.sampled_from([1, LIMIT - 1, LIMIT]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def results_are_the_answers_in_the_manifests_order(self) -> None:
        found = [
            (number, line, result.attributes["by"] if result else None) for number, line, result in self.tasks.results()
        ]
        assert found == [(number, line, self.answers.get(number)) for number, line in enumerate(_lines(6))]
        assert self.tasks.done == len(self.answers)


TestWorkers = Workers.TestCase


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
