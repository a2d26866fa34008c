"""Asynchronous endpoints on SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.errors import EndpointUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


# Of DescribeEndpoint's EndpointStatus, those in which an endpoint serves; an update goes on beside the old instances.
_SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})


class SageMakerEndpoints:
    """`Endpoints` on SageMaker."""

    def __init__(self, client: SageMakerRuntimeClient) -> None:
        self._runtime = client

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
        try:
            response = self._runtime.invoke_endpoint_async(
                EndpointName=endpoint,
                InputLocation=input_location,
                InferenceId=inference_id,
                S3OutputPathExtension=output_extension,
                Filename=filename,
                ContentType=content_type,
                Accept=accept,
                RequestTTLSeconds=ttl,
                InvocationTimeoutSeconds=timeout,
            )
        except (ClientError, BotoCoreError) as e:
            # None is the frame's fault, since the request is checked before it is made. A missing or failed endpoint is
            # a ValidationError, what passes by itself is not.
            gone = isinstance(e, ClientError) and error_code(e).startswith("Validation")
            raise EndpointUnavailable(f"endpoint {endpoint}: {e}", gone=gone) from e
        return response["OutputLocation"]


class SageMakerEndpointStates:
    """`EndpointStates` on SageMaker."""

    def __init__(self, client: SageMakerClient) -> None:
        self._sagemaker = client

    def state(self, endpoint: str) -> str:
        try:
            status = self._sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]
        except ClientError as e:
            # SageMaker says that it could not find an endpoint under this code.
            if error_code(e) == "ValidationException":
                return "missing"
            raise
        return "InService" if status in _SERVING else status
