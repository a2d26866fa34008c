"""`autolabel upload` of drive logs as they are, against the embedded cloud's S3: kept parts, kills, changed files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.logs import RECEIPT
from autolabel_cli.__main__ import main
from autolabel_cli.drives import log_uploads, multipart
from autolabel_cli.drives.log_uploads import find_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tests.contract.conftest import create_table
from tests.fakes.images import png
from tests.fakes.logs import bag_log, drive, mcap_log, sqlite_log

pytestmark = pytest.mark.cloud

MIB = 1024 * 1024
# S3's least size of a part.
PART = 5 * MIB
LOG = mcap_log(drive(1))
# The beginning of a log tells its kind; its rest does not matter to the upload.
LARGE = LOG + random.Random(7).randbytes(4 * PART + 12_345)
KEY = "drives/d1/logs/a.mcap"
DOCUMENT = "drives/d1/logs/recording.json"
OUTPUTS = {"LedgerName": "ledger", "ExtractMachineArn": "arn"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud"), settings=CloudSettings()) as cloud:
        create_table("ledger", cloud.client("dynamodb"))
        yield cloud


@pytest.fixture
def stack(cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> Stack:
    bucket = f"b{uuid4().hex}"
    cloud.client("s3").create_bucket(Bucket=bucket)
    stack = Stack("autolabel", {**OUTPUTS, "IngestBucketName": bucket}, {}, cloud.client)
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    monkeypatch.setattr(multipart, "PART", PART)
    return stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def upload(source: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["upload", str(source), "--drive", "d1", *options])


def succeed(source: Path, *options: str) -> str:
    done = upload(source, *options)
    assert done.exit_code == 0, done.output
    return done.output


def refuse(source: Path, *options: str) -> str:
    done = upload(source, *options)
    assert done.exit_code == 1, done.output
    return done.output


def keys(stack: Stack) -> list[str]:
    """The objects in the order in which they were put."""
    things = stack.client("s3").list_objects_v2(Bucket=stack.ingest.name).get("Contents", [])
    return [one["Key"] for one in things]


def open_uploads(stack: Stack) -> list[str]:
    found = stack.client("s3").list_multipart_uploads(Bucket=stack.ingest.name)
    return [one["UploadId"] for one in found.get("Uploads", [])]


class Calls:
    """Counts the calls of S3 that the command makes. `before`: called with each call's name and parameters."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        client = stack.client

        def watched(service: str) -> Any:
            made = client(service)
            made.meta.events.register("before-parameter-build.s3", lambda model, **_: self.made.append(model.name))
            return made

        watching = Stack(stack.name, stack.outputs, stack.parameters, watched)
        monkeypatch.setattr(Stack, "find", lambda _: watching)

    @property
    def writing(self) -> list[str]:
        return [name for name in self.made if not name.startswith("List")]


# Kills itself at the `at`-th call of this name, before it is sent or after it was answered. Notes each part that it
# sends.
CHILD = """
import itertools, os, signal, sys
import boto3
from autolabel_cli.__main__ import main
from autolabel_cli.drives import multipart
from autolabel_cli.drives.log_uploads import find_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

bucket, part, when, call, at, notes = sys.argv[1:7]
multipart.PART = int(part)
calls = itertools.count(1)

def die(**_):
    if next(calls) == int(at):
        os.kill(os.getpid(), signal.SIGKILL)

def note(params, **_):
    with open(notes, "a") as file:
        file.write(str(params["query_string"]["partNumber"]) + " ")

def client(service):
    made = boto3.client(service)
    made.meta.events.register("before-call.s3.UploadPart", note)
    made.meta.events.register(f"{when}-call.s3.{call}", die)
    return made

outputs = {"IngestBucketName": bucket, "LedgerName": "ledger", "ExtractMachineArn": "arn"}
Stack.find = classmethod(lambda cls, name: Stack(name, outputs, {}, client))
main(sys.argv[7:])
"""
PLACES = [
    ("after", "PutObject"),
    ("after", "CreateMultipartUpload"),
    ("before", "UploadPart"),
    ("after", "UploadPart"),
    ("before", "CompleteMultipartUpload"),
    ("after", "CompleteMultipartUpload"),
]


