"""Start, end and redrive executions."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from local.cloud.stepfunctions.attempts import TaskTokens
from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled, StateError
from local.cloud.stepfunctions.executions import ENDED_BADLY, Execution, ExecutionStore, Machine, MapRun
from local.cloud.stepfunctions.history import HistoryFull, Trail
from local.cloud.stepfunctions.integrations.clients import RoleClients
from local.cloud.stepfunctions.interpreter import Interpreter
from local.cloud.stepfunctions.limits import encode
from local.cloud.stepfunctions.progress import Progress
from local.cloud.stepfunctions.runtime import Runtime, Strand

REDRIVE_DAYS = 14
"""Time after its end within which an execution can be redriven (Step Functions quotas)."""
_log = logging.getLogger("stepfunctions")


class AlreadyExists(Exception):
    """The name belongs to an execution that has ended or has another input."""


class NotRedrivable(Exception):
    """The execution cannot be redriven; the message gives the reason."""


class Engine:
    """Runs executions on threads of this process.

    Calls `announce` on every change of status, and `count_transition` with the state machine's name on every one.
    """

    def __init__(
        self,
        clients: RoleClients,
        wait_scale: float,
        announce: Callable[[Execution], None],
        count_transition: Callable[[str], None],
    ) -> None:
        self.store = ExecutionStore()
        self.tokens = TaskTokens()
        self._clients = clients
        self._wait_scale = wait_scale
        self._announce = announce
        self._count_transition = count_transition

    def start(self, machine: Machine, name: str, input_text: str) -> Execution:
        """Start an execution, or return the running one of the same name and input; raises AlreadyExists."""
        arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
        data = json.loads(input_text)
        execution, is_new = self.store.add_or_get(
            arn,
            lambda: Execution(arn, name, machine, input_text, data, Progress(machine.definition["StartAt"], data)),
        )
        if not is_new:
            if execution.status != "RUNNING" or execution.input_text != input_text:
                raise AlreadyExists(f"Execution Already Exists: '{arn}'")
            return execution
        self._begin(execution)
        return execution

    def start_anew(self, execution: Execution, machine: Machine) -> None:
        """Run an execution that another process had begun, from its first state; its times and counts stay."""
        execution.machine = machine
        execution.progress = Progress(machine.definition["StartAt"], execution.data)
        self._begin(execution)

    def stop(self, execution: Execution, error: str | None, cause: str | None) -> None:
        """Abort an execution: interrupt its waits, and start no further state."""
        self._end(execution, "ABORTED", Trail(execution.history), error=error, cause=cause)

    def redrive(self, execution: Execution, token: str) -> float:
        """Continue an unsuccessful execution at the state where it ended; return the time of the redrive.

        Raises NotRedrivable. A token redrives only once.
        """
        with execution.lock:
            if token in execution.redrive_tokens:
                return execution.redrive_tokens[token]
            if reason := why_not_redrivable(execution):
                raise NotRedrivable(reason)
            execution.reopen()
            moment = execution.redriven or time.time()
            execution.redrive_tokens[token] = moment
        events = execution.history.events()
        trail = Trail(execution.history, len(events))
        trail.add("ExecutionRedriven", redriveCount=execution.redrives)
        self._launch(execution, trail)
        return moment

    def new_map_run(self, execution: Execution, map_run: MapRun) -> None:
        """Register a map run."""
        self.store.add_map_run(map_run)

    def new_child(self, map_run: MapRun, data: Any, definition: dict[str, Any]) -> Execution:
        """Register a child execution; it begins when it is run."""
        parent = map_run.execution.machine
        machine = Machine(
            f"{parent.arn}/{map_run.label}",
            f"{parent.name}/{map_run.label}",
            parent.role_arn,
            definition,
            encode(definition),
        )
        name = str(uuid.uuid4())
        arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
        child = Execution(
            arn, name, machine, encode(data), data, Progress(definition["StartAt"], data), map_run, begun=False
        )
        return self.store.add_or_get(arn, lambda: child)[0]

    def run_child(self, child: Execution, definition: dict[str, Any], cancellation: Cancellation) -> None:
        """Run a child execution to its end; the outcome is in its status."""
        trail = Trail(child.history, len(child.history.events()))
        if child.begun:
            trail.add("ExecutionRedriven", redriveCount=child.redrives)
        else:
            child.begun, child.started = True, time.time()
            trail.add("ExecutionStarted", input=child.input_text, roleArn=child.machine.role_arn)
        child.cancellation = Cancellation(cancellation)
        try:
            self._run(child, trail)
        finally:
            child.cancellation.detach()
        if child.status == "RUNNING":
            self._end(child, "ABORTED", trail)

    def _begin(self, execution: Execution) -> None:
        trail = Trail(execution.history)
        trail.add("ExecutionStarted", input=execution.input_text, roleArn=execution.machine.role_arn)
        self._launch(execution, trail)

    def _launch(self, execution: Execution, trail: Trail) -> None:
        self._announce(execution)
        threading.Thread(
            target=self._run, args=(execution, trail), name=f"execution-{execution.name}", daemon=True
        ).start()

    def _run(self, execution: Execution, trail: Trail) -> None:
        timer = self._time_limit(execution, trail)
        clients = self._clients.of(execution.machine.role_arn)
        runtime = Runtime(execution, clients, self.tokens, self, self._wait_scale, self._count_transition)
        strand = Strand(execution.progress, trail, execution.cancellation)
        try:
            output = Interpreter(runtime).run(execution.machine.definition, strand)
        except Cancelled:
            return
        except StateError as error:
            self._end(execution, "FAILED", trail, error=error.error, cause=error.cause)
        except HistoryFull:
            cause = "The execution reached the maximum number of history events"
            self._end(execution, "FAILED", trail, error="States.Runtime", cause=cause)
        except Exception as error:
            _log.exception("execution %s", execution.arn)
            self._end(execution, "FAILED", trail, error="States.Runtime", cause=f"{type(error).__name__}: {error}")
        else:
            self._end(execution, "SUCCEEDED", trail, output=output)
        finally:
            if timer is not None:
                timer.cancel()

    def _time_limit(self, execution: Execution, trail: Trail) -> threading.Timer | None:
        seconds = execution.machine.definition.get("TimeoutSeconds")
        if seconds is None or execution.map_run is not None:
            return None
        timer = threading.Timer(seconds, self._end, (execution, "TIMED_OUT", trail.fork()), {"error": "States.Timeout"})
        timer.daemon = True
        timer.start()
        return timer

    def _end(
        self,
        execution: Execution,
        status: str,
        trail: Trail,
        *,
        output: Any = None,
        error: str | None = None,
        cause: str | None = None,
    ) -> None:
        if not execution.finish(status, output=output, error=error, cause=cause):
            return
        reasons = {key: text for key, text in (("error", error), ("cause", cause)) if text is not None}
        if status == "SUCCEEDED":
            trail.add("ExecutionSucceeded", final=True, output=encode(output))
        else:
            kind = {"FAILED": "ExecutionFailed", "ABORTED": "ExecutionAborted", "TIMED_OUT": "ExecutionTimedOut"}
            trail.add(kind[status], final=True, **reasons)
        execution.cancellation.cancel()
        if execution.map_run is None:
            self._announce(execution)


def why_not_redrivable(execution: Execution) -> str | None:
    """Return why an execution cannot be redriven, None if it can."""
    if execution.map_run is not None:
        return "child executions are redriven with their parent in the embedded cloud"
    if execution.status not in ENDED_BADLY:
        return f"Execution is {execution.status} and cannot be redriven"
    if execution.history.full:
        return "Execution history event limit exceeded"
    if execution.stopped is not None and time.time() - execution.stopped > REDRIVE_DAYS * 86400:
        return f"Execution ended more than {REDRIVE_DAYS} days ago"
    return None
