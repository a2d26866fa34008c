"""Submits frames to their models, and closes drives, for the events of uploads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from autolabel.contracts.errors import DocumentRefused, EndpointUnavailable, KeyRefused
from autolabel.contracts.frames import (
    MAX_FRAME_BYTES,
    DriveDocumentKey,
    FrameKey,
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
# Messages of a batch that are taken at the same time: each waits for two or three calls, most of its time.
AT_ONCE = 8
# S3 reports one object in a message; the function has not enough time for thousands in one.
MAX_RECORDS = 100


class ObjectEvent(NamedTuple):
    """An object in an event of S3; `key` is decoded, `etag` has no quotes."""

    bucket: Annotated[str, msgspec.Meta(max_length=63)]
    key: Annotated[str, msgspec.Meta(max_length=1_024)]
    etag: ETag
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Message(NamedTuple):
    """A message that leads to units of one frame. `again`, `park`: as in Submission.take. `late`: the listing of its
    drive is frozen. `asked`: the pipeline recorded the unit and then asked for it."""

    key: str
    etag: str
    again: bool
    park: bool
    late: bool = False
    asked: bool = False


Asked = ObjectEvent | UnitRequest | CloseRequest | LogsRequest
Outcome = Literal[
    "submitted", "answered", "already", "parked", "closed", "refused", "ignored", "extracting", "waiting", "skipped"
]


class Submitted(NamedTuple):
    """The result of a message. `unconfirmed`: the unit that it recorded and the model took."""

    outcome: Outcome
    detail: str = ""
    unconfirmed: PendingUnit | None = None


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
    """Takes uploads into the pipeline. The messages of a batch may be taken at the same time, by several threads.

    `privacy`: whether the model of views is asked for each frame at once; else the run asks it, if it shows views.
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
        privacy: bool,
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
        self._privacy = privacy
        self._max_answer_wait = max_answer_wait
        self._now = now
        self._frozen: dict[str, bool] = {}
        self._looking = threading.Lock()

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
            return [self._take_unit(asked, again, park)]
        if isinstance(asked, CloseRequest):
            return [Submitted(*self._closing.close(asked.drive))]
        if isinstance(asked, LogsRequest):
            return [Submitted(*self._logs.look(asked.drive))]
        if asked.bucket != self._ingest.name:
            return [Submitted("ignored", f"bucket {asked.bucket} is not the ingest bucket")]
        return self._take_object(asked, again, park)

    def _take_object(self, asked: ObjectEvent, again: bool, park: bool) -> list[Submitted]:
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
        message = _Message(asked.key, asked.etag, again, park, late=late)
        submitted: list[Submitted] = []
        try:
            self._submit_to_all(key, message, submitted)
        except Exception:
            # After any error the message comes again, and then it is for the other models only.
            for taken in (one.unconfirmed for one in submitted if one.unconfirmed):
                self._ledger.mark_invoked(taken, invoked=taken.invoked, deadline=taken.deadline, location="")
            raise
        return submitted

    def _submit_to_all(self, key: FrameKey, message: _Message, submitted: list[Submitted]) -> None:
        """Submit a frame to all active models, and add to `submitted`. Raises EndpointUnavailable after the last."""
        unavailable = None
        for model in self._catalogue.active_models(views=self._privacy):
            try:
                # As in completion and reconciliation: an answer comes from the endpoint of the revision in its name.
                source = self._catalogue.asked(model)
                submitted.append(self._submit(source, Unit.of(key, message.etag, source.id), message))
            except EndpointUnavailable as e:
                # The frame goes to the other models all the same.
                unavailable = e
        if unavailable:
            raise unavailable

    def _mark_late(self, drive: str | None) -> bool:
        """Mark a drive whose listing is frozen; return whether it is."""
        if not drive:
            return False
        with self._looking:
            if drive not in self._frozen:
                self._frozen[drive] = self._ledger.is_frozen(drive)
        if self._frozen[drive]:
            self._ledger.mark_late(drive, self._now())
        return self._frozen[drive]

    def _take_unit(self, asked: UnitRequest, again: bool, park: bool) -> Submitted:
        try:
            frame = parse_frame_key(asked.key)
        except KeyRefused as e:
            return Submitted("refused", str(e))
        if Unit.of(frame, asked.etag, asked.unit.model) != asked.unit:
            return Submitted("refused", f"the unit {asked.unit.place} is not of {asked.key}")
        message = _Message(asked.key, asked.etag, again, park, asked=True)
        return self._submit(self._catalogue.revision(asked.unit.model), asked.unit, message)

    def _submit(self, model: Model, unit: Unit, message: _Message) -> Submitted:
        """Record the unit as pending, then invoke its model. A repeated call costs an inference, and changes nothing.

        A new unit is recorded as invoked at once, which saves a write. It stays unconfirmed: if a call died before the
        invocation, the message comes again, and the model is invoked then.
        """
        now = self._now()
        wait = min(model.queue_ttl + model.invocation_timeout + DEADLINE_MARGIN, self._max_answer_wait)
        new = PendingUnit(
            unit, message.key, message.etag, 1, errors=0, since=now, invoked=now, deadline=now + wait, unconfirmed=True
        )
        # No other message finds an answer, unless S3 doubled its event.
        if (message.asked or message.again or message.late) and self._label_bucket.exists(unit.answer_key(1)):
            # A reconcile pass that listed the answers before this one came may have recorded the unit as pending.
            self._ledger.settle(unit, None)
            wake_if_done(unit.drive, self._ledger, self._executions)
            return Submitted("answered")
        pending = new
        if message.asked or not self._ledger.add_pending(new):
            found = self._ledger.pending(unit)
            if found is None:
                # An asked unit that is no longer pending: the message is old.
                return Submitted("answered")
            if found.invoked and not (message.again and found.unconfirmed):
                return Submitted("already")
            pending = found
        try:
            location = self._invoke(model, pending)
        except EndpointUnavailable as e:
            parked = message.park and e.gone
            if pending.invoked or parked:
                # Parked, it is as if its message was lost long ago: the next pass that finds the endpoint in service
                # queues it again.
                self._ledger.put_back(pending, since=0.0 if parked else pending.since)
            if not parked:
                raise
            return Submitted("parked", str(e))
        expected = self._label_bucket.uri(unit.answer_key(pending.attempt))
        if location == expected and pending is new:
            return Submitted("submitted", unconfirmed=new)
        elsewhere = "" if location == expected else location.removeprefix(self._label_bucket.uri(""))
        now = self._now()
        self._ledger.mark_invoked(pending, invoked=now, deadline=now + wait, location=elsewhere)
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
