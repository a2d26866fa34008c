"""A run's turns: what its execution asks for while it waits for answers, and the plan of its shards."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CatalogueUnavailable, ModelFailing
from autolabel.contracts.ports import Bucket, EndpointStates, Executions, Ledger, SubmitQueue, WaitingRun
from autolabel.drives.listing import freeze_listing, frozen_listing, missing_frames
from autolabel.inference.reconciliation import Comparison, Limits, Pause, Reconciliation, Turn

if TYPE_CHECKING:
    from autolabel.models.catalogue import Catalogue


class Worst(msgspec.Struct, frozen=True):
    """The model of a run that failed most of its frames: its `name.revision` and how many."""

    model: str = ""
    failed: int = 0


NO_FAILURES = Worst()


class Cursor(msgspec.Struct, frozen=True):
    """Where a turn was broken off: behind the position `after` of the run's `model`, with its counts so far.

    `failed`: how many of them failed before that model's turn came.
    """

    model: int
    after: str
    counts: Turn
    paused: tuple[str, ...] = ()
    failed: int = 0
    worst: Worst = NO_FAILURES


class Progress(msgspec.Struct, frozen=True):
    """What a run's execution carries from turn to turn. `turn`: how many there were.

    `retried`: a person has had failed units tried once more.
    """

    turn: int = 0
    retried: bool = False
    cursor: Cursor | None = None


class TurnReport(msgspec.Struct, frozen=True):
    """What someone who watches the execution sees of a turn. `units`: frames times models.

    `missing`: frames that the drive's document promises and that have not arrived; the listing waits for them.
    `paused`: models whose endpoint takes nothing, and why. `worst`: the model that failed most frames. With a `cursor`
    the turn goes on with another call.
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
    paused: tuple[str, ...] = ()
    worst: Worst = NO_FAILURES
    cursor: Cursor | None = None


class RunTurns:
    """The turns of runs.

    `frames_patience`: seconds that frames are waited for which the drive's document promises. `workers`: repairs made
    at a time.
    """

    def __init__(
        self,
        *,
        ingest: Bucket,
        labels: Bucket,
        ledger: Ledger,
        queue: SubmitQueue,
        catalogue: Catalogue,
        endpoints: EndpointStates,
        limits: Limits,
        frames_patience: float,
        workers: int = 1,
    ) -> None:
        self._ingest = ingest
        self._labels = labels
        self._ledger = ledger
        self._queue = queue
        self._catalogue = catalogue
        self._endpoints = endpoints
        self._limits = limits
        self._frames_patience = frames_patience
        self._workers = workers

    def reconcile(
        self, run: Run, progress: Progress, now: float, enough: Callable[[], bool] = lambda: False
    ) -> TurnReport:
        """One turn of a run, or as much of it as `enough` allows.

        Freezes the listing at the first, then repairs every model's units and counts what is pending. `now`: seconds
        since the epoch.
        """
        drive = run.drive
        listing = frozen_listing(self._labels, run.folder)
        if listing is None:
            patient = now < run.since + self._frames_patience
            missing = missing_frames(self._ingest, drive, run.document) if patient else 0
            if missing:
                return _report(run, progress, Turn(), missing=missing)
            self._ledger.mark_frozen(drive)
            listing = freeze_listing(self._ingest, self._labels, run.folder, frozenset(run.document.cameras))
        start = progress.cursor or Cursor(0, "", Turn())
        total, paused, after, failed, worst = start.counts, start.paused, start.after, start.failed, start.worst
        cursor = None
        latest = self._ledger.latest_run(drive)
        for index, model in list(enumerate(run.asked))[start.model :]:
            reconciliation = Reconciliation(
                labels=self._labels,
                ledger=self._ledger,
                queue=self._queue,
                limits=self._limits,
                now=now,
                paused=cache(lambda model=model: self._paused(model)),
                retry_failed_before=run.retry_failed_before,
                # What is no frame of the latest run is nobody's; an earlier run cannot know.
                drop_strays=latest is None or latest.run == run.run,
                workers=self._workers,
            )
            comparison = Comparison(self._labels, self._ledger, run.folder, model, after)
            reached = reconciliation.take(comparison, total, enough)
            if (why := reconciliation.paused.why) and why not in paused:
                paused += (why,)
            if reached is not None:
                cursor = Cursor(index, reached, total, paused, failed, worst)
                break
            # Models are judged one by one: of three, one that fails every frame fails a third of the units.
            if total.failed - failed > worst.failed:
                worst = Worst(model, total.failed - failed)
            after, failed = "", total.failed
        return _report(
            run,
            progress,
            total,
            frames=listing.frames,
            refused=listing.objects - listing.frames,
            paused=paused,
            worst=worst,
            cursor=cursor,
        )

    def _paused(self, model: str) -> Pause:
        """Why the model's endpoint takes nothing now."""
        try:
            endpoint = self._catalogue.revision(model).endpoint
            state = self._endpoints.state(endpoint)
            if state == "InService":
                return Pause()
            removed = state == "missing" and not self._catalogue.asks(model)
        except CatalogueUnavailable as e:
            return Pause(f"{model}: {e}")
        return Pause(f"{model}: endpoint {endpoint} is {state}", removed)


def _report(
    run: Run,
    progress: Progress,
    turn: Turn,
    *,
    frames: int = 0,
    refused: int = 0,
    missing: int = 0,
    paused: tuple[str, ...] = (),
    worst: Worst = NO_FAILURES,
    cursor: Cursor | None = None,
) -> TurnReport:
    return TurnReport(
        drive=run.drive,
        run=run.run,
        # The calls of one turn count once.
        turn=progress.turn + (progress.cursor is None),
        retried=progress.retried,
        frames=frames,
        refused=refused,
        units=turn.units,
        answered=turn.answered,
        failed=turn.failed,
        pending=turn.pending,
        submitted=turn.submitted,
        resubmitted=turn.resubmitted,
        dropped=turn.dropped,
        missing=missing,
        paused=paused,
        worst=worst,
        cursor=cursor,
    )


def retry_failed_units(run: Run, worst: Worst, frames: int, redriven: bool, *, ledger: Ledger, now: float) -> None:
    """Stop a run of which a model failed most frames, ModelFailing; redriven by a person, let it try them again."""
    if not redriven:
        raise ModelFailing(
            f"{worst.model} failed {worst.failed:,} of {frames:,} frames of {run.drive} {run.run}: look at its "
            "endpoint; a redrive tries what failed once more and then goes on with what there is"
        )
    ledger.retry_failed(run, before=now)


def await_answers(run: Run, token: str, order: str, *, ledger: Ledger, executions: Executions) -> bool:
    """Store the token with which collect wakes the run; whether the run is woken at once.

    Whether anything is pending is asked after the token is stored: an answer that came before found no token. A call
    that outlives its wait leaves the token of a later one (by `order`) in its place.
    """
    waiting = WaitingRun(run.drive, run.run, token, run.asked, order)
    if not ledger.wait(waiting):
        return False
    if ledger.any_pending(run.drive, run.asked):
        return False
    woken = executions.wake(token)
    ledger.stop_waiting(waiting)
    return woken
