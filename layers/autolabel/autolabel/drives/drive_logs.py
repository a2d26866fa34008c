"""Follows the logs of drives: starts their extractions, and closes a drive when all of its logs have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES, Camera, DriveDocument, Lidar, parse_drive_document
from autolabel.contracts.errors import DocumentRefused, KeyRefused
from autolabel.contracts.frames import DRIVE_DOCUMENT, LOG_DOCUMENT, LogKey, drive_prefix, logs_prefix, parse_key
from autolabel.contracts.logs import LogDocument, LogRecord, log_document_key, parse_log_document
from autolabel.contracts.ports import Announcements, Bucket, DriveLedger, Extractions, Logs, StoredObject
from autolabel.contracts.wording import counted

# The summary and the report of a run show the notes.
_MOST_NOTES = 20
_MAX_NOTE = 300
_NO_CAMERA = "no-camera"
# A call that records an extraction starts it at once. After this many seconds it may have ended in between. A look
# starts only a few extractions again.
_STARTED_AFTER = 900.0
_MOST_STARTED = 10
# The key of the user metadata of a drive.json that was written here.
_BY_LOGS = "by-logs"


class LookedAt(NamedTuple):
    """Result of a look at a drive's logs; `detail` says what it waits for, or why it cannot be closed."""

    outcome: Literal["extracting", "waiting", "closed", "already", "refused"]
    detail: str = ""


class LogProgress(NamedTuple):
    """How far a drive's logs are. `open`: logs that have not ended; `ended_at`: when the last one ended, 0 if none."""

    open: int
    ended_at: float


def list_logs(ingest: Bucket, drive: str) -> Iterator[LogKey]:
    """List the logs in a drive's folder, recorded or not."""
    return (key for key, _ in _logs(ingest.list(logs_prefix(drive))))


def log_progress(ingest: Bucket, ledger: Logs, drive: str) -> LogProgress:
    """Read how far the logs are that are in a drive's folder, recorded or not."""
    logs = list(recorded_logs(ingest.list(logs_prefix(drive)), ledger, drive))
    ended = [record.at for _, _, record in logs if record and record.ended]
    return LogProgress(len(logs) - len(ended), max(ended, default=0.0))


def recorded_logs(
    listing: Iterable[StoredObject], ledger: Logs, drive: str
) -> Iterator[tuple[LogKey, StoredObject, LogRecord | None]]:
    """Yield the logs of a listing of a drive's folder of logs, each with the record of its bytes, if there is one."""
    logs = list(_logs(listing))
    # The list comes first: what ends meanwhile is recorded before it is read.
    records = {(record.name, record.etag): record for record in ledger.logs(drive)} if logs else {}
    for key, thing in logs:
        yield key, thing, records.get((key.name, thing.etag))


def logs_left_out(ledger: Logs, drive: str) -> list[LogRecord]:
    """Read the logs of a drive that a person left out because they did not come."""
    return [record for record in ledger.logs(drive) if record.by and not record.etag]


