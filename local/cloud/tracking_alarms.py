"""The two CloudWatch alarms that Application Auto Scaling creates for a target tracking policy."""

from __future__ import annotations

import uuid
from typing import Any

from local.cloud import symbols
from local.cloud.json_service import ServiceError
from local.settings import ACCOUNT, REGION

Document = dict[str, Any]
# AWS's values: scale out after three minutes above the target, in after fifteen minutes below nine tenths of it.
_HIGH = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 3}
_LOW = {"ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 15}
_LOW_SHARE = 0.9


def put_tracking_alarms(policy: Document) -> list[Document]:
    """Create the alarms of a policy; return their names and ARNs as DescribeScalingPolicies shows them.

    Raises ServiceError (ValidationException) for a metric that the embedded cloud does not evaluate.
    """
    configuration = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = configuration.get("CustomizedMetricSpecification", {})
    if not {"MetricName", "Namespace", "Statistic"} <= metric.keys():
        raise ServiceError(
            "ValidationException", "The embedded cloud tracks only a customized metric without metric math"
        )
    target = float(configuration["TargetValue"])
    wanted = {"AlarmHigh": _HIGH | {"Threshold": target}}
    if not configuration.get("DisableScaleIn"):
        wanted["AlarmLow"] = _LOW | {"Threshold": target * _LOW_SHARE}
    put = symbols.find("services.cloudwatch", "cloudformation_put_metric_alarm")
    made = []
    for kind, condition in wanted.items():
        name = f"TargetTracking-{policy['ResourceId']}-{kind}-{uuid.uuid4()}"
        alarm: Document = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}",
            "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
            "MetricName": metric["MetricName"],
            "Namespace": metric["Namespace"],
            "Dimensions": metric.get("Dimensions", []),
            "Statistic": metric["Statistic"],
            "Period": 60,
            "TreatMissingData": "missing",
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "ActionsEnabled": True,
            "AlarmActions": [policy["PolicyARN"]],
            **condition,
        }
        put(alarm)
        made.append({"AlarmName": name, "AlarmARN": alarm["AlarmArn"]})
    return made


def delete_alarms(alarms: list[Document]) -> None:
    """Delete a policy's alarms."""
    delete = symbols.find("services.cloudwatch", "cloudformation_delete_metric_alarm")
    for alarm in alarms:
        delete(alarm["AlarmName"])
