"""Tests of the frozen listing of a run."""

from __future__ import annotations

import pytest

from autolabel.contracts.frames import MAX_FRAME_BYTES, ListedFrame, list_frame, parse_frame_key
from autolabel.contracts.ports import StoredObject
from autolabel.contracts.run_folder import RunFolder
from autolabel.drives.listing import freeze_listing, judge_objects, read_listing
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key

CAMERAS = frozenset({"front", "front-left"})


def judge(*objects: StoredObject) -> list[tuple[str, str]]:
    """List (key, refusal) of each line."""
    return [(line.key, line.refused) for line in judge_objects(objects, DRIVE, CAMERAS)]


def thing(key: str, size: int = 10) -> StoredObject:
    return StoredObject(key, "e", size)


def test_a_drive_with_only_its_document_is_empty() -> None:
    assert judge() == []
    assert judge(thing(f"drives/{DRIVE}/"), thing(f"drives/{DRIVE}/drive.json"), thing(f"drives/{DRIVE}/x/", 0)) == [
        (f"drives/{DRIVE}/", "key-outside-contract")
    ]


def test_folder_markers_are_not_frames() -> None:
    assert judge(thing(f"drives/{DRIVE}/front/", 0), thing(frame_key(1))) == [(frame_key(1), "")]


@pytest.mark.parametrize(
    ("key", "size", "reason"),
    [
        (frame_key(0), 10, ""),
        (frame_key(0), MAX_FRAME_BYTES, ""),
        (frame_key(0), 0, "empty-object"),
        (frame_key(0), MAX_FRAME_BYTES + 1, "object-too-large"),
        (frame_key(0, camera="rear"), 10, "unknown-camera"),
        (f"drives/{DRIVE}/front/1.png", 10, "key-outside-contract"),
        (f"drives/{DRIVE}/logs/{10**18}.png", 10, "key-outside-contract"),
        (f"drives/{DRIVE}/notes.txt", 0, "key-outside-contract"),
    ],
    ids=str,
)
def test_each_object_is_a_frame_or_refused_with_its_reason(key: str, size: int, reason: str) -> None:
    line, frame = list_frame(key, "e", size, previous=None, cameras=CAMERAS)
    assert (line.refused, frame is None) == (reason, bool(reason))
    assert bool(line.detail) == bool(reason)
    if reason:
        assert key in line.detail


def test_a_second_object_of_a_frame_is_refused_for_any_extension() -> None:
    keys = sorted(frame_key(0, extension=extension) for extension in ("png", "jpg", "jpeg"))
    assert judge(*map(thing, keys)) == [(keys[0], ""), (keys[1], "second-object"), (keys[2], "second-object")]


def test_a_refused_object_does_not_take_the_place_of_a_good_one() -> None:
    empty, good = sorted(frame_key(0, extension=extension) for extension in ("png", "jpg"))
    assert judge(thing(empty, 0), thing(good)) == [(empty, "empty-object"), (good, "")]


def test_one_timestamp_of_two_cameras_is_two_frames() -> None:
    keys = sorted(frame_key(0, camera=camera) for camera in CAMERAS)
    assert judge(*map(thing, keys)) == [(key, "") for key in keys]


def test_the_listing_is_frozen_at_the_first_pass(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(1), png())
    pipeline.close()
    first = pipeline.reconcile()
    pipeline.upload(frame_key(0), png())
    pipeline.upload(frame_key(1), png(color=(1, 1, 1)))
    second = pipeline.reconcile()
    assert (first.frames, second.frames) == (1, 1)
    (line,) = read_listing(pipeline.labels, RunFolder(DRIVE, "0001"))
    assert line.key == frame_key(1)
    assert line.etag != pipeline.ingest.etag(frame_key(1))


def test_two_first_passes_at_once_count_the_same_listing(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0), png())
    standing = ListedFrame(frame_key(5), "e", 1)
    pipeline.labels.write(
        RunFolder(DRIVE, "0001").listing, b'{"key":"%s","etag":"e","size":1}\n' % frame_key(5).encode()
    )
    counted = freeze_listing(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001"), CAMERAS)
    assert (counted.objects, counted.frames) == (1, 1)
    assert list(read_listing(pipeline.labels, RunFolder(DRIVE, "0001"))) == [standing]


def test_the_counts_of_a_listing_add_up(pipeline: Pipeline) -> None:
    for index in range(4):
        pipeline.upload(frame_key(index), png())
    pipeline.upload(frame_key(0, camera="front-left"), png())
    pipeline.upload(frame_key(9), b"")
    pipeline.upload(f"drives/{DRIVE}/front/x.png", png())
    listing = freeze_listing(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001"), CAMERAS)
    assert (listing.objects, listing.frames) == (7, 5)
    assert listing.cameras == {"front": 4, "front-left": 1}
    assert listing.refused == {"empty-object": 1, "key-outside-contract": 1}
    assert listing.objects == listing.frames + sum(listing.refused.values())


def test_expected_frames_that_did_not_arrive_are_noted(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(0), png())
    cameras = {"front": {"expected_frames": 1}, "left": {"expected_frames": 2}, "right": {}}
    pipeline.close(drive_document(cameras=cameras))
    listing = freeze_listing(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001"), frozenset(cameras))
    assert listing.notes(pipeline.run.document) == ["camera left: 0 of 2 expected frames arrived"]


def test_lines_come_in_the_order_of_positions(pipeline: Pipeline) -> None:
    cameras = ["a", "a-b", "a_b", "B", "a0"]
    for camera in cameras:
        for index in (9, 10, 11):
            pipeline.upload(frame_key(index, camera=camera), png())
    freeze_listing(pipeline.ingest, pipeline.labels, RunFolder(DRIVE, "0001"), frozenset(cameras))
    positions = [parse_frame_key(line.key).position for line in read_listing(pipeline.labels, RunFolder(DRIVE, "0001"))]
    assert len(positions) == 15
    assert positions == sorted(positions)
