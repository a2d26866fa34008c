"""Submission: what the events of an upload come to, frame by frame, and how a drive is closed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from autolabel.catalogue import Catalogue, Model
from autolabel.completion import wake_if_done
from autolabel.drives import (
    FIRST_RUN,
    MAX_DOCUMENT_BYTES,
    Run,
    execution_name,
    parse_drive_document,
    run_prefix,
)
from autolabel.errors import CatalogueUnavailable, DocumentRefused, KeyRefused
from autolabel.frames import (
    MAX_FRAME_BYTES,
    DriveDocumentKey,
    decode_event_key,
    drive_of,
    parse_frame_key,
    parse_key,
)
from autolabel.ports import Announcements, Bucket, Endpoints, Executions, Ledger, PendingUnit
from autolabel.taxonomy import current_taxonomy
from autolabel.units import Unit, UnitRequest

# An asynchronous invocation that started just before its queue time ran out may still run this long behind it,
# for downloads and uploads around the container's own time-out.
DEADLINE_MARGIN = 60.0


class ObjectEvent(NamedTuple):
    """An object that S3 reported; `key` is decoded, `etag` without quotes."""

    bucket: str
    key: str
    etag: str
    size: int


Outcome = Literal["submitted", "answered", "already", "closed", "refused", "ignored"]


class Submitted(NamedTuple):
    """What a message came to."""

    outcome: Outcome
    detail: str = ""


def read_message(body: str) -> Iterator[ObjectEvent | UnitRequest]:
    """What a message on the submit queue asks for: objects of an S3 notification, or a unit; nothing for a test event.

    Raises DocumentRefused for a message that is neither.
    """
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise DocumentRefused("message-unreadable", f"the message is not JSON: {e}") from e
    if not isinstance(message, dict):
        raise DocumentRefused("message-unreadable", "the message is no JSON object")
    if message.get("Event") == "s3:TestEvent":
        return
    try:
        if message.get("kind") == "unit":
            yield msgspec.convert(message, UnitRequest)
            return
        for record in message["Records"]:
            thing = record["s3"]["object"]
            if not record["eventName"].startswith("ObjectCreated:"):
                continue
            key = decode_event_key(thing["key"])
            etag, size = str(thing["eTag"]), int(thing["size"])
            yield ObjectEvent(record["s3"]["bucket"]["name"], key, etag, size)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as e:
        raise DocumentRefused("message-unreadable", f"the message is no S3 notification: {e!r}") from e


class Submission:
    """Takes uploads into the pipeline.

    `job_labels`: the labels that people are offered. `max_answer_wait`: seconds after which no answer to an invocation
    is waited for, whatever its model's times are.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        labels: Bucket,
        ledger: Ledger,
        catalogue: Catalogue,
        endpoints: Endpoints,
        executions: Executions,
        announcements: Announcements,
        job_labels: tuple[str, ...],
        max_answer_wait: float,
        now: Callable[[], float],
    ) -> None:
        self._ingest = ingest
        self._labels = labels
        self._ledger = ledger
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._executions = executions
        self._announcements = announcements
        self._job_labels = job_labels
        self._max_answer_wait = max_answer_wait
        self._now = now

    def take(self, asked: ObjectEvent | UnitRequest) -> list[Submitted]:
        """Take one object or unit; Unavailable when it must come again later."""
        if isinstance(asked, UnitRequest):
            return [self._take_unit(asked)]
        if asked.bucket != self._ingest.name:
            return [Submitted("ignored", f"bucket {asked.bucket} is not the ingest bucket")]
        try:
            key = parse_key(asked.key)
        except KeyRefused as e:
            self._ledger.record_refusal(drive_of(asked.key) or "", asked.key, e.reason, str(e), self._now())
            return [Submitted("refused", str(e))]
        if isinstance(key, DriveDocumentKey):
            return [self._close(key.drive, asked)]
        if not 0 < asked.size <= MAX_FRAME_BYTES:
            # The run's listing rejects it with this reason; no model needs to see it.
            return [Submitted("refused", f"{asked.key} has {asked.size:,} bytes")]
        return [
            self._submit(model, Unit.of(key, asked.etag, model.id), asked.key, asked.etag)
            for model in self._catalogue.default_models()
        ]

    def _take_unit(self, asked: UnitRequest) -> Submitted:
        try:
            frame = parse_frame_key(asked.key)
        except KeyRefused as e:
            return Submitted("refused", str(e))
        if Unit.of(frame, asked.etag, asked.unit.model) != asked.unit:
            return Submitted("refused", f"the unit {asked.unit.place} is not of {asked.key}")
        return self._submit(self._catalogue.revision(asked.unit.model), asked.unit, asked.key, asked.etag)

    def _submit(self, model: Model, unit: Unit, key: str, etag: str) -> Submitted:
        """Record the unit as pending, then invoke its model. Doing it twice costs an inference and changes nothing."""
        pending = PendingUnit(unit, key, etag, attempt=1, errors=0, since=self._now())
        if self._labels.exists(unit.answer_key(1)):
            # A turn of the run that had not seen the answer yet may have recorded the unit as pending after all.
            self._ledger.settle(unit, None)
            wake_if_done(unit.drive, self._ledger, self._executions)
            return Submitted("answered")
        if not self._ledger.add_pending(pending):
            known = self._ledger.pending(unit)
            if known is None:
                return Submitted("answered")
            if known.invoked:
                return Submitted("already")
            pending = known
        expected = unit.answer_key(pending.attempt)
        location = self._endpoints.invoke(
            endpoint=model.endpoint,
            input_location=self._ingest.uri(key),
            inference_id=unit.inference_id(pending.attempt),
            output_extension=unit.output_extension,
            filename=unit.filename(pending.attempt),
            content_type=model.content_type,
            accept=model.accept,
            ttl=model.queue_ttl,
            timeout=model.invocation_timeout,
        )
        invoked = self._now()
        wait = min(model.queue_ttl + model.invocation_timeout + DEADLINE_MARGIN, self._max_answer_wait)
        elsewhere = "" if location == self._labels.uri(expected) else location.removeprefix(self._labels.uri(""))
        self._ledger.mark_invoked(pending, invoked=invoked, deadline=invoked + wait, location=elsewhere)
        return Submitted("submitted", elsewhere and f"the answer will lie at {location}")

    def _close(self, drive: str, event: ObjectEvent) -> Submitted:
        """Close a drive: check its document, allocate the first run, start its execution under the run's name."""
        try:
            # A drive that is closed stays so, whatever became of its document: a crash may have come before the start.
            run = self._ledger.find_run(drive, FIRST_RUN)
            if run is None:
                run = self._ledger.allocate_first_run(self._first_run(drive, event), self._now())
        except DocumentRefused as e:
            self._ledger.record_refusal(drive, event.key, e.reason, str(e), self._now())
            self._announcements.tell_ops(f"drive {drive} is not closed: drive.json refused", str(e))
            return Submitted("refused", str(e))
        if run.document_etag != event.etag:
            detail = f"{event.key} was changed after the drive was closed; run {run.run} keeps the first one"
            self._announcements.tell_ops(f"drive {drive} is closed already", detail)
        if self._ledger.outcome(drive, run.run):
            # The name of its execution is free again after 90 days, and a dataset never changes.
            return Submitted("already", f"run {run.run} of {drive} has ended")
        self._labels.write_once(run_prefix(drive, run.run) + "drive.json", msgspec.json.encode(run.document))
        started = self._executions.start(execution_name(drive, run.run), drive, run.run)
        return Submitted("closed" if started else "already")

    def _first_run(self, drive: str, event: ObjectEvent) -> Run:
        if event.size > MAX_DOCUMENT_BYTES:
            raise DocumentRefused(
                "document-too-large",
                f"{event.key} has {event.size:,} bytes, the limit is {MAX_DOCUMENT_BYTES:,}",
            )
        body = self._ingest.read(event.key)
        if body is None:
            raise DocumentRefused("document-gone", f"{event.key} is gone")
        document = parse_drive_document(body, event.key)
        if document.models is None:
            models = self._catalogue.default_models()
        else:
            models = [self._catalogue.current(name) for name in document.models]
        if not models:
            raise CatalogueUnavailable("the catalogue names no default model")
        return Run(
            drive=drive,
            run=FIRST_RUN,
            document=document,
            document_etag=event.etag,
            models=tuple(model.id for model in models),
            taxonomy=current_taxonomy().version,
            labels=self._job_labels,
        )
