"""Sweeping: drives that nobody closed are closed, and operators hear of what came after a listing was frozen."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from autolabel.contracts.drive import Camera, DriveDocument
from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix, is_name, parse_frame_key
from autolabel.contracts.ports import Announcements, Bucket, Ledger, SubmitQueue
from autolabel.drives.late_frames import record_lateness
from autolabel.drives.listing import frozen_listing


class SweepReport(msgspec.Struct):
    """What a sweep did, in drives. `closed`: without a document; `asked`: whose document's event was lost."""

    closed: list[str] = []
    asked: list[str] = []
    late: list[str] = []


class Sweep:
    """Looks after what no event tells of.

    `abandoned_after`: seconds without a new object after which a drive is closed. `unheard_after`: seconds after which
    the event of a document that lies there must have been lost.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        labels: Bucket,
        ledger: Ledger,
        queue: SubmitQueue,
        announcements: Announcements,
        abandoned_after: float,
        unheard_after: float,
    ) -> None:
        self._ingest = ingest
        self._labels = labels
        self._ledger = ledger
        self._queue = queue
        self._announcements = announcements
        self._abandoned_after = abandoned_after
        self._unheard_after = unheard_after

    def run(self, now: float) -> SweepReport:
        """Sweep once; what is done twice does no harm. `now`: seconds since the epoch."""
        report = SweepReport()
        for drive in list(self._open_drives()):
            self._look_after(drive, now, report)
        # Last, since it lists whole drives: no drive stays open for it.
        self._tell_of_lateness(report)
        return report

    def _tell_of_lateness(self, report: SweepReport) -> None:
        for drive, at in list(self._ledger.late_drives()):
            run = self._ledger.latest_run(drive)
            if run is None or frozen_listing(self._labels, run.folder) is None:
                continue
            lateness = record_lateness(self._ingest, self._labels, run.folder)
            if lateness.any:
                report.late.append(drive)
                self._announcements.tell_ops(
                    f"drive {drive} has changed since run {run.run} began",
                    f"{lateness}; the first is {lateness.first}. They are in late.jsonl of the run and not in its "
                    "dataset: relabel the drive to take them in.",
                )
            self._ledger.forget_late(drive, at)

    def _open_drives(self) -> Iterator[str]:
        """Drives that hold objects and were never closed: both sides come in one order."""
        closed = self._ledger.closed_drives()
        next_closed = next(closed, None)
        for drive in self._ingest.folders("drives/"):
            while next_closed is not None and f"{next_closed}/".encode() < f"{drive}/".encode():
                next_closed = next(closed, None)
            if drive != next_closed and is_name(drive):
                yield drive

    def _look_after(self, drive: str, now: float, report: SweepReport) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        document = next((thing for thing in self._ingest.list(key) if thing.key == key), None)
        if document is not None:
            if now - document.modified >= self._unheard_after:
                self._ask_to_close(drive, document.modified, report)
            return
        cameras: set[str] = set()
        objects = 0
        for thing in self._ingest.list(drive_prefix(drive)):
            if now - thing.modified < self._abandoned_after:
                return
            objects += 1
            try:
                cameras.add(parse_frame_key(thing.key).camera)
            except KeyRefused:
                continue
        if cameras:
            self._close(drive, cameras, objects, report)

    def _ask_to_close(self, drive: str, documented: float, report: SweepReport) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        # Operators have heard of a document that was refused.
        if any(refusal.key == key and refusal.at >= documented for refusal in self._ledger.refusals(drive)):
            return
        self._queue.close(drive)
        report.asked.append(drive)

    def _close(self, drive: str, cameras: set[str], objects: int, report: SweepReport) -> None:
        hours = self._abandoned_after / 3600
        note = f"closed by schedule: nothing had been uploaded for {hours:g} hours, and no drive.json"
        document = DriveDocument(
            vehicle="unknown", cameras={camera: Camera() for camera in sorted(cameras)}, notes=(note,)
        )
        # Its event closes the drive, as any document's does.
        if self._ingest.write_once(drive_prefix(drive) + DRIVE_DOCUMENT, msgspec.json.encode(document)):
            report.closed.append(drive)
            self._announcements.tell_ops(
                f"drive {drive} was never closed",
                f"Nothing had been uploaded to it for {hours:g} hours, so it was closed with its {objects:,} objects "
                f"of cameras {', '.join(sorted(cameras))}. What comes later is late: relabel the drive to take it in.",
            )
