"""Drive logs that are put into the bucket become labelled drives, on the embedded cloud with the template's roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from autolabel.contracts.logs import EgoPose, LogFolder
from tests.e2e.pipeline import Pipeline, eventually
from tests.e2e.terminal import Terminal, documented_permissions, terminal_of_user
from tests.fakes.archives import archive, images
from tests.fakes.logs import FRONT, LIDAR, REAR, START, Sent, bag_log, drive, mcap_log, ros_cloud, sqlite_log, xyzi
from tests.fakes.videos import video

FRAMES = 5


@pytest.fixture(scope="module")
def operator(pipeline: Pipeline) -> Terminal:
    return terminal_of_user(pipeline, "log-operator", documented_permissions("For operators"))


def put_logs(pipeline: Pipeline, name: str, logs: dict[str, bytes], **document: Any) -> None:
    """Upload the logs' document and then the logs, as a fleet does."""
    body = json.dumps({"vehicle": "test", "logs": list(logs), **document}).encode()
    pipeline.put(name, "logs/recording.json", body)
    for log, content in logs.items():
        pipeline.put(name, f"logs/{log}", content)


@pytest.fixture(scope="module")
def fleet(pipeline: Pipeline) -> Terminal:
    uploads = [line for line in documented_permissions("For fleets and ML engineers") if not line.startswith("s3:Get")]
    return terminal_of_user(pipeline, "log-uploader", uploads)


def test_logs_become_a_labelled_drive(pipeline: Pipeline, fleet: Terminal, operator: Terminal, tmp_path: Path) -> None:
    messages = drive(FRAMES)
    # Given a folder of logs of one drive, whose slices are small
    scanned = [Sent(LIDAR, START + number, START, made=ros_cloud(number), frame="velodyne") for number in range(FRAMES)]
    place = {"latitude": 48.25, "longitude": 11.5, "altitude": 520.0}
    fix = Sent("/gps/fix", START, START, made=("sensor_msgs/msg/NavSatFix", place), frame="antenna")
    front = mcap_log([*(one for one in messages if one.topic == FRONT), *scanned, fix], chunk_size=1_000)
    rear = bag_log([one for one in messages if one.topic == REAR])
    left = sqlite_log([one._replace(topic="/left/image") for one in messages if one.topic == FRONT])
    logs = {
        "front.mcap": front,
        "left.db3": left,
        "rear.zip": archive({"rear.bag": rear}, "zip-deflated"),
        "side.zip": archive(images(FRAMES, ("side",))),
    }
    for name, body in logs.items():
        (tmp_path / name).write_bytes(body)
    cameras = {FRONT: "front", REAR: "rear", "/left/image": "left", "run/side": "side"}
    document = {"cameras": cameras, "lidars": {LIDAR: "top"}, "poses": ["/gps/fix"]}
    (tmp_path / "recording.json").write_text(json.dumps({"vehicle": "test", "logs": list(logs), **document}))
    # When the fleet uploads it
    said = fleet.say("upload", str(tmp_path), "--drive", "logged")
    assert said == "drive logged: 4 files of logs uploaded; autolabel watch logged follows them\n"
    # And all were extracted, then the drive is closed, and its run labels the frames of all
    assert operator.say("watch", "logged").endswith("logged-0001: SUCCEEDED\n")
    summary = pipeline.succeed("logged")
    assert (summary["frames"]["uploaded"], summary["frames"]["labelled"]) == (4 * FRAMES, 4 * FRAMES)
    lines = pipeline.lines("logged", "dataset.manifest")
    assert {line["provenance"]["source"] for line in lines} == {
        f"front.mcap, {FRONT}",
        f"rear.zip, {REAR}",
        "left.db3, /left/image",
        *(f"side.zip, {name}" for name in images(FRAMES, ("side",))),
    }
    # And the compressed pictures are those of the log, byte for byte
    pictures = [one.packed[1] for one in messages if one.packed]
    keys = sorted(line["source-ref"].partition("/drives/")[2] for line in lines if "/front/" in line["source-ref"])
    assert [pipeline.stack.ingest.read(f"drives/{key}") for key in keys] == pictures
    # And the points of the LiDAR are beside the frames, and are not frames; the place is in the label bucket
    clouds = [pipeline.stack.ingest.read(f"drives/logged/top/{START + number}.bin") for number in range(FRAMES)]
    assert clouds == [xyzi(number).tobytes() for number in range(FRAMES)]
    assert "front.mcap: extracted, 5 frames of 11 messages, 5 point clouds, 1 pose" in operator.say("status", "logged")
    (record,) = (one for one in pipeline.stack.ledger.logs("logged") if one.name == "front.mcap")
    poses = pipeline.stack.labels.read(LogFolder("logged", record.name, record.etag).poses)
    assert msgspec.json.decode(poses or b"", type=EgoPose) == EgoPose(
        "location", "/gps/fix", START, frame="antenna", **place
    )
    # And a second upload sends nothing
    assert "0 files of logs uploaded, 4 files there already" in fleet.say("upload", str(tmp_path), "--drive", "logged")


