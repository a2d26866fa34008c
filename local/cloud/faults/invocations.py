"""Inject faults into functions: killed before or after their work, or with a late result."""

from __future__ import annotations

import re
import threading
import time

from local.cloud.faults.board import FaultBoard
from local.cloud.functions.invocation import Invocation, Outcome, failure
from local.cloud.functions.worker import Worker

_ROOT = re.compile(r"Root=([^;]+)")
_KILLED = failure("Runtime.ExitError", "RequestId: Error: Runtime exited with error: signal: SIGKILL")


class Invocations:
    """Invokes workers, and records which worker serves which trace, so that a call can kill its caller."""

    def __init__(self, board: FaultBoard) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._working: dict[str, Worker] = {}

    def invoke(self, worker: Worker, invocation: Invocation) -> Outcome:
        """Run one invocation with the fault that matches it."""
        fault = self._board.draw("invocation", lambda fault: fault.target in invocation.function_arn)
        kind = fault.kind if fault else ""
        if kind == "kill-before":
            worker.crash()
        trace = _root(invocation.trace_id or "")
        with self._lock:
            self._working[trace] = worker
        try:
            outcome = worker.invoke(invocation)
        finally:
            with self._lock:
                self._working.pop(trace, None)
        if kind == "kill-after":
            worker.crash()
            return Outcome(error=_KILLED, log=outcome.log)
        if kind == "slow" and fault:
            # May be longer than the visibility timeout of its messages.
            time.sleep(fault.seconds)
        return outcome

    def kill_caller(self, trace_header: str) -> bool:
        """Send SIGKILL to the function that made a request with this X-Amzn-Trace-Id; return False if there is none."""
        with self._lock:
            worker = self._working.get(_root(trace_header))
        if worker is None:
            return False
        worker.crash()
        return True


def _root(trace: str) -> str:
    found = _ROOT.search(trace)
    return found[1] if found else trace
