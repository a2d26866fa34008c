"""What `autolabel upload` writes into the ingest bucket."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from autolabel.contracts.drive import Camera, DriveDocument, Run, parse_drive_document
from autolabel.contracts.frames import SOURCE
from autolabel.contracts.verification import Policy, VerifyAll, VerifyKeyFrames, VerifyUncertain
from autolabel_cli.__main__ import main
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table, shared_client
from tests.fakes.archives import archive, images
from tests.fakes.images import png
from tests.fakes.logs import FRONT, REAR, START, STEP, Sent, bag_log, drive, mcap_log, raw, sqlite_log
from tests.fakes.videos import UNEVEN, video


@pytest.fixture
def stack(aws: None, monkeypatch: pytest.MonkeyPatch) -> Stack:
    create_bucket("ingest")
    create_table("ledger")
    stack = Stack("autolabel", {"IngestBucketName": "ingest", "LedgerName": "ledger"}, {}, shared_client)
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    return stack


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    (tmp_path / "1795387974766619850.png").write_bytes(png())
    return tmp_path


def upload(recording: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["upload", str(recording), "--drive", "d1", *options])


def close(stack: Stack) -> None:
    document = DriveDocument("car", {"front": Camera()})
    stack.ledger.allocate_run(Run("d1", "0001", document, "e", (), "2026.1", ("car",)))


def uploaded(stack: Stack) -> list[str]:
    return [thing.key for thing in stack.ingest.list("")]


FRAME, DOCUMENT = "drives/d1/front/1795387974766619850.png", "drives/d1/drive.json"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "recorded"
    path.write_bytes(mcap_log(drive(3), chunk_size=1))
    return path


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ((), VerifyAll()),
        (("--policy", "doubtful"), VerifyUncertain()),
        (("--policy", "key-frames"), VerifyKeyFrames()),
        (("--verification", '{"policy": "all", "task": "tracks"}'), VerifyAll(task="tracks")),
    ],
    ids=["none", "doubtful", "key-frames", "tracks"],
)
def test_a_drive_is_closed_under_the_policy_that_was_asked_for(
    stack: Stack, recording: Path, options: tuple[str, ...], policy: Policy
) -> None:
    done = upload(recording, *options)
    assert done.exit_code == 0, done.output
    body = stack.ingest.read("drives/d1/drive.json")
    assert body is not None
    assert parse_drive_document(body, "drives/d1/drive.json").verification == policy


@pytest.mark.parametrize(
    "verification",
    ['{"policy": "all", "task": "lines"}', '{"policy": "key-frames", "task": "tracks"}', "all", '{"policy": "all"} {}'],
)
def test_a_verification_that_drive_json_cannot_have_is_refused_before_anything_is_uploaded(
    stack: Stack, recording: Path, verification: str
) -> None:
    done = upload(recording, "--verification", verification)
    assert done.exit_code == 2
    assert "--verification" in done.output
    assert uploaded(stack) == []


def test_files_that_are_no_frames_are_counted_and_the_first_are_named(
    stack: Stack, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.csv", "c.json", "locked.png", "notes.md", "z.bin"):
        (recording / name).touch()
    (recording / "rear").mkdir()
    (recording / "gone.jpg").symlink_to("nowhere")
    (recording / ".hidden").touch()
    monkeypatch.setattr(os, "access", lambda path, mode, **_: Path(path).name != "locked.png")
    done = upload(recording)
    assert done.output == (
        "drive d1: 1 frame uploaded and closed; skipped 8 that are not readable .png, .jpg or .jpeg files: "
        "a.txt, b.csv, c.json, gone.jpg, locked.png and 3 more\n"
    )
    assert uploaded(stack) == [DOCUMENT, FRAME]


def test_one_file_that_is_no_frame_is_said_in_the_singular(stack: Stack, recording: Path) -> None:
    (recording / "notes.md").touch()
    assert "skipped 1 that is not a readable .png, .jpg or .jpeg file: notes.md" in upload(recording).output


def sources(stack: Stack) -> dict[str, str]:
    """The keys of the uploaded frames, in order, with the names of their source files."""
    keys = [key for key in uploaded(stack) if key != DOCUMENT]
    return {key: stack.ingest.read_range(key, 0, 1).metadata[SOURCE] for key in keys}


def test_frames_follow_the_numbers_in_their_names_and_say_their_files(stack: Stack, tmp_path: Path) -> None:
    for number in range(1, 13):
        (tmp_path / f"{number}.png").write_bytes(png())
    assert upload(tmp_path, "--limit", "11").exit_code == 0
    assert list(sources(stack).values()) == [f"{number}.png" for number in range(1, 12)]


def test_a_video_becomes_a_drive_of_the_times_in_it(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "Straße 1.mp4"
    path.write_bytes(video(len(UNEVEN), times=UNEVEN))
    done = upload(path, "--start", "2023-11-14T22:13:20Z", "--camera", "front")
    assert done.exit_code == 0, done.output
    assert f"as camera front: {len(UNEVEN)} extracted (times: {len(UNEVEN)} by the start that was given)" in done.output
    assert of_camera(stack, "front") == [f"{START + at * 10**6}.jpg" for at in UNEVEN]
    assert list(sources(stack).values())[1] == "Stra%C3%9Fe%201.mp4%2C%200.033000%20s"


def test_every_stream_of_a_video_is_a_camera(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    path.write_bytes(video(6, streams=2, created="2023-11-14T22:13:20.000000Z"))
    done = upload(path)
    assert done.exit_code == 0, done.output
    assert "two.mp4/1 as camera two-1: 6 extracted (times: 6 by the file's time); 6 unverified start" in (done.output)
    assert document(stack).cameras == {"two-0": Camera(6), "two-1": Camera(6)}


def test_a_video_that_does_not_tell_its_start_needs_it(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "front.mp4"
    path.write_bytes(video(6))
    done = upload(path)
    assert done.exit_code == 1
    assert "give the time of its first frame as its start: --start 2026-11-22T10:00:00.25Z" in done.output
    assert upload(path, "--start", "yesterday").exit_code == 2
    assert uploaded(stack) == []


def test_a_video_that_was_cut_says_how_many_frames_it_lacks(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "front.mp4"
    body = video(24, movflags="faststart")
    path.write_bytes(body[: len(body) * 2 // 3])
    done = upload(path, "--start", "2023-11-14T22:13:20Z")
    assert done.exit_code == 1
    assert "of the 24 frames that its index lists are behind the file's end" in done.output
    assert "and is not closed; give --partial" in done.output
    assert upload(path, "--start", "2023-11-14T22:13:20Z", "--partial").exit_code == 0
    assert 0 < len(of_camera(stack, "front")) < 24


def test_a_changed_folder_is_uploaded_again_without_second_frames(stack: Stack, tmp_path: Path) -> None:
    for name in ("frame9.png", "frame10.png", "frame11.png"):
        (tmp_path / name).write_bytes(png())
    assert upload(tmp_path).exit_code == 0
    before = {name: key for key, name in sources(stack).items()}
    # The first file is replaced, one removed, and one added in between.
    (tmp_path / "frame9.png").write_bytes(png(color=(1, 2, 3)))
    (tmp_path / "frame11.png").unlink()
    (tmp_path / "frame9b.png").write_bytes(png())
    assert upload(tmp_path).exit_code == 0
    after = {name: key for key, name in sources(stack).items()}
    assert after == before | {"frame9b.png": after["frame9b.png"]}
    assert list(after) == ["frame9.png", "frame9b.png", "frame10.png", "frame11.png"]
    assert stack.ingest.read(before["frame9.png"]) == png(color=(1, 2, 3))


@pytest.mark.parametrize("second", ["JPG", "jpeg", "png"])
def test_two_files_of_one_frame_are_refused_before_anything_is_uploaded(
    stack: Stack, tmp_path: Path, second: str
) -> None:
    for extension in ("jpg", second):
        (tmp_path / f"1700000000000000000.{extension}").write_bytes(png())
    done = upload(tmp_path)
    assert done.exit_code == 1
    assert "1700000000000000000.jpg" in done.output
    assert f"1700000000000000000.{second}" in done.output
    assert uploaded(stack) == []


KITTI = b"2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.064389446\n"


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        (
            ["image_02/data/0000000000.png", "image_03/data/0000000001.png", "image_02/data/0000000001.png"],
            ["image_02/1317042145964389445", "image_02/1317042146064389446", "image_03/1317042146064389446"],
        ),
        (
            [
                "samples/CAM_BACK/n008-2018__CAM_BACK__1526915243047295.png",
                "sweeps/CAM_BACK/n008-2018__CAM_BACK__1526915243147295.png",
                "sweeps/CAM_FRONT/n008-2018__CAM_FRONT__1526915243147295.png",
            ],
            ["CAM_BACK/1526915243047295000", "CAM_BACK/1526915243147295000", "CAM_FRONT/1526915243147295000"],
        ),
        (
            ["sensors/cameras/ring_side_left/315968112449927216.png", "sensors/lidar/315968112449927216.feather"],
            ["ring_side_left/0315968112449927216"],
        ),
        (
            ["2017-V2-Log1-FL/1501822123109584.png", "2017-V2-Log1-RR/1501822123109584.png"],
            ["FL/1501822123109584000", "RR/1501822123109584000"],
        ),
        (["front/2.png", "left/1.png", "left/.hidden.png", "front/10.png"], []),
    ],
    ids=["KITTI", "nuScenes", "Argoverse", "Ford", "numbers"],
)
def test_the_folders_in_a_folder_are_cameras(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], keys: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(png())
        os.utime(file, ns=(START, START))
        if Path(file).parent.name == "data":
            (Path(file).parent.parent / "timestamps.txt").write_bytes(KITTI)
    done = upload(Path())
    assert done.exit_code == 0, done.output
    keys = keys or [f"front/{START}", f"front/{START + STEP}", f"left/{START}"]
    assert uploaded(stack) == sorted([DOCUMENT, *(f"drives/d1/{key}.png" for key in keys)])
    cameras = Counter(key.split("/")[0] for key in keys)
    assert document(stack).cameras == {camera: Camera(count) for camera, count in cameras.items()}
    assert f"{len(keys)} frame" in done.output
    assert all(camera in done.output for camera in cameras)
    # Another upload is of the same frames.
    before = uploaded(stack)
    assert upload(Path()).exit_code == 0
    assert uploaded(stack) == before


def test_only_the_camera_of_one_folder_can_be_named(stack: Stack, tmp_path: Path) -> None:
    for camera in ("image_02", "image_03"):
        (tmp_path / camera / "data").mkdir(parents=True)
        (tmp_path / camera / "data/0.png").write_bytes(png())
        (tmp_path / camera / "timestamps.txt").write_bytes(KITTI)
    done = upload(tmp_path, "--camera", "left")
    assert done.exit_code == 1
    assert f"--camera names one camera, and the folders in {tmp_path} are image_02, image_03" in done.output
    assert uploaded(stack) == []
    assert upload(tmp_path / "image_03", "--camera", "left").exit_code == 0
    assert of_camera(stack, "left") == ["1317042145964389445.png"]
    assert upload(tmp_path / "image_03").exit_code == 0
    assert of_camera(stack, "image_03") == ["1317042145964389445.png"]


def test_with_several_cameras_the_first_frames_are_those_of_all(stack: Stack, tmp_path: Path) -> None:
    for name in (f"{camera}/{START + number}.png" for camera in ("front", "left") for number in range(3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    assert upload(tmp_path, "--limit", "4").exit_code == 0
    assert document(stack).cameras == {"front": Camera(2), "left": Camera(2)}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("samples/a/x__a__1526915243047295.png", "sweeps/a/x__a__1526915243047295.jpg"), "are the same frame"),
        (("front/1700000000000000.png", "front/1700000000000000000.jpg"), "are the same frame"),
        (("a/front/1.png", "b/front/2.png"), "would both be camera 'front'"),
        (("a/2017-V2-Log1-FL/1.png", "2017-V2-Log2-FL/2.png"), "would both be camera 'FL'"),
    ],
)
def test_files_and_folders_that_would_be_one_are_refused_by_both_names(
    stack: Stack, tmp_path: Path, files: tuple[str, str], said: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(png())
    done = upload(tmp_path)
    assert done.exit_code == 1
    assert said in done.output
    assert all(file in done.output or str((tmp_path / file).parent) in done.output for file in files)
    assert uploaded(stack) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("image_02/data/7.png", "image_02/timestamps.txt"), "7.png has no time in"),
        (("-/1.png",), "gives no name of a camera"),
        (("logs/1.png",), "'logs' is not allowed"),
    ],
)
def test_a_folder_that_tells_no_time_or_camera_is_refused(
    stack: Stack, tmp_path: Path, files: tuple[str, ...], said: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(KITTI if file.endswith("txt") else png())
    done = upload(tmp_path)
    assert done.exit_code == 1
    assert said in done.output
    assert uploaded(stack) == []


def test_a_folder_that_cannot_be_written_is_uploaded_with_a_notice(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / "1.png").write_bytes(png())
    monkeypatch.setattr(Path, "write_text", refuse)
    done = upload(tmp_path)
    assert done.exit_code == 0, done.output
    assert ".autolabel-upload.json cannot be written, so the times of the frames are not kept" in done.output
    assert list(sources(stack).values()) == ["1.png"]


def test_a_closed_drive_is_refused_before_anything_is_uploaded(stack: Stack, recording: Path) -> None:
    close(stack)
    done = upload(recording)
    assert done.exit_code == 1
    assert "drive 'd1' is closed, its latest run is 0001" in done.output
    assert "--late" in done.output
    assert uploaded(stack) == []


def test_late_frames_are_added_to_a_closed_drive_without_its_document(stack: Stack, recording: Path) -> None:
    close(stack)
    done = upload(recording, "--late")
    assert done.exit_code == 0, done.output
    assert done.output == (
        "drive d1: 1 frame uploaded; autolabel relabel d1 makes a run with those that its runs do not have\n"
    )
    assert uploaded(stack) == [FRAME]


@pytest.mark.parametrize("options", [("--late",), ("--late", "--note", "rain")], ids=str)
def test_an_open_drive_and_options_of_a_document_do_not_go_with_late(
    stack: Stack, recording: Path, options: tuple[str, ...]
) -> None:
    done = upload(recording, *options)
    assert done.exit_code == 1
    assert "leave out --" in done.output
    assert uploaded(stack) == []


def test_who_may_not_read_the_ledger_is_told_what_is_not_known(
    stack: Stack, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "Query")

    monkeypatch.setattr(stack.ledger, "latest_run", denied)
    done = upload(recording)
    assert done.exit_code == 0, done.output
    assert "1 frame uploaded with drive.json; your identity may not read the ledger" in done.output
    assert uploaded(stack) == [DOCUMENT, FRAME]


def of_camera(stack: Stack, camera: str) -> list[str]:
    return [key.removeprefix(f"drives/d1/{camera}/") for key in uploaded(stack) if f"/{camera}/" in key]


def document(stack: Stack) -> DriveDocument:
    body = stack.ingest.read(DOCUMENT)
    assert body is not None
    return parse_drive_document(body, DOCUMENT)


@pytest.mark.parametrize("body", [mcap_log(drive(3)), bag_log(drive(3), "lz4")], ids=["mcap", "bag"])
def test_a_log_becomes_a_drive_of_all_its_cameras(stack: Stack, log: Path, body: bytes) -> None:
    log.write_bytes(body)
    done = upload(log)
    assert done.exit_code == 0, done.output
    assert done.output == (
        f"{FRONT} as camera camera-front: 3 extracted (times: 3 by header stamps)\n"
        f"{REAR} as camera camera-rear: 3 extracted (times: 3 by header stamps)\n"
        "drive d1: 6 frames uploaded and closed\n"
    )
    assert of_camera(stack, "camera-front") == [f"{START + n * STEP}.jpg" for n in range(3)]
    assert of_camera(stack, "camera-rear") == [f"{START + n * STEP + 5}.png" for n in range(3)]
    assert document(stack).cameras == {"camera-front": Camera(3), "camera-rear": Camera(3)}


def test_a_log_that_is_partly_unreadable_leaves_the_drive_open_without_partial(stack: Stack, log: Path) -> None:
    log.write_bytes(log.read_bytes()[:6_000])
    done = upload(log)
    assert done.exit_code == 1
    assert "1 part not read (log-cut-off), the first at bytes" in done.output
    assert f"Error: parts of {log} cannot be read: drive d1 has 4 frames of it and is not closed" in done.output
    assert DOCUMENT not in uploaded(stack)
    done = upload(log, "--partial")
    assert done.exit_code == 0, done.output
    assert "the log does not tell how many messages are in what was not read" in done.output
    assert document(stack).cameras == {"camera-front": Camera(2), "camera-rear": Camera(2)}


def test_a_log_is_extracted_as_its_recording_json_describes(stack: Stack, log: Path) -> None:
    log.write_bytes(mcap_log(drive(10)))
    own = log.with_name("recording.json")
    fields = {"vehicle": "car-1", "notes": ["rain"], "ego_masks": {"ahead": [[0, 0], [1, 0], [1, 1]]}}
    own.write_text(json.dumps({"cameras": {FRONT: "ahead"}, "selection": {"rate": 2}, "logs": ["recorded"], **fields}))
    done = upload(log, "--vehicle", "car-2")
    assert done.exit_code == 1
    assert f"Error: {own} describes the logs: leave out --vehicle" in done.output
    done = upload(log)
    assert done.exit_code == 0, done.output
    note = "selected frames are more than 200 ms apart, too far for tracks: ahead (500 ms)"
    assert done.output == (
        f"{FRONT} as camera ahead: 2 extracted (times: 2 by header stamps); 8 skipped (not-selected)\n"
        f"{note}\n"
        "drive d1: 2 frames uploaded and closed\n"
    )
    assert of_camera(stack, "ahead") == [f"{START + n * STEP}.jpg" for n in (0, 5)]
    mask = ((0, 0), (1, 0), (1, 1))
    notes = ("rain", f"log recorded: {note}")
    assert document(stack) == DriveDocument("car-1", {"ahead": Camera(2, mask)}, notes=notes)


def test_the_stacks_selection_counts_where_no_document_of_the_log_has_one(stack: Stack, log: Path) -> None:
    stack.parameters["LogSelection"] = "rate=5"
    log.write_bytes(mcap_log(drive(6)))
    # It describes another log.
    log.with_name("recording.json").write_text(json.dumps({"logs": ["other"], "selection": {}}))
    done = upload(log)
    assert done.exit_code == 0, done.output
    assert document(stack).cameras == {"camera-front": Camera(3), "camera-rear": Camera(3)}
    assert "200 ms" not in done.output


def test_a_camera_without_frames_is_not_in_the_document(stack: Stack, log: Path) -> None:
    depth = Sent("/depth/image", START, START, raw=raw(b"ab", "16UC1", width=1, height=1))
    log.write_bytes(mcap_log([*drive(1), depth]))
    done = upload(log, "--limit", "9")
    assert done.exit_code == 0, done.output
    assert "/depth/image as camera depth: 0 extracted; 1 skipped (depth)" in done.output
    assert document(stack).cameras == {"camera-front": Camera(1), "camera-rear": Camera(1)}


def test_intrinsics_of_a_log_are_in_the_document(stack: Stack, log: Path) -> None:
    info = {"width": 2, "height": 2, "distortion_model": "", "D": [], "K": [1.0] * 9, "R": [1.0] * 9, "P": [1.0] * 12}
    log.write_bytes(mcap_log([*drive(1), Sent("/camera/rear/camera_info", START, START, info=info)]))
    done = upload(log, "--topic", REAR, "--camera", "back")
    assert done.exit_code == 0, done.output
    assert document(stack).cameras == {"back": Camera(1, intrinsics=info)}


def test_a_ros_2_bag_is_uploaded_when_its_wal_file_is_merged(stack: Stack, log: Path) -> None:
    log.write_bytes(sqlite_log(drive(2)))
    beside = log.with_name(log.name + "-wal")
    beside.write_bytes(b"messages")
    done = upload(log)
    assert done.exit_code == 1
    assert "PRAGMA wal_checkpoint(TRUNCATE)" in done.output
    beside.write_bytes(b"")
    done = upload(log)
    assert done.exit_code == 0, done.output
    assert document(stack).cameras == {"camera-front": Camera(2), "camera-rear": Camera(2)}


def test_an_archive_of_images_is_uploaded_with_all_its_cameras(stack: Stack, log: Path) -> None:
    log.write_bytes(archive(images(2) | {"run/notes.txt": b"rain", "../out.jpg": b"x"}))
    done = upload(log)
    assert done.exit_code == 1
    assert "run/front as camera front: 2 extracted (times: 2 by names or lists of times)" in done.output
    assert "1 other file of the archive not read" in done.output
    assert "1 part not read (member-outside), the first at bytes" in done.output
    assert "'../out.jpg' points out of the archive" in done.output
    done = upload(log, "--partial")
    assert done.exit_code == 0, done.output
    assert document(stack).cameras == {"front": Camera(2), "rear": Camera(2)}
    origins = {stack.ingest.head(key).metadata["source"] for key in uploaded(stack) if "/front/" in key}
    assert origins == {f"recorded%2C%20{name}" for name in images(2, ("front",))}


def test_one_topic_of_a_log_can_be_chosen_and_its_camera_named(stack: Stack, log: Path) -> None:
    done = upload(log, "--topic", REAR, "--camera", "back", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert document(stack).cameras == {"back": Camera(2)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--camera", "front"), "--camera names one camera"),
        (("--topic", "/nothing"), "the log has no topic '/nothing'"),
        (("--camera", "a b"), "not a valid camera name"),
    ],
)
def test_options_that_do_not_fit_a_log_are_refused(
    stack: Stack, log: Path, options: tuple[str, ...], said: str
) -> None:
    done = upload(log, *options)
    assert done.exit_code == 1
    assert said in done.output
    assert uploaded(stack) == []


@pytest.mark.parametrize("options", [("--partial",), ("--topic", "/front"), ("--start", "2023-11-14T22:13:20Z")])
def test_options_of_logs_do_not_go_with_other_recordings(
    stack: Stack, recording: Path, options: tuple[str, ...]
) -> None:
    done = upload(recording, *options)
    assert done.exit_code == 1
    assert "is not a drive log" in done.output


def test_a_file_that_holds_a_recording_and_is_not_read_is_named(stack: Stack, log: Path) -> None:
    log.write_bytes(b"PAR1" + bytes(600))
    done = upload(log)
    assert done.exit_code == 1
    assert "cannot be read yet (Parquet file)" in done.output


def test_without_the_readers_of_logs_the_extra_is_named(
    stack: Stack, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("autolabel.logs.") or name.split(".")[0] == "mcap"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcap", None)
    done = upload(log)
    assert done.exit_code == 1
    assert "install autolabel with its extra logs" in done.output
