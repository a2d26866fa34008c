"""`autolabel models train`: what a training job gets, and what becomes of what it leaves."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import Any

import msgspec
import pytest
from botocore.validate import ParamValidator

from autolabel.contracts.run_folder import RunFolder
from autolabel.labels.exclusions import Exclusion
from autolabel.models import TrainedDataset, Training
from autolabel_cli.datasets.sources import Source as Dataset
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model, find_revision, read_index
from autolabel_cli.models.removal import remove_model
from autolabel_cli.models.sources import Source
from autolabel_cli.models.switching import switch_model
from autolabel_cli.stack import Stack
from autolabel_cli.training.candidates import Candidate, Recipe, train_candidate
from autolabel_cli.training.jobs import Instance
from local.sagemaker.shapes import input_shape
from tests.contract.model_account import IMAGE, OUTPUTS, Account, SageMaker, bring, refused
from tests.contract.test_switching_models import BLIND, DRIVES, NOW
from tests.contract.verified_drives import drive_of, make_stack, publish
from tests.fakes.answers import DETECTOR

TRAINER = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/trainer:1"
ROLE = "arn:aws:iam::123456789012:role/training"
CLASSES = {"car": "car", "toothbrush": "trailer"}
RECIPE = Recipe("street", TRAINER, {"steps": "5"}, Instance("ml.m5.xlarge", 10, 600), scripted=False)


class Trainer(SageMaker):
    """Training jobs that end at once as a test says, beside the endpoint of the account."""

    def __init__(self, s3: Any) -> None:
        super().__init__()
        self._s3 = s3
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        self.outcome = "Completed"
        self.files: dict[str, bytes] = {"model.onnx": b"weights", "classes.json": json.dumps(CLASSES).encode()}

    def create_training_job(self, **request: Any) -> None:
        report = ParamValidator().validate(request, input_shape("sagemaker", "CreateTrainingJob"))
        assert not report.has_errors(), report.generate_report()
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise refused("CreateTrainingJob", "ResourceInUse")
        self.asked.append(request)
        place = f"{request['OutputDataConfig']['S3OutputPath']}/{name}/output/model.tar.gz"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, body in self.files.items():
                member = tarfile.TarInfo(path)
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))
        self._s3.put_object(Bucket="labels", Key=place.removeprefix("s3://labels/"), Body=packed.getvalue())
        self.jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobStatus": self.outcome,
            "SecondaryStatus": self.outcome,
            "ModelArtifacts": {"S3ModelArtifacts": place},
            **({"FailureReason": "AlgorithmError: no"} if self.outcome == "Failed" else {}),
        }

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803 (boto3's own name)
        if TrainingJobName not in self.jobs:
            raise refused("DescribeTrainingJob", "ValidationException", "Requested resource not found.")
        return self.jobs[TrainingJobName]


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A stack with the model `street`, and a dataset `d1` that a person verified."""
    monkeypatch.setitem(OUTPUTS, "TrainingRoleArn", ROLE)
    found = Account()
    trainer = Trainer(found.s3)
    clients = found.stack.client
    known = Stack("autolabel", OUTPUTS, {}, lambda name: trainer if name == "sagemaker" else clients(name))
    found.sagemaker, found.stack = trainer, known
    bring(found, Source(IMAGE, environment={"HALF": "1"}), active=True)
    publish(found.stack, "d1", drive_of(1, 3), (DETECTOR.id,), provenance=_origin("d1"))
    return found


def _origin(drive: str, by: str = "model and person") -> dict[str, str]:
    return {"labelled-by": by, "run": "0001", "etag": "e"}


def trainer(account: Account) -> Trainer:
    assert isinstance(account.sagemaker, Trainer)
    return account.sagemaker


def train(account: Account, *drives: str, name: str = "next", wait: bool = True, **given: Any) -> Candidate:
    again = given.pop("again", False)
    datasets = [Dataset(drive, "0001") for drive in drives or ("d1",)]
    recipe = RECIPE._replace(**given)
    return train_candidate(account.stack, name, recipe, datasets, wait=wait, again=again, tell=lambda text: None)


