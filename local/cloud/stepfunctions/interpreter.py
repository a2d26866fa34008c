"""Run the states of an execution one after the other."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

from local.cloud.stepfunctions import definition as asl
from local.cloud.stepfunctions.distributed_map import run_distributed_map
from local.cloud.stepfunctions.errors import StateError, matches
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.limits import check_size, encode
from local.cloud.stepfunctions.map_items import select_items
from local.cloud.stepfunctions.progress import Progress
from local.cloud.stepfunctions.retries import Retries
from local.cloud.stepfunctions.runtime import Runtime, Strand, iso
from local.cloud.stepfunctions.strands import run_together
from local.cloud.stepfunctions.tasks import run_task

State = dict[str, Any]
Body = Callable[[State, Strand, Evaluation], Any]
Exit = tuple[str | None, Any, dict[str, Any]]
"""The exit of a state: the next state or None, the output, the variables."""
INLINE_CONCURRENCY = 40
"""Concurrent iterations of an inline Map with MaxConcurrency 0 (Step Functions Developer Guide, "Map state modes")."""


class Interpreter:
    """Runs the states of one execution; every strand of it goes through `run`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._bodies: dict[str, Body] = {
            "Task": self._task,
            "Pass": self._pass,
            "Succeed": self._pass,
            "Wait": self._wait,
            "Parallel": self._parallel,
            "Map": self._map,
        }

    def run(self, machine: dict[str, Any], strand: Strand) -> Any:
        """Run from the strand's progress to the end of `machine`; return the output.

        Raises StateError for an error that no state caught, and Cancelled. The progress then stays at that state.
        """
        progress = strand.progress
        while not progress.finished:
            strand.cancellation.check()
            state = machine["States"][progress.state]
            if progress.entered is None:
                strand.trail.add(
                    f"{state['Type']}StateEntered",
                    name=progress.state,
                    input=check_size(progress.data, f"the input of {progress.state}"),
                )
                progress.enter()
                self._count_transition()
            self._run_state(state, strand)
        return progress.output

    def _run_state(self, state: State, strand: Strand) -> None:
        name = strand.progress.state
        kind = state["Type"]
        if kind == "Fail":
            evaluation = self._evaluation(strand)
            raise StateError(
                str(evaluation.template(state.get("Error", ""))), str(evaluation.template(state.get("Cause", "")))
            )
        if kind == "Choice":
            target, output, variables = self._choose(state, strand, self._evaluation(strand))
        else:
            target, output, variables = self._attempt(state, strand, self._bodies[kind])
        text = check_size(output, f"the output of {name}")
        strand.trail.add(f"{kind}StateExited", name=name, output=text)
        strand.progress.advance(target, output, variables)

    def _attempt(self, state: State, strand: Strand, body: Body) -> Exit:
        """Run a state with its retries and catchers; return the next state, the output and the variables."""
        retries = Retries(state.get("Retry", []))
        attempt = 0
        while True:
            evaluation = self._evaluation(strand, attempt)
            try:
                result = body(state, strand, evaluation)
                output = evaluation.template(state["Output"], result=result) if "Output" in state else result
                variables = self._assigned(state, evaluation, result=result)
                return state.get("Next"), output, variables
            except StateError as error:
                delay = retries.delay(error)
                if delay is None:
                    return self._caught(state, evaluation, error)
                # Another attempt restarts a Map or Parallel state from its beginning.
                strand.progress.inner = None
                attempt += 1
                self._count_transition()
                strand.cancellation.sleep(delay * self._runtime.wait_scale)

    def _count_transition(self) -> None:
        self._runtime.count_transition(self._runtime.execution.machine.name)

    def _caught(self, state: State, evaluation: Evaluation, error: StateError) -> Exit:
        shown = {"Error": error.error, "Cause": error.cause}
        for entry in state.get("Catch", []):
            if matches(entry["ErrorEquals"], error.error):
                output = evaluation.template(entry["Output"], error=shown) if "Output" in entry else shown
                return entry["Next"], output, self._assigned(entry, evaluation, error=shown)
        raise error

    def _assigned(self, holder: dict[str, Any], evaluation: Evaluation, **bound: Any) -> dict[str, Any]:
        variables = dict(evaluation.variables)
        for name, value in holder.get("Assign", {}).items():
            variables[name] = evaluation.template(value, **bound)
            check_size(variables[name], f"the variable {name}")
        return variables

    def _evaluation(self, strand: Strand, attempt: int = 0) -> Evaluation:
        return Evaluation(strand.progress.data, self._context(strand, attempt), strand.progress.variables)

    def _context(self, strand: Strand, attempt: int) -> dict[str, Any]:
        execution = self._runtime.execution
        about: dict[str, Any] = {
            "Id": execution.arn,
            "Input": execution.data,
            "Name": execution.name,
            "RoleArn": execution.machine.role_arn,
            "StartTime": iso(execution.started),
            "RedriveCount": execution.redrives,
        }
        if execution.redriven is not None:
            about["RedriveTime"] = iso(execution.redriven)
        context: dict[str, Any] = {
            "Execution": about,
            "StateMachine": {"Id": execution.machine.arn, "Name": execution.machine.name},
            "State": {
                "Name": strand.progress.state,
                "EnteredTime": iso(strand.progress.entered or time.time()),
                "RetryCount": attempt,
            },
        }
        if strand.map_item is not None:
            context["Map"] = {"Item": strand.map_item}
        return context

    # Each of the following methods runs one kind of state and returns its result.

    def _task(self, state: State, strand: Strand, evaluation: Evaluation) -> Any:
        return run_task(self._runtime, state, strand, evaluation)

    def _pass(self, state: State, strand: Strand, evaluation: Evaluation) -> Any:
        return evaluation.data

    def _choose(self, state: State, strand: Strand, evaluation: Evaluation) -> Exit:
        for choice in state["Choices"]:
            verdict = evaluation.template(choice["Condition"])
            if not isinstance(verdict, bool):
                raise StateError("States.QueryEvaluationError", f"Condition must be a boolean, got {encode(verdict)}")
            if verdict:
                return choice["Next"], *self._choice_output(choice, evaluation)
        if "Default" not in state:
            raise StateError(
                "States.NoChoiceMatched", f"{strand.progress.state}: no choice matched, and Default is missing"
            )
        return state["Default"], *self._choice_output(state, evaluation)

    def _choice_output(self, holder: dict[str, Any], evaluation: Evaluation) -> tuple[Any, dict[str, Any]]:
        output = evaluation.template(holder["Output"]) if "Output" in holder else evaluation.data
        return output, self._assigned(holder, evaluation)

    def _wait(self, state: State, strand: Strand, evaluation: Evaluation) -> Any:
        if "Seconds" in state:
            seconds = evaluation.number("Seconds", state["Seconds"])
        else:
            text = evaluation.template(state["Timestamp"])
            try:
                seconds = datetime.datetime.fromisoformat(str(text)).timestamp() - time.time()
            except ValueError as error:
                raise StateError("States.QueryEvaluationError", f"Timestamp: {error}") from error
        strand.cancellation.sleep(max(0.0, seconds) * self._runtime.wait_scale)
        return evaluation.data

    def _parallel(self, state: State, strand: Strand, evaluation: Evaluation) -> Any:
        data = evaluation.template(state["Arguments"]) if "Arguments" in state else evaluation.data
        progress = strand.progress
        if progress.inner is None:
            progress.inner = [
                Progress(branch["StartAt"], data, dict(progress.variables)) for branch in state["Branches"]
            ]
        strand.trail.add("ParallelStateStarted")
        jobs = [
            self._strand_job(branch, inner, strand, strand.map_item)
            for branch, inner in zip(state["Branches"], progress.inner, strict=True)
        ]
        self._together(jobs, 0, strand, "ParallelState")
        return [inner.output for inner in progress.inner]

    def _map(self, state: State, strand: Strand, evaluation: Evaluation) -> Any:
        if asl.is_distributed(state):
            return run_distributed_map(self._runtime, state, strand, evaluation)
        processor = state["ItemProcessor"]
        progress = strand.progress
        if progress.inner is None:
            progress.inner = [
                (item, Progress(processor["StartAt"], selected, dict(progress.variables)))
                for item, selected in select_items(state, evaluation)
            ]
        strand.trail.add("MapStateStarted", length=len(progress.inner))
        jobs = [
            self._strand_job(processor, inner, strand, item, name=progress.state)
            for item, inner in progress.inner
            if not inner.finished
        ]
        limit = int(evaluation.number("MaxConcurrency", state.get("MaxConcurrency", 0)))
        self._together(jobs, limit or INLINE_CONCURRENCY, strand, "MapState")
        return [inner.output for _, inner in progress.inner]

    def _strand_job(
        self,
        machine: dict[str, Any],
        progress: Progress,
        strand: Strand,
        item: dict[str, Any] | None,
        *,
        name: str | None = None,
    ) -> Callable[..., None]:
        def job(cancellation: Any) -> None:
            trail = strand.trail.fork()
            iteration = {"name": name, "index": item["Index"]} if name is not None and item is not None else None
            if iteration:
                trail.add("MapIterationStarted", **iteration)
            try:
                self.run(machine, Strand(progress, trail, cancellation, item))
            except StateError:
                if iteration:
                    trail.add("MapIterationFailed", **iteration)
                raise
            if iteration:
                trail.add("MapIterationSucceeded", **iteration)

        return job

    def _together(self, jobs: list[Callable[..., None]], limit: int, strand: Strand, kind: str) -> None:
        try:
            run_together(jobs, limit, strand.cancellation)
        except StateError:
            strand.trail.add(f"{kind}Failed")
            raise
        strand.trail.add(f"{kind}Succeeded")
