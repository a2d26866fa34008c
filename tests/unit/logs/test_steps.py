"""A log in the bucket becomes a drive: by any number of slices, with steps lost, repeated and in any order."""

from __future__ import annotations

import json
import math
import struct
from random import Random
from typing import Any

import msgspec
import pytest

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.errors import DocumentRefused, ShardMissing
from autolabel.contracts.logs import LogFolder, LogRecord, parse_log_document
from autolabel.inference.submission import ObjectEvent
from autolabel.logs import steps
from autolabel.logs.schemas import NO_POINTS
from autolabel.logs.selection import SAME_TIMESTAMP
from autolabel.logs.steps import Inspected, LogExtraction, LogSummary
from tests.fakes import logs as written
from tests.fakes.archives import ARCHIVES, archive, images
from tests.fakes.faults import Fuse
from tests.fakes.logs import (
    FRONT,
    LIDAR,
    REAR,
    START,
    STEP,
    Sent,
    bag_log,
    drive,
    mcap_log,
    ros_cloud,
    sqlite_log,
    xyzi,
)
from tests.fakes.pipeline import ABANDONED_AFTER, DRIVE, LOGS_QUIET, Pipeline, drive_document, frame_key
from tests.unit.logs.test_calibrations import INFO, VELODYNE, calibrated, transforms
from tests.unit.logs.test_point_clouds import scanned

FRAMES = 12
LOG = f"drives/{DRIVE}/logs/a.mcap"


class Cloud(Pipeline):
    """The pipeline, and the executions of extractions."""

    def __init__(self, slice_bytes: int = 20_000) -> None:
        super().__init__()
        self.slice_bytes = slice_bytes

    def put_log(self, body: bytes, name: str = "a.mcap") -> None:
        """Upload a log, and take its event."""
        self.now += 1
        self.submit(self.upload(f"drives/{DRIVE}/logs/{name}", body))

    def extraction(self, log: LogFolder) -> LogExtraction:
        return LogExtraction(
            log, ingest=self.ingest, label_bucket=self.labels, marks=self.ledger, slice_bytes=self.slice_bytes
        )

    def inspect(self, log: LogFolder) -> Inspected:
        return self.extraction(log).inspect()

    def run_extractions(self, draw: Random | None = None) -> None:
        """Make the steps of all extractions that were started; with `draw`, slices in any order and some twice."""
        started, self.extractions.started = list(self.extractions.started.values()), {}
        for record in started:
            log = LogFolder(record.drive, record.name, record.etag)
            inspected = self.inspect(log)
            numbers = list(range(inspected.slices))
            if draw:
                numbers += draw.choices(numbers, k=2) if numbers else []
                draw.shuffle(numbers)
            for number in numbers:
                self.extraction(log).extract(number)
            self.end(log, inspected.refused)

    def end(self, log: LogFolder, refused: str = "") -> str:
        ended = self.extraction(log).end(
            ledger=self.ledger, announcements=self.announcements, refused=refused, now=self.now
        )
        self.drive_logs().look(log.drive)
        return ended.outcome

    def frames(self) -> dict[str, bytes]:
        prefix = f"drives/{DRIVE}/"
        return {
            key: body
            for key, body in self.ingest.objects.items()
            if key.startswith(prefix) and "/logs/" not in key and not key.endswith("drive.json")
        }

    def summary(self, log: LogFolder) -> LogSummary:
        return msgspec.json.decode(self.labels.objects[log.summary], type=LogSummary)

    def folder(self, key: str = LOG) -> LogFolder:
        return LogFolder(DRIVE, key.rpartition("/")[2], self.ingest.etag(key))


def document(**fields: Any) -> bytes:
    return json.dumps({"vehicle": "car-1", "logs": ["a.mcap"], **fields}).encode()


def extracted(body: bytes, slice_bytes: int, draw: Random | None = None, fields: bytes = b"") -> Cloud:
    cloud = Cloud(slice_bytes)
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", fields or document())
    cloud.put_log(body)
    cloud.run_extractions(draw)
    return cloud


