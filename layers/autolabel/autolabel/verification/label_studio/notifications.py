"""Checks Label Studio's notifications: whether one is genuine, and whether it says that a job is done.

Label Studio sends the headers that it was given and signs nothing (webhooks of 1.23). So the header is a signature of
the job's name: a sender that knows it got it from the project's webhook, and it is valid for that job alone. A replayed
notification looks like the first. That does no harm: a notification is only a hint, and the run checks by itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, quote

import msgspec

HEADER = "X-Autolabel-Signature"
_JOB = "job"
# Enough for a frame's task, prediction and annotation, since a manifest line has at most 100,000 characters.
MAX_BODY = 2_000_000


class Wake(Protocol):
    """Wakes the run that waits for a job; False when none waits."""

    def __call__(self, job: str) -> bool: ...


class Reply(NamedTuple):
    """The answer to a notification. `job`: the notification's job, once its signature is checked; empty before."""

    status: int
    text: str
    job: str = ""


class _Project(msgspec.Struct):
    task_number: int | None = None
    finished_task_number: int | None = None


class _Notification(msgspec.Struct):
    action: str
    project: _Project | None = None


def signature(secret: str, job: str) -> str:
    return hmac.new(secret.encode(), _bytes(job), hashlib.sha256).hexdigest()


def notified_address(url: str, job: str) -> str:
    """Return the address to which a job's notifications go."""
    return f"{url}{'&' if '?' in url else '?'}{_JOB}={quote(job, safe='')}"


def take_notification(event: Mapping[str, Any], secret: str, wake: Wake) -> Reply:
    """Take an event of a function URL (payload 2.0), and wake the job's run when every task of the job is finished.

    A body is read only if the signature is right. The status is 401 for a missing or wrong signature, 400 for a body
    that is not a notification.
    """
    # Function URLs give header names in lower case.
    given = _bytes((event.get("headers") or {}).get(HEADER.lower(), ""))
    job = parse_qs(event.get("rawQueryString") or "").get(_JOB, [""])[-1]
    if not job or not hmac.compare_digest(given, _bytes(signature(secret, job))):
        return Reply(401, "not signed for this job")
    body = _bytes(event.get("body") or "")
    if len(body) > MAX_BODY:
        return Reply(400, "too large", job)
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
        notification = msgspec.json.decode(body, type=_Notification)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reply(400, "not a notification of Label Studio", job)
    project = notification.project
    if project is None or not project.task_number or project.task_number != project.finished_task_number:
        return Reply(200, "noted", job)
    return Reply(200, "woken" if wake(job) else "no run waits", job)


def _bytes(text: str) -> bytes:
    """Encode text, also if it contains lone surrogates, which JSON permits."""
    return text.encode("utf-8", "surrogatepass")
