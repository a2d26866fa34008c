"""What a drive cost so far: counts of one run times the price table. Each item says how it is known."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.drive import Run, execution_name
from autolabel.contracts.errors import CatalogueUnavailable
from autolabel.contracts.frames import drive_prefix
from autolabel.contracts.units import answers_prefix
from autolabel.contracts.verification import VerifyNone
from autolabel.drives import frozen_listing
from autolabel.models import Catalogue
from autolabel.reporting import Prices, Summary, read_prices
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.capacity import USED, measured_seconds, serving
from autolabel_cli.operations.forgetting import FOLDERS
from autolabel_cli.stack import Stack

# Histories that are read of one map's child executions; the others count as their mean.
_HISTORIES = 50
_GIGABYTE = 1e9


class CostItem(msgspec.Struct, frozen=True):
    """One part of the cost. `known`: `estimated` when the quantity or the price of a piece is. `dollars`: None when
    unknown, or not AWS's to bill; `note` says why, and what the number stands on."""

    what: str
    quantity: float
    unit: str
    known: Literal["counted", "estimated"]
    dollars: float | None
    note: str = ""


class DriveCost(msgspec.Struct, frozen=True):
    """The cost of a drive with one run. `once`, `monthly`: sums of the items whose dollars are known."""

    drive: str
    run: str
    frames: int
    items: tuple[CostItem, ...]
    storage: tuple[CostItem, ...]
    once: float
    monthly: float
    unknown: tuple[str, ...]
    region: str
    prices_region: str
    prices_date: str
    prices_source: str


def cost_of(stack: Stack, drive: str, run: str | None = None) -> DriveCost:
    """Price what is known of a drive. CommandError when the drive, the run or its listing is not there."""
    check_drive(stack, drive, run)
    found = stack.ledger.find_run(drive, stack.run_of(drive, run))
    listing = frozen_listing(stack.labels, found.folder) if found else None
    if found is None or listing is None:
        raise CommandError(f"drive {drive!r} has no listing yet: autolabel status {drive} says what it waits for")
    prices = read_prices()
    answers = {model: sum(1 for _ in stack.labels.list(answers_prefix(drive, model))) for model in found.asked}
    body = stack.labels.read(found.folder.summary)
    summary = msgspec.json.decode(body, type=Summary) if body else None
    items = (
        _requests(sum(answers.values()), prices),
        _transitions(stack, found, prices),
        *(_inference(stack, model, count, prices) for model, count in answers.items()),
        *_reviews(stack, found, summary, prices),
    )
    storage = tuple(_storage(stack, drive, prices))
    return DriveCost(
        drive,
        found.run,
        listing.frames,
        items,
        storage,
        sum(item.dollars or 0.0 for item in items),
        sum(item.dollars or 0.0 for item in storage),
        tuple(item.what for item in items if item.dollars is None),
        stack.outputs["StateMachineArn"].split(":")[3],
        prices.region,
        prices.date,
        prices.source,
    )


def _requests(units: int, prices: Prices) -> CostItem:
    rate = prices.orchestration_per_million
    return CostItem(
        "requests and functions",
        units,
        "answers",
        "estimated",
        units * rate / 1e6,
        f"${rate:g} for a million, as make bench-cost measured them",
    )


def _transitions(stack: Stack, run: Run, prices: Prices) -> CostItem:
    states = stack.client("stepfunctions")
    arn = stack.execution_arn(execution_name(run.drive, run.run))
    sampled = False
    try:
        count: float = _entered(states, arn)
        for map_run in _pages(states, "list_map_runs", "mapRuns", executionArn=arn):
            children = _pages(states, "list_executions", "executions", mapRunArn=map_run["mapRunArn"])
            read = [_entered(states, child["executionArn"]) for child in itertools.islice(children, _HISTORIES)]
            others = sum(1 for _ in children)
            sampled = sampled or others > 0
            count += sum(read) + (others * sum(read) / len(read) if others else 0)
    except ClientError as e:
        if error_code(e) != "ExecutionDoesNotExist":
            raise
        note = "Step Functions does not have the execution: it did not start, or ended more than 90 days ago"
        return CostItem("state transitions", 0, "transitions", "estimated", None, note)
    note = f"of each map, executions beyond the first {_HISTORIES} count as their mean; " if sampled else ""
    return CostItem(
        "state transitions",
        round(count),
        "transitions",
        "estimated" if sampled else "counted",
        prices.dollars("stepfunctions", "Transition", count),
        f"{note}without retries",
    )


