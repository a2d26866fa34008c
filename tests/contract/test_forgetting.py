"""What `forget` erases: buckets, ledger and queues by moto, the executions and labelling jobs as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.logs import LogRecord
from autolabel.contracts.ports import PendingUnit, WaitingJob
from autolabel.contracts.units import Unit
from autolabel.verification.jobs import job_name
from autolabel.verification.label_studio.connection import read_connection
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.operations import forgetting
from autolabel_cli.operations.forgetting import Forgetting, Receipt
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table
from tests.fakes.label_studio import FakeLabelStudio

NOW = 1_000_000.0
# The name of the other drive begins with that of the first.
DRIVE, OTHER = "d1", "d1-2"
JOB = job_name("labels", DRIVE, "0001", 0)


class BrokenOff(Exception):
    pass


class Account:
    """A stack with two drives. `calls`: made so far; the call number `breaks_at` is not made, and breaks all off."""

    def __init__(self) -> None:
        self.calls = 0
        self.breaks_at: int | None = None
        self.statuses = dict[str, str]()
        self.jobs = {f"{JOB}-1": "Completed", f"{JOB}-2": "InProgress"}
        session = boto3.Session()
        self._clients: dict[str, Any] = {name: session.client(name) for name in ("s3", "dynamodb", "sqs")}
        for one in self._clients.values():
            one.meta.events.register("before-call", self._note)
        self._clients |= {"stepfunctions": self, "sagemaker": self, "sts": self}
        s3 = self._clients["s3"]
        for name in ("ingest", "labels"):
            create_bucket(name, s3)
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        create_table("ledger", self._clients["dynamodb"])
        outputs = {
            f"{kind}Url": self._clients["sqs"].create_queue(QueueName=kind)["QueueUrl"]
            for kind in ("SubmitQueue", "SubmitDeadLetters", "CollectQueue", "CollectDeadLetters")
        }
        outputs |= {"IngestBucketName": "ingest", "LabelBucketName": "labels", "LedgerName": "ledger"}
        outputs["StateMachineArn"] = "arn:aws:states:eu-central-1:1:stateMachine:m"
        outputs["ExtractMachineArn"] = "arn:aws:states:eu-central-1:1:stateMachine:x"
        self.parameters = {"LogRetentionDays": "30"}
        self.stack = Stack("autolabel", outputs, self.parameters, self._clients.__getitem__)

    def _note(self, **_: Any) -> None:
        self.calls += 1
        if self.calls == self.breaks_at:
            raise BrokenOff

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        return {"status": self.statuses.get(executionArn.rpartition(":")[2], "SUCCEEDED")}

    def describe_labeling_job(self, LabelingJobName: str) -> dict[str, Any]:  # noqa: N803
        if LabelingJobName not in self.jobs:
            raise ClientError({"Error": {"Code": "ResourceNotFound"}}, "DescribeLabelingJob")
        source = {"S3DataSource": {"ManifestS3Uri": "s3://labels/m"}}
        status = self.jobs[LabelingJobName]
        if status == "Stopping":
            self.jobs[LabelingJobName] = "Stopped"
        return {"LabelingJobStatus": status, "InputConfig": {"DataSource": source}, "LabelCounters": {}}

    def stop_labeling_job(self, LabelingJobName: str) -> None:  # noqa: N803
        self.jobs[LabelingJobName] = "Stopping"

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:iam::1:user/operator"}

    def add(self, drive: str) -> None:
        """Give a drive something at every place where the pipeline writes."""
        stack, s3, ledger = self.stack, self._clients["s3"], self.stack.ledger
        frame = FrameKey(drive, "front", "1" * 19, "png")
        for body in (b"old", b"new"):
            stack.ingest.write(frame.key, body)
        stack.ingest.write(f"drives/{drive}/gone.png", b"x")
        s3.delete_object(Bucket="ingest", Key=f"drives/{drive}/gone.png")
        s3.create_multipart_upload(Bucket="ingest", Key=f"drives/{drive}/logs/a.mcap")
        for key in (
            f"labels/{drive}/0001/manifests/verify-000.manifest",
            f"labels/{drive}/0001/dataset.manifest",
            f"inference/{drive}/m.0001/front/1/a-1.out",
            f"inference/of-{drive}.out",
            f"extractions/{drive}/abc/index.json",
            f"publishing/{drive}/0001/1/parts.jsonl",
            f"linking/{drive}/0001/2/forward-000000.json",
            f"views/{drive}/blur.0001/front/1700000000000000000-0123456789ab.png",
            f"scenes/{drive}/0001/front/1700000000000000000.bin",
            f"audits/2/recipe/{drive}-0001.json",
            f"audits/recipe/{drive}-0001.json",
            f"corrections/1/recipe/{drive}-0001.json",
        ):
            stack.labels.write(key, b"x")
        run = Run(drive, "0001", DriveDocument("v", {"f": Camera()}), "e", ("m.0001",), "2026.1", ("car",), since=NOW)
        ledger.allocate_run(run)
        ledger.mark_closed(drive)
        ledger.mark_frozen(drive)
        ledger.mark_late(drive, NOW)
        ledger.record_refusal(drive, f"drives/{drive}/x.txt", "not-a-frame", "it is no frame", NOW)
        ledger.end_log(LogRecord(drive, "a.mcap", "e", "extracted", NOW))
        ledger.hold(WaitingJob(job_name("labels", drive, "0001", 0), "token", "1"))
        for index in range(27):
            unit = Unit.of(FrameKey(drive, "front", f"{index:019d}", "png"), "e", "m.0001")
            pending = PendingUnit(unit, frame.key, "e", attempt=1, errors=0, since=NOW)
            ledger.add_pending(pending)
            if index == 1:
                ledger.fail(pending, "a reason", NOW)
        ledger.settle(unit, f"inference/of-{drive}.out")
        body = json.dumps({"Records": [record(f"drives/{drive}/front/1.png")]})
        self._clients["sqs"].send_message(QueueUrl=stack.outputs["SubmitDeadLettersUrl"], MessageBody=body)

    def things(self, drive: str) -> list[str]:
        """Everything that is stored and names the drive, and not one with a longer name."""
        s3, found = self._clients["s3"], list[str]()
        for bucket in ("ingest", "labels"):
            versions = s3.list_object_versions(Bucket=bucket)
            kept = versions.get("Versions", []) + versions.get("DeleteMarkers", [])
            found += [f"{thing['Key']} {thing['VersionId']}" for thing in kept]
            found += [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
        found += [json.dumps(item) for item in self._clients["dynamodb"].scan(TableName="ledger")["Items"]]
        queue = self.stack.outputs["SubmitDeadLettersUrl"]
        letters = self._clients["sqs"].receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        found += [message["Body"] for message in letters.get("Messages", [])]
        return sorted(text for text in found if (OTHER in text) == (drive == OTHER))

    def forget(self) -> Receipt:
        return Forgetting(self.stack, DRIVE, lambda what: None, now=lambda: NOW, pause=lambda seconds: None).erase()


def record(key: str) -> dict[str, Any]:
    thing = {"bucket": {"name": "ingest"}, "object": {"key": key, "size": 1, "eTag": "e", "sequencer": "1"}}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-30T08:00:00Z", "s3": thing}


@pytest.fixture
def make(aws: None) -> Callable[[], Account]:
    def account() -> Account:
        made = Account()
        for drive in (DRIVE, OTHER):
            made.add(drive)
        return made

    return account


def test_everything_of_a_drive_is_erased_and_nothing_of_others(make: Callable[[], Account]) -> None:
    account = make()
    others = account.things(OTHER)
    assert len(account.things(DRIVE)) > 40
    receipt = account.forget()
    assert account.things(DRIVE) == []
    assert account.things(OTHER) == others
    erased = {(one.what, one.place): one.count for one in receipt.erased}
    assert erased["object versions", f"s3://ingest/drives/{DRIVE}/"] == 3
    assert erased["delete markers", f"s3://ingest/drives/{DRIVE}/"] == 1
    assert erased["unfinished uploads", f"s3://ingest/drives/{DRIVE}/"] == 1
    assert erased["object versions", f"s3://labels/labels/{DRIVE}/"] == 2
    assert erased["object versions", "s3://labels/audits/"] == 2
    assert erased["object versions", f"s3://labels/inference/of-{DRIVE}.out"] == 1
    assert erased["items", "ledger"] == 34
    assert erased["dead letters", "submit queue"] == 1
    assert receipt.complete
    assert receipt.by == "arn:aws:iam::1:user/operator"
    # The job that was open is stopped, and its entry is named among the things that stay.
    assert account.jobs == {f"{JOB}-1": "Completed", f"{JOB}-2": "Stopped"}
    (jobs,) = (stays.what for stays in receipt.stays if "labelling jobs" in stays.what)
    assert jobs == f"entries of labelling jobs: {JOB}-1, {JOB}-2"
    month = datetime.fromtimestamp(NOW + 30 * 86_400, UTC)
    assert receipt.stays[0].until == month
    assert [stays.until for stays in receipt.stays if "s3://labels/training/" in stays.what] == [month]
    assert any("exclusions" in stays.what for stays in receipt.stays)


@pytest.mark.slow
def test_a_call_that_was_broken_off_anywhere_can_be_repeated(make: Callable[[], Account]) -> None:
    account = make()
    others, calls = account.things(OTHER), account.calls
    account.forget()
    steps = account.calls - calls
    assert steps > 30
    for at in range(1, steps + 1, 3):
        account.jobs[f"{JOB}-2"] = "InProgress"
        account.add(DRIVE)
        account.breaks_at = account.calls + at
        with pytest.raises(BrokenOff):
            account.forget()
        account.breaks_at = None
        account.forget()
        assert account.things(DRIVE) == [], f"broken off at call {at}"
        assert account.jobs[f"{JOB}-2"] == "Stopped"
    assert account.things(OTHER) == others


@pytest.mark.parametrize("execution", ["d1-0001", "extraction"])
def test_a_drive_is_not_erased_while_something_runs(make: Callable[[], Account], execution: str) -> None:
    account = make()
    if execution == "extraction":
        log = LogRecord(DRIVE, "b.mcap", "e", "extracting", NOW)
        account.stack.ledger.end_log(log)
        account.statuses[log.execution] = "RUNNING"
    else:
        account.statuses[execution] = "RUNNING"
    before = account.things(DRIVE)
    with pytest.raises(CommandError, match="stop it first"):
        account.forget()
    assert account.things(DRIVE) == before


def test_what_comes_while_a_drive_is_erased_is_erased_or_told(
    make: Callable[[], Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make()
    late = [b"x"]

    def write_late(*_: Any) -> int:
        if late:
            account.stack.labels.write(f"inference/{DRIVE}/m.0001/front/2/b-1.out", late.pop())
        return 0

    monkeypatch.setattr(forgetting.DeadLetterQueue, "erase", write_late)
    account._clients["sqs"].purge_queue(QueueUrl=account.stack.outputs["SubmitDeadLettersUrl"])
    assert account.forget().complete
    assert account.things(DRIVE) == []
    late += [b"x"] * 9
    assert not account.forget().complete


def test_the_projects_of_a_drive_are_deleted(make: Callable[[], Account], monkeypatch: pytest.MonkeyPatch) -> None:
    account, studio = make(), FakeLabelStudio()
    titles = (JOB, f"{JOB}-again", job_name("labels", OTHER, "0001", 0))
    projects = [studio.create_project({"title": title}) for title in titles]
    account.stack.labels.write(f"labels/{DRIVE}/0001/manifests/verify-000-again.manifest", b"x")
    connection = json.dumps({"url": "https://studio.example", "token": "t", "webhook_secret": "s" * 16})
    monkeypatch.setattr(forgetting.Secrets, "read", lambda *_: connection)
    monkeypatch.setattr(FakeLabelStudio, "connection", read_connection(connection, "arn:secret"), raising=False)
    monkeypatch.setattr(forgetting, "LabelStudioClient", lambda *_: studio)
    monkeypatch.setitem(account.parameters, "LabelStudioConnectionArn", "arn:secret")
    monkeypatch.setitem(account._clients, "secretsmanager", None)
    receipt = account.forget()
    assert list(studio.projects) == projects[2:]
    assert ("projects with their tasks", 2) in [(one.what, one.count) for one in receipt.erased]


def test_the_command_asks_and_gives_a_receipt(
    make: Callable[[], Account], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = make()
    monkeypatch.setattr(Stack, "find", lambda name: account.stack)
    before = account.things(DRIVE)
    refused = CliRunner().invoke(main, ["forget", DRIVE])
    assert (refused.exit_code, account.things(DRIVE)) == (2, before)
    assert "without a terminal, give --yes" in refused.output
    said = CliRunner().invoke(main, ["forget", DRIVE, "--yes", "--json", "--receipt", str(tmp_path / "receipt.json")])
    assert said.exit_code == 0, said.output
    assert json.loads(said.output) == json.loads((tmp_path / "receipt.json").read_text())
    assert account.things(DRIVE) == []
    assert "drive d1 is not in stack autolabel" in CliRunner().invoke(main, ["forget", DRIVE, "--yes"]).output
