"""Completion: what happens when an endpoint reports that it is done with a unit.

The order of the ledger's operations is what makes a run end: the unit is settled first, then the waiting runs are
read, then it is asked whether anything is pending; a duplicate does the same. Any other order wakes a run too early or
never (docs/developers/completion-protocol.md). The wake itself is only a hint: the run reconciles again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import MAX_KEY_BYTES, FrameKey, parse_frame_key
from autolabel.contracts.ports import Executions, SubmitQueue, UnitLedger
from autolabel.contracts.units import TRIAL, model_of_inference_id, parse_answer_key


class RequestParameters(msgspec.Struct, rename="camel"):
    endpoint_name: str = ""
    input_location: str = ""


class ResponseParameters(msgspec.Struct, rename="camel"):
    output_location: str = ""
    failure_location: str = ""


class InferenceResult(msgspec.Struct, rename="camel"):
    """A notification of an asynchronous endpoint; failures come in several shapes, so all but the name is optional."""

    event_name: str
    invocation_status: str = ""
    inference_id: str = ""
    failure_reason: str = ""
    request_parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)
    response_parameters: ResponseParameters = msgspec.field(default_factory=ResponseParameters)


Outcome = Literal["answered", "failed", "retried", "late", "stranger", "test"]


class Settled(msgspec.Struct, frozen=True):
    """What a notification came to; `drive` is empty when it is none of ours."""

    outcome: Outcome
    drive: str = ""
    detail: str = ""


def parse_notification(body: str) -> InferenceResult | None:
    """Read a notification as SNS delivers it raw; None for what is none."""
    try:
        return msgspec.json.decode(body, type=InferenceResult)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class Completion:
    """Takes notifications into the ledger.

    `endpoint_of` knows the endpoint of a `name.revision`, or None, and raises when it cannot tell. After `max_errors`
    failures by the model a unit is failed.
    """

    def __init__(
        self,
        ledger: UnitLedger,
        queue: SubmitQueue,
        *,
        ingest: str,
        labels: str,
        endpoint_of: Callable[[str], str | None],
        max_errors: int,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._ingest = ingest
        self._labels = labels
        self._endpoint_of = endpoint_of
        self._max_errors = max_errors

    def take(self, body: str, now: float) -> Settled:
        """Take one notification; it is believed only as far as the ledger and the contract of keys agree with it."""
        result = parse_notification(body)
        if result is None:
            return Settled("stranger", detail="the message is no notification")
        if result.event_name == "TestNotification":
            return Settled("test")
        if result.event_name != "InferenceResult":
            return Settled("stranger", detail=f"the event is {result.event_name!r}")
        if result.inference_id.startswith(TRIAL):
            return Settled("test")
        frame = self._frame(result.request_parameters.input_location)
        model = model_of_inference_id(result.inference_id)
        if frame is None or model is None:
            return Settled("stranger", detail=f"inference {result.inference_id!r} is none of this pipeline's")
        endpoint = result.request_parameters.endpoint_name
        if endpoint != self._endpoint_of(model):
            return Settled("stranger", detail=f"endpoint {endpoint!r} is not that of {model}")
        if result.invocation_status == "Completed":
            return self._answered(frame, model, result)
        return self._failed(frame, model, result, now)

    def _frame(self, location: str) -> FrameKey | None:
        bucket, key = _split(location)
        if bucket != self._ingest:
            return None
        try:
            return parse_frame_key(key)
        except KeyRefused:
            return None

    def _answered(self, frame: FrameKey, model: str, result: InferenceResult) -> Settled:
        location = result.response_parameters.output_location
        bucket, key = _split(location)
        if bucket != self._labels:
            return Settled("stranger", detail=f"the answer {location!r} is not in the label bucket")
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
            return Settled("stranger", detail="the answer's location is no key of an object")
        named = parse_answer_key(key)
        if named is not None:
            unit, attempt = named
            if unit.position != frame.position or unit.drive != frame.drive or unit.model != model:
                return Settled("stranger", detail=f"the answer {location!r} is not of frame {frame.key}")
            if unit.inference_id(attempt) != result.inference_id:
                return Settled("stranger", detail=f"the answer {location!r} is not of {result.inference_id}")
            self._ledger.settle(unit, None)
            return Settled("answered", frame.drive)
        # An endpoint that does not know Filename: the ledger says which unit this inference was.
        for pending in self._ledger.pending_of_frame(frame, model):
            if pending.unit.inference_id(pending.attempt) == result.inference_id:
                self._ledger.settle(pending.unit, key)
                return Settled("answered", frame.drive)
        return Settled("late", frame.drive)

    def _failed(self, frame: FrameKey, model: str, result: InferenceResult, now: float) -> Settled:
        for pending in self._ledger.pending_of_frame(frame, model):
            # A failure belongs to one attempt: while a retry runs, the failure before it says nothing.
            if pending.unit.inference_id(pending.attempt) != result.inference_id:
                if not pending.invoked and pending.unit.inference_id(pending.attempt - 1) == result.inference_id:
                    # Whoever took this notification before may have died before it queued the retry.
                    self._queue.send([(pending.unit, pending.key, pending.etag)])
                    return Settled("retried", frame.drive, result.failure_reason)
                continue
            expired = result.invocation_status == "Expired"
            errors = pending.errors + (0 if expired else 1)
            if errors >= self._max_errors:
                reason = result.failure_reason or f"the endpoint reported {result.invocation_status!r}"
                self._ledger.fail(pending, reason[:500], now)
                return Settled("failed", frame.drive, reason)
            # Queued whatever the ledger says: a change whose answer was lost looks like one that somebody else made.
            self._ledger.next_attempt(pending, errors=errors, since=now)
            self._queue.send([(pending.unit, pending.key, pending.etag)])
            return Settled("retried", frame.drive, result.failure_reason)
        return Settled("late", frame.drive)


def wake_if_done(drive: str, ledger: UnitLedger, executions: Executions) -> int:
    """Wake the runs of a drive for which nothing is pending; how many were. Call it after the units are settled."""
    woken = 0
    for waiting in ledger.waiting_runs(drive):
        if ledger.any_pending(drive, waiting.models):
            continue
        if executions.wake(waiting.token):
            woken += 1
        ledger.stop_waiting(waiting)
    return woken


def _split(location: str) -> tuple[str, str]:
    scheme, _, rest = location.partition("://")
    bucket, _, key = rest.partition("/")
    return (bucket, key) if scheme == "s3" else ("", "")
