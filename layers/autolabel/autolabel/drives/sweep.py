"""Sweeps: closes abandoned drives, and tells operators about objects that differ from a frozen listing."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import msgspec

from autolabel.contracts.drive import Camera, DriveDocument
from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import (
    DRIVE_DOCUMENT,
    drive_prefix,
    is_name,
    is_point_cloud,
    logs_prefix,
    parse_frame_key,
)
from autolabel.contracts.ports import Announcements, Bucket, DriveLedger, SubmitQueue
from autolabel.contracts.verification import VerifyAll, VerifyNone
from autolabel.contracts.wording import counted
from autolabel.drives.canary import is_canary
from autolabel.drives.drive_logs import list_logs, recorded_logs
from autolabel.drives.late_frames import record_lateness
from autolabel.drives.listing import frozen_listing

# Closed drives in one sweep whose logs are listed, so that any number of drives costs the same.
_CLOSED_AT_ONCE = 100


class SweepReport(msgspec.Struct):
    """Drives that a sweep handled.

    `closed`: had no document; now closed. `asked`: had a document whose event was lost. `late`: differ from their
    frozen listing. `logs`: open drives with logs, and closed ones with a log that is not recorded, which are looked at
    again.
    """

    closed: list[str] = []
    asked: list[str] = []
    late: list[str] = []
    logs: list[str] = []


class Sweep:
    """Closes abandoned drives and reports late objects.

    `abandoned_after`: seconds without a new object after which a drive is closed. `unheard_after`: seconds after which
    the event of a document in the bucket must have been lost. `every`: seconds between two sweeps.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        ledger: DriveLedger,
        queue: SubmitQueue,
        announcements: Announcements,
        abandoned_after: float,
        unheard_after: float,
        every: float,
    ) -> None:
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._queue = queue
        self._announcements = announcements
        self._abandoned_after = abandoned_after
        self._unheard_after = unheard_after
        self._every = every

    def run(self, now: float) -> SweepReport:
        """Sweep once; a repeated sweep does no harm. `now`: seconds since the epoch."""
        report = SweepReport()
        closed = list(self._ledger.closed_drives())
        for drive in list(self._open_drives(closed)):
            self._close_or_ask(drive, now, report)
        for drive in self._in_turn(closed, now):
            self._ask_for_logs(drive, report)
        # Last, because it lists whole drives and takes long: the closing of drives does not wait for it.
        self._tell_of_lateness(report)
        return report

    def _tell_of_lateness(self, report: SweepReport) -> None:
        for drive, at in list(self._ledger.late_drives()):
            run = self._ledger.latest_run(drive)
            if run is None or frozen_listing(self._label_bucket, run.folder) is None:
                continue
            lateness = record_lateness(self._ingest, self._label_bucket, run.folder)
            if lateness.any:
                report.late.append(drive)
                self._announcements.tell_ops(
                    f"drive {drive} has changed since run {run.run} began",
                    f"{lateness}; the first is {lateness.first}. The run's late.jsonl lists them; its dataset does not "
                    "use them: relabel the drive to take them in.",
                )
            self._ledger.forget_late(drive, at)

    def _in_turn(self, closed: Sequence[str], now: float) -> Iterator[str]:
        """Yield about _CLOSED_AT_ONCE of the closed drives; each is among them in one of as many sweeps as it takes."""
        turns = -(-len(closed) // _CLOSED_AT_ONCE)
        return (drive for drive in closed if zlib.crc32(drive.encode()) % turns == now // self._every % turns)

    def _ask_for_logs(self, drive: str, report: SweepReport) -> None:
        """Ask for a look at a closed drive's logs that are not recorded, since their event was lost, or that wait."""
        logs = recorded_logs(self._ingest.list(logs_prefix(drive)), self._ledger, drive)
        if any(record is None or record.state in ("replaced", "waiting") for _, _, record in logs):
            self._queue.look_at_logs(drive)
            report.logs.append(drive)

    def _open_drives(self, all_closed: Sequence[str]) -> Iterator[str]:
        """Yield the drives with objects that were never closed. Folders and closed drives come in the same order."""
        closed = iter(all_closed)
        next_closed = next(closed, None)
        for drive in self._ingest.folders("drives/"):
            while next_closed is not None and f"{next_closed}/".encode() < f"{drive}/".encode():
                next_closed = next(closed, None)
            if drive != next_closed and is_name(drive):
                yield drive

    def _close_or_ask(self, drive: str, now: float, report: SweepReport) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        document = next((thing for thing in self._ingest.list(key) if thing.key == key), None)
        has_logs = any(True for _ in list_logs(self._ingest, drive))
        if has_logs:
            # An event may have been lost, and what a drive waits for may be over.
            self._queue.look_at_logs(drive)
            report.logs.append(drive)
        if document is not None:
            if now - document.modified >= self._unheard_after:
                self._ask_to_close(drive, document.modified, report)
            return
        # Before the listing, which has what is completed meanwhile.
        if has_logs or self._ingest.has_open_uploads(drive_prefix(drive)):
            return
        cameras: set[str] = set()
        objects = 0
        for thing in self._ingest.list(drive_prefix(drive)):
            if now - thing.modified < self._abandoned_after:
                return
            if is_point_cloud(thing.key):
                continue
            objects += 1
            try:
                cameras.add(parse_frame_key(thing.key).camera)
            except KeyRefused:
                continue
        if cameras:
            self._close(drive, cameras, objects, report)

    def _ask_to_close(self, drive: str, documented: float, report: SweepReport) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        # Operators were told about a refused document already.
        if any(refusal.key == key and refusal.at >= documented for refusal in self._ledger.refusals(drive)):
            return
        self._queue.close(drive)
        report.asked.append(drive)

    def _close(self, drive: str, cameras: set[str], objects: int, report: SweepReport) -> None:
        hours = self._abandoned_after / 3600
        note = f"closed by the sweep: nothing was uploaded for {counted(hours, 'hour')}, and there was no drive.json"
        document = DriveDocument(
            vehicle="unknown",
            cameras={camera: Camera() for camera in sorted(cameras)},
            # Also of a canary whose upload was broken off, reviewers get no frame.
            verification=VerifyNone() if is_canary(drive) else VerifyAll(),
            notes=(note,),
        )
        # The event of this document closes the drive, like that of any other.
        if self._ingest.write_once(drive_prefix(drive) + DRIVE_DOCUMENT, msgspec.json.encode(document)):
            report.closed.append(drive)
            self._announcements.tell_ops(
                f"drive {drive} was never closed",
                f"Nothing was uploaded to it for {counted(hours, 'hour')}, so it is closed now, with its "
                f"{counted(objects, 'object')} of {'camera' if len(cameras) == 1 else 'cameras'} "
                f"{', '.join(sorted(cameras))}. Later objects are late: relabel the drive to take them in.",
            )
