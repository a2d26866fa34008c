"""A video in the bucket becomes a drive, once its start is known."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import pytest

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.frames import SOURCE
from autolabel.contracts.logs import PLACE, parse_log_document
from tests.fakes.pipeline import DRIVE
from tests.fakes.videos import OPEN, remuxed, video
from tests.unit.logs.test_steps import Cloud

KEY = f"drives/{DRIVE}/logs/front.mp4"
DOCUMENT = f"drives/{DRIVE}/logs/recording.json"
TIME, NS = "2026-11-22T11:00:00.25+01:00", 1_795_341_600_250_000_000


def describe(cloud: Cloud, **fields: Any) -> None:
    cloud.now += 1
    cloud.submit(cloud.upload(DOCUMENT, json.dumps({"logs": ["front.mp4"], **fields}).encode()))


def extracted(body: bytes, slice_bytes: int, draw: Random | None = None, **fields: Any) -> Cloud:
    cloud = Cloud(slice_bytes)
    describe(cloud, start=TIME, **fields)
    cloud.put_log(body, "front.mp4")
    cloud.run_extractions(draw)
    return cloud


def doubled(packet: Any) -> Any:
    packet.pts += -packet.pts % 1024
    return packet


@pytest.mark.parametrize(
    ("body", "skipped"),
    [
        (video(40, params=OPEN), {}),
        (video(40, params=OPEN, movflags="frag_keyframe+empty_moov+default_base_moof"), {}),
        # Of two frames with one time, in two groups, the first stays.
        (remuxed(video(20, params="keyint=6:min-keyint=6:scenecut=0:bframes=0"), doubled), {"same-timestamp": 9}),
    ],
    ids=["indexed", "fragmented", "same times"],
)
def test_any_number_of_slices_in_any_order_leaves_the_same_frames(body: bytes, skipped: dict[str, int]) -> None:
    whole = extracted(body, 10**9)
    for slice_bytes, seed in ((1, 1), (1_500, 2)):
        cloud = extracted(body, slice_bytes, Random(seed))
        assert cloud.inspect(cloud.folder(KEY)).slices > 1
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder(KEY)) == whole.summary(whole.folder(KEY))
    (topic,) = whole.summary(whole.folder(KEY)).topics.values()
    assert (topic.extracted, topic.skipped, topic.refused) == (len(whole.frames()), skipped, {})
    assert (topic.clocks, topic.notes) == ({"start": topic.extracted}, {})
    first = min(whole.frames())
    assert first == f"drives/{DRIVE}/front/{NS}.jpg"
    metadata = whole.ingest.head(first)
    assert metadata
    assert metadata.metadata[SOURCE] == "front.mp4%2C%200.000000%20s"
    places = [head.metadata[PLACE] for key in sorted(whole.frames()) if (head := whole.ingest.head(key))]
    assert places == sorted(places)
    assert parse_drive_document(whole.ingest.objects[f"drives/{DRIVE}/drive.json"], "drive.json").cameras.keys() == {
        "front"
    }


def test_a_video_without_a_start_waits_until_the_document_tells_it() -> None:
    cloud = Cloud()
    describe(cloud)
    cloud.put_log(video(8), "front.mp4")
    cloud.run_extractions()
    (record,) = cloud.ledger.logs(DRIVE)
    assert (record.state, record.ended) == ("waiting", False)
    assert "front.mp4 does not tell when it was recorded" in record.detail
    assert "add it to logs/recording.json as start" in record.detail
    told = [subject for subject, _ in cloud.announcements.told]
    assert told == [f"Log front.mp4 of drive {DRIVE} waits for its start"]
    # Neither its own event, nor time, nor a document that does not tell it, begins it again for nothing.
    cloud.put_log(video(8), "front.mp4")
    cloud.now += 10**6
    cloud.sweep(cloud.now)
    cloud.submit_asked()
    assert not cloud.extractions.started
    assert not cloud.ingest.exists(f"drives/{DRIVE}/drive.json")
    describe(cloud, notes=["rain"])
    cloud.run_extractions()
    assert [one.state for one in cloud.ledger.logs(DRIVE)] == ["waiting"]
    describe(cloud, start={"front.mp4": TIME})
    cloud.run_extractions()
    assert [one.state for one in cloud.ledger.logs(DRIVE)] == ["extracted"]
    assert len(cloud.frames()) == 8
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")


def test_a_document_that_came_while_the_log_was_inspected_is_not_missed() -> None:
    cloud = Cloud()
    cloud.put_log(video(8), "front.mp4")
    log = cloud.folder(KEY)
    refused = cloud.inspect(log).refused
    cloud.extractions.started.clear()
    describe(cloud, start=NS)
    cloud.end(log, refused)
    cloud.run_extractions()
    assert min(cloud.frames()) == f"drives/{DRIVE}/front/{NS}.jpg"


def test_the_time_of_creation_is_marked_in_the_summary() -> None:
    cloud = Cloud()
    describe(cloud)
    cloud.put_log(video(5, created="2026-11-22T10:00:00.000000Z"), "front.mp4")
    cloud.run_extractions()
    (topic,) = cloud.summary(cloud.folder(KEY)).topics.values()
    assert (topic.clocks, topic.notes) == ({"creation": 5}, {"unverified start": 5})


def test_streams_are_picked_and_named_by_the_document() -> None:
    cloud = extracted(video(8, streams=2), 10**9, cameras={"front.mp4/1": "rear"})
    assert {key.split("/")[2] for key in cloud.frames()} == {"rear"}
    named = extracted(video(8), 10**9, cameras={"front.mp4": "windscreen"})
    assert {key.split("/")[2] for key in named.frames()} == {"windscreen"}


def test_a_stack_without_the_library_refuses_videos_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    body = video(8)
    monkeypatch.setitem(sys.modules, "av", None)
    cloud = extracted(body, 10**9)
    (record,) = cloud.ledger.logs(DRIVE)
    assert record.state == "refused"
    assert "deploy the stack with the parameter Video=yes" in record.detail


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("2026-11-22T11:00:00", "is not a time with a time zone"),
        ({"front.mp4": "yesterday"}, "is not a time with a time zone"),
        ({"front.mp4": -1}, "the start of front.mp4 is not ns since the epoch"),
        ("1960-01-01T00:00:00Z", "the start of all is not ns since the epoch"),
        ("2026-02-30T00:00:00Z", "day"),
    ],
)
def test_a_start_that_is_no_time_is_refused(start: Any, said: str) -> None:
    with pytest.raises(DocumentRefused, match=rf"recording\.json: .*{said}"):
        parse_log_document(json.dumps({"start": start}).encode(), DOCUMENT)


@pytest.mark.parametrize(
    ("start", "ns"),
    [
        (TIME, NS),
        ("2026-11-22T10:00:00.25Z", NS),
        ("2026-11-22T10:00:00.250000001Z", NS + 1),
        (NS, NS),
        ({"front.mp4": NS, "rear.mp4": 1}, NS),
        ({"rear.mp4": 1}, 0),
    ],
)
def test_a_start_is_exact_to_the_nanosecond(start: Any, ns: int) -> None:
    assert parse_log_document(json.dumps({"start": start}).encode(), DOCUMENT).start_of("front.mp4") == ns
