"""What `cost` says of a drive: buckets and ledger by moto, executions and endpoints as a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from autolabel.contracts.drive import Lidar
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import VerifyNone
from autolabel.reporting import read_prices
from autolabel.reporting.summary import CuboidCounts, FrameCounts, JobOutcome, Summary
from autolabel.verification.jobs import GROUND_TRUTH, BackEnds
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.drive_cost import CostItem, cost_of
from autolabel_cli.operations.forgetting import FOLDERS
from autolabel_cli.stack import Stack
from tests.contract.template import functions, listed, statements
from tests.contract.test_inspection import MODEL, RUN, States, entered, freeze, stack_of
from tests.fakes.pipeline import WORKTEAM, Pipeline
from tests.unit.pipeline.test_relabelling import labelled as assembled

PRICES = read_prices()


class Runs(States):
    """An execution of four states, with 60 children of two in a map; `gone`: Step Functions has forgotten it."""

    gone = False

    def get_execution_history(self, **given: Any) -> Iterator[dict[str, Any]]:
        if self.gone:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "GetExecutionHistory")
        states = 2 if given["executionArn"].startswith("child") else 4
        yield {"events": [entered("a"), {"type": "TaskStateExited"}] * (states // 2)}
        yield {"events": [entered("b")] * (states - states // 2)}

    def list_map_runs(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"mapRuns": [{"mapRunArn": "map"}]}

    def list_executions(self, **_: Any) -> Iterator[dict[str, Any]]:
        yield {"executions": [{"executionArn": f"child-{number}"} for number in range(60)]}


class Endpoint:
    """Answers as SageMaker and as CloudWatch: two requests at once, half a second each without the queue."""

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        return {"EndpointConfigName": "c"}

    def describe_endpoint_config(self, **_: Any) -> dict[str, Any]:
        client = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2}}
        variant = {"InstanceType": "ml.g4dn.xlarge", "VariantName": "all"}
        return {"ProductionVariants": [variant], "AsyncInferenceConfig": client}

    def get_metric_statistics(self, MetricName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {
            "Datapoints": [
                {"Sum": {"TotalProcessingTime": 3_000, "TimeInBacklog": 1_000}[MetricName] * 2, "SampleCount": 4}
            ]
        }


def labelled(states: States, endpoint: object | None = None) -> Stack:
    """A stack with a drive of ten frames, answered by one model."""
    stack = stack_of(states)
    known = {"sagemaker": endpoint or Endpoint(), "cloudwatch": endpoint or Endpoint()}
    made = Stack(stack.name, stack.outputs, stack.parameters, lambda name: known.get(name) or stack.client(name))
    freeze(made, 10)
    for number in range(10):
        made.ingest.write(f"drives/d1/front/{number:019d}.png", b"x" * 1_000)
        made.labels.write(f"inference/d1/{MODEL}/front/{number:019d}/t-1.out", b"y" * 100)
    return made


def summarise(stack: Stack, run: str = "0001", **more: Any) -> None:
    summary = Summary("d1", run, FrameCounts(10, 10, 0, 0), 0, {}, {}, {}, (MODEL,), "2026.1", ("car",), (), **more)
    stack.labels.write(RunFolder("d1", run).summary, msgspec.json.encode(summary))


def items_of(stack: Stack) -> dict[str, CostItem]:
    return {item.what: item for item in cost_of(stack, "d1").items}


def test_every_service_that_a_function_may_call_has_its_prices() -> None:
    allowed = {action for function in functions() for one in statements(function) for action in listed(one["Action"])}
    assert len(allowed) > 20
    for action in allowed:
        service, _, operation = action.partition(":")
        # The table has botocore's names.
        assert PRICES.dollars({"states": "stepfunctions"}.get(service, service), operation, 1) >= 0


@pytest.mark.usefixtures("aws")
def test_a_drive_costs_its_counts_times_the_prices() -> None:
    stack = labelled(Runs("SUCCEEDED"))
    summarise(stack, verification=(JobOutcome("d1-job", "Completed", 10, verified=10),))
    found, items = cost_of(stack, "d1"), items_of(stack)
    assert items["requests and functions"].dollars == pytest.approx(10 * PRICES.orchestration_per_million / 1e6)
    # Fifty histories are read, the other ten count as their mean.
    transitions = items["state transitions"]
    assert (transitions.quantity, transitions.known) == (4 + 60 * 2, "estimated")
    assert transitions.dollars == pytest.approx(124 * 25e-6)
    inference = items[f"inference of {MODEL}"]
    assert inference.quantity == pytest.approx(10 * 1.0 / 2)
    assert inference.dollars == pytest.approx(5 / 3_600 * 0.736 / 0.7)
    assert items["Ground Truth"].dollars == pytest.approx(10 * 0.08)
    assert items["reviewers"].dollars is None
    stored = {item.what: item for item in found.storage}
    assert stored["frames and logs"].quantity == pytest.approx(10 * 1_000 / 1e9)
    assert stored["inference/"].quantity == pytest.approx(10 * 100 / 1e9)
    assert found.once == pytest.approx(sum(item.dollars or 0 for item in items.values()))
    assert (found.frames, found.unknown) == (10, ("reviewers",))


@pytest.mark.usefixtures("aws")
def test_cuboids_are_counted_where_reviewers_get_nothing_else() -> None:
    stack = labelled(Runs("SUCCEEDED"))
    asked = msgspec.structs.replace(RUN.document, verification=VerifyNone(), cuboids="verify", lidars={"top": Lidar()})
    stack.ledger.allocate_run(msgspec.structs.replace(RUN, run="0002", document=asked))
    stack.labels.write("labels/d1/0002/listing.json", stack.labels.read("labels/d1/0001/listing.json") or b"")
    summarise(stack, "0002", cuboids=CuboidCounts(9, {}, {"person": 9}, frames=7))
    items = items_of(stack)
    assert (items["Ground Truth"].dollars, items["Ground Truth"].known) == (0.0, "counted")
    assert (items["Ground Truth, cuboids"].quantity, items["Ground Truth, cuboids"].dollars) == (7, None)


@pytest.mark.parametrize("back_end", ["ground-truth", "label-studio"])
def test_an_assembled_run_says_the_price_of_its_counts(back_end: str) -> None:
    pipeline = Pipeline()
    pipeline.back_ends = BackEnds(GROUND_TRUTH, WORKTEAM, "eu-central-1", label_studio=True)
    assembly = assembled(pipeline, 4, verification={"policy": "all", "back_end": back_end})
    reviewed = 4 if back_end == "ground-truth" else 0
    assert assembly.dollars == pytest.approx(4 * PRICES.orchestration_per_million / 1e6 + reviewed * 0.08, abs=1e-6)


@pytest.mark.usefixtures("aws")
def test_what_is_not_known_has_no_price() -> None:
    class Gone:
        def describe_endpoint(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeEndpoint")

    states = Runs("RUNNING")
    states.gone = True
    items = items_of(labelled(states, Gone()))
    assert {what for what, item in items.items() if item.dollars is None} == {
        "state transitions",
        f"inference of {MODEL}",
        "Ground Truth",
    }


@pytest.mark.usefixtures("aws")
def test_a_drive_without_a_listing_says_what_to_do() -> None:
    stack = stack_of(Runs("RUNNING"))
    with pytest.raises(CommandError, match="autolabel status d1"):
        cost_of(stack, "d1")
    with pytest.raises(CommandError, match="no run '0007'"):
        cost_of(stack, "d1", "0007")


@pytest.mark.usefixtures("aws")
def test_the_command_names_what_is_estimated_and_the_date_of_its_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = labelled(Runs("SUCCEEDED"))
    monkeypatch.setattr(Stack, "find", lambda name: stack)
    said = CliRunner().invoke(main, ["cost", "d1"]).output
    assert "estimated" in said
    assert f"prices: {PRICES.region}, {PRICES.date}; the stack is in eu-central-1" in said
    document = json.loads(CliRunner().invoke(main, ["cost", "d1", "--json"]).output)
    assert [item["what"] for item in document["storage"]] == ["frames and logs", *(f"{name}/" for name in FOLDERS)]
