"""Takes the notifications of endpoints: settles units, and wakes runs without pending units.

A run ends because of the order of the ledger's operations: first settle the unit, then read the waiting runs, then ask
whether a unit is pending. A duplicate notification does the same. Any other order wakes a run too early or never
(docs/developers/completion-protocol.md). The wake is only a hint: the run makes another reconcile pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal, NamedTuple

import msgspec

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import MAX_KEY_BYTES, FrameKey, parse_frame_key
from autolabel.contracts.ports import Executions, SubmitQueue, UnitLedger
from autolabel.contracts.units import TRIAL, Unit, model_of_inference_id, parse_answer_key


class RequestParameters(msgspec.Struct, rename="camel"):
    endpoint_name: str = ""
    input_location: str = ""


class ResponseParameters(msgspec.Struct, rename="camel"):
    output_location: str = ""
    failure_location: str = ""


class InferenceResult(msgspec.Struct, rename="camel"):
    """A notification of an asynchronous endpoint. Failures vary in shape, so only the event's name is required."""

    event_name: str
    invocation_status: str = ""
    inference_id: str = ""
    failure_reason: str = ""
    request_parameters: RequestParameters = msgspec.field(default_factory=RequestParameters)
    response_parameters: ResponseParameters = msgspec.field(default_factory=ResponseParameters)


Outcome = Literal["answered", "failed", "retried", "late", "stranger", "test"]


class Settled(msgspec.Struct, frozen=True):
    """The result of a notification; `drive` is empty if it does not belong to the pipeline."""

    outcome: Outcome
    drive: str = ""
    detail: str = ""


class Told(NamedTuple):
    """A notification of this pipeline, and the frame and the `name.revision` that it is about."""

    result: InferenceResult
    frame: FrameKey
    model: str


def parse_notification(body: str) -> InferenceResult | None:
    """Read a notification that SNS delivers raw; None if the body is not a notification."""
    try:
        return msgspec.json.decode(body, type=InferenceResult)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class Completion:
    """Takes notifications into the ledger.

    `endpoint_of` returns the endpoint of a `name.revision`, None if there is none, and raises if it cannot know. A unit
    is failed after `max_errors` failures of the model.
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
        self._settled: frozenset[Unit] = frozenset()

    def begin(self, bodies: Iterable[str]) -> None:
        """Settle the answered units of a batch of notifications in few calls; `take` settles those that are left."""
        units: list[Unit] = []
        # What fails here fails again in `take`, for its own message; those behind it are left to `take`, too.
        with suppress(Exception):
            for body in bodies:
                told = self._told(body)
                if isinstance(told, Told) and told.result.invocation_status == "Completed":
                    unit = self._unit(told)
                    units += [unit] if isinstance(unit, Unit) else []
        self._settled = self._ledger.settle_all(units)

    def take(self, body: str, now: float) -> Settled:
        """Take one notification; trust it only as far as it agrees with the ledger and the contract of keys."""
        told = self._told(body)
        if isinstance(told, Settled):
            return told
        if told.result.invocation_status == "Completed":
            return self._answered(told)
        return self._failed(told, now)

    def _told(self, body: str) -> Told | Settled:
        """Read a notification; return the result at once if it is not about a unit of this pipeline."""
        result = parse_notification(body)
        if result is None:
            return Settled("stranger", detail="the message is not a notification")
        if result.event_name == "TestNotification":
            return Settled("test")
        if result.event_name != "InferenceResult":
            return Settled("stranger", detail=f"the event is {result.event_name!r}")
        if result.inference_id.startswith(TRIAL):
            return Settled("test")
        frame = self._frame(result.request_parameters.input_location)
        model = model_of_inference_id(result.inference_id)
        if frame is None or model is None:
            return Settled("stranger", detail=f"inference {result.inference_id!r} does not belong to this pipeline")
        endpoint = result.request_parameters.endpoint_name
        if endpoint != self._endpoint_of(model):
            return Settled("stranger", detail=f"endpoint {endpoint!r} is not the endpoint of {model}")
        return Told(result, frame, model)

    def _frame(self, location: str) -> FrameKey | None:
        bucket, key = _split(location)
        if bucket != self._ingest:
            return None
        try:
            return parse_frame_key(key)
        except KeyRefused:
            return None

    def _answered(self, told: Told) -> Settled:
        unit = self._unit(told)
        if isinstance(unit, Settled):
            return unit
        if unit is not None:
            if unit not in self._settled:
                self._ledger.settle(unit, None)
            return Settled("answered", unit.drive)
        # The endpoint does not know Filename, so the ledger says which unit this inference belongs to.
        frame, (_, key) = told.frame, _split(told.result.response_parameters.output_location)
        for pending in self._ledger.pending_of_frame(frame, told.model):
            if pending.unit.inference_id(pending.attempt) == told.result.inference_id:
                self._ledger.settle(pending.unit, key)
                return Settled("answered", frame.drive)
        return Settled("late", frame.drive)

    def _unit(self, told: Told) -> Unit | Settled | None:
        """Return the unit that the answer's key names; None if it names none, a result if the answer is not genuine."""
        result, frame = told.result, told.frame
        location = result.response_parameters.output_location
        bucket, key = _split(location)
        if bucket != self._labels:
            return Settled("stranger", detail=f"the answer {location!r} is not in the label bucket")
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
            return Settled("stranger", detail="the answer's location is not an object key of S3")
        named = parse_answer_key(key)
        if named is None:
            return None
        unit, attempt = named
        if unit.position != frame.position or unit.drive != frame.drive or unit.model != told.model:
            return Settled("stranger", detail=f"the answer {location!r} is not of frame {frame.key}")
        if unit.inference_id(attempt) != result.inference_id:
            return Settled("stranger", detail=f"the answer {location!r} is not of {result.inference_id}")
        return unit

    def _failed(self, told: Told, now: float) -> Settled:
        result, frame, model = told
        for pending in self._ledger.pending_of_frame(frame, model):
            # A failure belongs to one attempt: an earlier attempt's failure does not count while a retry runs.
            if pending.unit.inference_id(pending.attempt) != result.inference_id:
                if not pending.invoked and pending.unit.inference_id(pending.attempt - 1) == result.inference_id:
                    # An earlier call with this notification may have crashed before it queued the retry.
                    self._queue.send([(pending.unit, pending.key, pending.etag)])
                    return Settled("retried", frame.drive, result.failure_reason)
                continue
            expired = result.invocation_status == "Expired"
            errors = pending.errors + (0 if expired else 1)
            if errors >= self._max_errors:
                reason = result.failure_reason or f"the endpoint reported {result.invocation_status!r}"
                self._ledger.fail(pending, reason[:500], now)
                return Settled("failed", frame.drive, reason)
            # Queued also if the ledger reports no change: a change of our own, whose response was lost, looks the same.
            self._ledger.next_attempt(pending, errors=errors, since=now)
            self._queue.send([(pending.unit, pending.key, pending.etag)])
            return Settled("retried", frame.drive, result.failure_reason)
        return Settled("late", frame.drive)


def wake_if_done(drive: str, ledger: UnitLedger, executions: Executions) -> int:
    """Wake the waiting runs of a drive without pending units; return how many. Call it after the units are settled."""
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
