"""Notifications of Label Studio: only genuine ones are read, and they are only hints."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.verification.label_studio.notifications import MAX_BODY, notified_address, signature, take_notification

SECRET = "a secret of webhooks"
JOB = "drive-7-0a1b2c3d-0001-000"
DONE = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "task_number": 5, "finished_task_number": 5}}


class Waiting:
    """A run that waits for a job until it is woken."""

    def __init__(self) -> None:
        self.woken: list[str] = []

    def __call__(self, job: str) -> bool:
        self.woken.append(job)
        return len(self.woken) == 1


def event(body: Any = DONE, *, job: str = JOB, signed: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of a function URL. `signed`: the signature header, if it is not the job's own."""
    query = notified_address("https://hook.example/", job).partition("?")[2]
    return {
        "version": "2.0",
        "rawQueryString": query,
        "headers": {"x-autolabel-signature": signature(SECRET, job) if signed is None else signed},
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
        **more,
    }


def taken(given: dict[str, Any]) -> tuple[int, list[str]]:
    wake = Waiting()
    reply = take_notification(given, SECRET, wake)
    return reply.status, wake.woken


def test_the_last_answer_wakes_the_run() -> None:
    assert taken(event()) == (200, [JOB])
    body = base64.b64encode(json.dumps(DONE).encode()).decode()
    assert taken(event(body, isBase64Encoded=True)) == (200, [JOB])


@pytest.mark.parametrize(
    "project",
    [None, {}, {"task_number": 5, "finished_task_number": 4}, {"task_number": 0, "finished_task_number": 0}],
)
def test_a_notification_of_an_unfinished_job_wakes_no_run(project: dict[str, int] | None) -> None:
    assert taken(event({"action": "ANNOTATION_CREATED", "project": project})) == (200, [])


def test_a_repeated_notification_wakes_no_run_twice() -> None:
    wake = Waiting()
    replies = [take_notification(event(), SECRET, wake) for _ in range(2)]
    assert [(reply.status, reply.text) for reply in replies] == [(200, "woken"), (200, "no run waits")]


@pytest.mark.parametrize(
    "forged",
    [
        event(signed=""),
        event(signed="0" * 64),
        event(signed=signature("another secret", JOB)),
        event(signed=signature(SECRET, "another job")),
        event(signed=signature(SECRET, JOB).upper()),
        event(signed="ü\ud800"),
        event(job=""),
        {},
        {"headers": None, "rawQueryString": None},
        {**event(), "headers": {}},
        {**event(), "rawQueryString": ""},
        {**event(), "rawQueryString": "job=%ff%00"},
        {**event(), "rawQueryString": f"job={JOB}&job=other"},
    ],
)
def test_a_notification_with_a_wrong_signature_is_refused_unread(forged: dict[str, Any]) -> None:
    # The status would be 400 if this broken body were read.
    assert taken(forged | {"body": "{"}) == (401, [])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"action": 5}',
        '{"action": "x", "project": {"task_number": "5", "finished_task_number": 5}}',
        "[" * 100_000,
        '{"action": "x", "more": ' + "[" * 100_000,
        "\ud800",
        " " * (MAX_BODY + 1) + json.dumps(DONE),
    ],
)
def test_a_signed_body_that_is_not_a_notification_is_refused(body: str) -> None:
    assert taken(event(body)) == (400, [])


def test_a_body_with_broken_base64_is_refused() -> None:
    assert taken(event("{}", isBase64Encoded=True)) == (400, [])


@given(st.text(min_size=1, max_size=50))
def test_an_address_carries_a_job_of_any_name(job: str) -> None:
    assert taken(event(job=job)) == (200, [job])


def test_an_address_keeps_its_query() -> None:
    assert notified_address("https://h/?a=b", "j/1") == "https://h/?a=b&job=j%2F1"
