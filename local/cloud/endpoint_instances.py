"""The instances of the stand-in's endpoints, as Application Auto Scaling counts and changes them."""

from __future__ import annotations

import logging

from local.sagemaker import service
from local.sagemaker.errors import SageMakerError

_log = logging.getLogger("embedded-cloud")


class EndpointInstances:
    """Implements `local.cloud.scaling.Instances` on the running stand-in."""

    def count(self, endpoint: str, variant: str) -> int | None:
        try:
            described = service.call("DescribeEndpoint", {"EndpointName": endpoint})
        except SageMakerError:
            return None
        if described["EndpointStatus"] != "InService":
            return None
        counts = {v["VariantName"]: int(v["CurrentInstanceCount"]) for v in described["ProductionVariants"]}
        return counts.get(variant)

    def set(self, endpoint: str, variant: str, count: int) -> None:
        desired = [{"VariantName": variant, "DesiredInstanceCount": count}]
        try:
            service.call(
                "UpdateEndpointWeightsAndCapacities",
                {"EndpointName": endpoint, "DesiredWeightsAndCapacities": desired},
            )
        except SageMakerError as error:
            # The endpoint is being updated or deleted right now; if the alarm lasts, the next try follows.
            _log.warning("endpoint %s was not scaled to %d instances: %s", endpoint, count, error)
