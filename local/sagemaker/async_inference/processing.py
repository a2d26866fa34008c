"""Process one asynchronous invocation: input from S3, the container's answer, output to S3, a notification.

Like SageMaker, this does not retry a request that a container refused.
"""

from __future__ import annotations

import http.client
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from local.sagemaker.async_inference.backlog import Queued
from local.sagemaker.async_inference.invocations import Invocation
from local.sagemaker.async_inference.metrics import EndpointMetrics
from local.sagemaker.async_inference.notifications import EMBEDDED_BYTES, completed_message, failed_message
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import Access, PublishError, StorageError, StoredObject

_log = logging.getLogger(__name__)
_CHUNK = 1 << 18
# Larger answers wait for their upload on disk, not in memory.
_SPOOL_BYTES = 1 << 20
# Quota of asynchronous inference: payloads of at most 1 GB.
_PAYLOAD_BYTES = 1 << 30
_JSON = "application/json"


class NotDelivered(Exception):
    """The model server did not accept the connection: the request was not sent."""


class Abandoned(Exception):
    """The endpoint was deleted while the container worked: no notification is sent."""


class _Failure(Exception):
    """The invocation failed: the reason for the notification, and the container's answer."""

    def __init__(self, reason: str, body: bytes | None = None, content_type: str = _JSON) -> None:
        super().__init__(reason)
        self.reason = reason
        self.body = reason.encode() if body is None else body
        self.content_type = content_type


class Server(Protocol):
    """The part of a model server on loopback that an invocation uses."""

    name: str
    port: int
    # True when the server was ended for good.
    abandoned: bool

    def mark_unhealthy(self) -> None:
        """Send no further request until a health check passes."""


@dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    size: int


def process(queued: Queued, server: Server, access: Access, metrics: EndpointMetrics) -> None:
    """Process an invocation up to its notification, with the rights of `access`.

    Raises NotDelivered when the server does not accept the connection, Abandoned when the endpoint is deleted.
    """
    invocation = queued.invocation
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        try:
            answer = _invoke(invocation, server, access, spool, metrics)
            _upload(invocation, answer, spool, access, metrics)
        except _Failure as failure:
            metrics.count("InvocationFailures")
            _report_failure(invocation, "Failed", failure, access, metrics)
        else:
            _report_success(invocation, answer, spool, access, metrics)
    metrics.count("InvocationsProcesssed")


def expire(queued: Queued, access: Access, metrics: EndpointMetrics) -> None:
    """Report a request that expired in the queue."""
    metrics.count("ExpiredRequests")
    seconds = queued.invocation.ttl_seconds
    reason = f"ClientError: The request expired after {seconds} seconds in the queue."
    _report_failure(queued.invocation, "Expired", _Failure(reason), access, metrics)


def _invoke(
    invocation: Invocation, server: Server, access: Access, spool: IO[bytes], metrics: EndpointMetrics
) -> _Answer:
    """Send the input to the container and spool its answer; raises _Failure unless its status is 2xx."""
    deadline = time.monotonic() + invocation.timeout_seconds
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        try:
            connection.connect()
        except OSError as e:
            raise NotDelivered(str(e)) from e
        connection.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        headers = _container_headers(invocation)
        if isinstance(invocation.source, S3Uri):
            _send_object(connection, invocation.source, headers, access, metrics)
        else:
            connection.request("POST", "/invocations", invocation.source, headers)
        response = connection.getresponse()
        size = _drain(connection, response, spool, deadline)
        answer = _Answer(response.status, response.headers.get("Content-Type", ""), size)
    except TimeoutError as e:
        metrics.count("Invocation5XXErrors")
        raise _Failure(
            "ClientError: Received server error (0) from model. The invocation timed out after "
            f"{invocation.timeout_seconds} seconds without an answer from the container."
        ) from e
    except (OSError, http.client.HTTPException) as e:
        if server.abandoned:
            raise Abandoned from e
        _log.warning(
            "invocation %s: the model server %s closed the connection: %s", invocation.inference_id, server.name, e
        )
        server.mark_unhealthy()
        metrics.count("Invocation5XXErrors")
        raise _Failure(_refusal("server", 500)) from e
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        side = "client" if 400 <= answer.status < 500 else "server"
        metrics.count("Invocation4XXErrors" if side == "client" else "Invocation5XXErrors")
        spool.seek(0)
        raise _Failure(_refusal(side, answer.status), spool.read(), answer.content_type)
    return answer


