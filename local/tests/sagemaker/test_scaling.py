"""The instances that scaling policies ask for, on a simulated clock; conformance/test_scaling.py tests endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from local.cloud.scaling import Scaling

RESOURCE = "endpoint/ep/variant/all"
TRACKING = {
    "PolicyARN": "tracking",
    "PolicyName": "backlog",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 5.0, "ScaleOutCooldown": 300, "ScaleInCooldown": 300},
}
WAKE = {
    "PolicyARN": "wake",
    "PolicyName": "wake",
    "PolicyType": "StepScaling",
    "StepScalingPolicyConfiguration": {
        "AdjustmentType": "ChangeInCapacity",
        "Cooldown": 300,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
    },
}
HIGH = {"AlarmName": "high", "AlarmActions": ["tracking"], "ComparisonOperator": "GreaterThanThreshold", "Threshold": 5}
LOW = {"AlarmName": "low", "AlarmActions": ["tracking"], "ComparisonOperator": "LessThanThreshold", "Threshold": 4.5}
ASLEEP = {
    "AlarmName": "asleep",
    "AlarmActions": ["wake"],
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "Threshold": 1,
}


@dataclass
class World:
    """One endpoint of `count` instances with both policies, the active alarms and their metrics."""

    count: int | None = 0
    smallest: int = 0
    largest: int = 8
    now: float = 0.0
    broken: bool = False
    alarms: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)

    def targets(self) -> list[dict[str, Any]]:
        names = {"ServiceNamespace": "sagemaker", "ResourceId": RESOURCE, "ScalableDimension": "count"}
        if not self.declared or self.declared["MinCapacity"] != self.smallest:
            self.declared = {**names, "MinCapacity": self.smallest, "MaxCapacity": self.largest}
        return [self.declared]

    def policies_of(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        return [TRACKING, WAKE]

    def alarm(self, **values: float) -> None:
        """Activate these alarms, with these values of their metrics."""
        known = {alarm["AlarmName"]: alarm for alarm in (HIGH, LOW, ASLEEP)}
        self.alarms, self.values = [known[str(name)] for name in values], values


class Instances:
    def __init__(self, world: World) -> None:
        self._world = world

    def count(self, endpoint: str, variant: str) -> int | None:
        assert (endpoint, variant) == ("ep", "all")
        return self._world.count

    def set(self, endpoint: str, variant: str, count: int) -> None:
        if not self._world.broken:
            self._world.count = count


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def scaling(world: World) -> Scaling:
    return Scaling(
        world,
        Instances(world),
        in_alarm=lambda: world.alarms,
        value=lambda alarm: world.values.get(alarm["AlarmName"]),
        clock=lambda: world.now,
    )


def look(world: World, scaling: Scaling, seconds: float = 0.0) -> int | None:
    """Return the number of instances after another pass, some seconds later."""
    world.now += seconds
    scaling.act()
    return world.count


def test_without_an_alarm_nothing_changes(world: World, scaling: Scaling) -> None:
    assert look(world, scaling) == 0
    assert list(scaling.activities) == []


def test_a_backlog_above_the_target_gets_the_instances_it_needs(world: World, scaling: Scaling) -> None:
    world.alarm(high=23)
    assert look(world, scaling) == 5


def test_no_policy_goes_beyond_the_bounds_of_its_target(world: World, scaling: Scaling) -> None:
    world.alarm(high=1000)
    assert look(world, scaling) == world.largest


def test_bounds_apply_when_declared_but_not_to_manual_changes(world: World, scaling: Scaling) -> None:
    world.smallest = 1
    assert look(world, scaling) == 1
    world.count = 0
    assert look(world, scaling, 100) == 0
    # The bounds apply again when a policy acts.
    world.alarm(low=0)
    assert look(world, scaling, 100) == 1


def test_target_tracking_does_not_wake_for_a_small_backlog(world: World, scaling: Scaling) -> None:
    world.alarm(low=4)
    assert look(world, scaling) == 0
    assert look(world, scaling, 3600) == 0


def test_the_step_policy_wakes_an_endpoint_without_capacity(world: World, scaling: Scaling) -> None:
    world.alarm(low=1, asleep=1)
    assert look(world, scaling) == 1
    assert scaling.activities[0]["Cause"].startswith("monitor alarm asleep in state ALARM triggered policy wake")


def test_when_policies_disagree_the_larger_capacity_wins(world: World, scaling: Scaling) -> None:
    world.alarm(high=12, asleep=1)
    assert look(world, scaling) == 3


def test_a_step_is_not_taken_twice_within_its_cooldown(world: World, scaling: Scaling) -> None:
    world.alarm(asleep=1)
    assert look(world, scaling) == 1
    assert look(world, scaling, 299) == 1
    assert look(world, scaling, 301) == 2


def test_within_the_cooldown_only_the_additional_need_is_added(world: World, scaling: Scaling) -> None:
    world.alarm(high=10)
    assert look(world, scaling) == 2
    # The same backlog; the metric does not yet reflect that two instances share it.
    assert look(world, scaling, 100) == 2
    world.alarm(high=20)
    assert look(world, scaling, 100) == 4


def test_an_idle_endpoint_scales_to_zero(world: World, scaling: Scaling) -> None:
    world.count = 2
    world.alarm(low=0)
    assert look(world, scaling) == 0


def test_one_instance_stays_while_requests_remain(world: World, scaling: Scaling) -> None:
    world.count = 1
    world.alarm(low=0.1)
    assert look(world, scaling) == 1


def test_the_cooldown_delays_scale_in_but_not_scale_out(world: World, scaling: Scaling) -> None:
    world.count = 4
    world.alarm(low=3)
    assert look(world, scaling) == 3
    world.alarm(low=0)
    assert look(world, scaling, 100) == 3
    world.alarm(high=10)
    assert look(world, scaling, 100) == 6


def test_an_endpoint_in_transition_is_left_alone_until_it_is_stable(world: World, scaling: Scaling) -> None:
    world.count = None
    world.alarm(asleep=1)
    assert look(world, scaling) is None
    world.count = 0
    assert look(world, scaling, 1) == 1


def test_a_failed_change_is_retried_after_a_minute_without_cooldown(world: World, scaling: Scaling) -> None:
    world.broken = True
    world.alarm(asleep=1)
    assert look(world, scaling) == 0
    world.broken = False
    assert look(world, scaling, 30) == 0
    assert scaling.activities[0]["StatusCode"] == "Failed"
    assert look(world, scaling, 31) == 1
    assert look(world, scaling, 60) == 1
    assert [activity["StatusCode"] for activity in scaling.activities] == ["Successful", "Failed"]


def test_an_alarm_with_disabled_actions_scales_nothing(world: World, scaling: Scaling) -> None:
    world.alarm(asleep=1)
    world.alarms = [ASLEEP | {"ActionsEnabled": False}]
    assert look(world, scaling) == 0