def test_a_candidate_lists_its_data_and_labels_no_drive(account: Account) -> None:
    done = train(account)
    assert done.model is not None
    model = find_revision(account.stack, "next")
    assert (model, done.outcome, model.endpoint) == (done.model, "added", "autolabel-next-0001")
    cars = sum(len(frame.cars) for frame in drive_of(1, 3))
    assert model.training == Training(done.job, "street.0001", (TrainedDataset("d1", "0001", 3, {"car": cars}),))
    assert (model.classes, model.network) == (CLASSES, "street")
    assert read_index(account.stack).active == ("street",)
    # The candidate is deployed as the model that it began from, with an artefact of its own.
    created = account.formation.created[-1]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in created["Parameters"]}
    assert parameters["Image"] == IMAGE
    assert parameters["ModelData"].startswith("s3://labels/models/next/0001/")
    template = json.loads(created["TemplateBody"])
    assert template["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"] == {"HALF": "1"}


def test_a_job_gets_frames_labels_and_what_it_begins_from(account: Account) -> None:
    train(account)
    train(account, name="after", start="next")
    first, second = trainer(account).asked
    channels = {c["ChannelName"]: c["DataSource"]["S3DataSource"] for c in second["InputDataConfig"]}
    assert channels["start"]["S3Uri"].startswith("s3://labels/models/next/0001/")
    assert [c["ChannelName"] for c in first["InputDataConfig"]] == ["labels", "frames"]
    manifest = json.loads(account.stack.labels.read(channels["frames"]["S3Uri"].removeprefix("s3://labels/")) or b"")
    assert manifest[0] == {"prefix": "s3://ingest/drives/"}
    place = channels["labels"]["S3Uri"].removeprefix("s3://labels/")
    lines = [json.loads(line) for line in account.stack.labels.lines(f"{place}labels.jsonl")]
    assert [line["frame"] for line in lines] == manifest[1:]
    wanted = [["car", x, y, x + w, y + h] for x, y, w, h in drive_of(1, 3)[0].cars]
    assert lines[0]["boxes"] == wanted
    assert json.loads(second["HyperParameters"]["classes"]) == CLASSES
    assert (second["RoleArn"], second["EnableNetworkIsolation"]) == (ROLE, True)


def test_the_same_request_finds_its_job_and_its_candidate(account: Account) -> None:
    started = train(account, wait=False)
    assert (started.model, started.outcome) == (None, "started")
    assert "next" not in read_index(account.stack).models
    added, again = train(account), train(account)
    assert (added.job, added.outcome) == (started.job, "added")
    assert (again.model, again.outcome) == (added.model, "already")
    assert len(trainer(account).asked) == 1
    # Other settings are another candidate.
    assert train(account, hyperparameters={"steps": "6"}).model != added.model


def test_a_removed_candidate_is_added_again_without_another_job(account: Account) -> None:
    first = train(account)
    remove_model(account.stack, "next", force=True, tell=lambda text: None)
    again = train(account)
    assert (again.job, again.outcome) == (first.job, "added")
    assert again.model is not None
    assert read_index(account.stack).models["next"] == again.model.revision
    assert len(trainer(account).asked) == 1


def test_a_failed_job_is_told_and_tried_again_only_on_request(account: Account) -> None:
    trainer(account).outcome = "Failed"
    for _ in range(2):
        with pytest.raises(CommandError, match=r"is Failed: AlgorithmError: no; give --again"):
            train(account)
    assert len(trainer(account).asked) == 1
    trainer(account).outcome = "Completed"
    done = train(account, again=True)
    assert done.job.endswith("-2")
    assert train(account).outcome == "already"


