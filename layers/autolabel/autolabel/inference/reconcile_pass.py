"""Makes a run's reconcile passes, decides how the run goes on, and stores its token while it waits for answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CatalogueUnavailable, ModelFailing
from autolabel.contracts.ports import (
    Bucket,
    EndpointStates,
    Executions,
    Ledger,
    Runs,
    SubmitQueue,
    UnitLedger,
    WaitingRun,
)
from autolabel.contracts.wording import counted
from autolabel.drives.drive_logs import log_progress
from autolabel.drives.listing import freeze_listing, frozen_listing, missing_frames
from autolabel.inference.reconciliation import Comparison, Limits, PassCounts, Pause, Reconciliation, SampledFrame
from autolabel.labels.failed_frames import FrameCheck
from autolabel.labels.frame_reader import FrameReader

if TYPE_CHECKING:
    from autolabel.models.catalogue import Catalogue


class Worst(msgspec.Struct, frozen=True):
    """The model that failed most frames of a run: its `name.revision` and the number of frames.

    `broken`: further frames that it failed and that are not whole pictures, unset if there are none. Both numbers
    follow from a sample.
    """

    model: str = ""
    failed: int = 0
    broken: int | UnsetType = UNSET


NO_FAILURES = Worst()
# With fewer failed frames, their share says nothing about the model.
LEAST_FAILED = 20
# A call that compared fewer units has time to check a sample.
_MANY = 1_000


class Verdict(StrEnum):
    """Says how a run goes on after a reconcile pass. On the wire: the state machine compares it."""

    # The pass stopped early, and another call continues it.
    CONTINUE = "continue"
    AWAIT_FRAMES = "await frames"
    # A model failed most frames: an operator looks before reviewers get frames without boxes.
    MODEL_FAILING = "model failing"
    PLAN_SHARDS = "plan shards"
    AWAIT_ANSWERS = "await answers"


class Suspect(msgspec.Struct, frozen=True):
    """A model that failed too many frames, and a sample of them: before it is judged, their pictures are checked."""

    model: str
    failed: int
    sample: tuple[SampledFrame, ...] = ()


class Cursor(msgspec.Struct, frozen=True):
    """Where a pass stopped: the next call continues after position `after` of the model with index `model`.

    `counts`: of the pass so far. `failed`: failed units of the models before this one. `sample`: of this model's failed
    frames. With the index behind the last model, only `suspects` are left to judge.
    """

    model: int
    after: str
    counts: PassCounts
    paused: tuple[str, ...] = ()
    failed: int = 0
    worst: Worst = NO_FAILURES
    sample: tuple[SampledFrame, ...] = ()
    suspects: tuple[Suspect, ...] = ()


class PassProgress(msgspec.Struct, frozen=True):
    """The state that a run's execution carries from one pass to the next. `turn`: the number of passes so far.

    `retried`: an operator let failed units be tried once more.
    """

    turn: int = 0
    retried: bool = False
    cursor: Cursor | None = None


class PassReport(msgspec.Struct, frozen=True):
    """The report of a pass, for operators who watch the execution. `units`: frames times models.

    `missing`: frames that the drive document expects and that have not arrived, or logs that are not extracted yet;
    the listing waits for them. `logs`: the number of these logs. `paused`: models whose endpoint takes no requests,
    and why. `worst`: the model that failed most frames. With a `cursor`, another call continues the pass. The state
    machine compares the `verdict`; older definitions read `worst`, `pending`, `retried` and `missing` instead.
    """

    drive: str
    run: str
    turn: int
    retried: bool
    frames: int
    refused: int
    units: int
    answered: int
    failed: int
    pending: int
    submitted: int
    resubmitted: int
    dropped: int
    missing: int = 0
    logs: int = 0
    paused: tuple[str, ...] = ()
    worst: Worst = NO_FAILURES
    cursor: Cursor | None = None
    verdict: Verdict = Verdict.AWAIT_ANSWERS


class ReconcilePasses:
    """Makes the reconcile passes of runs.

    `frames_patience`: seconds to wait for frames that the drive document expects. `workers`: repairs made at a time.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        ledger: Ledger,
        queue: SubmitQueue,
        catalogue: Catalogue,
        endpoints: EndpointStates,
        limits: Limits,
        frames_patience: float,
        workers: int = 1,
    ) -> None:
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._ledger = ledger
        self._queue = queue
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._limits = limits
        self._frames_patience = frames_patience
        self._workers = workers

    def reconcile(
        self, run: Run, progress: PassProgress, now: float, enough: Callable[[], bool] = lambda: False
    ) -> PassReport:
        """Make one pass of a run; stop after a part of it when `enough` returns True.

        The first pass freezes the listing. Each pass repairs every model's units and counts what is pending. When
        nothing is, a sample of the frames is checked that a model failed, if it failed too many. `now`: seconds since
        the epoch.
        """
        drive = run.drive
        listing = frozen_listing(self._label_bucket, run.folder)
        if listing is None:
            logs = log_progress(self._ingest, self._ledger, drive)
            # The frames of a log come until it has ended, and announced ones may come after it.
            patient = now < max(run.since, logs.ended_at) + self._frames_patience
            missing = logs.open or (missing_frames(self._ingest, drive, run.document) if patient else 0)
            if logs.open:
                # The sweep looks at open drives only.
                self._queue.look_at_logs(drive)
            if missing:
                return _report(run, progress, PassCounts(), self._limits, missing=missing, logs=logs.open)
            self._ledger.mark_frozen(drive)
            listing = freeze_listing(self._ingest, self._label_bucket, run.folder, frozenset(run.document.cameras))
        start = progress.cursor or Cursor(0, "", PassCounts())
        total, paused, after, failed, worst = start.counts, start.paused, start.after, start.failed, start.worst
        sample, suspects, compared = start.sample, start.suspects, start.counts.units
        cursor = None
        latest = self._ledger.latest_run(drive)
        for index, model in list(enumerate(run.asked))[start.model :]:
            reconciliation = Reconciliation(
                label_bucket=self._label_bucket,
                ledger=self._ledger,
                queue=self._queue,
                limits=self._limits,
                now=now,
                paused=cache(lambda model=model: self._paused(model)),
                created=cache(lambda model=model: self._created(model)),
                retry_failed_before=run.retry_failed_before,
                # Only the latest run may drop stray units: an earlier one does not know what a later one needs.
                drop_strays=latest is None or latest.run == run.run,
                workers=self._workers,
                sample=sample,
            )
            comparison = Comparison(self._label_bucket, self._ledger, run.folder, model, after)
            reached = reconciliation.take(comparison, total, enough)
            if (why := reconciliation.paused.why) and why not in paused:
                paused += (why,)
            if reached is not None:
                cursor = Cursor(index, reached, total, paused, failed, worst, reconciliation.sample, suspects)
                break
            # Each model is judged alone: one of three that fails every frame fails only a third of the units.
            count = total.failed - failed
            if is_too_many(count, listing.frames, self._limits.max_failed_percent):
                suspects += (Suspect(model, count, reconciliation.sample),)
            elif count > worst.failed:
                worst = Worst(model, count)
            after, failed, sample = "", total.failed, ()
        if cursor is None and suspects:
            if total.pending or progress.retried:
                # The run goes on, however they would be judged.
                judged = [Worst(one.model, one.failed) for one in suspects]
            elif total.units - compared >= _MANY and enough():
                judged = []
                cursor = Cursor(len(run.asked), "", total, paused, failed, worst, suspects=suspects)
            else:
                judged = [self._judge(one) for one in suspects]
            # A model that stops the run goes first.
            worst = max([*judged, worst], key=lambda one: (self._is_failing(one, listing.frames), one.failed))
        return _report(
            run,
            progress,
            total,
            self._limits,
            frames=listing.frames,
            refused=listing.objects - listing.frames,
            paused=paused,
            worst=worst,
            cursor=cursor,
        )

    def _is_failing(self, model: Worst, frames: int) -> bool:
        return is_too_many(model.failed, frames - (model.broken or 0), self._limits.max_failed_percent)

    def _judge(self, suspect: Suspect) -> Worst:
        """Leave out of a model's failures the share that is not a whole picture in the sample."""
        check = FrameCheck()
        refused = [
            check.refusal(FrameReader(self._ingest, frame.key, frame.etag), frame.key) for frame in suspect.sample
        ]
        share = sum(one is not None for one in refused) / max(1, len(refused))
        broken = round(suspect.failed * share)
        return Worst(suspect.model, suspect.failed - broken, broken or UNSET)

    def _paused(self, model: str) -> Pause:
        """Find out why the model's endpoint takes no requests now."""
        try:
            endpoint = self._catalogue.revision(model).endpoint
            state = self._endpoints.state(endpoint)
            if state == "InService":
                return Pause()
            removed = state == "missing" and not self._catalogue.asks(model)
        except CatalogueUnavailable as e:
            return Pause(f"{model}: {e}")
        return Pause(f"{model}: endpoint {endpoint} is {state}", removed)

    def _created(self, model: str) -> float:
        """Find out when the model's endpoint was created; 0 if that is not known."""
        try:
            return self._endpoints.created(self._catalogue.revision(model).endpoint)
        except CatalogueUnavailable:
            return 0.0