def upload_and_die(cloud: EmbeddedCloud, stack: Stack, source: Path, when: str, call: str, at: int) -> list[int]:
    """Upload in a process that may kill itself; returns the numbers of the parts that it sent."""
    notes = source.parent / "notes"
    notes.write_text("")
    words = [stack.ingest.name, str(PART), when, call, str(at), str(notes), "upload", str(source), "--drive", "d1"]
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        env={**cloud.environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return [int(number) for number in notes.read_text().split()]


def parts_there(stack: Stack) -> set[int]:
    s3 = stack.client("s3")
    found = [s3.list_parts(Bucket=stack.ingest.name, Key=KEY, UploadId=one) for one in open_uploads(stack)]
    return {part["PartNumber"] for one in found for part in one.get("Parts", [])}


@pytest.mark.parametrize("seed", range(3))
def test_after_kills_anywhere_the_object_is_whole_and_no_part_is_sent_twice(
    cloud: EmbeddedCloud, stack: Stack, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder / "a.mcap"
    log.write_bytes(LARGE)
    draw = random.Random(seed)
    for when, call in draw.sample(PLACES, 4):
        there = parts_there(stack)
        sent = upload_and_die(cloud, stack, log, when, call, draw.randint(1, 4))
        assert not there & set(sent)
    succeed(log)
    assert stack.ingest.read(KEY) == LARGE
    assert open_uploads(stack) == []
    assert keys(stack) == [KEY, DOCUMENT]
    calls = Calls(stack, monkeypatch)
    assert "0 files of logs uploaded, 1 file there already" in succeed(log)
    assert calls.writing == []


def test_the_document_comes_first_and_names_the_logs_of_a_folder(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, body in (("10.bag", bag_log(drive(1))), ("2.mcap", LOG), ("metadata.yaml", b"x"), ("notes.txt", b"x")):
        (folder / name).write_bytes(body)
    put = list[Any]()
    monkeypatch.setattr(multipart.FileUpload, "send", _noting(put, multipart.FileUpload.send))
    monkeypatch.setattr(log_uploads._Upload, "write_document", lambda _, body: put.append(json.loads(body)))
    said = succeed(folder, "--vehicle", "golf-7", "--note", "rain", "--policy", "doubtful")
    document = {
        "vehicle": "golf-7",
        "logs": ["2.mcap", "10.bag"],
        "notes": ["rain"],
        "verification": {"policy": "doubtful"},
    }
    assert put == [document, "metadata.yaml", "2.mcap", "10.bag"]
    assert "not uploaded, because they are not logs: notes.txt" in said
    assert "drive d1: 3 files of logs uploaded; autolabel watch d1 follows them" in said


def _noting(put: list[Any], send: Any) -> Any:
    def noted(self: Any, sent: Any) -> Any:
        put.append(self._path.name)
        return send(self, sent)

    return noted


def test_a_folders_own_document_is_uploaded_as_it_is(stack: Stack, folder: Path) -> None:
    own = b'{ "vehicle": "golf-7", "logs": ["a.mcap", "b.mcap"] }'
    (folder / "a.mcap").write_bytes(LOG)
    (folder / "recording.json").write_bytes(own)
    assert "recording.json names b.mcap, which the drive waits for: upload it too" in succeed(folder)
    assert stack.ingest.read(DOCUMENT) == own
    # One that forgets a log would close the drive without it.
    (folder / "c.mcap").write_bytes(LOG)
    assert "has a list of logs that lacks c.mcap" in refuse(folder)
    assert "leave out --vehicle" in refuse(folder, "--vehicle", "golf-8")
    (folder / "recording.json").write_bytes(b"{")
    assert "recording.json is not JSON" in refuse(folder)
    assert keys(stack) == [KEY, DOCUMENT]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("metadata.yaml", LOG, "under a name that documents of logs have"),
        ("b\n.mcap", LOG, "cannot be uploaded under its name"),
        ("1.png", png(), "give each kind a folder of its own"),
        ("b.parquet", b"PAR1" + bytes(600), "b.parquet in folder"),
        ("b", png(), "is a PNG image"),
    ],
)
def test_a_folder_that_cannot_go_whole_is_refused_before_anything_is_sent(
    stack: Stack, folder: Path, name: str, body: bytes, said: str
) -> None:
    (folder / "a.mcap").write_bytes(LOG)
    (folder / name).write_bytes(body)
    assert said in refuse(folder)
    assert keys(stack) == []


def test_a_ros_2_bag_is_refused_until_its_wal_file_is_merged(stack: Stack, folder: Path) -> None:
    (folder / "a.db3").write_bytes(sqlite_log(drive(1)))
    (folder / "a.db3-wal").write_bytes(b"messages")
    assert "PRAGMA wal_checkpoint(TRUNCATE)" in refuse(folder)
    assert keys(stack) == []


def test_a_file_that_may_not_be_read_is_named_beside_logs(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **_: Path(path).name != "locked")
    (folder / "a.mcap").write_bytes(LOG)
    (folder / "locked").write_bytes(LOG)
    assert f"{folder / 'locked'} cannot be read" in refuse(folder)
    assert keys(stack) == []
    # Beside images it is only skipped.
    (folder / "a.mcap").unlink()
    (folder / "1.png").write_bytes(png())
    assert "skipped 1 that is not a readable .png, .jpg or .jpeg file: locked" in succeed(folder)


@pytest.mark.parametrize("size", [len(LOG), len(LARGE)], ids=["small", "large"])
def test_other_bytes_are_named_and_replaced_only_when_asked(stack: Stack, folder: Path, size: int) -> None:
    log = folder / "a.mcap"
    log.write_bytes(LARGE[:size])
    succeed(log)
    changed = LARGE[: size - 1] + b"!"
    log.write_bytes(changed)
    assert f"{log} has changed since it was uploaded as s3://" in refuse(log)
    (folder / RECEIPT).unlink()
    assert "is there, and is not" in refuse(log)
    assert stack.ingest.read(KEY) == LARGE[:size]
    succeed(log, "--replace")
    assert stack.ingest.read(KEY) == changed
    # The same bytes are told without a receipt, and from another file.
    (folder / RECEIPT).unlink()
    os.utime(log, ns=(1, 1))
    assert "1 file there already" in succeed(log)


def test_a_file_that_changed_since_its_upload_began_is_sent_anew_where_it_differs(
    cloud: EmbeddedCloud, stack: Stack, folder: Path
) -> None:
    log = folder / "a.mcap"
    log.write_bytes(LARGE)
    upload_and_die(cloud, stack, log, "before", "CompleteMultipartUpload", 1)
    assert parts_there(stack) == {1, 2, 3, 4, 5}
    changed = LARGE[:PART] + b"?" + LARGE[PART + 1 :] + b"more"
    log.write_bytes(changed)
    assert "a.mcap: 3 of its 5 parts were there" in succeed(log)
    assert stack.ingest.read(KEY) == changed
    assert open_uploads(stack) == []


def test_a_file_that_changes_while_it_is_uploaded_is_named_and_not_completed(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder / "a.mcap"
    log.write_bytes(LARGE)
    read = multipart._read

    def grow(*given: Any) -> bytes:
        with log.open("ab") as file:
            file.write(b"x")
        return read(*given)

    monkeypatch.setattr(multipart, "_read", grow)
    assert f"{log} changed while it was uploaded" in refuse(log)
    assert keys(stack) == [DOCUMENT]
    monkeypatch.setattr(multipart, "_read", read)
    succeed(log)
    assert stack.ingest.read(KEY) == log.read_bytes()


def test_another_command_that_ends_first_is_no_error(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = folder / "a.mcap"
    log.write_bytes(LARGE)
    check = multipart.FileUpload._check

    def overtake(self: Any, before: Any) -> None:
        monkeypatch.setattr(multipart.FileUpload, "_check", check)
        assert "1 file of logs uploaded" in succeed(log)
        check(self, before)

    monkeypatch.setattr(multipart.FileUpload, "_check", overtake)
    succeed(log)
    assert stack.ingest.read(KEY) == LARGE
    assert open_uploads(stack) == []


def test_the_etag_is_that_of_a_plain_copy(stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART", 8 * MIB)
    for name, body in (("a.mcap", LOG), ("b.mcap", LARGE)):
        (folder / name).write_bytes(body)
        stack.client("s3").upload_file(str(folder / name), stack.ingest.name, f"drives/d1/logs/{name}")
    assert "0 files of logs uploaded, 2 files there already" in succeed(folder)


def test_with_a_kms_key_the_receipt_tells_what_is_there(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3's ETags are other digests then.
    monkeypatch.setattr(log_uploads, "_md5", lambda body: f"of {len(body)} bytes")
    monkeypatch.setattr(log_uploads, "expected_etag", lambda _: "another")
    (folder / "a.mcap").write_bytes(LOG)
    (folder / "b.mcap").write_bytes(LARGE)
    succeed(folder)
    calls = Calls(stack, monkeypatch)
    assert "0 files of logs uploaded, 2 files there already" in succeed(folder)
    assert calls.writing == []
    (folder / "c.mcap").write_bytes(LOG)
    assert "1 file of logs uploaded" in succeed(folder)
    (folder / RECEIPT).unlink()
    assert "by its size and ETag" in refuse(folder)


def test_a_document_of_others_is_not_overwritten(stack: Stack, folder: Path) -> None:
    stack.ingest.write(DOCUMENT, b"{}")
    (folder / "a.mcap").write_bytes(LOG)
    assert "recording.json is there and says something else" in refuse(folder)
    succeed(folder, "--replace")
    # A folder that has grown is the uploader's own.
    (folder / "b.mcap").write_bytes(LOG)
    succeed(folder)
    body = stack.ingest.read(DOCUMENT)
    assert json.loads(body or b"")["logs"] == ["a.mcap", "b.mcap"]


def test_a_closed_drive_takes_logs_only_when_asked_and_nothing_twice(stack: Stack, folder: Path) -> None:
    run = Run("d1", "0001", DriveDocument("car", {"front": Camera()}), "e", (), "2026.1", ("car",))
    (folder / "a.mcap").write_bytes(LOG)
    succeed(folder / "a.mcap")
    stack.ledger.allocate_run(run)
    try:
        assert "1 file there already" in succeed(folder / "a.mcap")
        (folder / "b.mcap").write_bytes(LOG)
        assert "drive 'd1' is closed" in refuse(folder)
        assert "autolabel relabel d1 takes in their frames" in succeed(folder / "b.mcap", "--late")
        assert keys(stack) == [KEY, "drives/d1/logs/b.mcap", DOCUMENT]
    finally:
        key = {"pk": {"S": "drive#d1"}, "sk": {"S": "run#0001"}}
        stack.client("dynamodb").delete_item(TableName="ledger", Key=key)


def test_options_of_the_local_reading_need_extract(stack: Stack, folder: Path) -> None:
    (folder / "a.mcap").write_bytes(LOG)
    for option in (("--topic", "/x"), ("--camera", "front"), ("--limit", "1"), ("--partial",)):
        assert "give --extract" in refuse(folder / "a.mcap", *option)
    assert keys(stack) == []
    succeed(folder / "a.mcap", "--extract")
    assert not [key for key in keys(stack) if "/logs/" in key]
    assert "drives/d1/drive.json" in keys(stack)


def test_a_folder_that_cannot_be_written_is_uploaded_with_a_notice(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_to_write(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    (folder / "a.mcap").write_bytes(LOG)
    monkeypatch.setattr(Path, "write_text", refuse_to_write)
    assert f"{RECEIPT} cannot be written, so the next upload reads the logs to compare them" in succeed(folder)
    assert "1 file there already" in succeed(folder)


@pytest.mark.parametrize("name", ["copy.zip", "preview.mp4"])
def test_beside_images_an_archive_or_a_video_is_no_log(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.png").write_bytes(png())
    (tmp_path / name).write_bytes({"copy.zip": b"PK\x03\x04", "preview.mp4": b"\0\0\0\x20ftypisom"}[name] + bytes(600))
    assert find_logs(tmp_path) is None
    (tmp_path / "a.mcap").write_bytes(LOG)
    with pytest.raises(CommandError, match=r"a\.mcap, and images"):
        find_logs(tmp_path)
