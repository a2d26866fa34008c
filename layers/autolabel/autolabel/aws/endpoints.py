"""Asynchronous endpoints on SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.errors import EndpointUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


class SageMakerEndpoints:
    """`autolabel.ports.Endpoints` on SageMaker."""

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
            # Throttled, failing, updating or missing: SageMaker tells them apart by message only, and none is the
            # frame's fault. The request itself is checked before it is made.
            raise EndpointUnavailable(f"endpoint {endpoint}: {e}") from e
        return response["OutputLocation"]
