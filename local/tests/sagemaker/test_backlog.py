"""The queue of an endpoint on a simulated clock, and the report of an expired request."""

from __future__ import annotations

import datetime
import json

import pytest

from local.sagemaker.async_inference.backlog import Backlog
from local.sagemaker.async_inference.invocations import Invocation, OutputSettings
from local.sagemaker.async_inference.metrics import EndpointMetrics
from local.sagemaker.async_inference.processing import expire
from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.names import S3Uri


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _invocation(name: str, ttl_seconds: int = 60) -> Invocation:
    settings = OutputSettings(S3Uri("b", "out"), S3Uri("b", "failed"), success_topic="ok", error_topic="error")
    return Invocation(
        endpoint="ep",
        inference_id=name,
        source=b"",
        settings=settings,
        output=S3Uri("b", f"out/{name}"),
        failure=S3Uri("b", f"failed/{name}"),
        received=datetime.datetime.now(datetime.UTC),
        ttl_seconds=ttl_seconds,
    )


def _taken(backlog: Backlog) -> str:
    queued = backlog.take(0)
    assert queued is not None
    return queued.invocation.inference_id


def test_an_empty_backlog_returns_nothing(clock: Clock) -> None:
    backlog = Backlog(clock)
    assert backlog.take(0) is None
    assert backlog.take_expired() == []
    assert (backlog.size(), backlog.oldest_age()) == (0, 0)


def test_requests_leave_in_their_order_of_arrival(clock: Clock) -> None:
    backlog = Backlog(clock)
    for name in "abc":
        backlog.put(_invocation(name))
    assert [_taken(backlog) for _ in "abc"] == ["a", "b", "c"]


def test_a_request_in_process_counts_until_it_is_done(clock: Clock) -> None:
    backlog = Backlog(clock)
    backlog.put(_invocation("a"))
    clock.now = 5
    queued = backlog.take(0)
    assert queued is not None
    assert (backlog.size(), backlog.oldest_age()) == (1, 5)
    backlog.done(queued)
    assert backlog.size() == 0


def test_a_request_given_back_goes_first(clock: Clock) -> None:
    backlog = Backlog(clock)
    for name in "ab":
        backlog.put(_invocation(name))
    queued = backlog.take(0)
    assert queued is not None
    backlog.give_back(queued)
    assert [_taken(backlog) for _ in "ab"] == ["a", "b"]


def test_each_request_expires_after_its_own_time(clock: Clock) -> None:
    backlog = Backlog(clock)
    backlog.put(_invocation("long", 600))
    backlog.put(_invocation("short", 60))
    clock.now = 61
    assert [queued.invocation.inference_id for queued in backlog.take_expired()] == ["short"]
    assert backlog.take_expired() == []
    assert backlog.size() == 1
    assert _taken(backlog) == "long"
    assert backlog.take(0) is None


def test_an_expired_request_is_reported_and_not_handed_out(clock: Clock) -> None:
    backlog = Backlog(clock)
    backlog.put(_invocation("a"))
    clock.now = 60
    assert backlog.take(0) is None
    assert [queued.invocation.inference_id for queued in backlog.take_expired()] == ["a"]


def test_a_request_given_back_can_still_expire(clock: Clock) -> None:
    backlog = Backlog(clock)
    backlog.put(_invocation("a"))
    queued = backlog.take(0)
    assert queued is not None
    assert backlog.take_expired() == []
    backlog.give_back(queued)
    clock.now = 60
    assert backlog.take_expired() == [queued]
    assert backlog.take_expired() == []


def test_closing_returns_the_number_of_unanswered_requests(clock: Clock) -> None:
    backlog = Backlog(clock)
    for name in "abc":
        backlog.put(_invocation(name))
    backlog.take(0)
    assert backlog.close() == 3
    assert backlog.take(0) is None


def test_an_expired_request_is_announced_as_expired(clock: Clock) -> None:
    backlog = Backlog(clock)
    backlog.put(_invocation("a"))
    clock.now = 60
    _, objects, topics, _, roles = memory_cloud()
    metrics = EndpointMetrics()
    for queued in backlog.take_expired():
        expire(queued, roles.assume("role"), metrics)
    ((topic, text),) = topics.messages
    message = json.loads(text)
    assert topic == "error"
    assert (message["invocationStatus"], message["inferenceId"]) == ("Expired", "a")
    assert message["responseParameters"]["failureLocation"] == "s3://b/failed/a"
    assert "s3://b/failed/a" in objects.contents
    assert metrics.snapshot()["ExpiredRequests"] == 1