# `Any`, here and below: boto3's client and its answers.
def _entered(states: Any, arn: str) -> int:
    events = _pages(states, "get_execution_history", "events", executionArn=arn, includeExecutionData=False)
    return sum(1 for event in events if event["type"].endswith("StateEntered"))


def _pages(client: Any, operation: str, field: str, **given: Any) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator(operation).paginate(**given)
    return itertools.chain.from_iterable(page[field] for page in pages)


def _inference(stack: Stack, model: str, answers: int, prices: Prices) -> CostItem:
    what = f"inference of {model}"
    try:
        endpoint = Catalogue(stack.labels.read, time.time).revision(model).endpoint
        served = serving(stack, endpoint)
    except CatalogueUnavailable:
        return CostItem(what, answers, "answers", "counted", None, "the catalogue has no such model any more")
    except ClientError as e:
        return CostItem(what, answers, "answers", "counted", None, f"its endpoint cannot be read: {error_code(e)}")
    seconds = measured_seconds(stack.client("cloudwatch"), endpoint, served.variant)
    hour = prices.instance_hours.get(served.instance)
    if not seconds or hour is None:
        missing = f"price of {served.instance}" if seconds else "times of its endpoint in CloudWatch"
        return CostItem(what, answers, "answers", "counted", None, f"no {missing}")
    used = answers * seconds / served.at_once
    return CostItem(
        what,
        used,
        f"seconds of {served.instance}",
        "estimated",
        used / 3_600 * hour / USED,
        f"{answers:,} answers of {seconds:.3f} s, {served.at_once} at once, an instance that is used to {USED:.0%}",
    )


def _reviews(stack: Stack, run: Run, summary: Summary | None, prices: Prices) -> Iterator[CostItem]:
    back_end = run.document.verification.back_end or stack.parameters.get("VerificationBackEnd", "ground-truth")
    if run.document.verifies_cuboids:
        back_end = "ground-truth"
    scenes = summary.cuboids.frames if summary and summary.cuboids else 0
    frames = sum(job.frames for job in summary.verification) if summary else 0
    if isinstance(run.document.verification, VerifyNone):
        yield CostItem("Ground Truth", 0, "objects", "counted", 0.0, "the policy none gives reviewers no frames")
    elif summary is None or not summary.verification:
        yield CostItem("Ground Truth", 0, "objects", "estimated", None, "no verification has ended yet")
    elif back_end != "ground-truth":
        yield CostItem("Ground Truth", 0, "objects", "counted", 0.0, "reviewers worked in Label Studio")
    elif summary.task == "tracks":
        yield CostItem("Ground Truth", frames, "frames", "counted", None, "the table has no price of its video jobs")
    else:
        note = "as the month's first objects; second looks and further reviewers of a frame are not in it"
        yield CostItem("Ground Truth", frames, "objects", "estimated", prices.review_dollars(frames), note)
    if scenes:
        note = "the table has no price of its jobs of points"
        yield CostItem("Ground Truth, cuboids", scenes, "frames", "counted", None, note)
    if summary is None or not (summary.verification or scenes):
        return
    seconds = summary.agreement.pace.seconds if summary.agreement else None
    hours = seconds.total / 3_600 if seconds else 0.0
    note = f"of {seconds.frames:,} frames; add their pay" if seconds else "the back-end does not report them"
    yield CostItem("reviewers", hours, "hours", "counted", None, note)


def _storage(stack: Stack, drive: str, prices: Prices) -> Iterator[CostItem]:
    for what, bucket, prefix in (
        ("frames and logs", stack.ingest, drive_prefix(drive)),
        *((f"{folder}/", stack.labels, f"{folder}/{drive}/") for folder in FOLDERS),
    ):
        size = sum(thing.size for thing in bucket.list(prefix)) / _GIGABYTE
        note = "present versions, S3 Standard"
        yield CostItem(what, size, "GB", "counted", size * prices.storage_gigabyte_month, note)