class DriveLogs:
    """Starts the extractions of logs, and closes the drives whose logs have all ended.

    `quiet_after`: seconds after the last log, or its end, after which a drive is closed whose document names no logs;
    `abandoned_after`: after which it is closed without the named logs that did not come.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        ledger: DriveLedger,
        extractions: Extractions,
        announcements: Announcements,
        quiet_after: float,
        abandoned_after: float,
        now: Callable[[], float],
    ) -> None:
        self._ingest = ingest
        self._ledger = ledger
        self._extractions = extractions
        self._announcements = announcements
        self._quiet_after = quiet_after
        self._abandoned_after = abandoned_after
        self._now = now

    def begin(self, log: LogKey, etag: str, *, described: bool = False) -> LookedAt:
        """Start the extraction of a log, unless these bytes are recorded as ended. A repeated call changes nothing.

        `described`: recording.json has changed since the log began to wait for it.
        """
        self._ledger.begin_log(LogRecord(log.drive, log.name, etag, "extracting", self._now()))
        known = {(record.name, record.etag): record for record in self._ledger.logs(log.drive)}
        record = known[log.name, etag]
        if record.ended:
            return LookedAt("already", f"{log.key} was extracted")
        if record.state == "waiting" and not described:
            return LookedAt("waiting", record.detail)
        if record.state in ("replaced", "waiting"):
            record = msgspec.structs.replace(record, state="extracting", attempt=record.attempt + 1, at=self._now())
            self._ledger.begin_log(record)
        # The record comes first: the call that closes the drive waits for it, also if this call ends here.
        started = self._extractions.start(record)
        return LookedAt("extracting" if started else "already")

    def look(self, drive: str) -> LookedAt:
        """Start what is not recorded, and write drive.json if all logs have ended and no more are expected.

        The ends are recorded before this reads them, so that of two last logs at least one look sees both.
        """
        # Before the listing, which has what is completed meanwhile.
        uploading = self._ingest.has_open_uploads(drive_prefix(drive))
        listing = list(self._ingest.list(logs_prefix(drive)))
        logs = list(recorded_logs(listing, self._ledger, drive))
        document_etag = next((thing.etag for thing in listing if thing.key == log_document_key(drive)), "")
        for key, thing, record in logs:
            described = record is not None and record.state == "waiting" and record.document != document_etag
            if record is None or record.state == "replaced" or described:
                self.begin(key, thing.etag, described=described)
        for key, record in self._unstarted(logs):
            self.begin(key, record.etag)
        ended = [record for _, _, record in logs if record and record.ended]
        if len(ended) < len(logs):
            return LookedAt("waiting", f"{counted(len(logs) - len(ended), 'log')} of {drive} not extracted yet")
        document_key = drive_prefix(drive) + DRIVE_DOCUMENT
        there = self._ingest.head(document_key)
        # A document of our own that was refused is written again when recording.json was changed.
        if not logs or (there and (_BY_LOGS not in there.metadata or self._ledger.latest_run(drive))):
            return LookedAt("already")
        newest = max([*(thing.modified for thing in listing), *(record.at for record in ended if not record.by)])
        try:
            document = self._document(drive)
            names = {key.name for key, _, _ in logs}
            missing = [name for name in document.logs if name not in names]
            left_out = [one for one in logs_left_out(self._ledger, drive) if one.name in missing] if missing else []
            missing = [name for name in missing if name not in {one.name for one in left_out}]
            if waits := self._waits(document, missing, newest, uploading):
                return LookedAt("waiting", waits)
            hours = counted(self._abandoned_after / 3600, "hour")
            absent = [f"log {name}: named in {LOG_DOCUMENT}, but did not come within {hours}" for name in missing]
            written = _drive_document(document, [*ended, *left_out], absent)
        except DocumentRefused as e:
            return self._refuse(drive, e, newest)
        body = msgspec.json.encode(written)
        if there and self._ingest.read(document_key) == body:
            return LookedAt("already")
        # The event of this document closes the drive, like that of any other.
        if self._ingest.write_over(document_key, body, there.etag if there else "", metadata={_BY_LOGS: "true"}):
            self._tell_of_missing(drive, missing, hours)
        return LookedAt("closed")

    def _unstarted(
        self, logs: Iterable[tuple[LogKey, StoredObject, LogRecord | None]]
    ) -> list[tuple[LogKey, LogRecord]]:
        """Find extractions that were perhaps recorded and not started: the oldest. One that runs takes no notice."""
        since = self._now() - _STARTED_AFTER
        old = [(key, one) for key, _, one in logs if one and one.state == "extracting" and one.at < since]
        return sorted(old, key=lambda known: known[1].at)[:_MOST_STARTED]

    def _document(self, drive: str) -> LogDocument:
        key = log_document_key(drive)
        found = self._ingest.read_tagged(key, MAX_DOCUMENT_BYTES + 1)
        return parse_log_document(found[0], key) if found else LogDocument()

    def _waits(self, document: LogDocument, missing: Sequence[str], newest: float, uploading: bool) -> str:
        if document.logs and not missing:
            return ""
        left = newest + (self._abandoned_after if missing else self._quiet_after) - self._now()
        if left <= 0 and not uploading:
            return ""
        if missing:
            return f"{counted(len(missing), 'log')} not uploaded yet, the first is {missing[0]}"
        return f"more logs may come for {left:,.0f} s" if left > 0 else "an upload to the drive is not complete"

    def _tell_of_missing(self, drive: str, missing: Sequence[str], hours: str) -> None:
        if missing:
            self._announcements.tell_ops(
                f"drive {drive} is closed without {counted(len(missing), 'log')}",
                f"{log_document_key(drive)} names {', '.join(missing[:_MOST_NOTES])}, and nothing was uploaded for "
                f"{hours}. A log that comes now is extracted, and its frames are late: relabel the drive to take them "
                "in.",
            )

    def _refuse(self, drive: str, error: DocumentRefused, newest: float) -> LookedAt:
        key = log_document_key(drive)
        # The sweep looks again and again; operators are told once.
        if not any(refusal.key == key and refusal.at >= newest for refusal in self._ledger.refusals(drive)):
            self._ledger.record_refusal(drive, key, error.reason, str(error), self._now())
            self._announcements.tell_ops(f"drive {drive} is not closed", str(error))
        return LookedAt("refused", str(error))


def _logs(listing: Iterable[StoredObject]) -> Iterator[tuple[LogKey, StoredObject]]:
    for thing in listing:
        try:
            key = parse_key(thing.key)
        except KeyRefused:
            continue
        if isinstance(key, LogKey) and key.is_log:
            yield key, thing


def _drive_document(document: LogDocument, ended: Sequence[LogRecord], absent: Sequence[str]) -> DriveDocument:
    """Make drive.json of the logs' document and of what was extracted. `absent`: notes on logs that did not come.

    DocumentRefused for a drive without a camera, and for a document that breaks a rule.
    """
    cameras = sorted({camera for record in ended for camera, frames in record.cameras.items() if frames})
    if not cameras:
        reasons = "; ".join(f"{record.name}: {record.detail or 'no frame'}" for record in ended)
        raise DocumentRefused(
            _NO_CAMERA, f"no log of drive {ended[0].drive} has a frame, so it is not closed: {reasons}"
        )
    intrinsics = {camera: found for record in reversed(ended) for camera, found in record.intrinsics.items()}
    # Of several logs the first one's count.
    extrinsics = {name: found.as_document() for one in reversed(ended) for name, found in one.extrinsics.items()}
    # A person's decisions come first, since of many notes the last are left out.
    decided = sorted(ended, key=lambda one: not one.by)
    said = [f"log {one.name}: {said}" for one in decided for said in (one.detail, one.note) if said]
    lidars = sorted({name for record in ended for name, clouds in record.lidars.items() if clouds})
    if document.cuboids and not lidars:
        said.append(f"{LOG_DOCUMENT} asks for cuboids, and no log has point clouds of `lidars`: there are none")
    notes = [note[:_MAX_NOTE] for note in (*said, *absent)]
    if len(notes) > _MOST_NOTES:
        notes[_MOST_NOTES:] = [f"{counted(len(notes) - _MOST_NOTES, 'more note')} on logs"]
    made = DriveDocument(
        vehicle=document.vehicle,
        cameras={
            name: Camera(
                ego_mask=document.ego_masks.get(name),
                intrinsics=intrinsics[name].as_document() if name in intrinsics else None,
                extrinsics=extrinsics.get(name),
            )
            for name in cameras
        },
        models=document.models,
        verification=document.verification,
        notes=(*document.notes, *notes),
        tracks=document.tracks,
        privacy=document.privacy,
        lidars={name: Lidar(extrinsics.get(name)) for name in lidars},
        cuboids=document.cuboids if lidars else False,
    )
    # What is wrong with it comes from recording.json.
    parse_drive_document(msgspec.json.encode(made), log_document_key(ended[0].drive))
    return made
