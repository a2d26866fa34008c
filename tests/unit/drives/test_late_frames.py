"""Tests of late frames: they are recorded, reported to operators, and labelled by the next run."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.frames import ListedFrame
from autolabel.contracts.ports import StoredObject
from autolabel.contracts.run_folder import RunFolder
from autolabel.drives.late_frames import Lateness, compare_objects, record_lateness
from autolabel.drives.listing import read_listing
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key

contents = st.dictionaries(st.text(max_size=3), st.sampled_from("abc"), max_size=8)


def frozen(pipeline: Pipeline, frames: int = 2) -> Pipeline:
    for index in range(frames):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close()
    pipeline.reconcile()
    return pipeline


def test_a_drive_without_new_objects_is_not_late(pipeline: Pipeline) -> None:
    frozen(pipeline)
    assert not record_lateness(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001")).any
    assert list(pipeline.ledger.late_drives()) == []


def test_late_overwritten_and_deleted_frames_are_recorded_by_their_keys(pipeline: Pipeline) -> None:
    frozen(pipeline)
    pipeline.submit(pipeline.upload(frame_key(0), png(color=(1, 2, 3))))
    pipeline.submit(pipeline.upload(frame_key(7), png()))
    del pipeline.ingest.objects[frame_key(1)]
    lateness = record_lateness(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001"))
    assert lateness == Lateness(late=1, overwritten=1, deleted=1, first=frame_key(0))
    lines = [json.loads(line) for line in pipeline.labels.lines(RunFolder(DRIVE, "0001").late_objects)]
    assert [(line["key"], line["change"]) for line in lines] == [
        (frame_key(0), "overwritten"),
        (frame_key(1), "deleted"),
        (frame_key(7), "late"),
    ]


def test_a_changed_document_is_not_a_late_frame(pipeline: Pipeline) -> None:
    frozen(pipeline)
    pipeline.submit(pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document("front", "rear")))
    assert not record_lateness(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001")).any


def test_point_clouds_belong_to_no_run(pipeline: Pipeline) -> None:
    cloud = frame_key(0, camera="top", extension="bin")
    event = pipeline.upload(cloud, bytes(16))
    assert pipeline.submit(event) == ["skipped"]
    frozen(pipeline)
    assert [line.key for line in read_listing(pipeline.labels, RunFolder(DRIVE, "0001"))] == [
        frame_key(0),
        frame_key(1),
    ]
    # One comes late, and the listing of an earlier version refused one.
    assert pipeline.submit(pipeline.upload(frame_key(1, camera="top", extension="bin"), bytes(16))) == ["skipped"]
    old = ListedFrame(cloud, event.etag, 16, "key-outside-contract", "an old refusal")
    listing = RunFolder(DRIVE, "0001").listing
    pipeline.labels.objects[listing] += msgspec.json.encode(old) + b"\n"
    assert not record_lateness(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001")).any
    assert list(pipeline.ledger.late_drives()) == []
    assert list(pipeline.ledger.refusals(DRIVE)) == []


def test_an_upload_before_the_listing_is_frozen_marks_nothing(pipeline: Pipeline) -> None:
    event = pipeline.upload(frame_key(0), png())
    pipeline.submit(event)
    pipeline.close()
    pipeline.submit(event)
    assert not pipeline.ledger.late
    pipeline.reconcile()
    pipeline.submit(pipeline.upload(f"drives/{DRIVE}/odd.txt", b"x"))
    assert list(pipeline.ledger.late) == [DRIVE]


def test_a_late_event_of_a_listed_frame_is_not_reported(pipeline: Pipeline) -> None:
    event = pipeline.upload(frame_key(0), png())
    pipeline.close()
    pipeline.reconcile()
    pipeline.submit(event)
    assert pipeline.sweep().late == []
    assert not pipeline.announcements.told
    assert not pipeline.ledger.late


def test_operators_are_told_of_late_frames_once(pipeline: Pipeline) -> None:
    frozen(pipeline)
    for index in (7, 8):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    assert pipeline.sweep().late == [DRIVE]
    ((subject, message),) = pipeline.announcements.told
    assert DRIVE in subject
    assert message.startswith(f"2 came late; the first is {frame_key(7)}")
    assert pipeline.sweep().late == []
    assert len(pipeline.announcements.told) == 1


def test_a_frame_that_arrives_during_a_sweep_is_reported_by_the_next(pipeline: Pipeline) -> None:
    frozen(pipeline)
    pipeline.submit(pipeline.upload(frame_key(7), png()))
    ((_, at),) = pipeline.ledger.late_drives()
    pipeline.ledger.mark_late(DRIVE, at + 1.0)
    pipeline.ledger.forget_late(DRIVE, at)
    assert pipeline.sweep().late == [DRIVE]


@pytest.mark.parametrize("swept", [False, True])
def test_the_summary_mentions_late_frames(pipeline: Pipeline, swept: bool) -> None:
    frozen(pipeline, frames=0)
    pipeline.submit(pipeline.upload(frame_key(7), png()))
    if swept:
        pipeline.sweep()
    pipeline.plan()
    pipeline.assemble()
    notes = json.loads(pipeline.labels.objects[f"labels/{DRIVE}/0001/summary.json"])["notes"]
    assert any("1 came late" in note for note in notes)


@given(contents, contents)
def test_each_difference_is_found_exactly_once(before: dict[str, str], after: dict[str, str]) -> None:
    def ordered(objects: dict[str, str]) -> list[tuple[str, str]]:
        return sorted(objects.items(), key=lambda item: item[0].encode())

    changes = list(
        compare_objects(
            [ListedFrame(key, etag, 1) for key, etag in ordered(before)],
            [StoredObject(key, etag, 1) for key, etag in ordered(after)],
        )
    )
    found = {change.key: change.change for change in changes}
    assert len(found) == len(changes)
    assert found == {
        key: "late" if key not in before else "deleted" if key not in after else "overwritten"
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }
