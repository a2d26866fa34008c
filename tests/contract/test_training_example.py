"""examples/train-on-labels: the event of Publish starts it, and its request to SageMaker is a valid training job."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moto.events.models import EventPattern

from autolabel.aws.announcements import AwsAnnouncements
from local import Evaluation
from tests.contract.template import ACCOUNT, INGEST, LABELS, PSEUDO, REGION, ROOT, read_template
from tests.fakes.pipeline import DRIVE, Pipeline
from tests.unit.datasets.test_assembly import labelled

EXAMPLE = ROOT / "examples" / "train-on-labels"
TEMPLATE = read_template(EXAMPLE / "template.yaml")
MACHINE = TEMPLATE["Resources"]["TrainOnLabels"]["Properties"]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/training"
VALUES = {
    **PSEUDO,
    "AWS::URLSuffix": "amazonaws.com",
    **{name: parameter.get("Default") for name, parameter in TEMPLATE["Parameters"].items()},
    "IngestBucket": INGEST,
    "LabelBucket": LABELS,
    "ValidationDrive": "held-out",
    "TrainingRepository": "detector",
    "ModelBucket": "models",
    "TrainingRole.Arn": ROLE,
}
FRAMES = 4


def rendered(value: Any) -> Any:
    """Resolve the intrinsic functions in a part of the template."""
    if isinstance(value, list):
        return [rendered(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": name} | {"Fn::GetAtt": name}:
            return VALUES[name]
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{([\w:.]+)\}", lambda found: VALUES[found[1]], text)
    return {name: rendered(item) for name, item in value.items()}


def states() -> dict[str, Any]:
    text = (EXAMPLE / "training.asl.yaml").read_text()
    given = rendered(MACHINE["DefinitionSubstitutions"])
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(given)
    machine = yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]], text))
    return cast(dict[str, Any], machine["States"])


STATES = states()
PATTERN = EventPattern("", rendered(MACHINE["Events"]["DriveLabelled"]["Properties"]["Pattern"]))


class Bus:
    """Stand in for EventBridge's client; `events` holds the events as rules receive them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's own name
        for entry in Entries:
            self.events.append(
                {
                    "version": "0",
                    "id": "17793124-05d4-b198-2fde-7ededc63b103",
                    "detail-type": entry["DetailType"],
                    "source": entry["Source"],
                    "account": ACCOUNT,
                    "time": "2026-11-22T18:00:00Z",
                    "region": REGION,
                    "resources": [],
                    "detail": json.loads(entry["Detail"]),
                }
            )
        return {"FailedEntryCount": 0, "Entries": []}


@pytest.fixture
def event() -> dict[str, Any]:
    """Give the event of a published drive whose frames are all verified."""
    pipeline, bus = Pipeline(), Bus()
    assembly = labelled(pipeline, FRAMES).assemble()
    pipeline.publish(pipeline.verify(assembly))
    ((kind, detail),) = pipeline.announcements.published
    AwsAnnouncements(events=cast(Any, bus)).publish(kind, detail)
    return bus.events[0]


def starts(event: dict[str, Any]) -> str:
    """Name the state that the first choice leads to."""
    choice = STATES["EveryFrameLabelled"]
    for one in choice["Choices"]:
        if Evaluation(event, {}, {}).template(one["Condition"]):
            return str(one["Next"])
    return str(choice["Default"])


def request_for(event: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], Evaluation(event, {}, {}).template(STATES["Train"]["Arguments"]))


def test_the_event_of_a_published_drive_matches_the_rule(event: dict[str, Any]) -> None:
    assert PATTERN.matches_event(cast(Any, event))


@pytest.mark.parametrize(
    "change", [{"source": "others"}, {"detail-type": "DriveLost"}, {"detail": {"drive": "held-out"}}]
)
def test_other_events_and_the_validation_drive_do_not_match(event: dict[str, Any], change: dict[str, Any]) -> None:
    assert not PATTERN.matches_event(cast(Any, event | change))


def test_the_rendered_request_is_a_valid_training_job(event: dict[str, Any]) -> None:
    assert starts(event) == "Train"
    request = request_for(event)
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
    )
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert request["RoleArn"] == ROLE
    assert request["Environment"]["FRAMES"] == str(FRAMES)
    train, validation = (channel["DataSource"]["S3DataSource"] for channel in request["InputDataConfig"])
    assert train["S3Uri"] == f"s3://labels/labels/{DRIVE}/0001/dataset.manifest"
    assert validation["S3Uri"] == f"s3://{LABELS}/labels/held-out/0001/dataset.manifest"


def test_channels_read_augmented_manifests_in_pipe_mode(event: dict[str, Any]) -> None:
    """SageMaker reads them in Pipe mode only; RecordIO keeps image and label apart (augmented-manifest-stream)."""
    for channel in request_for(event)["InputDataConfig"]:
        assert (channel["InputMode"], channel["RecordWrapperType"]) == ("Pipe", "RecordIO")
        assert channel["DataSource"]["S3DataSource"]["S3DataType"] == "AugmentedManifestFile"
        assert channel["DataSource"]["S3DataSource"]["AttributeNames"] == ["source-ref", "verified"]


@pytest.mark.parametrize(("verified", "accepted"), [(0, 0), (FRAMES - 1, 0), (1, FRAMES - 2), (0, FRAMES)])
def test_a_dataset_with_unlabelled_lines_is_not_trained_on(event: dict[str, Any], verified: int, accepted: int) -> None:
    event["detail"] |= {"verified": verified, "accepted": accepted}
    assert starts(event) == "NotEveryFrameLabelled"


def test_accepted_frames_are_trained_on_too(event: dict[str, Any]) -> None:
    event["detail"] |= {"verified": 1, "accepted": FRAMES - 1}
    assert starts(event) == "Train"
    assert request_for(event)["Environment"]["FRAMES"] == str(FRAMES)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)


@settings(deadline=None, derandomize=True, database=None)
@given(NAMES, NAMES)
@example("a_b", "a-b")
@example("a" * 63, "a" * 62 + "b")
def test_every_drive_has_a_job_of_its_own(one: str, other: str) -> None:
    def named(drive: str) -> str:
        detail = {"drive": drive, "run": "0001", "dataset": f"s3://b/labels/{drive}/0001/dataset.manifest"}
        return str(Evaluation({"detail": detail}, {}, {}).template(STATES["Train"]["Arguments"]["TrainingJobName"]))

    # The pattern of CreateTrainingJob, which botocore does not check.
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", named(one))
    assert len(named(one)) <= 63
    assert (named(one) == named(other)) == (one == other)
