"""A run that waits for people is woken by their last answer, whenever that is notified."""

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
    """One job, the execution that waits for it, and people. `strike` is called before the step that it names."""

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

    def look(self) -> bool:
        self._step("look")
        seen = self.annotated
        self._step("seen")
        return seen

    def begin(self, token: str = FIRST, order: str = "1") -> bool:
        """The state AwaitPeople begins, with a token that Step Functions has just made."""
        self.executions.tokens.add(token)
        return await_reviewers(WaitingJob(JOB, token, order), self.look, tokens=self, executions=self.executions)

    def notify(self) -> bool:
        return wake_job(JOB, tokens=self, executions=self.executions)

    def finish(self) -> bool:
        """The last person submits, and Label Studio tells of it."""
        self.annotated = True
        return self.notify()

    def _step(self, name: str) -> None:
        self.strike.pop(name, lambda: None)()


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("place", ["hold", "look", "seen", "release", "afterwards"])
def test_whenever_the_last_answer_is_notified_the_run_is_woken_once(world: World, place: str) -> None:
    world.annotated = place == "release"
    world.strike[place] = world.finish
    world.begin()
    if place == "afterwards":
        world.finish()
    assert world.executions.woken == ["token"]
    assert world.held(JOB) is None


def test_a_wait_for_people_who_are_not_done_sleeps(world: World) -> None:
    assert not world.begin()
    assert world.executions.woken == []
    assert world.held(JOB) == WaitingJob(JOB, "token", "1")


def test_a_wake_that_nobody_waits_for_is_none(world: World) -> None:
    assert not world.notify()
    assert world.begin() is False
    assert world.finish()
    assert not world.notify()
    assert world.executions.woken == ["token"]


def test_a_wake_is_a_hint_after_which_the_next_wait_has_its_own_token(world: World) -> None:
    world.begin()
    # Somebody said so too early: the run looks, and waits again.
    assert world.notify()
    assert not world.begin("second", "2")
    assert world.finish()
    assert world.executions.woken == ["token", "second"]


def test_a_call_that_outlives_its_wait_neither_replaces_nor_forgets_a_later_token(world: World) -> None:
    """The first wait timed out while its function was still looking, and the second began."""
    world.strike["hold"] = lambda: world.begin("second", "2")
    assert not world.begin("first", "1")
    assert world.held(JOB) == WaitingJob(JOB, "second", "2")
    assert world.finish()
    assert world.executions.woken == ["second"]


def test_a_late_look_wakes_its_own_wait_only(world: World) -> None:
    world.strike["seen"] = lambda: world.begin("second", "2")
    world.annotated = True
    # The second wait has looked too, and woken itself.
    world.begin("first", "1")
    assert sorted(world.executions.woken) == ["first", "second"]
    assert world.held(JOB) is None


def test_the_same_call_made_again_holds_its_token(world: World) -> None:
    world.begin()
    assert not world.begin()
    assert world.finish()


def test_a_look_that_fails_leaves_the_token_for_notifications(world: World) -> None:
    def down() -> bool:
        raise VerificationUnavailable("Label Studio does not answer")

    world.strike["look"] = down
    with pytest.raises(VerificationUnavailable):
        world.begin()
    assert world.finish()
    assert world.executions.woken == ["token"]


def test_a_wait_that_is_over_is_forgotten(world: World) -> None:
    world.begin()
    world.executions.tokens.clear()
    assert not world.notify()
    assert world.held(JOB) is None