@pytest.mark.parametrize("writer", [mcap_log, bag_log, sqlite_log])
def test_any_number_of_slices_in_any_order_leaves_the_same_frames(writer: Any) -> None:
    messages = drive(FRAMES)
    # Two frames of one camera have one stamp, far apart in the log.
    messages.append(later_copy(messages[0], messages[-3]))
    body = writer(messages)
    whole = extracted(body, 10**9)
    for slice_bytes, seed in ((1, 1), (9_000, 2), (20_000, 3)):
        cloud = extracted(body, slice_bytes, Random(seed))
        assert cloud.inspect(cloud.folder()).slices > 1
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
    topics = whole.summary(whole.folder()).topics
    assert {name: of.messages for name, of in topics.items()} == {FRONT: FRAMES + 1, REAR: FRAMES}
    assert (topics[FRONT].extracted, topics[FRONT].skipped) == (FRAMES, {SAME_TIMESTAMP: 1})
    # The first in the log stays, byte for byte.
    front = topics[FRONT].camera
    first = next(body for key, body in sorted(whole.frames().items()) if f"/{front}/" in key)
    assert first == messages[0].packed[1]  # type: ignore[index]


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_leaves_the_same_frames_by_any_number_of_slices(kind: str) -> None:
    files = images(FRAMES) | {"notes.txt": b"rain"}
    # Another file of one camera and time, far behind.
    files[f"run/front/{START // 1000}.jpg"] = written.jpeg(99)
    files["run/rear/broken.jpg"] = b"no image"
    body = archive(files, kind)
    whole = extracted(body, 10**9)
    for slice_bytes, seed in ((1, 1), (2_000, 2)):
        cloud = extracted(body, slice_bytes, Random(seed))
        assert (cloud.inspect(cloud.folder()).slices > 1) == (kind != "tar.gz")
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
    summary = whole.summary(whole.folder())
    counted = {name: (of.extracted, of.skipped, of.refused) for name, of in summary.topics.items()}
    assert counted == {
        "run/front": (FRAMES, {SAME_TIMESTAMP: 1}, {}),
        "run/rear": (FRAMES, {}, {"not-an-image": 1}),
    }
    assert summary.other_files == 1
    assert set(whole.frames().values()) == {written.jpeg(number + at) for number in range(FRAMES) for at in (0, 50)}


@pytest.mark.parametrize("writer", [mcap_log, bag_log, sqlite_log])
def test_any_number_of_slices_leaves_the_same_point_clouds(writer: Any) -> None:
    messages = scanned(7)
    # A cloud without a finite point, one with some, and another one of the first one's time.
    nothing = ros_cloud(1)[1] | {"data": struct.pack("<f", math.nan) * 6 * 30}
    some = ros_cloud(2)[1]["data"][: 24 * 29] + struct.pack("<f", math.inf) * 6
    for at, (number, body) in enumerate(((1, nothing), (2, ros_cloud(2)[1] | {"data": some}), (0, ros_cloud(9)[1]))):
        sent = messages[2 * number + 1]
        changed = sent._replace(made=("sensor_msgs/msg/PointCloud2", body))
        if number:
            messages[2 * number + 1] = changed
        else:
            messages.append(changed._replace(log_time=messages[-1].log_time + at))
    body = writer(messages)
    fields = document(lidars={LIDAR: "top"})
    whole = extracted(body, 10**9, fields=fields)
    for slice_bytes, seed in ((1, 1), (3_000, 2)):
        cloud = extracted(body, slice_bytes, Random(seed), fields=fields)
        assert cloud.inspect(cloud.folder()).slices > 1
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
    clouds = {key: body for key, body in whole.frames().items() if key.endswith(".bin")}
    assert list(clouds) == [f"drives/{DRIVE}/top/{START + n * STEP + 1}.bin" for n in (0, 2, 3, 4, 5, 6)]
    assert clouds[f"drives/{DRIVE}/top/{START + 1}.bin"] == xyzi(0).tobytes()
    counts = whole.summary(whole.folder()).topics[LIDAR]
    assert (counts.camera, counts.lidar, counts.messages, counts.extracted) == ("", "top", 8, 6)
    assert counts.skipped == {NO_POINTS: 1, SAME_TIMESTAMP: 1}
    assert counts.notes == {"points dropped, which are not finite": 1}
    (record,) = whole.ledger.logs(DRIVE)
    assert (record.cameras, record.lidars) == ({"camera-front": 7}, {"top": 6})
    # The drive names its LiDAR, and its run has the frames alone.
    made = parse_drive_document(whole.ingest.objects[f"drives/{DRIVE}/drive.json"], "drive.json")
    assert (list(made.cameras), list(made.lidars)) == (["camera-front"], ["top"])


