"""Closes drives: checks their documents, and allocates and starts their runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from autolabel.contracts.drive import (
    FIRST_RUN,
    MAX_DOCUMENT_BYTES,
    MAX_MODELS,
    Run,
    ViewsModel,
    execution_name,
    next_run,
    parse_drive_document,
)
from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused, OtherReview, RunMissing
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix
from autolabel.contracts.ports import Announcements, Bucket, DriveLedger, Executions
from autolabel.contracts.verification import REVIEW_ALL, REVIEW_CHANGED, SEGMENTS, TRACKS, ReviewChoice
from autolabel.drives.listing import frozen_listing
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Catalogue

# Ground Truth's limits of video jobs (sms-label-cat-config-attributes).
MAX_TRACK_LABELS = 30
MAX_TRACK_LABEL = 16


class Closed(NamedTuple):
    """Result of a drive.json event."""

    outcome: Literal["closed", "already", "refused"]
    detail: str = ""


class Closing:
    """Allocates and starts runs.

    `job_labels`: the classes that reviewers are offered; `privacy`: whether people see views of all drives' frames.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        ledger: DriveLedger,
        catalogue: Catalogue,
        executions: Executions,
        announcements: Announcements,
        job_labels: tuple[str, ...],
        privacy: bool,
        now: Callable[[], float],
    ) -> None:
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._catalogue = catalogue
        self._executions = executions
        self._announcements = announcements
        self._job_labels = job_labels
        self._privacy = privacy
        self._now = now

    def close(self, drive: str, etag: str | None = None) -> Closed:
        """Close a drive with the document in its folder: allocate its first run and start it under the run's name.

        `etag`: of the document in the event; operators are told if the run keeps another document.
        """
        try:
            # A closed drive stays closed, even if its document has changed since. A crash may have prevented the start.
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
            # Step Functions frees the execution's name after 90 days, but a dataset never changes: nothing is started.
            # The mark may be missing after a crash; without it, each sweep would ask again.
            self._ledger.mark_closed(drive)
            return Closed("already", f"run {run.run} of {drive} has ended")
        started = self._start(run)
        self._ledger.mark_closed(drive)
        return Closed("closed" if started else "already")

    def relabel(self, drive: str, review: ReviewChoice = REVIEW_CHANGED) -> Run:
        """Label a closed drive again, with its current document, frames and models; return the run.

        Failed units are tried once more; existing answers are used. `review`: which frames with a person's label from
        an earlier run reviewers get again. A run that was allocated but never started is started instead. Raises
        DocumentRefused and CatalogueUnavailable as for a first run, RunMissing for a drive that was never closed, and
        OtherReview for a run that was never started and was allocated with another `review`.
        """
        latest = self._ledger.latest_run(drive)
        if latest is None:
            raise RunMissing(f"drive {drive!r} has no run: it was never closed")
        name = execution_name(drive, latest.run)
        # Step Functions deletes executions after 90 days; a listing shows that there was one.
        began = self._executions.status(name) or frozen_listing(self._label_bucket, latest.folder)
        if began or self._ledger.outcome(drive, latest.run):
            latest = self._ledger.allocate_run(self._new_run(drive, next_run(latest.run), review))
        if latest.run != FIRST_RUN and latest.review != review:
            raise OtherReview(
                f"run {latest.run} of drive {drive!r} was allocated with the review {latest.review!r} and never "
                f"started: start it with that one, and relabel the drive again with {review!r} if you need to"
            )
        self._start(latest)
        return latest

    def _start(self, run: Run) -> bool:
        self._label_bucket.write_once(run.folder.drive_document, msgspec.json.encode(run.document))
        return self._executions.start(execution_name(run.drive, run.run), run.drive, run.run)

    def _tell_of_another_document(self, drive: str) -> None:
        key = drive_prefix(drive) + DRIVE_DOCUMENT
        latest, found = self._ledger.latest_run(drive), self._ingest.read_tagged(key, 1)
        # Operators know already, or need not know, if the document was replaced since, or the drive relabelled with it.
        if latest and found and found[1] != latest.document_etag:
            self._announcements.tell_ops(
                f"drive {drive} is closed already",
                f"{key} was changed after run {latest.run} began, and the run keeps the earlier document; relabel the "
                "drive to use the new one",
            )

    def _new_run(self, drive: str, run: str, review: ReviewChoice = REVIEW_ALL) -> Run:
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
        if others := [f"{model.name} (for {model.purpose})" for model in models if model.purpose != "labels"]:
            raise DocumentRefused("no-labels", f"{key} names {', '.join(others)}, which labels nothing: leave it out")
        if not models:
            raise CatalogueUnavailable("the catalogue has no active model")
        if len(models) > MAX_MODELS:
            raise CatalogueUnavailable(f"the catalogue has {len(models)} active models; the limit is {MAX_MODELS}")
        if document.verification.task == SEGMENTS and not any(model.options.masks for model in models):
            named = ", ".join(model.id for model in models)
            raise DocumentRefused(
                "no-masks", f"{key}: segments are to be verified, but none of its models returns masks: {named}"
            )
        if document.verification.task == TRACKS or document.verifies_cuboids:
            self._check_track_labels(key, "cuboids" if document.verifies_cuboids else TRACKS)
        views = self._catalogue.views_model() if self._privacy or document.privacy else None
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
            review=review,
            views=ViewsModel(views.id, self._catalogue.asked(views).id) if views else None,
        )

    def _check_track_labels(self, key: str, verified: str) -> None:
        """Raise DocumentRefused for classes that Ground Truth's jobs of tracks and of cuboids do not take."""
        long = [name for name in self._job_labels if len(name) > MAX_TRACK_LABEL]
        if long or len(self._job_labels) > MAX_TRACK_LABELS:
            raise DocumentRefused(
                "track-labels",
                f"{key}: {verified} are to be verified, and Ground Truth then takes {MAX_TRACK_LABELS} classes of at "
                f"most {MAX_TRACK_LABEL} characters, not {', '.join(long) or len(self._job_labels)}: change the "
                "stack's parameter JobLabels, then upload drive.json again",
            )
