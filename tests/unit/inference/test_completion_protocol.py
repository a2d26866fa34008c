"""Tests of submission, completion, reconciliation and waiting together, under duplicates, loss and crashes."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autolabel.contracts.errors import Unavailable
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit
from autolabel.drives.listing import read_listing
from autolabel.inference.submission import ObjectEvent, UnitRequest
from autolabel.labelling.shards import ShardFrame, read_shards
from tests.fakes.answers import DETECTOR, answer
from tests.fakes.endpoints import Invocation, failure, success
from tests.fakes.faults import Crash, Fuse
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, LIMITS, Pipeline, drive_document, frame_key

MODEL = DETECTOR.id
PICTURES = [png(8, 8, (shade, 0, 0)) for shade in (0, 100, 200)]
# No function makes this number of operations here, so this fuse never blows.
NEVER = 10_000
fuses = st.one_of(st.just(NEVER), st.integers(0, 12))
places = st.integers(0, 10_000)


class LabelDrive:
    """Runs the state machine's loop: reconcile, wait, reconcile again, until nothing is pending."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.state = "reconcile"
        self.tokens = itertools.count()
        self.token = ""

    def step(self, fuse: Fuse | None = None) -> None:
        if self.state == "reconcile":
            if self.pipeline.reconcile(fuse).pending == 0:
                self.state = "passed"
                assert not pending_of_listing(self.pipeline)
            else:
                self.state = "wait"
        elif self.state == "wait":
            # A retry of the state waits with its own token.
            self.token = f"token-{next(self.tokens)}"
            self.pipeline.wait(self.token, fuse)
            self.state = "waiting"
        elif self.state == "waiting" and self.token in self.pipeline.executions.woken:
            self.state = "reconcile"

    def time_out(self) -> None:
        if self.state == "waiting":
            self.pipeline.executions.tokens.discard(self.token)
            self.state = "reconcile"


def pending_of_listing(pipeline: Pipeline) -> list[Unit]:
    """List pending units of frames of the run; it does not wait for frames that it refused or that are late."""
    listed = [line for line in read_listing(pipeline.labels, RunFolder(DRIVE, "0001")) if not line.refused]
    units = [Unit.of(parse_frame_key(line.key), line.etag, MODEL) for line in listed]
    return [unit for unit in units if pipeline.ledger.pending(unit)]


def check_shards(pipeline: Pipeline) -> None:
    """Check that each listed frame is in the shards exactly once, with an existing answer or a failure."""
    pipeline.plan(shard_frames=2)
    decoder = msgspec.json.Decoder(ShardFrame)
    frames = [
        decoder.decode(line)
        for shard in read_shards(pipeline.labels, RunFolder(DRIVE, "0001"))
        for line in pipeline.labels.lines(shard.key)
    ]
    listed = [line for line in read_listing(pipeline.labels, RunFolder(DRIVE, "0001")) if not line.refused]
    assert [(f.key, f.etag) for f in frames] == [(line.key, line.etag) for line in listed]
    for frame in frames:
        (found,) = frame.answers
        assert found.failure != "no answer"
        assert found.failure or pipeline.labels.exists(found.key)