def test_a_log_may_have_nothing_but_the_points_of_a_named_lidar() -> None:
    cloud = Cloud()
    cloud.upload(
        f"drives/{DRIVE}/logs/recording.json",
        document(logs=["a.mcap", "b.mcap"], cameras={FRONT: "front"}, lidars={LIDAR: "top"}),
    )
    cloud.put_log(mcap_log([one for one in scanned(3) if one.topic == LIDAR]))
    cloud.put_log(mcap_log(drive(2)[:1]), "b.mcap")
    cloud.run_extractions()
    records = {record.name: record for record in cloud.ledger.logs(DRIVE)}
    assert (records["a.mcap"].lidars, records["a.mcap"].detail) == ({"top": 3}, "")
    assert (records["b.mcap"].cameras, records["b.mcap"].detail) == ({"front": 1}, "")
    assert list(parse_drive_document(cloud.ingest.objects[f"drives/{DRIVE}/drive.json"], "").lidars) == ["top"]


@pytest.mark.parametrize("has_points", [True, False])
def test_a_drive_of_logs_asks_for_cuboids_if_it_has_points(has_points: bool) -> None:
    cloud = Cloud()
    lidars = {LIDAR: "top"} if has_points else {}
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(lidars=lidars, cuboids="verify"))
    cloud.put_log(mcap_log(scanned(2)))
    cloud.run_extractions()
    made = parse_drive_document(cloud.ingest.objects[f"drives/{DRIVE}/drive.json"], "drive.json")
    assert (made.cuboids, bool(made.lidars)) == ("verify" if has_points else False, has_points)
    assert any("asks for cuboids" in note for note in made.notes) != has_points


def test_a_drive_has_the_extrinsics_of_its_sensors_from_its_logs() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(lidars={LIDAR: "top"}))
    cloud.put_log(mcap_log([*scanned(2), *transforms(VELODYNE)]))
    cloud.run_extractions()
    written = json.loads(cloud.ingest.objects[f"drives/{DRIVE}/drive.json"])
    place = {
        "frame": "velodyne",
        "parent": "base_link",
        "translation": [0.0, 0.0, 2.0],
        "rotation": [0.0, 0.0, 0.0, 1.0],
    }
    assert written["lidars"] == {"top": {"extrinsics": place}}
    assert written["cameras"] == {"camera-front": {}}
    # The front camera's frame is in no transform.
    assert cloud.summary(cloud.folder()).calibration == (
        "camera-front: no extrinsics, no static transform has its frame 'camera'",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"cameras": {FRONT: "top"}, "lidars": {LIDAR: "top"}},
        {"cameras": {FRONT: "front"}, "lidars": {FRONT.strip("/"): "top"}},
        {"lidars": {LIDAR: "logs"}},
    ],
    ids=["one name", "one topic", "a reserved name"],
)
def test_a_document_that_confuses_sensors_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DocumentRefused) as refused:
        parse_log_document(document(**fields), "recording.json")
    assert refused.value.reason == "document-schema"


def later_copy(first: Sent, last: Sent) -> Sent:
    """A later message with the stamp of the first and another picture."""
    return first._replace(log_time=last.log_time + 10, packed=("jpeg", written.jpeg(99)))


