"""Measures reconcile passes, from freezing the listing to the last retry, over generated pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from autolabel.contracts.ports import SubmitQueue
from autolabel.inference.reconcile_pass import PassProgress, PassReport, ReconcilePasses
from autolabel.inference.reconciliation import Limits
from autolabel.models.catalogue import Catalogue, model_key
from tests.fakes.bucket import FakeBucket
from tests.fakes.endpoints import FakeEndpoints
from tools.bench.work.drive import MODEL, make_run
from tools.bench.work.generated_units import (
    NOW,
    CountingQueue,
    GeneratedIngest,
    GeneratedLabels,
    GeneratedLedger,
    Shares,
)
from tools.bench.work.pace import Pace

PLACE = "tools.bench.work.reconciling"
WORKERS = 16
FIRST = PassProgress()
ANSWERED = Shares(answered=100)
UNKNOWN = Shares()
MIXED = Shares(answered=90, pending=4, overdue=2, failed=2)
CATALOGUE = Catalogue({model_key(MODEL.id): msgspec.json.encode(MODEL)}.get, lambda: NOW)


def reconcile_answered(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Make the last pass over `frames` frames: every unit is answered. `short` and `stops` as in Pace."""
    return _turn(Pace(frames, f"{PLACE}:reconcile_answered", short=short, stops=stops), frames, ANSWERED)


def reconcile_unknown(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Make a first pass that asks for every unit, as when all upload events were lost."""
    return _turn(Pace(frames, f"{PLACE}:reconcile_unknown", short=short, stops=stops), frames, UNKNOWN)


def reconcile_mixed(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Make a first pass over units of every kind."""
    return _turn(Pace(frames, f"{PLACE}:reconcile_mixed", short=short, stops=stops), frames, MIXED)


def _turn(pace: Pace, frames: int, shares: Shares) -> dict[str, Any]:
    ledger, queue = GeneratedLedger(frames, shares), CountingQueue()
    labels = GeneratedLabels(frames, shares, pace.add, frozen=False)
    report = turn_over(frames, labels, ledger, queue)
    measured = pace.stop()
    _check(report, shares, ledger, queue)
    return measured


def reconcile_in_calls(frames: int, seconds: float) -> dict[str, int]:
    """Make a pass over units of every kind, in calls that each stop after `seconds` of processor time.

    Reports travel as JSON, as between states. Returns the number of `calls`, and the `bytes` of the largest report.
    """
    ledger, queue = GeneratedLedger(frames, MIXED), CountingQueue()
    progress, reports = FIRST, list[bytes]()
    while not reports or progress.cursor:
        report = turn_over(frames, GeneratedLabels(frames, MIXED), ledger, queue, progress, _enough_after(seconds))
        reports.append(msgspec.json.encode(report))
        progress = msgspec.json.decode(reports[-1], type=PassProgress)
    _check(report, MIXED, ledger, queue)
    if report.turn != 1:
        raise AssertionError(f"the calls of one pass count as {report.turn} passes")
    return {"calls": len(reports), "bytes": max(map(len, reports))}


def _enough_after(seconds: float) -> Callable[[], bool]:
    """A check that is true once this process has used `seconds` more of processor time."""
    end = time.process_time() + seconds
    return lambda: time.process_time() > end


def turn_over(
    frames: int,
    labels: GeneratedLabels,
    ledger: GeneratedLedger,
    queue: SubmitQueue,
    progress: PassProgress = FIRST,
    enough: Callable[[], bool] = lambda: False,
) -> PassReport:
    """Make one call of a pass, with as many workers as functions/reconcile has."""
    turns = ReconcilePasses(
        ingest=GeneratedIngest(frames),
        label_bucket=labels,
        ledger=ledger.port,
        queue=queue,
        catalogue=CATALOGUE,
        endpoints=FakeEndpoints(FakeBucket("labels")),
        limits=Limits(unsubmitted_after=3_600.0, max_unanswered=3, max_failed_percent=50.0),
        frames_patience=0,
        workers=WORKERS,
    )
    return turns.reconcile(make_run(), progress, NOW, enough)


def _check(report: PassReport, shares: Shares, ledger: GeneratedLedger, queue: CountingQueue) -> None:
    expected = {
        "answered": shares.answered,
        "pending": shares.pending + shares.overdue + shares.unknown,
        "failed": shares.failed,
        "submitted": shares.unknown,
        "resubmitted": shares.overdue,
    }
    came = {name: getattr(report, name) * 100 / report.units for name in expected}
    asked, changed = queue.sent.value, ledger.changes.value
    if came != expected or asked != changed or asked != report.submitted + report.resubmitted:
        raise AssertionError(f"unexpected counts: {report}, {asked} units sent, {changed} changes of the ledger")
