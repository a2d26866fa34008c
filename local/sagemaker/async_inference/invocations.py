"""Asynchronous invocations as values, read from the headers of InvokeEndpointAsync."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.sagemaker.errors import UnsupportedHere, ValidationFailed
from local.sagemaker.names import S3Uri
from local.sagemaker.shapes import check_request, input_shape

RUNTIME = "sagemaker-runtime"
CODE = "ValidationError"
# botocore sagemaker-runtime, InvokeEndpointAsyncInput: the members' documentation states these defaults.
_DEFAULT_TTL_SECONDS = 21600
_DEFAULT_TIMEOUT_SECONDS = 900
_INLINE_BODY_BYTES = 128_000


@dataclass(frozen=True)
class OutputSettings:
    """Where an endpoint's answers, failures and notifications go (AsyncInferenceConfig.OutputConfig)."""

    output: S3Uri
    failure: S3Uri | None = None
    kms_key: str | None = None
    success_topic: str | None = None
    error_topic: str | None = None
    response_in_success: bool = False
    response_in_error: bool = False

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> OutputSettings:
        """Read an OutputConfig; raises ValidationFailed without a usable S3OutputPath."""
        if "S3OutputPath" not in config:
            raise ValidationFailed("AsyncInferenceConfig.OutputConfig.S3OutputPath is required")
        notifications = config.get("NotificationConfig", {})
        included = notifications.get("IncludeInferenceResponseIn", [])
        try:
            return cls(
                output=S3Uri.parse(config["S3OutputPath"]),
                failure=S3Uri.parse(config["S3FailurePath"]) if "S3FailurePath" in config else None,
                kms_key=config.get("KmsKeyId"),
                success_topic=notifications.get("SuccessTopic"),
                error_topic=notifications.get("ErrorTopic"),
                response_in_success="SUCCESS_NOTIFICATION_TOPIC" in included,
                response_in_error="ERROR_NOTIFICATION_TOPIC" in included,
            )
        except ValueError as e:
            raise ValidationFailed(f"AsyncInferenceConfig.OutputConfig: {e}") from e


@dataclass(frozen=True)
class Invocation:
    """A request in the queue: its input, the place of its answer, and its time limits in seconds."""

    endpoint: str
    inference_id: str
    source: S3Uri | bytes
    settings: OutputSettings
    output: S3Uri
    failure: S3Uri | None
    received: datetime.datetime
    content_type: str | None = None
    accept: str | None = None
    custom_attributes: str | None = None
    ttl_seconds: int = _DEFAULT_TTL_SECONDS
    timeout_seconds: int = _DEFAULT_TIMEOUT_SECONDS

    @property
    def input_location(self) -> str | None:
        """The input object's URI as notifications show it; None for an inline body."""
        return str(self.source) if isinstance(self.source, S3Uri) else None


def read_request(endpoint: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Read the members of InvokeEndpointAsync from its headers (lower-case names) and check them."""
    request: dict[str, Any] = {"EndpointName": endpoint}
    for member, shape in input_shape(RUNTIME, "InvokeEndpointAsync").members.items():
        header = shape.serialization.get("name", "").lower()
        if shape.serialization.get("location") == "header" and header in headers:
            text = headers[header]
            request[member] = _integer(member, text) if shape.type_name == "integer" else text
    if body:
        request["Body"] = body
    check_request(RUNTIME, "InvokeEndpointAsync", request, code=CODE)
    if ("InputLocation" in request) == ("Body" in request):
        raise ValidationFailed("Exactly one of InputLocation and Body must be given", code=CODE)
    if len(body) > _INLINE_BODY_BYTES:
        raise ValidationFailed(
            f"Body has {len(body)} bytes; at most {_INLINE_BODY_BYTES} can be sent inline", code=CODE
        )
    location = request.get("InputLocation", "s3://")
    if not location.startswith("s3://"):
        raise UnsupportedHere(f"InputLocation {location!r}: only s3:// is read", code=CODE)
    return request


def new_invocation(request: Mapping[str, Any], settings: OutputSettings) -> Invocation:
    """Make the invocation of a checked request.

    Each answer without a Filename and each failure gets a new name: InferenceId is neither a key nor a name.
    """
    source: S3Uri | bytes = request.get("Body", b"")
    if "InputLocation" in request:
        source = S3Uri.parse(request["InputLocation"])
    name = request.get("Filename") or f"{uuid.uuid4()}.out"
    return Invocation(
        endpoint=request["EndpointName"],
        inference_id=request.get("InferenceId") or str(uuid.uuid4()),
        source=source,
        settings=settings,
        output=settings.output.below(request.get("S3OutputPathExtension", ""), name),
        failure=settings.failure.below(f"{uuid.uuid4()}-error.out") if settings.failure else None,
        received=datetime.datetime.now(datetime.UTC),
        content_type=request.get("ContentType"),
        accept=request.get("Accept"),
        custom_attributes=request.get("CustomAttributes"),
        ttl_seconds=request.get("RequestTTLSeconds", _DEFAULT_TTL_SECONDS),
        timeout_seconds=request.get("InvocationTimeoutSeconds", _DEFAULT_TIMEOUT_SECONDS),
    )


def _integer(member: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as e:
        raise ValidationFailed(f"{member}: {text!r} is not an integer", code=CODE) from e