def test_a_drive_of_logs_is_closed_with_its_cameras_and_its_document() -> None:
    cloud = Cloud()
    more = {"models": ["detector"], "notes": ["rain"], "logs": ["a.mcap", "b.bag"]}
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(**more))
    cloud.put_log(mcap_log(drive(FRAMES)))
    cloud.run_extractions()
    assert not cloud.ingest.exists(f"drives/{DRIVE}/drive.json")
    cloud.put_log(bag_log([m for m in drive(4) if m.topic == REAR]), "b.bag")
    cloud.run_extractions()
    key = f"drives/{DRIVE}/drive.json"
    found = parse_drive_document(cloud.ingest.objects[key], key)
    assert (found.vehicle, found.models, found.notes) == ("car-1", ("detector",), ("rain",))
    assert len(found.cameras) == 2
    # Its own event closes it, and the listing has the frames and not the logs.
    assert cloud.submit(cloud.upload(key, cloud.ingest.objects[key])) == ["closed"]
    report = cloud.reconcile()
    assert (report.frames, report.refused, report.missing) == (2 * FRAMES, 0, 0)


def test_without_a_list_of_logs_a_drive_is_closed_after_a_quiet_time() -> None:
    cloud = Cloud()
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    assert cloud.drive_logs().look(DRIVE).outcome == "waiting"
    cloud.now += LOGS_QUIET - 1
    assert cloud.drive_logs().look(DRIVE).outcome == "waiting"
    cloud.now += 1
    # The sweep asks for the look, since no event comes.
    assert cloud.sweep(cloud.now).logs == [DRIVE]
    assert cloud.submit_asked() == ["closed"]
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")


def test_an_upload_that_is_not_complete_keeps_a_drive_open() -> None:
    cloud = Cloud()
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    cloud.now += ABANDONED_AFTER
    cloud.ingest.open_uploads = {f"drives/{DRIVE}/logs/b.mcap"}
    assert cloud.drive_logs().look(DRIVE) == ("waiting", "an upload to the drive is not complete")
    cloud.ingest.open_uploads = {f"drives/{DRIVE}-2/logs/b.mcap"}
    assert cloud.drive_logs().look(DRIVE).outcome == "closed"


# The calls of a look before it decides.
@pytest.mark.parametrize("operation", range(5))
def test_an_upload_that_is_completed_during_a_look_keeps_its_drive_open(operation: int) -> None:
    cloud = Cloud()
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    cloud.now += LOGS_QUIET
    cloud.ingest.open_uploads = {f"drives/{DRIVE}/logs/b.mcap"}

    class Completion(Fuse):
        def burn(self, _: str) -> None:
            if self.left == 0:
                cloud.ingest.open_uploads = set()
                cloud.upload(f"drives/{DRIVE}/logs/b.mcap", mcap_log(drive(2)))
            self.left -= 1

    assert cloud.drive_logs(Completion(operation)).look(DRIVE).outcome == "waiting"
    cloud.drive_logs().look(DRIVE)
    assert [record.name for record in cloud.ledger.logs(DRIVE)] == ["a.mcap", "b.mcap"]


def test_a_named_log_that_never_comes_is_noted_and_told_once() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(logs=["a.mcap", "b.mcap"], notes=["rain"]))
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    cloud.now += ABANDONED_AFTER - 1
    assert cloud.drive_logs().look(DRIVE) == ("waiting", "1 log not uploaded yet, the first is b.mcap")
    cloud.now += 1
    cloud.ingest.open_uploads = {f"drives/{DRIVE}/logs/b.mcap"}
    assert cloud.drive_logs().look(DRIVE).outcome == "waiting"
    cloud.ingest.open_uploads = set()
    cloud.sweep(cloud.now)
    assert cloud.submit_asked() == ["closed"]
    key = f"drives/{DRIVE}/drive.json"
    notes = parse_drive_document(cloud.ingest.objects[key], key).notes
    assert notes == ("rain", "log b.mcap: named in recording.json, but did not come within 2 hours")
    cloud.sweep(cloud.now)
    assert cloud.submit_asked()[0] == "already"
    ((subject, message),) = cloud.announcements.told
    assert subject == f"drive {DRIVE} is closed without 1 log"
    assert "names b.mcap" in message


