"""Implements asynchronous endpoints on SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.errors import EndpointUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


# The values of DescribeEndpoint's EndpointStatus with which an endpoint serves; during an update the old instances do.
_SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})


class SageMakerEndpoints:
    """Implements `Endpoints` on SageMaker."""

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
            # The frame is never the cause: the request is checked before it is made. A missing or failed endpoint is a
            # ValidationError, a temporary failure is not.
            gone = isinstance(e, ClientError) and error_code(e).startswith("Validation")
            raise EndpointUnavailable(f"endpoint {endpoint}: {e}", gone=gone) from e
        return response["OutputLocation"]


class SageMakerEndpointStates:
    """Implements `EndpointStates` on SageMaker."""

    def __init__(self, client: SageMakerClient) -> None:
        self._sagemaker = client

    def state(self, endpoint: str) -> str:
        found = self._describe(endpoint)
        if found is None:
            return "missing"
        return "InService" if found["EndpointStatus"] in _SERVING else found["EndpointStatus"]

    def created(self, endpoint: str) -> float:
        found = self._describe(endpoint)
        return found["CreationTime"].timestamp() if found else 0.0

    def _describe(self, endpoint: str) -> DescribeEndpointOutputTypeDef | None:
        try:
            return self._sagemaker.describe_endpoint(EndpointName=endpoint)
        except ClientError as e:
            # SageMaker's code for an endpoint that it cannot find.
            if error_code(e) == "ValidationException":
                return None
            raise
