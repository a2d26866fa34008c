"""What `capacity` says of a load: endpoints and metrics as a test says."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import VerifyUncertain
from autolabel.labels.agreement import ClassAgreement
from autolabel.labels.exclusions import Exclusion
from autolabel.reporting import read_prices
from autolabel.triage.hindsight import Reviewed
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.capacity import Capacity, Load, plan_capacity
from autolabel_cli.operations.checks import diagnose
from autolabel_cli.operations.review_times import ReviewTimes, TimedFrame, fit_times
from autolabel_cli.stack import Stack
from tests.contract.test_doctor import OUTPUTS, Aws
from tests.fakes.answers import DETECTOR
from tests.fakes.bucket import FakeBucket
from tests.fakes.evidence import evidence_of

PARAMETERS = {"QueueConcurrency": "20", "ShardConcurrency": "40", "ShardFrames": "500"}


def endpoint(aws: Aws, *, processing: float = 0.0, backlog: float = 0.0, kind: str = "ml.g4dn.xlarge") -> Stack:
    """A stack with one model, four requests at once on an instance; times in seconds, as CloudWatch measured them."""

    def statistics(MetricName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        mean = {"TotalProcessingTime": processing, "TimeInBacklog": backlog}[MetricName]
        points = [{"Sum": 1_000 * mean * count, "SampleCount": count} for count in (10.0, 30.0)]
        return {"Datapoints": points if mean else []}

    client = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4}}
    variant = {"InstanceType": kind, "VariantName": "all"}
    aws.answers["describe_endpoint_config"] = {"ProductionVariants": [variant], "AsyncInferenceConfig": client}
    vars(aws)["get_metric_statistics"] = statistics
    return Stack("autolabel", OUTPUTS, PARAMETERS, lambda service: aws)


def test_instances_follow_from_the_measured_time_without_the_wait() -> None:
    stack = endpoint(Aws(), processing=10.5, backlog=10.0)
    planned = plan_capacity(stack, Load(360_000))
    (need,) = planned.models
    assert (need.seconds, need.measured) == (0.5, True)
    # 100 frames a second take 50 s, 4 at once on an instance that is used to seven tenths.
    assert (need.instances, need.dollars) == (18, pytest.approx(18 * 0.736))
    assert planned.dollars.inference == need.dollars
    assert f"deploy {DETECTOR.id} with MaxInstances=18 (it is 4)" in planned.changes
    assert "Amazon SageMaker, ml.g4dn.xlarge for endpoint usage: at least 18" in planned.quotas


def test_an_unmeasured_model_needs_its_seconds() -> None:
    stack = endpoint(Aws())
    with pytest.raises(CommandError, match=f"give --seconds {DETECTOR.name}=SECONDS"):
        plan_capacity(stack, Load(1_000))
    (need,) = plan_capacity(stack, Load(1_000, seconds={DETECTOR.name: 0.1})).models
    assert (need.seconds, need.measured, need.instances) == (0.1, False, 1)
    with pytest.raises(CommandError, match="no active model is named ghost"):
        plan_capacity(stack, Load(1_000, seconds={"ghost": 0.1}))


def test_the_price_of_an_unknown_instance_is_unknown() -> None:
    planned = plan_capacity(endpoint(Aws(), kind="ml.x9.large"), Load(1_000, seconds={DETECTOR.name: 0.1}))
    assert (planned.models[0].dollars, planned.dollars.inference) == (None, None)


def test_reviews_cost_what_a_month_of_them_costs_on_average() -> None:
    stack, seconds = endpoint(Aws()), {DETECTOR.name: 0.1}
    # 73,000 objects a month: 50,000 at 8 cents, the others at 4.
    planned = plan_capacity(stack, Load(1_000, reviewed=0.1, seconds=seconds))
    assert planned.dollars.review * 730 == pytest.approx(50_000 * 0.08 + 23_000 * 0.04)
    assert plan_capacity(stack, Load(1_000, reviewed=0.0, seconds=seconds)).dollars.review == 0


@given(st.lists(st.integers(1, 10_000_000), min_size=2, max_size=4))
def test_a_larger_load_never_needs_less(loads: list[int]) -> None:
    stack = endpoint(Aws())

    def sizes(planned: Capacity) -> list[float]:
        spent = planned.dollars
        instances = [need.instances for need in planned.models]
        return [*instances, *planned.functions.values(), spent.inference or 0, spent.orchestration, spent.review]

    planned = [sizes(plan_capacity(stack, Load(frames, seconds={DETECTOR.name: 0.2}))) for frames in sorted(loads)]
    for smaller, larger in itertools.pairwise(planned):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))
        assert min(larger) >= 0


def test_the_doctor_compares_the_quotas_with_a_planned_load() -> None:
    stack = endpoint(Aws(), processing=0.5)
    found = diagnose(stack, 0.0, load=Load(3_600_000)).findings
    (quota,) = (one for one in found if "ml.g4dn.xlarge" in one.detail)
    assert (quota.verdict, "may grow to 179 instances" in quota.detail) == ("warning", True)
    assert [one.fix for one in found if "the load needs more" in one.detail][-1].endswith("MaxInstances=179 (it is 4)")


timed = st.builds(TimedFrame, st.integers(0, 40), st.floats(0, 3_600))


@given(st.floats(0, 60), st.floats(0, 20), st.lists(st.integers(0, 40), min_size=2, unique=True))
def test_times_on_a_line_are_found(frame: float, box: float, boxes: list[int]) -> None:
    found = fit_times(TimedFrame(count, frame + box * count) for count in boxes)
    assert found is not None
    assert (found.frame, found.box) == (pytest.approx(frame, abs=0.01), pytest.approx(box, abs=0.01))
    assert (found.frames, found.least, found.most) == (len(boxes), min(boxes), max(boxes))


@given(st.lists(timed, min_size=1))
def test_no_measured_times_lead_to_less_than_no_time(frames: list[TimedFrame]) -> None:
    found = fit_times(frames)
    assert found is not None
    assert min(found.frame, found.box) >= 0
    if found.frame:
        mean_boxes, mean = (sum(of) / len(frames) for of in zip(*frames, strict=True))
        assert found.seconds(mean_boxes) == pytest.approx(mean, abs=0.05)


def test_reviewers_follow_from_measured_times_without_excluded_runs() -> None:
    aws = Aws()
    stack = endpoint(aws, processing=0.5)
    labels = FakeBucket("labels")
    vars(stack)["labels"] = labels
    for key, body in aws.objects.items():
        labels.write(key, body)
    with pytest.raises(CommandError, match="--review-seconds FRAME BOX"):
        plan_capacity(stack, Load(1_000, boxes=3))
    for drive, slow in (("a", 1.0), ("b", 100.0)):
        lines = [
            Reviewed(
                f"{i}",
                "front",
                i,
                "everything",
                verified=True,
                classes={"car": ClassAgreement(kept=i, deleted=7)},
                seconds=slow * (4 + 2 * i),
            )
            for i in range(5)
        ]
        labels.write(RunFolder(drive, "0001").reviewed, b"\n".join(map(msgspec.json.encode, lines)))
        evidence = evidence_of("r", drive, VerifyUncertain(), published="2026-01-01T00:00:00")
        labels.write(RunFolder(drive, "0001").audit, msgspec.json.encode(evidence))
    exclusion = Exclusion("reviewer", "x", "me", "2026-01-01T00:00:00+00:00", runs=("b-0001",))
    labels.write(exclusion.key, msgspec.json.encode(exclusion))
    need = plan_capacity(stack, Load(3_600, reviewed=0.5, boxes=3, wage=20.0)).review
    assert need is not None
    assert (need.times.frame, need.times.box, need.seconds) == (4.0, 2.0, 10.0)
    # 1,800 frames of 10 s are five hours, of reviewers who work for seven tenths of the time.
    assert (need.hours, need.reviewers, need.dollars) == (5.0, 8, 100.0)
    given = plan_capacity(stack, Load(3_600, boxes=3, times=ReviewTimes(1, 1))).review
    assert given is not None
    assert given.seconds == 4


def test_the_command_names_region_and_date_of_its_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = endpoint(Aws(), processing=0.5, backlog=0.1)
    monkeypatch.setattr(Stack, "find", lambda name: stack)
    said = CliRunner().invoke(main, ["capacity", "--frames-per-hour", "36000"]).output
    prices = read_prices()
    assert f"prices: {prices.region}, {prices.date}; the stack is in eu-central-1" in said
    assert date.fromisoformat(prices.date) > date(2026, 1, 1)
    given = ["capacity", "--frames-per-hour", "36000", "--seconds", f"{DETECTOR.name}=0.2", "--json"]
    assert json.loads(CliRunner().invoke(main, given).output)["models"][0]["seconds"] == 0.2
    assert CliRunner().invoke(main, ["capacity", "--frames-per-hour", "1", "--seconds", "fast"]).exit_code == 2