def test_a_log_whose_event_was_lost_is_extracted_all_the_same() -> None:
    cloud = Cloud()
    cloud.upload(LOG, mcap_log(drive(3)))
    cloud.sweep(cloud.now)
    assert cloud.submit_asked() == ["waiting"]
    assert list(cloud.extractions.started) == [f"{DRIVE}-{cloud.folder().id}"]


def test_an_extraction_that_was_recorded_and_not_started_is_started_later() -> None:
    cloud = Cloud()
    cloud.put_log(mcap_log(drive(3)))
    # The call ended between the two.
    cloud.extractions.started.clear()
    cloud.extractions.names.clear()
    cloud.drive_logs().look(DRIVE)
    assert not cloud.extractions.started
    cloud.now += 1_000
    cloud.sweep(cloud.now)
    cloud.submit_asked()
    assert list(cloud.extractions.started) == [f"{DRIVE}-{cloud.folder().id}"]


def test_a_repeated_end_of_an_earlier_attempt_changes_nothing() -> None:
    cloud = Cloud()
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    (record,) = cloud.ledger.logs(DRIVE)
    cloud.ledger.begin_log(msgspec.structs.replace(record, state="replaced", attempt=1))
    later = msgspec.structs.replace(record, attempt=2)
    cloud.ledger.end_log(later)
    again = cloud.extraction(cloud.folder()).end(
        ledger=cloud.ledger, announcements=cloud.announcements, refused="no-camera: none", now=cloud.now, attempt=1
    )
    assert again.outcome == "replaced"
    assert [one.state for one in cloud.ledger.logs(DRIVE)] == ["extracted"]


def test_a_log_of_a_closed_drive_whose_event_was_lost_is_extracted_too() -> None:
    cloud = Cloud()
    cloud.close(drive_document("front"))
    assert cloud.sweep(cloud.now).logs == []
    cloud.upload(LOG, mcap_log(drive(3)))
    assert cloud.sweep(cloud.now).logs == [DRIVE]
    cloud.submit_asked()
    cloud.run_extractions()
    # A log that is recorded is not asked for again.
    assert cloud.sweep(cloud.now).logs == []
    assert len(cloud.frames()) == 6


def test_a_run_waits_for_the_logs_of_its_drive() -> None:
    cloud = Cloud()
    cloud.upload(frame_key(0), b"a frame beside the logs")
    cloud.put_log(mcap_log(drive(3)))
    assert cloud.close(drive_document("front", "front-2")) == ["closed"]
    assert cloud.reconcile().missing == 1
    # However long it takes.
    cloud.now += 10**6
    assert cloud.reconcile().missing == 1
    cloud.run_extractions()
    assert cloud.reconcile().missing == 0


def test_the_end_of_two_logs_at_once_closes_the_drive() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(logs=["a.mcap", "b.mcap"]))
    for name in ("a.mcap", "b.mcap"):
        cloud.put_log(mcap_log(drive(3)), name)
    logs = [cloud.folder(f"drives/{DRIVE}/logs/{name}") for name in ("a.mcap", "b.mcap")]
    for log in logs:
        for number in range(cloud.inspect(log).slices):
            cloud.extraction(log).extract(number)
    # Both record their ends before either looks.
    for log in logs:
        cloud.extraction(log).end(ledger=cloud.ledger, announcements=cloud.announcements, refused="", now=cloud.now)
    assert {cloud.drive_logs().look(DRIVE).outcome for _ in logs} == {"closed", "already"}