@pytest.mark.parametrize("files", [{}, {"classes.json": b"[]"}, {"classes.json": b"{"}])
def test_an_artefact_without_its_class_map_is_refused(account: Account, files: dict[str, bytes]) -> None:
    trainer(account).files = files
    with pytest.raises(CommandError, match=r"has no usable classes\.json"):
        train(account)
    assert "next" not in read_index(account.stack).models


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_an_artefact_that_is_cut_off_or_gone_is_refused(account: Account, kept: float) -> None:
    trainer(account).files = {"model.onnx": random.Random(1).randbytes(100_000), **trainer(account).files}
    job = train(account, wait=False).job
    key = f"training/{job}/{job}/output/model.tar.gz"
    whole = account.stack.labels.read(key) or b""
    if kept:
        account.stack.labels.write(key, whole[: int(len(whole) * kept)])
    else:
        account.s3.delete_object(Bucket="labels", Key=key)
    with pytest.raises(CommandError, match=r"has no usable classes\.json" if kept else r"is gone.*after 30 days"):
        train(account)


def test_classes_that_the_taxonomy_lacks_are_refused(account: Account) -> None:
    trainer(account).files["classes.json"] = b'{"car": "hovercraft"}'
    with pytest.raises(CommandError, match="hovercraft"):
        train(account)


def test_requests_that_cannot_work_are_refused_before_a_job_starts(account: Account) -> None:
    publish(account.stack, "scripted", drive_of(1, 2), (DETECTOR.id,), provenance=_origin("scripted", "script"))
    for drives, given, said in (
        (("d1",), {"name": "street"}, "street labels new drives, so it cannot be a candidate"),
        (("d1",), {"start": "none"}, "no model 'none'"),
        (("d1", "d1"), {}, "drive d1 is named with two runs"),
        (("scripted",), {}, "scripted@0001 has no frame with a final label"),
    ):
        with pytest.raises(CommandError, match=said):
            train(account, *drives, **given)
    assert trainer(account).asked == []
    assert train(account, "scripted", scripted=True).model


def test_excluded_labels_train_no_candidate(account: Account) -> None:
    publish(account.stack, "d2", drive_of(2, 2), (DETECTOR.id,), provenance=_origin("d2"))
    dataset = RunFolder("d2", "0001").dataset
    lines = [json.loads(line) for line in account.stack.labels.lines(dataset)]
    lines[0]["review"]["worker"] = "eve"
    account.stack.labels.write(dataset, b"\n".join(json.dumps(line).encode() for line in lines))
    before = train(account, "d2", wait=False)
    decision = Exclusion("reviewer", "eve", "me", "2026-01-01T00:00:00+00:00")
    account.stack.labels.write(decision.key, msgspec.json.encode(decision))
    after = train(account, "d2", wait=False)
    assert (before.frames, after.frames) == (2, 1)
    # Other data are another job: the one with the excluded labels is not taken for it.
    assert after.job != before.job
    place = f"training/{after.job}/labels/labels.jsonl"
    key = lines[1]["source-ref"].removeprefix("s3://ingest/drives/")
    assert [json.loads(line)["frame"] for line in account.stack.labels.lines(place)] == [key]


def test_drives_that_a_candidate_learned_from_do_not_judge_it(aws: None) -> None:
    stack = make_stack()
    for seed, drive in enumerate(DRIVES):
        publish(stack, drive, drive_of(seed, 2), provenance=BLIND, review=False)
    first = Training("j", "detector.0001", (TrainedDataset("d3", "0001", 1, {}),))
    add_model(stack, msgspec.structs.replace(DETECTOR, name="first", training=first), active=False)
    second = Training("k", "first.0001", (TrainedDataset("other", "0001", 1, {}),))
    add_model(stack, msgspec.structs.replace(DETECTOR, name="second", training=second), active=False)
    with pytest.raises(CommandError, match=r"second\.0001 was trained on d3, which cannot judge it"):
        switch_model(stack, "detector", "second", DRIVES, NOW)
