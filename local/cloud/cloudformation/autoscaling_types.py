"""AWS::ApplicationAutoScaling::ScalableTarget and ::ScalingPolicy."""

from __future__ import annotations

from local.cloud.application_autoscaling import ScalingRecords
from local.cloud.cloudformation.coercion import coerce, input_shape
from local.cloud.cloudformation.resource_type import Created, Properties, ResourceType, register

_SERVICE = "application-autoscaling"
_TARGET_KEYS = ("ResourceId", "ScalableDimension", "ServiceNamespace")


def register_autoscaling_types(records: ScalingRecords) -> None:
    """Let stacks declare how endpoints scale."""

    def create_target(properties: Properties, default_name: str) -> Created:
        records.register_target(coerce(properties, input_shape(_SERVICE, "RegisterScalableTarget")))
        identifier = "|".join(properties[key] for key in _TARGET_KEYS)
        return identifier, {"Id": identifier}

    def delete_target(identifier: str) -> None:
        records.deregister_target(dict(zip(_TARGET_KEYS, identifier.split("|"), strict=True)))

    def create_policy(properties: Properties, default_name: str) -> Created:
        if target := properties.pop("ScalingTargetId", None):
            properties.update(zip(_TARGET_KEYS, target.split("|"), strict=True))
        arn = str(records.put_policy(coerce(properties, input_shape(_SERVICE, "PutScalingPolicy")))["PolicyARN"])
        return arn, {"Arn": arn, "PolicyName": str(properties["PolicyName"])}

    register(
        ResourceType(
            "AWS::ApplicationAutoScaling::ScalableTarget",
            create=create_target,
            update=lambda identifier, old, new: create_target(new, ""),
            delete=delete_target,
            replacing=_TARGET_KEYS,
        )
    )
    register(
        ResourceType(
            "AWS::ApplicationAutoScaling::ScalingPolicy",
            create=create_policy,
            update=lambda arn, old, new: create_policy(new, ""),
            delete=records.delete_policy_by_arn,
            replacing=("PolicyName", "ScalingTargetId", *_TARGET_KEYS),
        )
    )
