"""The stand-in without a cloud: fakes for S3, SNS, IAM and events, real stub model servers, real boto3 clients."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from local.sagemaker.in_memory import MemoryEvents, MemoryObjects, MemoryRoles, MemoryTopics
from local.sagemaker.service import Service

STUB = [sys.executable, "-m", "models.servers.stub", "--port", "{port}"]
ROLE = "arn:aws:iam::000000000000:role/endpoints"
SUCCESS = "arn:aws:sns:us-east-1:000000000000:success"
ERROR = "arn:aws:sns:us-east-1:000000000000:error"

_SESSION = boto3.Session(aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1")


@functools.cache
def _client(name: Any) -> Any:
    # The client must not validate: invalid requests have to reach the service's own checks.
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    return _SESSION.client(name, endpoint_url="http://stand-in.invalid", config=config)


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


@dataclass
class StandIn:
    """The service under test, boto3 clients connected to it, and the fakes behind it."""

    service: Service
    objects: MemoryObjects
    topics: MemoryTopics
    events: MemoryEvents
    roles: MemoryRoles
    folder: Path
    sagemaker: Any = field(init=False)
    runtime: Any = field(init=False)

    def __post_init__(self) -> None:
        self.sagemaker = self._client("sagemaker")
        self.runtime = self._client("sagemaker-runtime")

    def _client(self, name: str) -> Any:
        client = _client(name)
        client.meta.events.register("before-send", self._send, unique_id="stand-in")
        return client

    def release_clients(self) -> None:
        """Return the clients, which are slow to make, for the next stand-in."""
        for client in (self.sagemaker, self.runtime):
            client.meta.events.unregister("before-send", unique_id="stand-in")

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        path = request.url.removeprefix("http://stand-in.invalid")
        sent: Any = request.body
        body = sent.read() if hasattr(sent, "read") else sent or b""
        status, answered, content = asyncio.run(
            self.service.handle_request(request.method, path, headers, bytes(body), {})
        )
        response_headers: Any = answered
        return AWSResponse(request.url, status, response_headers, _Raw(content))

    def create_model(self, name: str = "model", image: str = "stub", environment: dict[str, str] | None = None) -> None:
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{image}:1",
                "Environment": environment or {},
            },
        )

    def create_config(self, name: str = "config", model: str = "model", **overrides: Any) -> None:
        output: dict[str, Any] = {
            "S3OutputPath": "s3://labels/out",
            "S3FailurePath": "s3://labels/failed",
            "NotificationConfig": {"SuccessTopic": SUCCESS, "ErrorTopic": ERROR},
        } | overrides.get("output", {})
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "main",
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": overrides.get("instances", 1),
                }
            ],
            AsyncInferenceConfig={
                "OutputConfig": output,
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": overrides.get("concurrency", 4)},
            },
        )

    def create_endpoint(self, environment: dict[str, str] | None = None, **overrides: Any) -> None:
        """Create an endpoint `ep` in service, with a stub that behaves as `environment` says."""
        self.create_model(environment=environment)
        self.create_config(**overrides)
        self.sagemaker.create_endpoint(EndpointName="ep", EndpointConfigName="config")
        assert self.settled("ep")["EndpointStatus"] == "InService"
        self.topics.messages.clear()

    def settled(self, name: str) -> dict[str, Any]:
        """Return the endpoint's description once it is neither Creating nor Updating."""

        def described() -> dict[str, Any]:
            answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            return answer if answer["EndpointStatus"] not in ("Creating", "Updating") else {}

        settled: dict[str, Any] = eventually(described)
        return settled

    def invoke(self, body: bytes = b"image", **members: Any) -> dict[str, Any]:
        """Put an input object and invoke `ep` with it."""
        self.objects.put("s3://drives/in.png", body, "image/png")
        answer: dict[str, Any] = self.runtime.invoke_endpoint_async(
            EndpointName="ep", InputLocation="s3://drives/in.png", **members
        )
        return answer

    def message(self, topic: str, count: int = 1) -> dict[str, Any]:
        """Return the newest message of a topic, once there are `count`."""
        messages = eventually(
            lambda: (found := [m for t, m in self.topics.messages if t == topic]) and len(found) >= count and found
        )
        parsed: dict[str, Any] = json.loads(messages[-1])
        return parsed


def eventually(look: Callable[[], Any], seconds: float = 10) -> Any:
    """Return the first true result of `look`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"nothing came within {seconds} s"
        time.sleep(0.02)
    return seen
