"""The API of Application Auto Scaling: keeps targets and policies, which `scaling` carries out."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from local.cloud.json_service import JsonService, ServiceError
from local.cloud.tracking_alarms import delete_alarms, put_tracking_alarms
from local.settings import ACCOUNT, REGION

Request = dict[str, Any]
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_VARIANT = ("sagemaker", "sagemaker:variant:DesiredInstanceCount")


class ScalingRecords:
    """The scalable targets and scaling policies of one account."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, ...], Request] = {}
        self._policies: dict[tuple[str, ...], Request] = {}
        self._lock = threading.Lock()

    def register_target(self, request: Request) -> Request:
        """Create or change a target; raises ValidationException for anything but an endpoint's variant."""
        key = _key(request)
        namespace, resource, dimension = key
        if (namespace, dimension) != _VARIANT or not re.fullmatch(r"endpoint/[^/]+/variant/[^/]+", resource):
            raise ServiceError("ValidationException", f"{'/'.join(key)} is not supported by the embedded cloud")
        with self._lock:
            known = self._targets.get(key, {"CreationTime": time.time(), "ScalableTargetARN": _arn("scalable-target")})
            if key not in self._targets and not {"MinCapacity", "MaxCapacity"} <= request.keys():
                raise ServiceError("ValidationException", "MinCapacity and MaxCapacity are required for a new target")
            self._targets[key] = known | request
            return {"ScalableTargetARN": known["ScalableTargetARN"]}

    def deregister_target(self, request: Request) -> Request:
        """Delete a target and its policies; raises ObjectNotFoundException."""
        with self._lock:
            if self._targets.pop(_key(request), None) is None:
                raise ServiceError("ObjectNotFoundException", f"No scalable target found for {'/'.join(_key(request))}")
            for key in [key for key in self._policies if key[:-1] == _key(request)]:
                self._forget(key)
        return {}

    def describe_targets(self, request: Request) -> Request:
        """Return the targets of a namespace, filtered by ResourceIds and ScalableDimension."""
        return {"ScalableTargets": self._matching(self._targets, request)}

    def put_policy(self, request: Request) -> Request:
        """Create or change a policy of a registered target; return its ARN and alarms.

        Raises ObjectNotFoundException, and ValidationException for an unsupported policy.
        """
        # The API's default.
        request = {"PolicyType": "StepScaling"} | request
        _refuse_unsupported(request)
        with self._lock:
            if _key(request) not in self._targets:
                raise ServiceError("ObjectNotFoundException", f"No scalable target found for {'/'.join(_key(request))}")
            key = (*_key(request), str(request["PolicyName"]))
            known = self._policies.get(
                key, {"CreationTime": time.time(), "PolicyARN": _arn("scaling-policy"), "Alarms": []}
            )
            policy = known | request
            if policy["PolicyType"] == "TargetTrackingScaling":
                policy["Alarms"] = put_tracking_alarms(policy)
            delete_alarms(known["Alarms"])
            self._policies[key] = policy
            return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}

    def delete_policy(self, request: Request) -> Request:
        """Delete a policy; raises ObjectNotFoundException."""
        with self._lock:
            key = (*_key(request), str(request["PolicyName"]))
            if key not in self._policies:
                raise ServiceError("ObjectNotFoundException", f"No scaling policy {request['PolicyName']}")
            self._forget(key)
        return {}

    def delete_policy_by_arn(self, arn: str) -> None:
        """Delete a policy; has no effect when it does not exist."""
        with self._lock:
            for key in [key for key, policy in self._policies.items() if policy["PolicyARN"] == arn]:
                self._forget(key)

    def targets(self) -> list[Request]:
        """Return all targets."""
        with self._lock:
            return list(self._targets.values())

    def policies_of(self, target: Request) -> list[Request]:
        """Return the policies of a target."""
        with self._lock:
            return [policy for key, policy in self._policies.items() if key[:-1] == _key(target)]

    def _forget(self, key: tuple[str, ...]) -> None:
        delete_alarms(self._policies.pop(key)["Alarms"])

    def describe_policies(self, request: Request) -> Request:
        """Return the policies of a namespace, filtered by ResourceId and PolicyNames."""
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


def application_autoscaling_service(
    records: ScalingRecords, activities: Callable[[], Iterable[Request]]
) -> JsonService:
    """Make the service for the wire; `activities` returns the scaling activities, the latest first."""
    return JsonService(
        {
            "RegisterScalableTarget": records.register_target,
            "DeregisterScalableTarget": records.deregister_target,
            "DescribeScalableTargets": records.describe_targets,
            "PutScalingPolicy": records.put_policy,
            "DeleteScalingPolicy": records.delete_policy,
            "DescribeScalingPolicies": records.describe_policies,
            "DescribeScalingActivities": lambda request: {
                "ScalingActivities": [
                    activity for activity in activities() if request.get("ResourceId") in (None, activity["ResourceId"])
                ]
            },
        }
    )


def _refuse_unsupported(request: Request) -> None:
    """Raise ValidationException for a policy that the embedded cloud cannot carry out."""
    kind = request["PolicyType"]
    step = request.get("StepScalingPolicyConfiguration", {})
    if kind not in ("TargetTrackingScaling", "StepScaling"):
        raise ServiceError("ValidationException", f"PolicyType {kind} is not supported by the embedded cloud")
    if kind == "StepScaling" and step.get("AdjustmentType") not in ("ChangeInCapacity", "ExactCapacity"):
        raise ServiceError(
            "ValidationException", f"AdjustmentType {step.get('AdjustmentType')} is not supported by the embedded cloud"
        )


def _key(request: Request) -> tuple[str, ...]:
    return tuple(str(request[part]) for part in _KEY)


def _arn(kind: str) -> str:
    return f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:{kind}/{uuid.uuid4().hex}"