def test_a_video_waits_for_its_start_and_becomes_a_labelled_drive(pipeline: Pipeline, operator: Terminal) -> None:
    # Given a video that does not tell when it was recorded, in a document that does not tell it either
    put_logs(pipeline, "filmed", {"front.mp4": video(2 * FRAMES)})

    def waits() -> bool:
        return [log["state"] for log in operator.ask("status", "filmed")["logs"]] == ["waiting"]

    eventually(waits, "the log that waits", 60)
    assert "next: upload logs/recording.json with the start of front.mp4" in operator.say("status", "filmed")
    # When the document tells it, then the extraction begins by itself
    document: dict[str, Any] = {
        "logs": ["front.mp4"],
        "start": "2026-11-22T10:00:00Z",
        "cameras": {"front.mp4": "front"},
        "selection": {"rate": 15},
    }
    pipeline.put("filmed", "logs/recording.json", json.dumps(document).encode())
    assert pipeline.succeed("filmed")["frames"]["labelled"] == FRAMES
    lines = pipeline.lines("filmed", "dataset.manifest")
    # And every second frame is selected
    assert lines[1]["provenance"]["timestamp"] == "1795341600066666667"
    assert lines[1]["provenance"]["source"] == "front.mp4, 0.066667 s"
    assert "front.mp4: extracted, 5 frames of 10 messages, 5 skipped" in operator.say("status", "filmed")


def test_a_log_that_cannot_be_read_is_told_and_the_others_go_on(pipeline: Pipeline) -> None:
    good = mcap_log(drive(2))
    put_logs(pipeline, "half-logged", {"a.mcap": good, "b.zip": b"PK\x03\x04 an archive"})
    summary = pipeline.succeed("half-logged")
    assert summary["frames"]["labelled"] == 4
    assert any(note.startswith("log b.zip: ") and "zip -FF" in note for note in summary["notes"])


def test_a_failed_extraction_is_redriven(pipeline: Pipeline, operator: Terminal) -> None:
    # Given a document that cannot be read
    pipeline.put("mended", "logs/recording.json", b"{")
    pipeline.put("mended", "logs/a.mcap", mcap_log(drive(2)))

    def failed() -> bool:
        logs = pipeline.stack.ledger.logs("mended")
        return bool(logs) and [log["state"] for log in operator.ask("status", "mended")["logs"]] == ["failed"]

    eventually(failed, "the failed extraction", 60)
    said = operator.say("status", "mended")
    assert "a.mcap: failed: DocumentRefused: drives/mended/logs/recording.json is not JSON" in said
    assert "next: fix the cause, then autolabel redrive mended" in said
    # When it is fixed and the drive redriven, then the drive is labelled
    pipeline.put("mended", "logs/recording.json", json.dumps({"logs": ["a.mcap"]}).encode())
    assert "the extraction of 1 log of drive mended is redriven" in operator.say("redrive", "mended")
    assert pipeline.succeed("mended")["frames"]["labelled"] == 4
    assert "a.mcap: extracted, 4 frames of 4 messages" in operator.say("status", "mended")


def test_a_drive_is_closed_without_a_log_that_does_not_come(pipeline: Pipeline, operator: Terminal) -> None:
    # Given a drive whose document names a log that is not uploaded
    logs = ["a.mcap", "absent.mcap"]
    pipeline.put("short", "logs/recording.json", json.dumps({"logs": logs}).encode())
    assert "no log of drive short has come" in operator.refused("close", "short", "--without", "absent.mcap")
    pipeline.put("short", "logs/a.mcap", mcap_log(drive(2)))
    # When a person leaves it out, and again
    said = operator.say("close", "short", "--without", "absent.mcap")
    assert said.startswith("drive short is closed without log absent.mcap")
    assert operator.give("close", "short", "--without", "absent.mcap").returncode == 0
    # Then the drive is labelled, and says who it was
    assert pipeline.succeed("short")["notes"][0].startswith("log absent.mcap: left out by arn:aws:iam::")
    assert "absent.mcap: left out by arn:aws:iam::" in operator.say("status", "short")
    assert "drive short is closed without log absent.mcap already" in operator.say(
        "close", "short", "--without", "absent.mcap"
    )
    assert "no log can be left out of it" in operator.refused("close", "short", "--without", "a.mcap")
