"""Run Map states in distributed mode: every item or batch is a child execution of a map run."""

from __future__ import annotations

import time
import uuid
from typing import Any

from local.cloud.stepfunctions.batches import child_inputs
from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled, StateError
from local.cloud.stepfunctions.executions import Execution, MapRun
from local.cloud.stepfunctions.item_reader import read_items
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.map_items import apply_selector, select_items
from local.cloud.stepfunctions.result_writer import map_result
from local.cloud.stepfunctions.runtime import Runtime, Strand
from local.cloud.stepfunctions.strands import run_together


def run_distributed_map(runtime: Runtime, state: dict[str, Any], strand: Strand, evaluation: Evaluation) -> Any:
    """Return the result of the state; a redriven execution continues its map run."""
    map_run = strand.progress.inner
    if map_run is None:
        map_run = _begin(runtime, state, strand, evaluation)
    else:
        map_run.status, map_run.stopped = "RUNNING", None
        map_run.redrives += 1
        map_run.redriven = time.time()
        strand.trail.add("MapRunRedriven", mapRunArn=map_run.arn, redriveCount=map_run.redrives)
    try:
        _run_children(runtime, state, map_run, strand.cancellation)
        if map_run.too_many_failures():
            raise StateError(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )
    except Cancelled:
        _end(map_run, "ABORTED")
        raise
    except StateError as error:
        # The children's results are exported before the state fails, because they are needed most then.
        if "Resource" in state.get("ResultWriter", {}):
            map_result(state["ResultWriter"], map_run, evaluation, runtime.clients)
        _end(map_run, "FAILED")
        strand.trail.add("MapRunFailed", error=error.error, cause=error.cause)
        strand.trail.add("MapStateFailed")
        raise
    result = map_result(state.get("ResultWriter"), map_run, evaluation, runtime.clients)
    _end(map_run, "SUCCEEDED")
    strand.trail.add("MapRunSucceeded")
    strand.trail.add("MapStateSucceeded")
    return result


def _begin(runtime: Runtime, state: dict[str, Any], strand: Strand, evaluation: Evaluation) -> MapRun:
    if "ItemReader" in state:
        items = read_items(state["ItemReader"], evaluation, runtime.clients)
        selected = apply_selector(state, items, evaluation)
    else:
        selected = select_items(state, evaluation)
    inputs = child_inputs(state.get("ItemBatcher"), [item for _, item in selected], evaluation)
    execution = runtime.execution
    label = state.get("Label") or uuid.uuid4().hex
    map_run = MapRun(
        arn=f"{execution.machine.arn.replace(':stateMachine:', ':mapRun:')}/{label}:{uuid.uuid4()}",
        execution=execution,
        label=label,
        max_concurrency=int(evaluation.number("MaxConcurrency", state.get("MaxConcurrency", 0))),
        tolerated_count=_optional(state, "ToleratedFailureCount", evaluation),
        tolerated_percentage=(
            evaluation.number("ToleratedFailurePercentage", state["ToleratedFailurePercentage"], whole=False)
            if "ToleratedFailurePercentage" in state
            else None
        ),
    )
    runtime.children.new_map_run(execution, map_run)
    for data, count in inputs:
        map_run.children.append(runtime.children.new_child(map_run, data, state["ItemProcessor"]))
        map_run.items.append(count)
    strand.progress.inner = map_run
    strand.trail.add("MapStateStarted", length=len(selected))
    strand.trail.add("MapRunStarted", mapRunArn=map_run.arn)
    return map_run


def _run_children(runtime: Runtime, state: dict[str, Any], map_run: MapRun, cancellation: Cancellation) -> None:
    """Run every child that has not succeeded; when too many have failed, the others are aborted."""
    together = Cancellation(cancellation)

    def job(child: Execution) -> Any:
        def run(_: Cancellation) -> None:
            if together.cancelled:
                return
            runtime.children.run_child(child, state["ItemProcessor"], together)
            if map_run.too_many_failures():
                together.cancel()

        return run

    # A child whose history is full cannot go on, and stays failed.
    unfinished = [child for child in map_run.children if child.status != "SUCCEEDED" and not child.history.full]
    for child in unfinished:
        if child.status != "RUNNING":
            child.reopen()
    try:
        run_together([job(child) for child in unfinished], map_run.max_concurrency, cancellation)
    finally:
        together.detach()


def _end(map_run: MapRun, status: str) -> None:
    map_run.status = status
    map_run.stopped = time.time()


def _optional(state: dict[str, Any], field: str, evaluation: Evaluation) -> int | None:
    return int(evaluation.number(field, state[field])) if field in state else None
