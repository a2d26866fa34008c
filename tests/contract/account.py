"""An AWS account by moto in which the functions run with the template's settings and permissions."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.model import OperationModel

from autolabel.aws import clients
from autolabel.aws.bucket import S3Bucket
from autolabel.aws.ledger import DynamoLedger
from autolabel.contracts.drive import Run, parse_drive_document
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.units import Unit
from autolabel.models.catalogue import CATALOGUE_KEY, CatalogueIndex, Model, model_key, parse_model
from tests.contract.conftest import create_bucket, create_table
from tests.contract.template import (
    ACCOUNT,
    CONNECTION,
    INGEST,
    LABELS,
    LEDGER,
    REGION,
    ROOT,
    STATE_MACHINE,
    WITH_LABEL_STUDIO,
    WITHOUT_LABEL_STUDIO,
    allows,
    variables,
)
from tests.fakes.answers import answer
from tests.fakes.images import png_header

FRAME = png_header(640, 360)
FRAME_KEY = "drives/drive-7/front/1700000000000000000.png"
DOCUMENT_KEY = "drives/drive-7/drive.json"
DOCUMENT = b'{"vehicle": "car-1", "cameras": {"front": {"expected_frames": 1}}}\n'
MODEL = parse_model((ROOT / "models" / "yolox-nano.json").read_bytes(), "models/yolox-nano.json")
EVENTS = ROOT / "events"
WEBHOOK_URL = "https://abcdefgh.lambda-url.eu-central-1.on.aws/"

# IAM actions of operations whose names differ from the action's.
ACTIONS = {
    "HeadObject": ["s3:GetObject"],
    "ListObjectsV2": ["s3:ListBucket"],
    "ListMultipartUploads": ["s3:ListBucketMultipartUploads"],
    "CreateMultipartUpload": ["s3:PutObject"],
    "UploadPart": ["s3:PutObject"],
    "CompleteMultipartUpload": ["s3:PutObject"],
    "TransactWriteItems": ["dynamodb:PutItem", "dynamodb:DeleteItem"],
    "SendMessageBatch": ["sqs:SendMessage"],
}
_WITH_DEAD_LETTERS = ("submit", "collect")
QUEUES = ("SubmitQueue", "SubmitDeadLetters", "CollectQueue", "CollectDeadLetters")
PREFIXES = {"stepfunctions": "states", "sagemaker-runtime": "sagemaker"}


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


class Call(msgspec.Struct):
    """One operation that a function called, with its parameters."""

    service: str
    operation: str
    parameters: dict[str, Any]


class Watch:
    """Record the calls of the functions' clients.

    Creating clients takes long, so they are created once for all tests.
    """

    def __init__(self) -> None:
        self.account: Account | None = None
        boto3.setup_default_session()
        clients.client.cache_clear()
        events = boto3.DEFAULT_SESSION.events
        events.register("provide-client-params", self._note)
        for operation in (
            "sagemaker-runtime.InvokeEndpointAsync",
            "sfn.StartExecution",
            "sfn.SendTaskSuccess",
            "sagemaker.DescribeEndpoint",
            "sagemaker.DescribeLabelingJob",
            "sagemaker.StopLabelingJob",
            "events.PutEvents",
            "sns.Publish",
            "secrets-manager.GetSecretValue",
        ):
            events.register(f"before-call.{operation}", self._answer)
        # moto replaces the default session at the next test; these clients stay.
        for service in ("s3", "dynamodb", "sqs", "sns", "stepfunctions", "events", "secretsmanager"):
            clients.client(service)
        clients.client("sagemaker-runtime", attempts=2)
        clients.client("sagemaker")

    def _note(self, params: dict[str, Any], model: OperationModel, **_: Any) -> None:
        if self.account:
            self.account.calls.append(Call(model.service_model.service_name, model.name, dict(params)))

    def _answer(self, model: OperationModel, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        return self.account.answer(model) if self.account else None


@cache
def watch() -> Watch:
    return Watch()


@cache
def unwatched_client(service: str) -> Any:
    """Give a client with which tests prepare and inspect the account. Its calls are not recorded."""
    return boto3.Session().client(service)


class Account:
    """Buckets, ledger, queues and topics under the template's names.

    `calls`: the operations that the last invocation called. `errors`: an error code by the name of the operation that
    fails with it. `label_studio`: the content of Label Studio's secret; empty in a stack without Label Studio.
    `labeling_job`: the description of every labelling job.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls: list[Call] = []
        self.errors: dict[str, str] = {}
        self.label_studio = ""
        self.labeling_job: dict[str, Any] = {}
        s3 = unwatched_client("s3")
        for name in (INGEST, LABELS):
            create_bucket(name, s3)
        self.ingest, self.labels = S3Bucket(s3, INGEST), S3Bucket(s3, LABELS)
        self.ledger = DynamoLedger(create_table(LEDGER, unwatched_client("dynamodb")), LEDGER)
        self.sqs = unwatched_client("sqs")
        self.queues = {name: self.sqs.create_queue(QueueName=name)["QueueUrl"] for name in QUEUES}
        self.queue = self.queues["SubmitQueue"]
        self.ops = unwatched_client("sns").create_topic(Name="OpsTopic")["TopicArn"]
        watch().account = self

    def leave(self) -> None:
        watch().account = None

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [call.parameters for call in self.calls if call.operation == operation]

    def load(self, function: str, **changes: str) -> ModuleType:
        """Import a function's module as Lambda does, with the template's variables in its environment."""
        values = {
            "SUBMIT_QUEUE_URL": self.queue,
            "COLLECT_QUEUE_URL": self.queues["CollectQueue"],
            "DEAD_LETTERS_URL": self.queues[f"{function.capitalize()}DeadLetters"]
            if function in _WITH_DEAD_LETTERS
            else "",
            "OPS_TOPIC_ARN": self.ops,
            "STATE_MACHINE_ARN": STATE_MACHINE,
            "EXTRACT_MACHINE_ARN": STATE_MACHINE,
            "LOGS_QUIET": "3600",
            "LOG_SELECTION": "",
            "INGEST_BUCKET": INGEST,
            "LABEL_BUCKET": LABELS,
            "LEDGER_TABLE": LEDGER,
            "JOB_LABELS": "car,truck,person",
            "PRIVACY": "none",
            "FIRST_WAIT": "10",
            "BURY_AFTER": "10",
            "PARK_AFTER": "6",
            "MAX_ANSWER_WAIT": "86400",
            "MAX_ERRORS": "2",
            "UNSUBMITTED_AFTER": "3600",
            "MAX_SILENCES": "5",
            "FRAMES_PATIENCE": "900",
            "MAX_FAILED_PERCENT": "50",
            "ABANDONED_AFTER": "86400",
            "SWEEP_MINUTES": "15",
            "CANARY_SCHEDULE": "cron(0 3 * * ? *)",
            "SHARD_FRAMES": "500",
            "BACK_END": "ground-truth",
            "PART_FRAMES": "8",
            "CLOUD_TOLERANCE_MS": "60",
            "CUBOID_YAW": "right-handed",
            "WORKTEAM_ARN": "arn:aws:sagemaker:eu-central-1:123456789012:workteam/private-crowd/labellers",
            "REGION": "eu-central-1",
            "LABEL_STUDIO_CONNECTION": CONNECTION if self.label_studio else "",
            "WEBHOOK_URL": WEBHOOK_URL if self.label_studio else "",
            "MAX_JOB_OBJECTS": "100000",
            "STRIP_FRAMES": "500",
            **changes,
        }
        for name in variables(function):
            if not name.startswith("POWERTOOLS_"):
                self._monkeypatch.setenv(name, values[name])
        return load_module(ROOT / "functions" / function / "app.py")

    def invoke(self, function: str, event: dict[str, Any], **changes: str) -> dict[str, Any]:
        """Invoke a function, and check that the template allows every call that it made."""
        module = self.load(function, **changes)
        self.calls.clear()
        result: dict[str, Any] = module.handler(json.loads(json.dumps(event)), context())
        holding = (WITH_LABEL_STUDIO if self.label_studio else WITHOUT_LABEL_STUDIO) | {"HasCanary"}
        for call in self.calls:
            for action, resource in needed(call):
                assert allows(function, action, resource, holding), f"{function} may not {action} on {resource}"
        json.dumps(result)
        return result

    def add_model(self, model: Model = MODEL) -> None:
        self.labels.write(model_key(model.id), msgspec.json.encode(model))
        index = CatalogueIndex({model.name: model.revision}, (model.name,))
        self.labels.write(CATALOGUE_KEY, msgspec.json.encode(index))

    def add_frame(self) -> Unit:
        self.ingest.write(FRAME_KEY, FRAME)
        (thing,) = self.ingest.list(FRAME_KEY)
        return Unit.of(parse_frame_key(FRAME_KEY), thing.etag, MODEL.id)

    def add_run(self, body: bytes = DOCUMENT, **changes: Any) -> Run:
        """Add a closed drive of one frame. `body`: its drive.json; `changes`: fields of the run."""
        self.add_model()
        self.add_frame()
        self.ingest.write(DOCUMENT_KEY, body)
        document = parse_drive_document(body, DOCUMENT_KEY)
        run = Run("drive-7", "0001", document, "e", (MODEL.id,), "2026.1", ("car", "truck", "person"))
        return self.ledger.allocate_run(msgspec.structs.replace(run, **changes))

    def add_answer(self) -> None:
        self.labels.write(self.add_frame().answer_key(1), answer(labels=("person", "bicycle", "car")))

    def messages(self) -> list[dict[str, Any]]:
        received = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in received.get("Messages", [])]

    def answer(self, model: OperationModel) -> tuple[AWSResponse, dict[str, Any]]:
        """Answer for services that moto lacks, or does not imitate well enough."""
        if code := self.errors.get(model.name):
            error = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            return AWSResponse("", 400, {}, io.BytesIO()), error
        parsed: dict[str, Any] = {"ResponseMetadata": {"HTTPStatusCode": 200}}
        if model.name == "InvokeEndpointAsync":
            asked = self.called("InvokeEndpointAsync")[-1]
            parsed["OutputLocation"] = f"s3://{LABELS}/inference/{asked['S3OutputPathExtension']}/{asked['Filename']}"
        if model.name == "DescribeEndpoint":
            parsed |= {"EndpointStatus": "InService", "CreationTime": datetime.fromtimestamp(0, UTC)}
        if model.name == "DescribeLabelingJob":
            parsed |= self.labeling_job
        if model.name == "GetSecretValue":
            parsed["SecretString"] = self.label_studio
        if model.name == "PutEvents":
            parsed |= {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        return AWSResponse("", 200, {}, io.BytesIO()), parsed


def needed(call: Call) -> list[tuple[str, str]]:
    """List the (action, resource) pairs that IAM requires for a call."""
    parameters = call.parameters
    prefix = PREFIXES.get(call.service, call.service)
    actions = ACTIONS.get(call.operation, [f"{prefix}:{call.operation}"])
    if call.service == "s3":
        bucket = f"arn:aws:s3:::{parameters['Bucket']}"
        found = [
            (action, bucket if action.startswith("s3:ListBucket") else f"{bucket}/{parameters['Key']}")
            for action in actions
        ]
        if call.operation == "UploadPartCopy":
            source = parameters["CopySource"]
            found = [
                ("s3:PutObject", found[0][1]),
                ("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}"),
            ]
        return found
    resource = {
        "dynamodb": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{LEDGER}",
        "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{parameters.get('QueueUrl', '').rpartition('/')[2]}",
        "sns": parameters.get("TopicArn", ""),
        "sagemaker-runtime": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{parameters.get('EndpointName')}",
        "sagemaker": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{_sagemaker_resource(parameters)}",
        "stepfunctions": STATE_MACHINE,
        "secretsmanager": parameters.get("SecretId", ""),
        "events": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
    }[call.service]
    return [(action, resource) for action in actions]


def _sagemaker_resource(parameters: dict[str, Any]) -> str:
    job = parameters.get("LabelingJobName")
    return f"labeling-job/{job}" if job else f"endpoint/{parameters.get('EndpointName')}"


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"functions_{path.parent.name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # msgspec finds a struct's module by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def context() -> SimpleNamespace:
    """Build Lambda's context object."""
    return SimpleNamespace(
        function_name="function",
        memory_limit_in_mb=512,
        invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
        aws_request_id="00000000-0000-0000-0000-000000000000",
        get_remaining_time_in_millis=lambda: 60_000,
    )
