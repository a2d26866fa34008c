"""What a stack needs for a load: concurrency of functions, instances of models, dollars, and quotas to request."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from autolabel.models import Catalogue, Model
from autolabel.reporting import Prices, read_prices
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.review_times import ReviewNeed, ReviewTimes, measure_reviews
from autolabel_cli.stack import Stack

# The share of an instance's and a function's time that is planned: loads are not even.
USED = 0.7
# Seconds of a call for each unit or frame: own processor time as make bench and make bench-cost measure it, at the
# function's share of a processor, and its calls to AWS at 20 ms for S3, 30 for SageMaker, 5 for DynamoDB. Submit makes
# eight at a time; collect makes one for 25 units, and some more at a failure.
_SUBMIT, _COLLECT, _LABEL = 0.05, 0.01, 0.025
# Functions that a run calls one at a time: reconcile, plan, link, assemble, verify, publish.
_SINGLE_FUNCTIONS = 6
_MEASURED_DAYS = 14
_HOURS_A_MONTH = 730


class ModelNeed(msgspec.Struct, frozen=True):
    """What a model needs. `seconds`: of one frame in one request; `measured`: whether by CloudWatch.

    `at_once`: requests that an instance processes at the same time. `most`: instances to which the endpoint may grow.
    `dollars`: an hour of all instances; None when the price is unknown.
    """

    model: str
    endpoint: str
    seconds: float
    measured: bool
    at_once: int
    instance: str
    instances: int
    most: int
    dollars: float | None


class Dollars(msgspec.Struct, frozen=True):
    """Dollars an hour under the load; `inference` is None when a price is unknown. `review`: Ground Truth's price.

    The reviewers' pay is not in it.
    """

    inference: float | None
    orchestration: float
    review: float


class Capacity(msgspec.Struct, frozen=True):
    """Needs of a load. `functions`: calls at once. `changes`: of the deployment. `quotas`: to ask for.

    `review`: of reviewers, if the load says how many boxes a frame has.
    """

    frames_per_hour: int
    drives_per_hour: int
    models: tuple[ModelNeed, ...]
    functions: dict[str, int]
    dollars: Dollars
    region: str
    prices: Prices
    changes: tuple[str, ...]
    quotas: tuple[str, ...]
    review: ReviewNeed | None = None


class Load(NamedTuple):
    """A load by the hour. `reviewed`: the share of the frames that reviewers get. `seconds`: of a frame, by model.

    `boxes`: in a frame, None if it does not matter. `times`: of reviewers, None to take those that were measured.
    `wage`: dollars that an hour of a reviewer costs.
    """

    frames: int
    drives: int = 1
    reviewed: float = 1.0
    seconds: Mapping[str, float] = {}
    boxes: float | None = None
    times: ReviewTimes | None = None
    wage: float = 0.0


class Serving(NamedTuple):
    """How an endpoint serves. `at_once`: requests that an instance processes at the same time."""

    variant: str
    instance: str
    at_once: int
    instances: int


def plan_capacity(stack: Stack, load: Load) -> Capacity:
    """Compute what a load needs. CommandError when no model is active, or seconds of models or people are unknown."""
    models = Catalogue(stack.labels.read, time.time).active_models(views=stack.shows_views)
    if not models:
        raise CommandError("no model is active: add one first (autolabel models add)")
    if unknown := set(load.seconds) - {model.name for model in models}:
        raise CommandError(
            f"no active model is named {', '.join(sorted(unknown))}: name one of --seconds MODEL=SECONDS"
        )
    needs = tuple(_model_need(stack, model, load) for model in models)
    functions = _functions(stack, load, len(models))
    prices = read_prices()
    hourly = [need.dollars for need in needs]
    dollars = Dollars(
        None if None in hourly else sum(one for one in hourly if one is not None),
        load.frames * len(models) * prices.orchestration_per_million / 1e6,
        prices.review_dollars(load.frames * load.reviewed * _HOURS_A_MONTH) / _HOURS_A_MONTH,
    )
    region = stack.outputs["StateMachineArn"].split(":")[3]
    changes, quotas = tuple(_changes(stack, needs, functions)), tuple(_quotas(needs, functions))
    return Capacity(
        load.frames, load.drives, needs, functions, dollars, region, prices, changes, quotas, _review_need(stack, load)
    )


def _review_need(stack: Stack, load: Load) -> ReviewNeed | None:
    if load.boxes is None:
        return None
    times = load.times or measure_reviews(stack)
    if times is None:
        raise CommandError(
            "no published run has measured times of reviewers: give --review-seconds FRAME BOX, the seconds of a frame "
            "without boxes and of each box more"
        )
    seconds = times.seconds(load.boxes)
    hours = load.frames * load.reviewed * seconds / 3_600
    return ReviewNeed(load.boxes, times, seconds, hours, math.ceil(hours / USED), hours * load.wage)


def _model_need(stack: Stack, model: Model, load: Load) -> ModelNeed:
    served = serving(stack, model.endpoint)
    given = load.seconds.get(model.name)
    seconds = given or measured_seconds(stack.client("cloudwatch"), model.endpoint, served.variant)
    if not seconds:
        raise CommandError(
            f"CloudWatch has no times of endpoint {model.endpoint} in {_MEASURED_DAYS} days: give --seconds "
            f"{model.name}=SECONDS; autolabel models test {model.name} IMAGE measures them"
        )
    # Of the requests that an instance processes at once, each takes `seconds`.
    instances = math.ceil(load.frames / 3_600 * seconds / served.at_once / USED)
    targets = stack.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{model.endpoint}/variant/{served.variant}"]
    )["ScalableTargets"]
    price = read_prices().instance_hours.get(served.instance)
    return ModelNeed(
        model.id,
        model.endpoint,
        seconds,
        given is None,
        served.at_once,
        served.instance,
        instances,
        targets[0]["MaxCapacity"] if targets else served.instances,
        None if price is None else price * instances,
    )


def serving(stack: Stack, endpoint: str) -> Serving:
    """Describe the first variant of an endpoint. Raises ClientError when the endpoint is gone."""
    sagemaker = stack.client("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName=endpoint)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    (variant, *_) = config["ProductionVariants"]
    client = config.get("AsyncInferenceConfig", {}).get("ClientConfig", {})
    return Serving(
        variant["VariantName"],
        variant.get("InstanceType", ""),
        client.get("MaxConcurrentInvocationsPerInstance", 1),
        variant.get("InitialInstanceCount", 1),
    )


# `Any`: boto3's client.
def measured_seconds(cloudwatch: Any, endpoint: str, variant: str) -> float:
    """Return the mean seconds of a request without its wait in the queue; 0 without datapoints."""
    until = datetime.now(UTC)
    means = dict[str, float]()
    for name in ("TotalProcessingTime", "TimeInBacklog"):
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
            StartTime=until - timedelta(days=_MEASURED_DAYS),
            EndTime=until,
            Period=3_600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        count = sum(point["SampleCount"] for point in points)
        means[name] = sum(point["Sum"] for point in points) / count / 1_000 if count else 0.0
    return max(0.0, means["TotalProcessingTime"] - means["TimeInBacklog"])


def _functions(stack: Stack, load: Load, models: int) -> dict[str, int]:
    each_second = load.frames / 3_600 / USED
    # A drive's shards are labelled together at its end, those of several drives one after the other.
    shards = math.ceil(load.frames / max(1, load.drives) / int(stack.parameters.get("ShardFrames", "500")))
    return {
        "submit": max(2, math.ceil(each_second * models * _SUBMIT)),
        "collect": max(2, math.ceil(each_second * models * _COLLECT)),
        "label": min(shards, max(1, math.ceil(each_second * models * _LABEL))),
        "others": _SINGLE_FUNCTIONS * max(1, load.drives),
    }


def _changes(stack: Stack, needs: tuple[ModelNeed, ...], functions: dict[str, int]) -> Iterator[str]:
    for name, needed in (
        ("QueueConcurrency", max(functions["submit"], functions["collect"])),
        ("ShardConcurrency", functions["label"]),
    ):
        if int(stack.parameters.get(name, "0")) < needed:
            yield f"deploy with {name}={needed} (it is {stack.parameters.get(name, 'unknown')})"
    for need in needs:
        if need.most < need.instances:
            yield f"deploy {need.model} with MaxInstances={need.instances} (it is {need.most})"


def _quotas(needs: tuple[ModelNeed, ...], functions: dict[str, int]) -> Iterator[str]:
    total = sum(functions.values())
    yield f"Lambda, Concurrent executions (L-B99A9384): at least {total:,}"
    kinds = dict[str, int]()
    for need in needs:
        kinds[need.instance] = kinds.get(need.instance, 0) + need.instances
    for kind, count in sorted(kinds.items()):
        yield f"Amazon SageMaker, {kind} for endpoint usage: at least {count}"
