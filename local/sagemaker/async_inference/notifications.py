"""The messages that an asynchronous endpoint publishes, as text.

Shapes: SageMaker's documentation of asynchronous inference, "check prediction results". No full sample of a failure is
published: its shape is as observed.
"""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

from local.sagemaker.async_inference.invocations import Invocation
from local.sagemaker.names import REGION

# Larger responses are not embedded.
EMBEDDED_BYTES = 128 * 1024
TEST = json.dumps({"eventVersion": "1.0", "eventSource": "aws:sagemaker", "eventName": "TestNotification"})


def completed_message(invocation: Invocation, content_type: str, response: bytes | None = None) -> str:
    """Make the success message; `response`: the body that IncludeInferenceResponseIn embeds, None for none."""
    parameters = {"contentType": content_type, "outputLocation": str(invocation.output)}
    message = _message(invocation, "Completed", parameters)
    if response is not None:
        message["responseBody"] = _embedded(base64.b64encode(response).decode(), len(response))
    return json.dumps(message)


def failed_message(
    invocation: Invocation, status: str, reason: str, content_type: str, response: bytes | None = None
) -> str:
    """Make the error message; `status` is Failed or Expired, and `response` is embedded as text."""
    parameters = {"contentType": content_type}
    if invocation.failure:
        parameters["failureLocation"] = str(invocation.failure)
    message = _message(invocation, status, parameters) | {"failureReason": reason}
    if response is not None:
        message["responseBody"] = _embedded(response.decode(errors="replace"), len(response))
    return json.dumps(message)


def _message(invocation: Invocation, status: str, response_parameters: dict[str, str]) -> dict[str, Any]:
    request_parameters = {
        "contentType": invocation.content_type,
        "accept": invocation.accept,
        "endpointName": invocation.endpoint,
        "inputLocation": invocation.input_location,
    }
    return {
        "awsRegion": REGION,
        "eventTime": _timestamp(datetime.datetime.now(datetime.UTC)),
        "receivedTime": _timestamp(invocation.received),
        "invocationStatus": status,
        "requestParameters": {name: value for name, value in request_parameters.items() if value is not None},
        "responseParameters": response_parameters,
        "inferenceId": invocation.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def _embedded(content: str, size: int) -> dict[str, str]:
    if size > EMBEDDED_BYTES:
        return {"message": f"The response exceeds {EMBEDDED_BYTES} bytes and is not included."}
    return {"content": content}


def _timestamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