def test_a_damaged_log_is_counted_and_told_and_its_drive_closed() -> None:
    body = bytearray(mcap_log(drive(FRAMES), compression=""))
    body[len(body) // 2] ^= 0xFF
    cloud = extracted(bytes(body), 4_000)
    found = cloud.summary(cloud.folder())
    assert found.unread or any(of.refused for of in found.topics.values())
    counts = [
        (of.messages, of.extracted + sum(of.skipped.values()) + sum(of.refused.values()))
        for of in found.topics.values()
    ]
    assert all(messages == FRAMES == accounted for messages, accounted in counts)
    key = f"drives/{DRIVE}/drive.json"
    (note,) = parse_drive_document(cloud.ingest.objects[key], key).notes
    assert note.startswith("log a.mcap: ")
    assert any("Not all of log a.mcap" in subject for subject, _ in cloud.announcements.told)


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04 an archive", b"\x89PNG\r\n\x1a\n a picture"])
def test_a_drive_without_a_readable_log_is_told_once_and_stays_open(body: bytes) -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    cloud.put_log(body)
    cloud.run_extractions()
    for _ in range(3):
        cloud.now += 10_000
        cloud.sweep(cloud.now)
        cloud.submit_asked()
    assert not cloud.ingest.exists(f"drives/{DRIVE}/drive.json")
    assert [subject for subject, _ in cloud.announcements.told if "is not closed" in subject] == [
        f"drive {DRIVE} is not closed"
    ]


def test_a_log_that_is_replaced_starts_anew_and_the_old_extraction_counts_no_more() -> None:
    cloud = Cloud(4_000)
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    cloud.put_log(mcap_log(drive(4)))
    old = cloud.folder()
    slices = cloud.inspect(old).slices
    cloud.extraction(old).extract(0)
    longer = mcap_log(drive(FRAMES))
    cloud.put_log(longer)
    assert cloud.extraction(old).extract(slices - 1).changed
    assert cloud.end(old) == "replaced"
    cloud.run_extractions()
    record = next(one for one in cloud.ledger.logs(DRIVE) if one.etag == cloud.folder().etag)
    assert (record.cameras, record.left) == (dict.fromkeys(record.cameras, FRAMES), 0)
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")


def test_events_of_a_log_in_any_order_extract_its_present_bytes() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    events = [cloud.upload(LOG, mcap_log(drive(count))) for count in (3, 5, 3)]
    # The first bytes came again last, and the events in the opposite order, each twice.
    for event in [*reversed(events), *events]:
        cloud.submit(event)
    cloud.run_extractions()
    assert cloud.drive_logs().look(DRIVE).outcome == "already"
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")
    assert len(cloud.frames()) == 6


def test_bytes_that_come_again_after_they_were_replaced_are_extracted() -> None:
    cloud = Cloud(4_000)
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    first = mcap_log(drive(3))
    cloud.put_log(first)
    old = cloud.folder()
    cloud.inspect(old)
    cloud.put_log(mcap_log(drive(5)))
    assert cloud.end(old) == "replaced"
    cloud.extractions.started.clear()
    cloud.put_log(first)
    assert list(cloud.extractions.started) == [f"{DRIVE}-{old.id}-2"]
    cloud.run_extractions()
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")


def test_frames_that_are_there_with_other_bytes_are_never_overwritten() -> None:
    cloud = Cloud()
    whole = extracted(mcap_log(drive(3)), 10**9)
    key = min(whole.frames())
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    cloud.upload(key, b"by the fleet")
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    assert cloud.ingest.objects[key] == b"by the fleet"
    (record,) = cloud.ledger.logs(DRIVE)
    assert record.skipped == 1


def test_topics_are_picked_and_named_by_the_document() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(cameras={FRONT: "windscreen"}))
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    assert {key.split("/")[2] for key in cloud.frames()} == {"windscreen"}


@pytest.mark.parametrize("body", [b"{", b'{"logs": ["a/b"]}', b'{"cameras": {"/front": "no name"}}', b'{"x": 1}'])
def test_a_document_that_cannot_be_read_stops_the_extraction_until_it_is_changed(body: bytes) -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", body)
    cloud.put_log(mcap_log(drive(3)))
    with pytest.raises(DocumentRefused, match=r"logs/recording\.json"):
        cloud.inspect(cloud.folder())
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    cloud.run_extractions()
    assert cloud.ingest.exists(f"drives/{DRIVE}/drive.json")