def _report(
    run: Run,
    progress: PassProgress,
    counts: PassCounts,
    limits: Limits,
    *,
    frames: int = 0,
    refused: int = 0,
    missing: int = 0,
    logs: int = 0,
    paused: tuple[str, ...] = (),
    worst: Worst = NO_FAILURES,
    cursor: Cursor | None = None,
) -> PassReport:
    report = PassReport(
        drive=run.drive,
        run=run.run,
        # The calls of one pass count once.
        turn=progress.turn + (progress.cursor is None),
        retried=progress.retried,
        frames=frames,
        refused=refused,
        units=counts.units,
        answered=counts.answered,
        failed=counts.failed,
        pending=counts.pending,
        submitted=counts.submitted,
        resubmitted=counts.resubmitted,
        dropped=counts.dropped,
        missing=missing,
        logs=logs,
        paused=paused,
        worst=worst,
        cursor=cursor,
    )
    return msgspec.structs.replace(report, verdict=verdict_of(report, limits.max_failed_percent))


def verdict_of(report: PassReport, max_failed_percent: float) -> Verdict:
    """Decide how a run goes on; `max_failed_percent`: the share of the frames that one model may fail."""
    if report.cursor is not None:
        return Verdict.CONTINUE
    if report.missing:
        return Verdict.AWAIT_FRAMES
    if report.pending:
        return Verdict.AWAIT_ANSWERS
    worst = report.worst
    if not report.retried and is_too_many(worst.failed, report.frames - (worst.broken or 0), max_failed_percent):
        return Verdict.MODEL_FAILING
    return Verdict.PLAN_SHARDS


