"""Closing drives: their documents are checked, their runs allocated and started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from autolabel.contracts.drive import (
    FIRST_RUN,
    MAX_DOCUMENT_BYTES,
    MAX_MODELS,
    Run,
    execution_name,
    next_run,
    parse_drive_document,
)
from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused, RunMissing
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix
from autolabel.contracts.ports import Announcements, Bucket, Executions, Ledger
from autolabel.contracts.verification import SEGMENTS
from autolabel.drives.listing import frozen_listing
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Catalogue


class Closed(NamedTuple):
    """What the word of a drive's document came to."""

    outcome: Literal["closed", "already", "refused"]
    detail: str = ""


class Closing:
    """Allocates and starts runs. `job_labels`: the labels that people are offered."""

    def __init__(
        self,
        *,
        ingest: Bucket,
        labels: Bucket,
        ledger: Ledger,
        catalogue: Catalogue,
        executions: Executions,
        announcements: Announcements,
        job_labels: tuple[str, ...],
        now: Callable[[], float],
    ) -> None:
        self._ingest = ingest
        self._labels = labels
        self._ledger = ledger
        self._catalogue = catalogue
        self._executions = executions
        self._announcements = announcements
        self._job_labels = job_labels
        self._now = now

    def close(self, drive: str, etag: str | None = None) -> Closed:
        """Close a drive by the document that lies in it: allocate its first run and start it under the run's name.

        `etag`: of the document that somebody reported; operators hear of one that the run does not keep.
        """
        try:
            # A drive that is closed stays so, whatever became of its document: a crash may have come before the start.
            run = self._ledger.find_run(drive, FIRST_RUN)
            if run is None:
                run = self._ledger.allocate_run(self._new_run(drive, FIRST_RUN))
        except DocumentRefused as e:
            self._ledger.record_refusal(drive, drive_prefix(drive) + DRIVE_DOCUMENT, e.reason, str(e), self._now())
            self._announcements.tell_ops(f"drive {drive} is not closed: drive.json refused", str(e))
            return Closed("refused", str(e))
        if etag is not None and etag != run.document_etag:
            self._tell_of_another_document(drive)
        if self._ledger.outcome(drive, run.run):
            # The name of its execution is free again after 90 days, and a dataset never changes. A mark that a crash
            # left out is made now, or every sweep would ask again.
            self._ledger.mark_closed(drive)
            return Closed("already", f"run {run.run} of {drive} has ended")
        started = self._start(run)
        self._ledger.mark_closed(drive)
        return Closed("closed" if started else "already")

    def relabel(self, drive: str) -> Run:
        """Label a closed drive again: with its document, its frames and the models as they are now.

        Units that failed are tried once more; answers that are there are used. A run that was allocated and never
        started is started instead. DocumentRefused and CatalogueUnavailable as for a first run; RunMissing for a drive
        that was never closed.
        """
        latest = self._ledger.latest_run(drive)
        if latest is None:
            raise RunMissing(f"drive {drive!r} has no run: it was never closed")
        name = execution_name(drive, latest.run)
        # Executions are forgotten after 90 days; the listing says that there was one.
        began = self._executions.status(name) or frozen_listing(self._labels, latest.folder)
        if began or self._ledger.outcome(drive, latest.run):
            latest = self._ledger.allocate_run(self._new_run(drive, next_run(latest.run)))
        self._start(latest)
        return latest

    def _start(self, run: Run) -> bool:
        self._labels.write_once(run.folder.drive_document, msgspec.json.encode(run.document))
        return self._executions.start(execution_name(run.drive, run.run), run.drive, run.run)

    def _tell_of_another_document(self, drive: str) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        latest, found = self._ledger.latest_run(drive), self._ingest.read_tagged(key, 1)
        # The word of a document that was replaced since is no news, nor is one that the drive was relabelled with.
        if latest and found and found[1] != latest.document_etag:
            self._announcements.tell_ops(
                f"drive {drive} is closed already",
                f"{key} was changed after run {latest.run} began, which keeps the one before; relabel the drive to "
                "have the new one used",
            )

    def _new_run(self, drive: str, run: str) -> Run:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        found = self._ingest.read_tagged(key, MAX_DOCUMENT_BYTES + 1)
        if found is None:
            raise DocumentRefused("document-gone", f"{key} is gone")
        body, etag = found
        document = parse_drive_document(body, key)
        if document.models is None:
            models = self._catalogue.active_models()
        else:
            models = [self._catalogue.current(name) for name in document.models]
        if not models:
            raise CatalogueUnavailable("the catalogue has no active model")
        if len(models) > MAX_MODELS:
            raise CatalogueUnavailable(f"the catalogue has {len(models)} active models, {MAX_MODELS} at most may be")
        if document.verification.task == SEGMENTS and not any(model.options.masks for model in models):
            named = ", ".join(model.id for model in models)
            raise DocumentRefused(
                "no-masks", f"{key}: people are to verify segments, and none of its models gives masks: {named}"
            )
        since = self._now()
        return Run(
            drive=drive,
            run=run,
            document=document,
            document_etag=etag,
            models=tuple(model.id for model in models),
            answers_of=tuple(self._catalogue.asked(model).id for model in models),
            taxonomy=current_taxonomy().version,
            labels=self._job_labels,
            since=since,
            retry_failed_before=0.0 if run == FIRST_RUN else since,
        )
