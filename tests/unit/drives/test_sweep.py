"""Tests of the sweep: it closes abandoned drives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.ports import StoredObject
from autolabel.contracts.verification import Policy, VerifyAll, VerifyNone
from autolabel.drives.canary import CANARY
from autolabel.inference.submission import CloseRequest
from tests.fakes.images import png
from tests.fakes.pipeline import ABANDONED_AFTER, DRIVE, UNHEARD_AFTER, Pipeline, drive_document, frame_key

DOCUMENT = f"drives/{DRIVE}/drive.json"


def test_an_empty_bucket_is_swept(pipeline: Pipeline) -> None:
    report = pipeline.sweep()
    assert (report.closed, report.asked, report.late) == ([], [], [])


def test_a_drive_that_is_still_uploaded_stays_open(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0), png())
    pipeline.now += ABANDONED_AFTER
    pipeline.upload(frame_key(1), png())
    pipeline.now += ABANDONED_AFTER - 1
    assert pipeline.sweep().closed == []
    assert not pipeline.ingest.exists(DOCUMENT)


def test_an_abandoned_drive_is_closed_with_its_cameras_and_a_note(pipeline: Pipeline) -> None:
    for camera in ("rear", "front"):
        pipeline.upload(frame_key(0, camera=camera), png())
    pipeline.upload(f"drives/{DRIVE}/notes.txt", b"x")
    pipeline.upload(frame_key(0, camera="top", extension="bin"), bytes(16))
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().closed == [DRIVE]
    document = json.loads(pipeline.ingest.objects[DOCUMENT])
    assert list(document["cameras"]) == ["front", "rear"]
    assert "closed by the sweep" in document["notes"][0]
    ((subject, message),) = pipeline.announcements.told
    assert DRIVE in subject
    assert "2 hours" in message
    assert "3 objects" in message
    # The document's event closes the drive, and the next sweep has nothing to do.
    body = pipeline.ingest.objects[DOCUMENT]
    assert pipeline.submit(pipeline.upload(DOCUMENT, body)) == ["closed"]
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().closed == pipeline.sweep().asked == []
    assert pipeline.reconcile().frames == 2


@pytest.mark.parametrize(("drive", "verification"), [("canary", VerifyAll()), (f"{CANARY}_20261130T03", VerifyNone())])
def test_reviewers_get_no_frame_of_an_abandoned_canary(pipeline: Pipeline, drive: str, verification: Policy) -> None:
    pipeline.upload(frame_key(0, drive=drive), png())
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().closed == [drive]
    key = f"drives/{drive}/drive.json"
    assert parse_drive_document(pipeline.ingest.objects[key], key).verification == verification


def test_a_folder_without_a_frame_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.upload(f"drives/{DRIVE}/notes.txt", b"x")
    pipeline.upload("drives/not a drive/front/1.png", b"x")
    pipeline.upload("drives/logs/front/1700000000000000000.png", b"x")
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().closed == []


def test_a_document_whose_event_was_lost_closes_its_drive(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0), png())
    pipeline.upload(DOCUMENT, drive_document())
    assert pipeline.sweep().asked == []
    pipeline.now += UNHEARD_AFTER
    assert pipeline.sweep().asked == [DRIVE]
    assert pipeline.queue.asked == [CloseRequest(DRIVE)]
    assert pipeline.submit_asked() == ["closed"]
    assert pipeline.sweep().asked == []
    assert list(pipeline.executions.started) == [f"{DRIVE}-0001"]


def test_a_finished_drive_without_its_mark_is_asked_for_once(pipeline: Pipeline) -> None:
    pipeline.close()
    pipeline.ledger.closed.clear()
    pipeline.ledger.finish_run(pipeline.run, "published", pipeline.now)
    pipeline.now += UNHEARD_AFTER
    assert pipeline.sweep().asked == [DRIVE]
    assert pipeline.submit_asked() == ["already"]
    assert pipeline.sweep().asked == []


def test_an_unreadable_listing_does_not_keep_other_drives_open(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0, drive="abandoned"), png())
    pipeline.close()
    pipeline.reconcile()
    pipeline.submit(pipeline.upload(frame_key(7), png()))
    del pipeline.labels.objects[f"labels/{DRIVE}/0001/frames.jsonl"]
    pipeline.now += ABANDONED_AFTER
    with pytest.raises(KeyError):
        pipeline.sweep()
    assert "drives/abandoned/drive.json" in pipeline.ingest.objects


def test_a_refused_document_is_not_reported_at_every_sweep(pipeline: Pipeline) -> None:
    pipeline.close(b"no JSON")
    assert len(pipeline.announcements.told) == 1
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().asked == []
    # A good document whose event is lost is taken.
    pipeline.upload(DOCUMENT, drive_document())
    pipeline.now += ABANDONED_AFTER
    assert pipeline.sweep().asked == [DRIVE]


@pytest.mark.parametrize("drives", [["a", "a-b", "a0", "ab", "aB"], ["a-b"], ["Z", "a"]])
def test_open_drives_are_found_for_any_names(pipeline: Pipeline, drives: list[str]) -> None:
    for open_drive in drives:
        for drive in drives:
            pipeline.upload(frame_key(0, drive=drive), png())
            if drive != open_drive:
                pipeline.ledger.mark_closed(drive)
        pipeline.now += ABANDONED_AFTER
        assert pipeline.sweep().closed == [open_drive]
        pipeline.ingest.objects.clear()
        pipeline.ledger.closed.clear()


def test_an_abandoned_drive_with_an_open_upload_stays_open(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0), png())
    pipeline.now += ABANDONED_AFTER
    pipeline.ingest.open_uploads = {f"drives/{DRIVE}/logs/a.mcap"}
    assert pipeline.sweep().closed == []
    pipeline.ingest.open_uploads = set()
    assert pipeline.sweep().closed == [DRIVE]


def test_any_number_of_closed_drives_is_looked_at_in_turn(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    drives, listed = [f"d{n}" for n in range(950)], Counter[str]()
    for drive in drives:
        pipeline.ledger.mark_closed(drive)

    def note(prefix: str, after: str = "") -> Iterator[StoredObject]:
        listed[prefix] += 1
        return iter(())

    monkeypatch.setattr(pipeline.ingest, "list", note)
    for _ in range(10):
        before = listed.total()
        pipeline.sweep()
        assert listed.total() - before < 150
        pipeline.now += UNHEARD_AFTER
    assert listed == {f"drives/{drive}/logs/": 1 for drive in drives}
