"""Asynchronous endpoints in memory."""

from __future__ import annotations

import msgspec

from autolabel.contracts.errors import EndpointUnavailable
from tests.fakes.bucket import FakeBucket


class Invocation(msgspec.Struct, frozen=True):
    """A request that an endpoint accepted."""

    endpoint: str
    input_location: str
    inference_id: str
    output_extension: str
    filename: str
    content_type: str
    accept: str
    ttl: int
    timeout: int
    output_location: str

    @property
    def output_key(self) -> str:
        return self.output_location.split("/", 3)[3]


class FakeEndpoints:
    """`Endpoints` that accepts requests and answers them on demand.

    `honours_names`: whether it uses Filename and S3OutputPathExtension; otherwise it chooses names of its own.
    `available`: set to False to let it throttle. `gone`: set to True to delete it. `created_at`: when it was created.
    """

    def __init__(self, labels: FakeBucket, *, honours_names: bool = True) -> None:
        self._labels = labels
        self.honours_names = honours_names
        self.available = True
        self.gone = False
        self.created_at = 0.0
        self.taken: list[Invocation] = []

    def invoke(
        self,
        *,
        endpoint: str,
        input_location: str,
        inference_id: str,
        output_extension: str,
        filename: str,
        content_type: str,
        accept: str,
        ttl: int,
        timeout: int,
    ) -> str:
        if self.gone:
            raise EndpointUnavailable(f"endpoint {endpoint}: not found", gone=True)
        if not self.available:
            raise EndpointUnavailable(f"endpoint {endpoint}: slow down")
        name = f"{output_extension}/{filename}" if self.honours_names else f"{len(self.taken):08d}.out"
        location = self._labels.uri(f"inference/{name}")
        self.taken.append(
            Invocation(
                endpoint,
                input_location,
                inference_id,
                output_extension,
                filename,
                content_type,
                accept,
                ttl,
                timeout,
                location,
            )
        )
        return location

    def state(self, endpoint: str) -> str:
        return "missing" if self.gone else "InService"

    def created(self, endpoint: str) -> float:
        return 0.0 if self.gone else self.created_at

    def answer(self, invocation: Invocation, body: bytes) -> str:
        """Write an answer to the label bucket; returns the success notification for the caller to deliver or lose."""
        self._labels.write(invocation.output_key, body)
        return success(invocation)


def success(invocation: Invocation) -> str:
    """A success notification as an endpoint sends it."""
    return notification(
        invocation,
        invocationStatus="Completed",
        responseParameters={
            "contentType": "application/json",
            "outputLocation": invocation.output_location,
        },
    )


def failure(invocation: Invocation, *, status: str = "Failed", reason: str = "ClientError: 500 from model") -> str:
    """A failure notification as AWS was observed to send it; its format is not documented."""
    return notification(
        invocation,
        invocationStatus=status,
        failureReason=reason,
        responseParameters={"failureLocation": f"s3://labels/inference-failures/{invocation.filename}"},
    )


def notification(invocation: Invocation, **fields: object) -> str:
    message = {
        "awsRegion": "eu-central-1",
        "eventTime": "2026-01-25T22:46:00.608Z",
        "receivedTime": "2026-01-25T22:46:00.455Z",
        "requestParameters": {
            "contentType": invocation.content_type,
            "endpointName": invocation.endpoint,
            "inputLocation": invocation.input_location,
        },
        "inferenceId": invocation.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
        **fields,
    }
    return msgspec.json.encode(message).decode()
