"""Application Auto Scaling as a record: targets and policies can be declared and described, nothing scales."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

from local.cloud.json_service import JsonService, ServiceError
from local.cloud.settings import ACCOUNT, REGION

Request = dict[str, Any]
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


class ScalingRecords:
    """Scalable targets and scaling policies of one account."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, ...], Request] = {}
        self._policies: dict[tuple[str, ...], Request] = {}
        self._lock = threading.Lock()

    def register_target(self, request: Request) -> Request:
        """Create or change a target."""
        key = _key(request)
        with self._lock:
            known = self._targets.get(key, {"CreationTime": time.time(), "ScalableTargetARN": _arn("scalable-target")})
            if key not in self._targets and not {"MinCapacity", "MaxCapacity"} <= request.keys():
                raise ServiceError("ValidationException", "MinCapacity and MaxCapacity are required for a new target")
            self._targets[key] = known | request
            return {"ScalableTargetARN": known["ScalableTargetARN"]}

    def deregister_target(self, request: Request) -> Request:
        """Forget a target; raises ObjectNotFoundException."""
        with self._lock:
            if self._targets.pop(_key(request), None) is None:
                raise ServiceError("ObjectNotFoundException", f"No scalable target found for {'/'.join(_key(request))}")
        return {}

    def describe_targets(self, request: Request) -> Request:
        """The targets of a namespace, by ResourceIds and ScalableDimension if given."""
        return {"ScalableTargets": self._matching(self._targets, request)}

    def put_policy(self, request: Request) -> str:
        """Create or change a policy of a registered target; returns its ARN."""
        with self._lock:
            if _key(request) not in self._targets:
                raise ServiceError("ObjectNotFoundException", f"No scalable target found for {'/'.join(_key(request))}")
            key = (*_key(request), str(request["PolicyName"]))
            known = self._policies.get(
                key, {"CreationTime": time.time(), "PolicyARN": _arn("scaling-policy"), "Alarms": []}
            )
            self._policies[key] = known | request
            return str(known["PolicyARN"])

    def delete_policy(self, request: Request) -> Request:
        """Forget a policy; raises ObjectNotFoundException."""
        with self._lock:
            if self._policies.pop((*_key(request), str(request["PolicyName"])), None) is None:
                raise ServiceError("ObjectNotFoundException", f"No scaling policy {request['PolicyName']}")
        return {}

    def delete_policy_by_arn(self, arn: str) -> None:
        """Forget a policy, harmless if it is gone."""
        with self._lock:
            self._policies = {key: policy for key, policy in self._policies.items() if policy["PolicyARN"] != arn}

    def describe_policies(self, request: Request) -> Request:
        """The policies of a namespace, by ResourceId and PolicyNames if given."""
        return {"ScalingPolicies": self._matching(self._policies, request)}

    def _matching(self, records: dict[tuple[str, ...], Request], request: Request) -> list[Request]:
        resources = request.get("ResourceIds") or [request[key] for key in ("ResourceId",) if key in request]
        with self._lock:
            return [
                dict(record)
                for record in records.values()
                if record["ServiceNamespace"] == request["ServiceNamespace"]
                and (not resources or record["ResourceId"] in resources)
                and request.get("ScalableDimension") in (None, record["ScalableDimension"])
                and (not request.get("PolicyNames") or record["PolicyName"] in request["PolicyNames"])
            ]


def application_autoscaling_service(records: ScalingRecords) -> JsonService:
    """The service as it answers on the wire."""
    return JsonService(
        {
            "RegisterScalableTarget": records.register_target,
            "DeregisterScalableTarget": records.deregister_target,
            "DescribeScalableTargets": records.describe_targets,
            "PutScalingPolicy": lambda request: {"PolicyARN": records.put_policy(request), "Alarms": []},
            "DeleteScalingPolicy": records.delete_policy,
            "DescribeScalingPolicies": records.describe_policies,
        }
    )


def _key(request: Request) -> tuple[str, ...]:
    return tuple(str(request[part]) for part in _KEY)


def _arn(kind: str) -> str:
    return f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:{kind}/{uuid.uuid4().hex}"
