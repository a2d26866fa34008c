"""The reviewers' last answer wakes a run that waits for them, whenever Label Studio notifies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autolabel.contracts.errors import VerificationUnavailable
from autolabel.contracts.ports import WaitingJob
from autolabel.verification.people import await_reviewers, wake_job
from tests.fakes.executions import FakeExecutions
from tests.fakes.ledger import FakeLedger

JOB = "drive-7-5b064a6a-0001-000"
FIRST = "token"


class World(FakeLedger):
    """One job, its waiting execution and its reviewers. `strike`: calls to make before the step of this name."""

    def __init__(self) -> None:
        super().__init__()
        self.executions = FakeExecutions()
        self.annotated = False
        self.strike: dict[str, Callable[[], Any]] = {}
        self.waiting: list[str] = []

    def hold(self, waiting: WaitingJob) -> bool:
        self._step("hold")
        return super().hold(waiting)

    def release(self, waiting: WaitingJob) -> None:
        self._step("release")
        super().release(waiting)

    def check(self) -> bool:
        self._step("check")
        checked = self.annotated
        self._step("checked")
        return checked

    def begin(self, token: str = FIRST, order: str = "1") -> bool:
        """Enter the state AwaitPeople with a new token of Step Functions."""
        self.executions.tokens.add(token)
        return await_reviewers(WaitingJob(JOB, token, order), self.check, tokens=self, executions=self.executions)

    def notify(self) -> bool:
        return wake_job(JOB, tokens=self, executions=self.executions)

    def finish(self) -> bool:
        """Submit the last frame, and notify the run."""
        self.annotated = True
        return self.notify()

    def _step(self, name: str) -> None:
        self.strike.pop(name, lambda: None)()


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("place", ["hold", "check", "checked", "release", "afterwards"])
def test_the_last_answer_wakes_the_run_once_at_any_time(world: World, place: str) -> None:
    world.annotated = place == "release"
    world.strike[place] = world.finish
    world.begin()
    if place == "afterwards":
        world.finish()
    assert world.executions.woken == ["token"]
    assert world.held(JOB) is None


def test_a_run_sleeps_while_reviewers_work(world: World) -> None:
    assert not world.begin()
    assert world.executions.woken == []
    assert world.held(JOB) == WaitingJob(JOB, "token", "1")


def test_a_notification_without_a_waiting_run_wakes_no_run(world: World) -> None:
    assert not world.notify()
    assert world.begin() is False
    assert world.finish()
    assert not world.notify()
    assert world.executions.woken == ["token"]


def test_each_wait_has_its_own_token(world: World) -> None:
    world.begin()
    # This notification is too early: the run checks, and waits again.
    assert world.notify()
    assert not world.begin("second", "2")
    assert world.finish()
    assert world.executions.woken == ["token", "second"]


def test_a_call_that_outlives_its_wait_keeps_a_later_token(world: World) -> None:
    """The first wait timed out while its function was still checking, and the second began."""
    world.strike["hold"] = lambda: world.begin("second", "2")
    assert not world.begin("first", "1")
    assert world.held(JOB) == WaitingJob(JOB, "second", "2")
    assert world.finish()
    assert world.executions.woken == ["second"]


def test_a_late_check_wakes_only_its_own_wait(world: World) -> None:
    world.strike["checked"] = lambda: world.begin("second", "2")
    world.annotated = True
    # The second wait has checked too, and woken itself.
    world.begin("first", "1")
    assert sorted(world.executions.woken) == ["first", "second"]
    assert world.held(JOB) is None


def test_a_repeated_call_keeps_its_token(world: World) -> None:
    world.begin()
    assert not world.begin()
    assert world.finish()


def test_a_failed_check_leaves_the_token_for_notifications(world: World) -> None:
    def down() -> bool:
        raise VerificationUnavailable("Label Studio does not answer")

    world.strike["check"] = down
    with pytest.raises(VerificationUnavailable):
        world.begin()
    assert world.finish()
    assert world.executions.woken == ["token"]


def test_the_token_of_an_ended_wait_is_removed(world: World) -> None:
    world.begin()
    world.executions.tokens.clear()
    assert not world.notify()
    assert world.held(JOB) is None