def is_too_many(failed: int, frames: int, max_failed_percent: float) -> bool:
    """Check whether a model failed more of the frames than an operator should miss."""
    return failed >= LEAST_FAILED and failed * 100 > max_failed_percent * frames


def retry_failed_units(run: Run, worst: Worst, frames: int, redriven: bool, *, ledger: Runs, now: float) -> None:
    """Raise ModelFailing for a run whose model failed most frames; after a redrive, let the run try them again."""
    if not redriven:
        besides = f", and about {worst.broken:,} that are not whole pictures" if worst.broken else ""
        failed = f"{worst.failed:,} of {counted(frames, 'frame')}"
        raise ModelFailing(
            f"{worst.model} failed {failed} of {run.drive} {run.run}{besides}: look at its endpoint; a redrive tries "
            "the failed frames once more, and then goes on with the answers that there are"
        )
    ledger.retry_failed(run, before=now)


def await_answers(run: Run, token: str, order: str, *, ledger: UnitLedger, executions: Executions) -> bool:
    """Store the token with which collect wakes the run; return whether the run was woken at once.

    The token is stored before the ledger is asked for pending units, because an answer that came earlier found no
    token. A call that outlives its wait leaves the token of a later wait (by `order`) in its place.
    """
    waiting = WaitingRun(run.drive, run.run, token, run.asked, order)
    if not ledger.wait(waiting):
        return False
    if ledger.any_pending(run.drive, run.asked):
        return False
    woken = executions.wake(token)
    ledger.stop_waiting(waiting)
    return woken
