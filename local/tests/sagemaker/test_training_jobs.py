"""Training jobs: the control plane through boto3, and the container contract with real processes."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.ports import StorageError
from local.tests.sagemaker.stand_in import ROLE, StandIn, eventually

# Copies what it was given into its artefact, and then ends as its hyperparameters say.
PROGRAM = """
import json, os, pathlib, signal, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
asked = json.loads((base / "input/config/hyperparameters.json").read_text())
assert json.loads(os.environ["SM_HPS"]) == asked
data = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
assert data == base / "input/data/train"
found = {str(p.relative_to(data)): p.read_text() for p in data.rglob("*") if p.is_file()}
(pathlib.Path(os.environ["SM_MODEL_DIR"]) / "found.json").write_text(json.dumps(found))
if "sleep" in asked:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (base / "output/data/asleep").write_text("")
    print("asleep", flush=True)
    time.sleep(60)
if "failure" in asked:
    (base / "output/failure").write_text(asked["failure"])
if "kill" in asked:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(asked.get("status", 0)))
"""


@pytest.fixture
def trainer(make_stand_in: Callable[..., StandIn]) -> StandIn:
    stand_in = make_stand_in(training_images={"train": [sys.executable, "-c", PROGRAM]})
    for name in ("a.txt", "deep/b.txt", "c.txt"):
        stand_in.objects.put(f"s3://data/set/{name}", name.encode())
    stand_in.objects.put("s3://data/set/folder/", b"")
    stand_in.objects.put("s3://data/m.json", json.dumps([{"prefix": "s3://data/set/"}, "a.txt", "deep/b.txt"]).encode())
    return stand_in


def request(name: str = "job", source: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    found = {"S3DataType": "S3Prefix", "S3Uri": "s3://data/set/", **(source or {})}
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "1.dkr.ecr.example.com/train:1", "TrainingInputMode": "File"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": found}}],
        "OutputDataConfig": {"S3OutputPath": "s3://out/jobs"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }


def ended(stand_in: StandIn, name: str = "job") -> dict[str, Any]:
    describe = stand_in.sagemaker.describe_training_job
    eventually(lambda: describe(TrainingJobName=name)["TrainingJobStatus"] not in ("InProgress", "Stopping"))
    found: dict[str, Any] = describe(TrainingJobName=name)
    return found


def artefact(stand_in: StandIn, name: str = "job") -> dict[str, str]:
    body, _ = stand_in.objects.contents[f"s3://out/jobs/{name}/output/model.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        member = archive.extractfile("found.json")
        assert member
        found: dict[str, str] = json.loads(member.read())
    return found


def test_a_job_reads_a_prefix_and_leaves_an_artefact(trainer: StandIn) -> None:
    trainer.sagemaker.create_training_job(**request(Tags=[{"Key": "k", "Value": "v"}], HyperParameters={"a": "1"}))
    job = ended(trainer)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == "s3://out/jobs/job/output/model.tar.gz"
    assert artefact(trainer) == {name: name for name in ("a.txt", "deep/b.txt", "c.txt")}
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert trainer.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    listed = trainer.sagemaker.list_training_jobs(StatusEquals="Completed", NameContains="JO")["TrainingJobSummaries"]
    assert [one["TrainingJobName"] for one in listed] == ["job"]
    assert not (trainer.folder / "training" / "job").exists()


def test_a_manifest_names_the_files_of_a_channel(trainer: StandIn) -> None:
    source = {"S3DataType": "ManifestFile", "S3Uri": "s3://data/m.json"}
    trainer.sagemaker.create_training_job(**request(source=source))
    ended(trainer)
    assert artefact(trainer) == {name: name for name in ("a.txt", "deep/b.txt")}


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"status": "3", "failure": "no label fits"}, "AlgorithmError: no label fits, exit code: 3"),
        ({"status": "1", "failure": "x" * 2000}, f"AlgorithmError: {'x' * 1024}, exit code: 1"),
        ({"kill": "1"}, "AlgorithmError: , exit code: 137"),
    ],
)
def test_a_program_that_fails_says_why(trainer: StandIn, hyperparameters: dict[str, str], reason: str) -> None:
    trainer.sagemaker.create_training_job(**request(HyperParameters=hyperparameters))
    job = ended(trainer)
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", reason)
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == ""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"S3Uri": "s3://data/none/"}, "No S3 objects found under S3 URL s3://data/none/"),
        ({"S3DataType": "ManifestFile", "S3Uri": "s3://data/set/a.txt"}, "is not a manifest"),
        ({"S3DataType": "ManifestFile", "S3Uri": "s3://data/evil.json"}, "has no place in the channel's folder"),
        ({"S3DataType": "ManifestFile", "S3Uri": "s3://data/lost.json"}, "NoSuchKey: s3://data/set/lost"),
    ],
)
def test_a_channel_without_its_data_fails_the_job(trainer: StandIn, source: dict[str, str], said: str) -> None:
    for name, path in (("evil", "../../x"), ("lost", "lost")):
        trainer.objects.put(f"s3://data/{name}.json", json.dumps([{"prefix": "s3://data/set/"}, path]).encode())
        trainer.objects.put(f"s3://data/set/{path}" if name == "evil" else "s3://data/other", b"")
    trainer.sagemaker.create_training_job(**request(source=source))
    job = ended(trainer)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Data download failed")
    assert said in job["FailureReason"]


def test_a_stopped_job_uploads_what_it_has(trainer: StandIn) -> None:
    trainer.sagemaker.create_training_job(**request(HyperParameters={"sleep": "1"}))
    log = trainer.folder / "training" / "job.log"
    eventually(lambda: log.exists() and "asleep\n" in log.read_text())
    trainer.sagemaker.stop_training_job(TrainingJobName="job")
    job = ended(trainer)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert artefact(trainer)
    assert "s3://out/jobs/job/output/output.tar.gz" in trainer.objects.contents
    with pytest.raises(ClientError, match="in status Stopped"):
        trainer.sagemaker.stop_training_job(TrainingJobName="job")


def test_a_job_ends_when_its_time_is_over(trainer: StandIn) -> None:
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    trainer.sagemaker.create_training_job(**request(HyperParameters={"sleep": "1"}, **limit))
    job = ended(trainer)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_an_artefact_that_cannot_be_written_fails_the_job(trainer: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("s3://out: AccessDenied")

    monkeypatch.setattr(trainer.objects, "write", refuse)
    trainer.sagemaker.create_training_job(**request())
    assert ended(trainer)["FailureReason"] == "ClientError: Artifact upload failed: s3://out: AccessDenied"


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"InputDataConfig": []}, "ValidationException", "length greater than or equal to 1"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}}, "ValidationException", "without an S3DataSource"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "other:1"}},
            "ValidationException",
            "CloudSettings.training_images",
        ),
        ({"RoleArn": f"{ROLE}-of-others"}, "ValidationException", "Could not assume role"),
        ({"EnableManagedSpotTraining": True}, "ValidationException", "EnableManagedSpotTraining"),
    ],
)
def test_a_request_that_cannot_work_is_refused(trainer: StandIn, changes: dict[str, Any], code: str, said: str) -> None:
    trainer.roles.missing.add(f"{ROLE}-of-others")
    with pytest.raises(ClientError, match=said) as refused:
        trainer.sagemaker.create_training_job(**request(**changes))
    assert refused.value.response["Error"]["Code"] == code


def test_an_augmented_manifest_needs_pipe_mode(trainer: StandIn) -> None:
    source = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["source-ref"]}
    with pytest.raises(ClientError, match=r"only in Pipe mode|AttributeNames"):
        trainer.sagemaker.create_training_job(**request(source=source))


def test_names_are_taken_for_good_and_unknown_ones_are_not_found(trainer: StandIn) -> None:
    trainer.sagemaker.create_training_job(**request())
    ended(trainer)
    with pytest.raises(ClientError) as refused:
        trainer.sagemaker.create_training_job(**request("JOB"))
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"
    for call in (trainer.sagemaker.describe_training_job, trainer.sagemaker.stop_training_job):
        with pytest.raises(ClientError) as refused:
            call(TrainingJobName="unknown")
        assert refused.value.response["Error"]["Code"] == "ResourceNotFound"


def test_a_cloud_that_ends_ends_its_jobs(trainer: StandIn) -> None:
    trainer.sagemaker.create_training_job(**request(HyperParameters={"sleep": "1"}))
    log = trainer.folder / "training" / "job.log"
    eventually(lambda: log.exists() and "asleep\n" in log.read_text())
    began = time.monotonic()
    trainer.service.stop()
    assert time.monotonic() - began < 5
    assert "s3://out/jobs/job/output/model.tar.gz" not in trainer.objects.contents
