"""Tests of closing: a drive is closed once, and labelled again on request."""

from __future__ import annotations

import msgspec
import pytest

from autolabel.contracts.errors import DocumentRefused, RunMissing
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.units import Unit
from tests.fakes.answers import DETECTOR, add_to_catalogue, answer
from tests.fakes.endpoints import failure
from tests.fakes.faults import Crash, Fuse
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key

DOCUMENT = f"drives/{DRIVE}/drive.json"


def finished(pipeline: Pipeline) -> Pipeline:
    """Make a drive with one frame, whose first run is published."""
    pipeline.submit(pipeline.upload(frame_key(0), png()))
    pipeline.close()
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
    assert pipeline.reconcile().pending == 0
    pipeline.ledger.finish_run(pipeline.run, "published", pipeline.now)
    return pipeline


def test_a_drive_that_was_never_closed_cannot_be_labelled_again(pipeline: Pipeline) -> None:
    with pytest.raises(RunMissing, match=DRIVE):
        pipeline.closing().relabel(DRIVE)


def test_a_second_run_uses_the_answers_of_the_first(pipeline: Pipeline) -> None:
    finished(pipeline)
    assert pipeline.closing().relabel(DRIVE).run == "0002"
    assert pipeline.executions.started[f"{DRIVE}-0002"] == (DRIVE, "0002")
    report = pipeline.reconcile()
    assert (report.run, report.answered, report.pending) == ("0002", 1, 0)
    assert len(pipeline.endpoints.taken) == 1


def test_a_second_run_takes_in_late_overwritten_and_changed_objects(pipeline: Pipeline) -> None:
    finished(pipeline)
    pipeline.ingest.write(frame_key(0), png(color=(1, 2, 3)))
    pipeline.ingest.write(frame_key(1, camera="rear"), png())
    pipeline.ingest.write(DOCUMENT, drive_document("front", "rear"))
    pipeline.closing().relabel(DRIVE)
    report = pipeline.reconcile()
    assert (report.frames, report.answered, report.submitted) == (2, 0, 2)


def test_a_second_run_labels_with_the_current_models(pipeline: Pipeline) -> None:
    finished(pipeline)
    add_to_catalogue(pipeline.labels, msgspec.structs.replace(DETECTOR, revision="0002"))
    pipeline.now += 100.0
    assert pipeline.closing().relabel(DRIVE).models == ("detector.0002",)


def test_a_second_run_tries_failed_units_once_more(pipeline: Pipeline) -> None:
    pipeline.submit(pipeline.upload(frame_key(0), png()))
    pipeline.close()
    for _ in range(2):
        pipeline.collect(failure(pipeline.endpoints.taken[-1]))
        pipeline.submit_asked()
    assert pipeline.reconcile().failed == 1
    pipeline.ledger.finish_run(pipeline.run, "published", pipeline.now)
    pipeline.now += 1.0
    pipeline.closing().relabel(DRIVE)
    report = pipeline.reconcile()
    assert (report.failed, report.pending, report.resubmitted) == (0, 1, 1)
    assert not pipeline.ledger.failed_units
    pipeline.submit_asked()
    # The retry has its own attempt: notifications of an earlier one do not change it.
    assert len({invocation.inference_id for invocation in pipeline.endpoints.taken}) == 3
    pipeline.collect(failure(pipeline.endpoints.taken[1]))
    assert pipeline.reconcile().pending == 1
    pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[2], answer()))
    report = pipeline.reconcile()
    assert (report.answered, report.failed, report.pending) == (1, 0, 0)


def test_units_that_failed_in_this_run_stay_failed(pipeline: Pipeline) -> None:
    event = pipeline.upload(frame_key(0), png())
    pipeline.close()
    finished_first = pipeline.run
    pipeline.ledger.finish_run(finished_first, "published", pipeline.now)
    pipeline.closing().relabel(DRIVE)
    pipeline.submit(event)
    for _ in range(2):
        pipeline.collect(failure(pipeline.endpoints.taken[-1]))
        pipeline.submit_asked()
    assert pipeline.reconcile().failed == 1
    assert pipeline.reconcile().failed == 1
    assert not pipeline.queue.asked


def test_an_allocated_run_that_never_started_is_started_first(pipeline: Pipeline) -> None:
    finished(pipeline)
    crashes = 0
    for operations in range(20):
        try:
            pipeline.closing(Fuse(operations)).relabel(DRIVE)
            break
        except Crash:
            crashes += 1
    assert crashes >= 5
    assert sorted(name for _, name in pipeline.ledger.runs) == ["0001", "0002"]
    assert list(pipeline.executions.started) == [f"{DRIVE}-0001", f"{DRIVE}-0002"]
    assert pipeline.labels.exists(f"labels/{DRIVE}/0002/drive.json")


def test_a_run_whose_execution_is_forgotten_is_not_started_again(pipeline: Pipeline) -> None:
    pipeline.submit(pipeline.upload(frame_key(0), png()))
    pipeline.close()
    pipeline.reconcile()
    pipeline.executions.started.clear()
    assert pipeline.closing().relabel(DRIVE).run == "0002"


def test_a_refused_document_starts_no_second_run(pipeline: Pipeline) -> None:
    finished(pipeline)
    pipeline.ingest.write(DOCUMENT, b"{}")
    with pytest.raises(DocumentRefused, match="vehicle"):
        pipeline.closing().relabel(DRIVE)
    assert len(pipeline.ledger.runs) == 1


def test_operators_are_told_of_a_document_changed_after_the_close(pipeline: Pipeline) -> None:
    first = pipeline.upload(DOCUMENT, drive_document())
    pipeline.submit(first)
    changed = pipeline.upload(DOCUMENT, drive_document("front", "rear"))
    assert pipeline.submit(changed) == ["already"]
    ((subject, message),) = pipeline.announcements.told
    assert DRIVE in subject
    assert "relabel" in message
    # Operators are not told of the first document's late event, nor of a document that a run was started with since.
    pipeline.ledger.finish_run(pipeline.run, "published", pipeline.now)
    pipeline.closing().relabel(DRIVE)
    pipeline.submit(changed)
    assert len(pipeline.announcements.told) == 1


def test_a_run_keeps_the_etag_of_the_document_that_it_read(pipeline: Pipeline) -> None:
    first = pipeline.upload(DOCUMENT, drive_document())
    second = pipeline.upload(DOCUMENT, drive_document("front", "rear"))
    # The event of the first document arrives when the second document is in the bucket.
    pipeline.submit(first)
    assert pipeline.run.document_etag == second.etag
    assert list(pipeline.run.document.cameras) == ["front", "rear"]
    pipeline.submit(second)
    assert not pipeline.announcements.told


def test_two_drives_at_once_do_not_affect_each_other() -> None:
    pipeline = Pipeline()
    other = "drive-77"
    for drive in (DRIVE, other):
        pipeline.submit(pipeline.upload(frame_key(0, drive=drive), png()))
        pipeline.submit(pipeline.upload(f"drives/{drive}/drive.json", drive_document()))
    mine, _ = pipeline.endpoints.taken
    pipeline.collect(pipeline.endpoints.answer(mine, answer()))
    assert pipeline.reconcile().pending == 0
    event = pipeline.upload(frame_key(0, drive=other), png())
    assert pipeline.ledger.pending(Unit.of(parse_frame_key(event.key), event.etag, DETECTOR.id))