def test_a_document_that_closing_refuses_is_written_again_when_it_was_changed() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(models=["unknown"]))
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    key = f"drives/{DRIVE}/drive.json"

    def close() -> list[str]:
        return cloud.submit(ObjectEvent("ingest", key, cloud.ingest.etag(key), len(cloud.ingest.objects[key])))

    assert close() == ["refused"]
    changed = cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(models=["detector"]))
    assert cloud.submit(changed) == ["closed"]
    assert close() == ["closed"]
    # A run keeps its document.
    assert cloud.submit(cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())) == ["already"]


@pytest.mark.parametrize("wrong", [{"ego_masks": {"camera-front": [[0, 0], [1, 1]]}}, {"models": []}])
def test_a_document_that_breaks_a_rule_of_the_drives_is_refused_by_its_own_name(wrong: dict[str, Any]) -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(**wrong))
    cloud.put_log(mcap_log(drive(3)))
    cloud.run_extractions()
    assert not cloud.ingest.exists(f"drives/{DRIVE}/drive.json")
    (told,) = (text for subject, text in cloud.announcements.told if "is not closed" in subject)
    assert told.startswith(f"drives/{DRIVE}/logs/recording.json: ")


def test_a_run_asks_for_logs_that_were_never_recorded() -> None:
    cloud = Cloud()
    cloud.upload(LOG, mcap_log(drive(3)))
    cloud.close(drive_document("camera-front", "camera-rear"))
    report = cloud.reconcile()
    assert (report.missing, report.logs) == (1, 1)
    assert cloud.submit_asked() == ["waiting"]
    cloud.run_extractions()
    assert (cloud.reconcile().missing, cloud.reconcile().frames) == (0, 6)


@pytest.mark.parametrize("name", ["recording.json", "metadata.yaml", "folder/a.mcap", ""])
def test_other_files_beside_no_log_leave_a_drive_of_frames_to_the_sweep(name: str) -> None:
    cloud = Cloud()
    cloud.upload(frame_key(0), b"a frame")
    cloud.upload(f"drives/{DRIVE}/logs/{name}", b"{}")
    assert cloud.sweep(cloud.now + 10_000).closed == [DRIVE]


def test_a_log_that_was_away_for_a_moment_is_extracted_again() -> None:
    cloud = Cloud(4_000)
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document())
    body = mcap_log(drive(FRAMES))
    cloud.put_log(body)
    log = cloud.folder()
    cloud.extractions.started.clear()
    slices = cloud.inspect(log).slices
    for number in range(slices):
        if number == 1:
            del cloud.ingest.objects[LOG]
        assert cloud.extraction(log).extract(number).changed == (number == 1)
        cloud.upload(LOG, body)
    assert cloud.end(log) == "replaced"
    assert list(cloud.extractions.started) == [f"{DRIVE}-{log.id}-2"]
    cloud.run_extractions()
    assert len(cloud.frames()) == 2 * FRAMES
    # The same, when it is away for the first step.
    del cloud.ingest.objects[LOG]
    refused = cloud.inspect(log).refused
    cloud.upload(LOG, body)
    assert cloud.end(log, refused) == "replaced"


def test_topics_whose_names_would_be_one_are_told_apart_by_the_document() -> None:
    other = "/camera/front/image_rect/compressed"
    messages = [one._replace(topic=other) if one.topic == REAR else one for one in drive(3)]
    messages = [
        one._replace(raw=None, packed=("jpeg", written.jpeg(7))) if one.topic == other else one for one in messages
    ]
    alone = Cloud()
    alone.put_log(mcap_log(messages))
    alone.run_extractions()
    assert "would both be named" in alone.ledger.logs(DRIVE)[0].detail
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(cameras={FRONT: "front", other: "front-rect"}))
    cloud.put_log(mcap_log(messages))
    cloud.run_extractions()
    assert {key.split("/")[2] for key in cloud.frames()} == {"front", "front-rect"}


