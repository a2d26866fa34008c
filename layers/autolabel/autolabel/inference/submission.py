"""Submits frames to their models, and closes drives, for the events of uploads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from autolabel.contracts.errors import DocumentRefused, EndpointUnavailable, KeyRefused
from autolabel.contracts.frames import (
    MAX_FRAME_BYTES,
    DriveDocumentKey,
    LogKey,
    PointCloudKey,
    decode_event_key,
    drive_of,
    parse_frame_key,
    parse_key,
)
from autolabel.contracts.ports import Bucket, Endpoints, Executions, Ledger, PendingUnit
from autolabel.contracts.units import CloseRequest, ETag, LogsRequest, Unit, UnitRequest
from autolabel.drives.closing import Closing
from autolabel.drives.drive_logs import DriveLogs
from autolabel.inference.completion import wake_if_done
from autolabel.models.catalogue import Catalogue, Model

# Seconds for the downloads and uploads of an invocation, beside the time-out of its container: an invocation may start
# just before its time in the queue runs out.
DEADLINE_MARGIN = 60.0
# S3 reports one object in a message; the function has not enough time for thousands in one.
MAX_RECORDS = 100


class ObjectEvent(NamedTuple):
    """An object in an event of S3; `key` is decoded, `etag` has no quotes."""

    bucket: Annotated[str, msgspec.Meta(max_length=63)]
    key: Annotated[str, msgspec.Meta(max_length=1_024)]
    etag: ETag
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)]


Asked = ObjectEvent | UnitRequest | CloseRequest | LogsRequest
Outcome = Literal[
    "submitted", "answered", "already", "parked", "closed", "refused", "ignored", "extracting", "waiting", "skipped"
]


class Submitted(NamedTuple):
    """The result of a message."""

    outcome: Outcome
    detail: str = ""


def read_message(body: str) -> Iterator[Asked]:
    """Read what a message on the submit queue asks for: objects of an S3 notification, a unit, to close a drive, or to
    look at its logs.

    Yields nothing for a test event. Raises DocumentRefused for any other message.
    """
    try:
        message: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        raise DocumentRefused("message-unreadable", f"the message is not JSON: {e}") from e
    if not isinstance(message, dict):
        raise DocumentRefused("message-unreadable", "the message is not a JSON object")
    if message.get("Event") == "s3:TestEvent":
        return
    try:
        if "kind" in message:
            yield msgspec.convert(message, UnitRequest | CloseRequest | LogsRequest)
            return
        if len(message["Records"]) > MAX_RECORDS:
            raise DocumentRefused(
                "message-unreadable", f"the message has {len(message['Records']):,} records, the limit is {MAX_RECORDS}"
            )
        for record in message["Records"]:
            thing = record["s3"]["object"]
            if not record["eventName"].startswith("ObjectCreated:"):
                continue
            told = (record["s3"]["bucket"]["name"], decode_event_key(thing["key"]), thing["eTag"], thing["size"])
            yield msgspec.convert(told, ObjectEvent)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as e:
        raise DocumentRefused("message-unreadable", f"the message is not an S3 notification: {e!r}") from e


class Submission:
    """Takes uploads into the pipeline.

    `max_answer_wait`: the most seconds to wait for an invocation's answer, even if the model's own times are longer.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        ledger: Ledger,
        catalogue: Catalogue,
        endpoints: Endpoints,
        executions: Executions,
        closing: Closing,
        logs: DriveLogs,
        max_answer_wait: float,
        now: Callable[[], float],
    ) -> None:
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._executions = executions
        self._closing = closing
        self._logs = logs
        self._max_answer_wait = max_answer_wait
        self._now = now
        self._frozen: dict[str, bool] = {}

    def begin(self) -> None:
        """Begin a batch of messages; call it once they have arrived. Each drive is then looked at again, once.

        A listing that is not frozen yet will hold every object of the batch: it was there before its message.
        """
        self._frozen.clear()

    def take(self, asked: Asked, *, park: bool = False, again: bool = False) -> list[Submitted]:
        """Take one object, unit or drive; raises Unavailable if its message must come again later.

        With `park`, a unit whose endpoint is gone is parked: its run asks for it once the endpoint is back. `again`:
        the message came before, and may have been worked on.
        """
        if isinstance(asked, UnitRequest):
            return [self._take_unit(asked, park)]
        if isinstance(asked, CloseRequest):
            return [Submitted(*self._closing.close(asked.drive))]
        if isinstance(asked, LogsRequest):
            return [Submitted(*self._logs.look(asked.drive))]
        if asked.bucket != self._ingest.name:
            return [Submitted("ignored", f"bucket {asked.bucket} is not the ingest bucket")]
        return self._take_object(asked, park, again)

    def _take_object(self, asked: ObjectEvent, park: bool, again: bool) -> list[Submitted]:
        drive = drive_of(asked.key)
        try:
            key = parse_key(asked.key)
        except KeyRefused as e:
            self._mark_late(drive)
            self._ledger.record_refusal(drive or "", asked.key, e.reason, str(e), self._now())
            return [Submitted("refused", str(e))]
        if isinstance(key, DriveDocumentKey):
            return [Submitted(*self._closing.close(key.drive, asked.etag))]
        if isinstance(key, LogKey):
            return [Submitted(*(self._logs.begin(key, asked.etag) if key.is_log else self._logs.look(key.drive)))]
        if isinstance(key, PointCloudKey):
            return [Submitted("skipped", f"{asked.key} is a point cloud, not a frame")]
        late = self._mark_late(key.drive)
        if not 0 < asked.size <= MAX_FRAME_BYTES:
            # The run's listing rejects it for this reason; no model needs to see it.
            return [Submitted("refused", f"{asked.key} has {asked.size:,} bytes; a frame has 1 to {MAX_FRAME_BYTES:,}")]
        submitted, unavailable = [], None
        for model in self._catalogue.active_models():
            try:
                # As in completion and reconciliation: an answer comes from the endpoint of the revision in its name.
                source = self._catalogue.asked(model)
                unit = Unit.of(key, asked.etag, source.id)
                # Else its answer cannot be there yet, unless S3 doubled the event: that costs an inference.
                known = again or late
                submitted.append(self._submit(source, unit, asked.key, asked.etag, park, known=known))
            except EndpointUnavailable as e:
                # The frame goes to the other models all the same.
                unavailable = e
        if unavailable:
            raise unavailable
        return submitted

    def _mark_late(self, drive: str | None) -> bool:
        """Mark a drive whose listing is frozen; return whether it is."""
        if not drive:
            return False
        if drive not in self._frozen:
            self._frozen[drive] = self._ledger.is_frozen(drive)
        if self._frozen[drive]:
            self._ledger.mark_late(drive, self._now())
        return self._frozen[drive]

    def _take_unit(self, asked: UnitRequest, park: bool) -> Submitted:
        try:
            frame = parse_frame_key(asked.key)
        except KeyRefused as e:
            return Submitted("refused", str(e))
        if Unit.of(frame, asked.etag, asked.unit.model) != asked.unit:
            return Submitted("refused", f"the unit {asked.unit.place} is not of {asked.key}")
        return self._submit(
            self._catalogue.revision(asked.unit.model), asked.unit, asked.key, asked.etag, park, known=True, asked=True
        )

    def _submit(
        self, model: Model, unit: Unit, key: str, etag: str, park: bool, *, known: bool, asked: bool = False
    ) -> Submitted:
        """Record the unit as pending, then invoke its model. A repeated call costs an inference, and changes nothing.

        `known`: the unit may have been submitted before. `asked`: the pipeline recorded the unit and then asked for it;
        if it is no longer pending, the message is old.
        """
        pending = PendingUnit(unit, key, etag, attempt=1, errors=0, since=self._now())
        if known and self._label_bucket.exists(unit.answer_key(1)):
            # A reconcile pass that listed the answers before this one came may have recorded the unit as pending.
            self._ledger.settle(unit, None)
            wake_if_done(unit.drive, self._ledger, self._executions)
            return Submitted("answered")
        if asked or not self._ledger.add_pending(pending):
            found = self._ledger.pending(unit)
            if found is None:
                return Submitted("answered")
            if found.invoked:
                return Submitted("already")
            pending = found
        expected = unit.answer_key(pending.attempt)
        try:
            location = self._invoke(model, pending)
        except EndpointUnavailable as e:
            if not (park and e.gone):
                raise
            # As if its message was lost long ago: the next pass that finds the endpoint in service queues it again.
            self._ledger.touch(pending, since=0.0)
            return Submitted("parked", str(e))
        invoked = self._now()
        wait = min(model.queue_ttl + model.invocation_timeout + DEADLINE_MARGIN, self._max_answer_wait)
        elsewhere = (
            "" if location == self._label_bucket.uri(expected) else location.removeprefix(self._label_bucket.uri(""))
        )
        self._ledger.mark_invoked(pending, invoked=invoked, deadline=invoked + wait, location=elsewhere)
        return Submitted("submitted", elsewhere and f"the answer will be at {location}")

    def _invoke(self, model: Model, pending: PendingUnit) -> str:
        unit = pending.unit
        return self._endpoints.invoke(
            endpoint=model.endpoint,
            input_location=self._ingest.uri(pending.key),
            inference_id=unit.inference_id(pending.attempt),
            output_extension=unit.output_extension,
            filename=unit.filename(pending.attempt),
            content_type=model.content_type,
            accept=model.accept,
            ttl=model.queue_ttl,
            timeout=model.invocation_timeout,
        )
