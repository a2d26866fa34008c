"""Carry out scaling policies: give endpoints the number of instances that active alarms ask for."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

Document = dict[str, Any]
_log = logging.getLogger("embedded-cloud")
# Application Auto Scaling's default for endpoint variants (TargetTrackingScalingPolicyConfiguration.ScaleInCooldown).
_COOLDOWN_SECONDS = 300
# CloudWatch repeats a scaling action every minute while its alarm lasts.
_REPEAT_SECONDS = 60
_KEPT_ACTIVITIES = 100


class Instances(Protocol):
    """The instances of endpoint variants, named as in `endpoint/<name>/variant/<variant>`."""

    def count(self, endpoint: str, variant: str) -> int | None:
        """Count the serving instances; None while they cannot be changed, or without such an endpoint."""

    def set(self, endpoint: str, variant: str, count: int) -> None:
        """Begin to change their number."""


class Declared(Protocol):
    """Targets and policies that were declared to Application Auto Scaling."""

    def targets(self) -> Sequence[Document]:
        """Return the scalable targets."""

    def policies_of(self, target: Document) -> Sequence[Document]:
        """Return the policies of a target."""


@dataclass(frozen=True)
class Proposal:
    """A number of instances; `policy`: the ARN of the policy that asks for it, empty when the target's bounds do."""

    capacity: int
    cause: str
    policy: str = ""


@dataclass(frozen=True)
class _Change:
    """The latest change that a policy made: instances before and after it, and its time on the clock."""

    before: int
    after: int
    done: float


@dataclass(frozen=True)
class _UnderWay:
    proposal: Proposal
    before: int
    activity: Document