class CompletionProtocol(RuleBasedStateMachine):
    """Acts as S3, SQS, SNS, the endpoint and the functions, each with its faults, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[ObjectEvent | UnitRequest] = []
        self.notifications: list[str] = []
        self.unanswered: list[Invocation] = []
        self.taken = 0
        self.execution: LabelDrive | None = None

    @initialize(honours_names=st.booleans(), frames=st.integers(0, 3), closed=st.booleans())
    def begin(self, honours_names: bool, frames: int, closed: bool) -> None:
        self.pipeline = Pipeline(honours_names=honours_names)
        for index in range(frames):
            self.upload_frame(index, 0, "front")
        self.upload_document(("front",))
        if closed:
            self.pipeline.submit(self.messages.pop())
            self.settle_fakes()

    def settle_fakes(self) -> None:
        """Put messages and invocations of functions since the last step on their way."""
        self.messages += self.pipeline.queue.asked
        self.pipeline.queue.asked = []
        self.unanswered += self.pipeline.endpoints.taken[self.taken :]
        self.taken = len(self.pipeline.endpoints.taken)
        if self.execution is None and self.pipeline.executions.started:
            self.execution = LabelDrive(self.pipeline)

    @rule(index=st.integers(0, 3), picture=st.integers(0, 2), camera=st.sampled_from(["front", "front-2"]))
    def upload_frame(self, index: int, picture: int, camera: str) -> None:
        self.messages.append(self.pipeline.upload(frame_key(index, camera=camera), PICTURES[picture]))

    @rule(cameras=st.sampled_from([("front",), ("front", "front-2")]))
    def upload_document(self, cameras: tuple[str, ...]) -> None:
        document = drive_document(*cameras)
        self.messages.append(self.pipeline.upload(f"drives/{DRIVE}/drive.json", document))

    @precondition(lambda self: self.messages)
    @rule(place=places, operations=fuses, duplicate=st.booleans())
    def deliver_message(self, place: int, operations: int, duplicate: bool) -> None:
        message = self.messages[place % len(self.messages)]
        try:
            self.pipeline.submit(message, Fuse(operations))
        except (Crash, Unavailable):
            duplicate = True
        if not duplicate:
            self.messages.remove(message)
        self.settle_fakes()

    @precondition(lambda self: self.messages)
    @rule(place=places)
    def lose_message(self, place: int) -> None:
        # A drive.json must not get lost, or no run starts.
        if not self.messages[place % len(self.messages)].key.endswith("drive.json"):
            del self.messages[place % len(self.messages)]

    @rule(available=st.booleans())
    def switch_endpoint(self, available: bool) -> None:
        self.pipeline.endpoints.available = available

    @precondition(lambda self: self.unanswered)
    @rule(
        place=places,
        outcome=st.sampled_from(["answer", "answer", "answer", "fail", "expire", "nothing"]),
        notifications=st.integers(0, 2),
    )
    def work(self, place: int, outcome: str, notifications: int) -> None:
        """Let the endpoint answer a request; its notification is lost, or comes once or twice."""
        invocation = self.unanswered.pop(place % len(self.unanswered))
        if outcome == "nothing":
            return
        if outcome == "answer":
            body = self.pipeline.endpoints.answer(invocation, answer())
        else:
            body = failure(invocation, status="Expired" if outcome == "expire" else "Failed")
        self.notifications += [body] * notifications

    @precondition(lambda self: self.notifications)
    @rule(place=places, operations=fuses, duplicate=st.booleans())
    def deliver_notification(self, place: int, operations: int, duplicate: bool) -> None:
        body = self.notifications[place % len(self.notifications)]
        try:
            self.pipeline.collect(body, Fuse(operations))
        except Crash:
            duplicate = True
        if not duplicate:
            self.notifications.remove(body)
        self.settle_fakes()

    @precondition(lambda self: self.execution is not None)
    @rule(operations=fuses)
    def step_execution(self, operations: int) -> None:
        assert self.execution is not None
        with suppress(Crash):
            self.execution.step(Fuse(operations))
        self.settle_fakes()

    @precondition(lambda self: self.execution is not None)
    @rule()
    def time_out(self) -> None:
        assert self.execution is not None
        self.execution.time_out()

    @rule(seconds=st.sampled_from([1.0, LIMITS.unsubmitted_after + 1, DETECTOR.queue_ttl + 1_000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.pipeline.now += seconds

    @invariant()
    def only_one_execution_is_started(self) -> None:
        if hasattr(self, "pipeline"):
            assert len(self.pipeline.executions.started) <= 1

    @invariant()
    def a_run_that_is_passed_has_every_frame(self) -> None:
        if self.execution is not None and self.execution.state == "passed":
            check_shards(self.pipeline)

    def teardown(self) -> None:
        """End the faults, and check that the drive is labelled."""
        if not hasattr(self, "pipeline"):
            return
        self.pipeline.endpoints.available = True
        self.messages.append(self.pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document("front", "front-2")))
        for _ in range(12):
            while self.messages:
                self.pipeline.submit(self.messages.pop(0))
                self.settle_fakes()
            while self.unanswered:
                self.notifications.append(self.pipeline.endpoints.answer(self.unanswered.pop(), answer()))
            while self.notifications:
                self.pipeline.collect(self.notifications.pop())
                self.settle_fakes()
            assert self.execution is not None
            if self.execution.state == "passed":
                break
            self.execution.time_out()
            self.execution.step()
            self.settle_fakes()
            self.pipeline.now += LIMITS.unsubmitted_after + 1.0
        assert self.execution.state == "passed"
        check_shards(self.pipeline)
        # Stray units may need more time to pass; nothing else is left.
        assert (
            not self.pipeline.ledger.waiting_runs(DRIVE) or self.execution.token not in self.pipeline.executions.tokens
        )


class TestCompletionProtocol(CompletionProtocol.TestCase):
    # tests/exploration proves small worlds whole; here larger ones are drawn.
    settings = settings(stateful_step_count=40)


class Interruption(Fuse):
    """Runs another action before one operation, instead of a crash."""

    def __init__(self, operations: int, action: Any) -> None:
        super().__init__(operations)
        self._action = action

    def burn(self, operation: str) -> None:
        if self.left == 0:
            self._action()
        self.left -= 1
        self.log.append(operation)


@pytest.mark.parametrize("honours_names", [True, False])
@pytest.mark.parametrize("outcome", [success, failure])
def test_a_notification_during_a_pass_wakes_the_run(honours_names: bool, outcome: Any) -> None:
    # The notification of the last pending unit comes at every place in a pass of two frames.
    for operations in itertools.count():
        pipeline = Pipeline(honours_names=honours_names)
        for index in range(2):
            pipeline.submit(pipeline.upload(frame_key(index), PICTURES[index]))
        pipeline.close()
        first, second = pipeline.endpoints.taken
        pipeline.collect(pipeline.endpoints.answer(first, answer()))

        def notify(pipeline: Pipeline = pipeline, second: Invocation = second) -> None:
            pipeline.labels.write(second.output_key, answer())
            pipeline.collect(outcome(second))

        interruption = Interruption(operations, notify)
        report = pipeline.reconcile(interruption)
        if interruption.left >= 0:
            assert operations > 5
            break
        if report.pending == 0:
            assert not pipeline.ledger.any_pending(DRIVE, [MODEL])
            continue
        pipeline.wait("token")
        # Only messages that are on their way are delivered: the run must be woken before its time-out.
        for _ in range(5):
            pipeline.submit_asked()
            for invocation in pipeline.endpoints.taken[2:]:
                pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
        assert pipeline.executions.woken == ["token"], interruption.log[operations:]
        assert pipeline.reconcile().pending == 0
        check_shards(pipeline)


def test_a_notification_while_the_wait_begins_wakes_the_run() -> None:
    for operations in itertools.count():
        pipeline = Pipeline()
        pipeline.submit(pipeline.upload(frame_key(0), PICTURES[0]))
        pipeline.close()
        (invocation,) = pipeline.endpoints.taken
        pipeline.reconcile()
        wait = Interruption(operations, lambda p=pipeline, i=invocation: p.collect(p.endpoints.answer(i, answer())))
        pipeline.wait("token", wait)
        if wait.left >= 0:
            assert operations > 1
            break
        assert pipeline.executions.woken == ["token"]


def test_a_wait_that_begins_during_a_notification_ends_in_a_wake() -> None:
    for operations in itertools.count():
        pipeline = Pipeline()
        pipeline.submit(pipeline.upload(frame_key(0), PICTURES[0]))
        pipeline.close()
        pipeline.reconcile()
        (invocation,) = pipeline.endpoints.taken
        collect = Interruption(operations, lambda p=pipeline: p.wait("token"))
        pipeline.collect(pipeline.endpoints.answer(invocation, answer()), collect)
        if collect.left >= 0:
            assert operations > 1
            break
        assert pipeline.executions.woken == ["token"]


def test_two_simultaneous_last_answers_wake_the_run() -> None:
    # Two calls of collect interleave: the second runs whole before each operation of the first.
    for operations in itertools.count():
        pipeline = Pipeline()
        for index in range(2):
            pipeline.submit(pipeline.upload(frame_key(index), PICTURES[index]))
        pipeline.close()
        pipeline.reconcile()
        pipeline.wait("token")
        first, second = (pipeline.endpoints.answer(i, answer()) for i in pipeline.endpoints.taken)
        collect = Interruption(operations, lambda p=pipeline, body=second: p.collect(body))
        pipeline.collect(first, collect)
        if collect.left >= 0:
            assert operations > 1
            break
        assert pipeline.executions.woken == ["token"]


def test_an_overwritten_frame_is_labelled_as_the_listing_froze_it() -> None:
    pipeline = Pipeline()
    pipeline.submit(pipeline.upload(frame_key(0), PICTURES[0]))
    pipeline.close()
    assert not pipeline.labels.exists(RunFolder(DRIVE, "0001").listing)
    pipeline.reconcile()
    pipeline.submit(pipeline.upload(frame_key(0), PICTURES[1]))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
    assert pipeline.reconcile().pending == 0
    check_shards(pipeline)