def _refusal(side: str, status: int) -> str:
    return (
        f"ClientError: Received {side} error ({status}) from model. "
        "See the SageMaker Endpoint logs in your account for more information."
    )


def _container_headers(invocation: Invocation) -> dict[str, str]:
    headers = {
        "Content-Type": invocation.content_type,
        "Accept": invocation.accept,
        "X-Amzn-SageMaker-Custom-Attributes": invocation.custom_attributes,
        "X-Amzn-SageMaker-Inference-Id": invocation.inference_id,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _send_object(
    connection: http.client.HTTPConnection,
    source: S3Uri,
    headers: dict[str, str],
    access: Access,
    metrics: EndpointMetrics,
) -> None:
    """Stream the input object to the container; raises _Failure when it cannot be read."""
    try:
        stored = access.objects.open(source)
    except StorageError as e:
        metrics.count("RequestDownloadFailures")
        raise _Failure(f"ClientError: Could not download the request payload: {e}") from e
    try:
        if stored.length > _PAYLOAD_BYTES:
            raise _Failure(f"ClientError: The request payload {source} has {stored.length} bytes, more than 1 GB.")
        headers.setdefault("Content-Type", stored.content_type or "application/octet-stream")
        headers["Content-Length"] = str(stored.length)
        connection.request("POST", "/invocations", _blocks(stored, source, metrics), headers)
    finally:
        stored.body.close()


def _blocks(stored: StoredObject, source: S3Uri, metrics: EndpointMetrics) -> Iterator[bytes]:
    """Read the object in large blocks: http.client sends a file-like body in blocks of 8 KiB."""
    while True:
        try:
            block = stored.body.read(_CHUNK)
        except Exception as e:  # An error of S3's transport must not pass for the container's fault.
            metrics.count("RequestDownloadFailures")
            raise _Failure(f"ClientError: Could not download the request payload: {source}: {e}") from e
        if not block:
            return
        yield block


def _drain(
    connection: http.client.HTTPConnection,
    response: http.client.HTTPResponse,
    spool: IO[bytes],
    deadline: float,
) -> int:
    """Copy the answer's body to the spool before the deadline; return its size in bytes."""
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # http.client drops the socket of a response that closes the connection.
        if connection.sock is not None:
            connection.sock.settimeout(left)
        block = response.read1(_CHUNK)
        if not block:
            break
        size += len(block)
        if size > _PAYLOAD_BYTES:
            raise _Failure("ClientError: The response of the container has more than 1 GB.")
        spool.write(block)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return size


def _upload(
    invocation: Invocation, answer: _Answer, spool: IO[bytes], access: Access, metrics: EndpointMetrics
) -> None:
    spool.seek(0)
    body = spool.read() if answer.size <= _SPOOL_BYTES else spool
    try:
        access.objects.write(invocation.output, body, answer.content_type, invocation.settings.kms_key)
    except StorageError as e:
        metrics.count("ResponseUploadFailures")
        raise _Failure(f"ClientError: Could not upload the response: {e}") from e


def _report_success(
    invocation: Invocation, answer: _Answer, spool: IO[bytes], access: Access, metrics: EndpointMetrics
) -> None:
    response = None
    if invocation.settings.response_in_success:
        spool.seek(0)
        response = spool.read(EMBEDDED_BYTES + 1)
    message = completed_message(invocation, answer.content_type, response)
    _publish(invocation.settings.success_topic, message, access, metrics)


def _report_failure(
    invocation: Invocation, status: str, failure: _Failure, access: Access, metrics: EndpointMetrics
) -> None:
    _log.info("invocation %s: %s: %s", invocation.inference_id, status, failure.reason)
    if invocation.failure:
        try:
            access.objects.write(invocation.failure, failure.body, failure.content_type, invocation.settings.kms_key)
        except StorageError as e:
            metrics.count("ResponseUploadFailures")
            _log.error("invocation %s: its failure object could not be written: %s", invocation.inference_id, e)
    response = failure.body if invocation.settings.response_in_error else None
    message = failed_message(invocation, status, failure.reason, failure.content_type, response)
    _publish(invocation.settings.error_topic, message, access, metrics)


def _publish(topic: str | None, message: str, access: Access, metrics: EndpointMetrics) -> None:
    if topic is None:
        return
    try:
        access.topics.publish(topic, message)
    except PublishError as e:
        # As on AWS, the notification is lost; the object in S3 remains.
        metrics.count("NotificationFailures")
        _log.error("%s", e)
