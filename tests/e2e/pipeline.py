"""The deployed pipeline, with the steps and checks of these tests."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from PIL import Image

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.run_folder import RunFolder
from autolabel_cli.drives.run_progress import RunProgress, RunView
from autolabel_cli.stack import Stack
from local import EmbeddedCloud

START = 1_700_000_000_000_000_000
Value = TypeVar("Value")
# Session name of those whose calls IAM has to refuse.
WANTED_REFUSALS = "wanted-refusals"


def image(width: int = 640, height: int = 360, kind: str = "PNG", **more: Any) -> bytes:
    """A plain picture; its width chooses the answer of the choosy model."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(out, kind, **more)
    return out.getvalue()


def eventually(look: Callable[[], Value | None], what: str, seconds: float = 30) -> Value:
    """Poll `look` until it returns something; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@dataclass(frozen=True)
class Pipeline:
    """A stack deployed in an embedded cloud."""

    cloud: EmbeddedCloud
    stack: Stack
    ops_queue: str

    # `Any`: boto3's client and credentials.
    def client_with(self, service: str, keys: Mapping[str, Any]) -> Any:
        """A client of the cloud with the keys of a user or of a session."""
        return boto3.client(
            service,
            endpoint_url=self.cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
        )

    def put(self, drive: str, name: str, body: bytes) -> str:
        """Put an object into a drive; returns its key."""
        key = f"drives/{drive}/{name}"
        self.stack.ingest.write(key, body, "application/octet-stream")
        return key

    def upload(self, drive: str, frames: Mapping[str, bytes], **document: Any) -> None:
        """Upload frames by their names (`camera/timestamp.ext`) and close the drive."""
        for name, body in frames.items():
            self.put(drive, name, body)
        self.close(drive, **{"cameras": {name.split("/")[0]: {} for name in frames}, **document})

    def close(self, drive: str, **document: Any) -> None:
        self.put(drive, "drive.json", json.dumps({"vehicle": "test", **document}).encode())

    def view(self, drive: str) -> RunView:
        return RunView(self.stack, drive, FIRST_RUN)

    def end(self, drive: str, seconds: float = 90) -> RunProgress:
        """Wait until the drive's execution ends in any way."""
        view = self.view(drive)

        def ended() -> RunProgress | None:
            progress = view.look()
            return progress if progress.ended else None

        return eventually(ended, f"the end of drive {drive}", seconds)

    def succeed(self, drive: str) -> dict[str, Any]:
        """Wait until the drive's execution succeeds; checks the counts and returns the summary."""
        progress = self.end(drive)
        assert progress.status == "SUCCEEDED", progress.failure
        summary = self.summary(drive)
        frames = summary["frames"]
        assert frames["uploaded"] == frames["labelled"] + frames["failed"] + frames["rejected"]
        dataset = self.lines(drive, "dataset.manifest")
        assert len(dataset) == frames["labelled"] + frames["failed"]
        assert len({line["source-ref"] for line in dataset}) == len(dataset)
        return summary

    def summary(self, drive: str) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(self.read(drive, "summary.json"))
        return summary

    def read(self, drive: str, name: str) -> bytes:
        body = self.stack.labels.read(RunFolder(drive, FIRST_RUN).prefix + name)
        assert body is not None, f"the run of {drive} has no {name}"
        return body

    def lines(self, drive: str, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(drive, name).splitlines()]

    def redrive(self, drive: str) -> None:
        arn = self.stack.execution_arn(execution_name(drive, FIRST_RUN))
        self.cloud.client("stepfunctions").redrive_execution(executionArn=arn)

    @contextmanager
    def without_endpoint(self) -> Iterator[None]:
        """Delete the model's endpoint, and create it again after the with statement."""
        sagemaker, name = self.cloud.client("sagemaker"), "choosy"
        config = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
        sagemaker.delete_endpoint(EndpointName=name)
        try:
            yield
        finally:
            eventually(
                lambda: name not in [e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"]],
                "the end of the endpoint",
            )
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
            eventually(
                lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService",
                "the endpoint's return",
            )

    @contextmanager
    def sleeping_endpoint(self) -> Iterator[None]:
        """Let the model's endpoint sleep at the start of the with statement, and keep it awake after the end."""
        self._keep_awake(0)
        eventually(lambda: self.instances() == 0, "the endpoint's sleep")
        try:
            yield
        finally:
            self._keep_awake(1)
            eventually(lambda: self.instances() == 1, "the endpoint's awakening")

    def instances(self) -> int | None:
        """The number of instances of the model's endpoint; None while it changes."""
        endpoint = self.cloud.client("sagemaker").describe_endpoint(EndpointName="choosy")
        in_service = endpoint["EndpointStatus"] == "InService"
        return int(endpoint["ProductionVariants"][0]["CurrentInstanceCount"]) if in_service else None

    def _keep_awake(self, instances: int) -> None:
        self.cloud.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId="endpoint/choosy/variant/all",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
            MinCapacity=instances,
        )

    def call(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function by its logical name, such as `SubmitFunction`; returns its answer."""
        functions = self.cloud.client("lambda")
        names = [f["FunctionName"] for f in functions.list_functions()["Functions"]]
        name = next(name for name in names if f"-{function}-" in name)
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return body

    def refusals(self) -> list[str]:
        """The calls that IAM refused, without those that it has to refuse."""
        lines = self.cloud.log.read_text().splitlines()
        return [line for line in lines if "denied: " in line and f"/{WANTED_REFUSALS}" not in line]

    def told_ops(self, words: str) -> str:
        """Wait for a message to operators that contains these words."""
        sqs = self.cloud.client("sqs")

        def look() -> str | None:
            for message in sqs.receive_message(QueueUrl=self.ops_queue, MaxNumberOfMessages=10).get("Messages", []):
                sqs.delete_message(QueueUrl=self.ops_queue, ReceiptHandle=message["ReceiptHandle"])
                if words in message["Body"]:
                    return str(message["Body"])
            return None

        return eventually(look, f"a message to operators with {words!r}")


def timestamps(count: int) -> list[str]:
    return [str(START + i * 100_000_000) for i in range(count)]
