"""Run Task states: one call of a service, with its time limits and an optional callback."""

from __future__ import annotations

import threading
from typing import Any

from local.cloud.stepfunctions.attempts import Attempt
from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled, StateError
from local.cloud.stepfunctions.integrations.catalogue import Integration, find
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.limits import check_size, encode
from local.cloud.stepfunctions.runtime import Runtime, Strand
from local.settings import REGION


def run_task(runtime: Runtime, state: dict[str, Any], strand: Strand, evaluation: Evaluation) -> Any:
    """Return the result of one attempt at a Task; raises StateError or Cancelled.

    After a timeout or a stop the called service continues in the background, as on AWS, and its result is dropped.
    """
    integration = find(state["Resource"])
    if integration is None:
        raise StateError("States.Runtime", f"{state['Resource']} is not supported by the embedded cloud")
    token, attempt = runtime.tokens.issue(runtime.execution.machine.arn)
    if integration.waits_for_token:
        context = {**evaluation.context, "Task": {"Token": token}}
        evaluation = Evaluation(evaluation.data, context, evaluation.variables)
    arguments = evaluation.template(state["Arguments"]) if "Arguments" in state else evaluation.data
    timeout = _seconds("TimeoutSeconds", state, evaluation)
    heartbeat = _seconds("HeartbeatSeconds", state, evaluation)
    resource: dict[str, Any] = {"resourceType": integration.service, "resource": integration.action}
    limits: dict[str, Any] = {
        name: int(value)
        for name, value in (("timeoutInSeconds", timeout), ("heartbeatInSeconds", heartbeat))
        if value is not None
    }
    parameters = check_size(arguments, f"the arguments of {strand.progress.state}")
    strand.trail.add("TaskScheduled", **resource, region=REGION, parameters=parameters, **limits)
    strand.trail.add("TaskStarted", **resource)
    ending = Cancellation(strand.cancellation)
    trail = strand.trail.fork() if integration.waits_for_token else None
    threading.Thread(
        target=_call, args=(runtime, integration, arguments, attempt, ending, trail, resource), daemon=True
    ).start()
    try:
        result = attempt.await_outcome(strand.cancellation, timeout=timeout, heartbeat=heartbeat)
        text = check_size(result, f"the result of {strand.progress.state}")
    except StateError as error:
        kind = "TaskTimedOut" if error.error in ("States.Timeout", "States.HeartbeatTimeout") else "TaskFailed"
        strand.trail.add(kind, **resource, error=error.error, cause=error.cause)
        raise
    finally:
        ending.cancel()
        ending.detach()
    strand.trail.add("TaskSucceeded", **resource, output=text)
    return result


def _call(
    runtime: Runtime,
    integration: Integration,
    arguments: Any,
    attempt: Attempt,
    ending: Cancellation,
    trail: Any,
    resource: dict[str, str],
) -> None:
    try:
        result = integration.call(runtime.clients, arguments, ending)
    except Cancelled:
        return
    except StateError as error:
        attempt.fail(error)
    except Exception as error:
        attempt.fail(StateError("States.Runtime", f"{type(error).__name__}: {error}"))
    else:
        if trail is None:
            attempt.succeed(result)
        elif not ending.cancelled:
            trail.add("TaskSubmitted", **resource, output=encode(result))


def _seconds(field: str, state: dict[str, Any], evaluation: Evaluation) -> float | None:
    return evaluation.number(field, state[field]) if field in state else None