def test_a_cut_log_with_a_damaged_chunk_is_not_called_complete() -> None:
    body = bytearray(mcap_log(drive(FRAMES), compression="", chunk_size=2_000))
    cut = len(body) * 2 // 3
    body = body[:cut]
    body[cut - 200] ^= 0xFF
    cloud = extracted(bytes(body), 4_000)
    found = cloud.summary(cloud.folder())
    assert found.rebuilt
    assert not found.complete


def test_a_walk_that_takes_too_long_gives_what_it_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_WALK_READS", 12)
    body = mcap_log(drive(FRAMES, width=400, height=300), compression="", chunk_size=1_000)
    cloud = extracted(body[: len(body) * 9 // 10], 10**9)
    found = cloud.summary(cloud.folder())
    assert found.unread == {"walk-too-long": 1}
    assert not found.complete
    assert 0 < len(cloud.frames()) < 2 * FRAMES


def test_a_slice_without_a_result_ends_no_log() -> None:
    cloud = Cloud(4_000)
    cloud.put_log(mcap_log(drive(FRAMES)))
    assert cloud.inspect(cloud.folder()).slices > 1
    cloud.extraction(cloud.folder()).extract(0)
    with pytest.raises(ShardMissing):
        cloud.end(cloud.folder())
    assert [record.state for record in cloud.ledger.logs(DRIVE)] == ["extracting"]


def test_times_of_a_log_are_exact() -> None:
    cloud = extracted(mcap_log(drive(3)), 10**9)
    times = sorted(int(key.rpartition("/")[2].split(".")[0]) for key in cloud.frames())
    assert times == sorted(START + number * STEP + late for number in range(3) for late in (0, 5))


def test_intrinsics_of_a_log_are_those_of_its_cameras_in_the_drives_document() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(cameras={FRONT: "windscreen", REAR: "back"}))
    cloud.put_log(mcap_log(calibrated(INFO)))
    cloud.run_extractions()
    key = f"drives/{DRIVE}/drive.json"
    cameras = parse_drive_document(cloud.ingest.objects[key], key).cameras
    assert cameras["windscreen"].intrinsics is None
    assert cameras["back"].intrinsics == INFO


def left_out(cloud: Cloud, name: str, etag: str = "") -> LogRecord:
    return LogRecord(DRIVE, name, etag, "refused", cloud.now, detail="left out by Ann", by="Ann")


def test_a_drive_is_closed_without_the_logs_that_a_person_left_out() -> None:
    cloud = Cloud()
    names = ["a.mcap", "b.mcap", "c.mcap"]
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(logs=names))
    for name in names[:2]:
        cloud.put_log(mcap_log(drive(3)), name)
    # The extraction of b.mcap fails, and c.mcap does not come.
    cloud.extractions.started.popitem()
    cloud.run_extractions()
    (failed,) = [record for record in cloud.ledger.logs(DRIVE) if record.name == "b.mcap"]
    assert cloud.ledger.leave_out_log(left_out(cloud, "b.mcap", failed.etag), failed)
    assert cloud.drive_logs().look(DRIVE) == ("waiting", "1 log not uploaded yet, the first is c.mcap")
    assert cloud.ledger.leave_out_log(left_out(cloud, "c.mcap"), None)
    assert cloud.drive_logs().look(DRIVE).outcome == "closed"
    key = f"drives/{DRIVE}/drive.json"
    notes = parse_drive_document(cloud.ingest.objects[key], key).notes
    assert notes == ("log b.mcap: left out by Ann", "log c.mcap: left out by Ann")
    assert cloud.announcements.told == []


def test_a_log_that_was_left_out_and_comes_after_all_is_extracted() -> None:
    cloud = Cloud()
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", document(logs=["a.mcap", "b.mcap"]))
    cloud.put_log(mcap_log(drive(3)))
    cloud.ledger.leave_out_log(left_out(cloud, "b.mcap"), None)
    cloud.put_log(bag_log(drive(2)), "b.mcap")
    cloud.run_extractions()
    key = f"drives/{DRIVE}/drive.json"
    assert parse_drive_document(cloud.ingest.objects[key], key).notes == ()
    assert [record.state for record in cloud.ledger.logs(DRIVE) if record.etag] == ["extracted", "extracted"]