class Scaling:
    """Checks the alarms of all targets' policies, and changes one target at most once a minute.

    `in_alarm` returns the alarms in state ALARM, `value` an alarm's metric over its latest period. `scale` is a factor
    on all times. When policies disagree, the larger capacity wins.
    """

    def __init__(
        self,
        declared: Declared,
        instances: Instances,
        *,
        in_alarm: Callable[[], Iterable[Document]],
        value: Callable[[Document], float | None],
        scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.activities: deque[Document] = deque(maxlen=_KEPT_ACTIVITIES)
        self._declared = declared
        self._instances = instances
        self._in_alarm = in_alarm
        self._value = value
        self._scale = scale
        self._clock = clock
        self._under_way: dict[str, _UnderWay] = {}
        self._tried: dict[str, float] = {}
        self._changes: dict[str, _Change] = {}
        self._registered: dict[str, Document] = {}

    def act(self) -> None:
        """Bring every target to the capacity that its policies ask for, as far as cooldowns allow."""
        alarms = [alarm for alarm in self._in_alarm() if alarm.get("ActionsEnabled", True)]
        for target in self._declared.targets():
            self._tend(target, alarms)

    def _tend(self, target: Document, alarms: Sequence[Document]) -> None:
        resource = str(target["ResourceId"])
        _, endpoint, _, variant = resource.split("/")
        current = self._instances.count(endpoint, variant)
        if current is None:
            return
        self._settle(resource, current)
        if self._clock() < self._tried.get(resource, -math.inf) + _REPEAT_SECONDS * self._scale:
            return
        chosen = self._choose(target, alarms, current)
        if chosen is None or chosen.capacity == current:
            return
        self._tried[resource] = self._clock()
        activity = _activity(target, chosen)
        self.activities.appendleft(activity)
        self._under_way[resource] = _UnderWay(chosen, current, activity)
        _log.info("%s: %s %s", resource, activity["Description"], activity["Cause"])
        self._instances.set(endpoint, variant, chosen.capacity)

    def _choose(self, target: Document, alarms: Sequence[Document], current: int) -> Proposal | None:
        """Return the policies' largest proposal within the target's bounds; new bounds apply even without one."""
        proposals = [
            proposal
            for policy in self._declared.policies_of(target)
            for alarm in alarms
            if policy["PolicyARN"] in (alarm.get("AlarmActions") or [])
            and (proposal := self._propose(policy, alarm, current)) is not None
        ]
        if self._registered.get(target["ResourceId"]) is not target:
            self._registered[target["ResourceId"]] = target
            proposals = proposals or [Proposal(current, "minimum or maximum capacity was set")]
        if not proposals:
            return None
        chosen = max(proposals, key=lambda proposal: proposal.capacity)
        bounded = min(max(chosen.capacity, int(target["MinCapacity"])), int(target["MaxCapacity"]))
        return replace(chosen, capacity=bounded)

    def _settle(self, resource: str, current: int) -> None:
        """Begin the cooldown of a change that succeeded; a failed one has none."""
        under_way = self._under_way.pop(resource, None)
        if under_way is None:
            return
        proposal = under_way.proposal
        reached = current == proposal.capacity
        under_way.activity.update(EndTime=time.time(), StatusCode="Successful" if reached else "Failed")
        if reached:
            self._changes[proposal.policy] = _Change(under_way.before, current, self._clock())

    def _propose(self, policy: Document, alarm: Document, current: int) -> Proposal | None:
        """Return a policy's proposal for its active alarm; None when it proposes nothing or its cooldown forbids it."""
        value = self._value(alarm)
        if value is None:
            return None
        last = self._changes.get(policy["PolicyARN"])
        since = math.inf if last is None else (self._clock() - last.done) / self._scale
        # During its cooldown a policy counts its last increase as a part of the next one.
        grew = last is not None and last.before < last.after and since < _cooldown(policy, "ScaleOutCooldown")
        wanted = _wanted(policy, alarm, value, last.before if last is not None and grew else current)
        if wanted is None:
            return None
        cause = f"monitor alarm {alarm['AlarmName']} in state ALARM triggered policy {policy['PolicyName']}"
        # Each direction has its own alarm.
        if not str(alarm["ComparisonOperator"]).startswith("LessThan"):
            return Proposal(max(wanted, current), cause, policy["PolicyARN"])
        shrank = last is not None and last.before > last.after and since < _cooldown(policy, "ScaleInCooldown")
        return None if shrank else Proposal(min(wanted, current), cause, policy["PolicyARN"])


def _wanted(policy: Document, alarm: Document, value: float, base: int) -> int | None:
    if policy["PolicyType"] == "TargetTrackingScaling":
        target = float(policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"])
        # Without instances, the backlog per instance is the whole backlog, as with one instance.
        return math.ceil(max(base, 1) * value / target)
    configuration = policy["StepScalingPolicyConfiguration"]
    beyond = value - float(alarm["Threshold"])
    for step in configuration["StepAdjustments"]:
        lower = step.get("MetricIntervalLowerBound", -math.inf)
        if float(lower) <= beyond < float(step.get("MetricIntervalUpperBound", math.inf)):
            adjustment = int(step["ScalingAdjustment"])
            return adjustment if configuration["AdjustmentType"] == "ExactCapacity" else max(base + adjustment, 0)
    return None


def _cooldown(policy: Document, name: str) -> float:
    if policy["PolicyType"] == "TargetTrackingScaling":
        return float(policy["TargetTrackingScalingPolicyConfiguration"].get(name, _COOLDOWN_SECONDS))
    return float(policy["StepScalingPolicyConfiguration"].get("Cooldown", _COOLDOWN_SECONDS))


def _activity(target: Document, chosen: Proposal) -> Document:
    """Describe a change as DescribeScalingActivities does."""
    return {
        "ActivityId": str(uuid.uuid4()),
        "ServiceNamespace": target["ServiceNamespace"],
        "ResourceId": target["ResourceId"],
        "ScalableDimension": target["ScalableDimension"],
        "Description": f"Setting desired instance count to {chosen.capacity}.",
        "Cause": chosen.cause,
        "StartTime": time.time(),
        "StatusCode": "InProgress",
    }
