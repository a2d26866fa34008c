"""A function's execution environment: one process that serves one invocation at a time."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.cloud.functions.function_log import FunctionLog
from local.cloud.functions.invocation import Invocation, Outcome, failure, parse_error
from local.cloud.functions.runtime_api import RuntimeApi, RuntimeEvent

INIT_SECONDS = 10
"""Lambda gives the init phase 10 s, then repeats it within the first invocation's timeout (Developer Guide)."""
RESPONSE_LIMIT = 6 * 1024 * 1024
"""Largest response of a synchronous invocation, bytes (Lambda quotas)."""


class InitError(RuntimeError):
    """A function process could not load its handler."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.error))
        self.outcome = outcome


@dataclass(frozen=True)
class WorkerOrder:
    """The parts of a worker; `environment` makes its variables from the Runtime API's address and a private folder."""

    name: str
    handler: str
    code: Path
    timeout: float
    log_file: Path
    temporary: Path
    environment: Callable[[str, Path], dict[str, str]]


class Worker:
    """One live process of one function; for one thread at a time."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._api = RuntimeApi()
        order.temporary.mkdir(parents=True)
        self._process = subprocess.Popen(
            # -S keeps this environment's site-packages away from the function.
            [sys.executable, "-S", "-m", "awslambdaric", order.handler],
            cwd=order.code,
            env=order.environment(self._api.address, order.temporary),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        if self._process.stdout is None:
            raise AssertionError("the worker's output is a pipe")
        # stdout is a pipe, because the process was started with one; Popen's type cannot express it.
        self._log = FunctionLog(self._process.stdout, order.log_file)  # type: ignore[arg-type]
        threading.Thread(target=self._watch, name=f"watch-{order.name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def initialise(self) -> None:
        """Wait until the handler is loaded; raises InitError, and the worker is dead then."""
        allowance = INIT_SECONDS + self._order.timeout
        try:
            event = self._api.events.get(timeout=allowance)
        except queue.Empty:
            self.kill()
            raise InitError(self._timed_out()) from None
        if event.kind == "ready":
            return
        self.kill()
        if event.kind == "init_error":
            raise InitError(Outcome(error=parse_error(event.body), log=self._log.take()))
        raise InitError(self._exited(event))

    def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation; after a timeout or the end of the process the worker is dead."""
        self._api.offer(invocation)
        while True:
            try:
                event = self._api.events.get(timeout=max(0.0, invocation.deadline - time.time()))
            except queue.Empty:
                self.kill()
                return self._timed_out()
            if event.kind == "exited":
                return self._exited(event)
            if event.request_id != invocation.request_id:
                continue
            if event.kind == "error":
                return Outcome(error=parse_error(event.body), log=self._log.take())
            if event.kind == "response":
                return self._response(event.body)

    def crash(self) -> None:
        """Send SIGKILL to the process; an invocation in process learns of its death."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Send SIGKILL to the process and its children, and remove its folder."""
        self.crash()
        self._process.wait()
        self._log.join(1.0)
        self._api.close()
        shutil.rmtree(self._order.temporary, ignore_errors=True)

    def _watch(self) -> None:
        self._api.events.put(RuntimeEvent("exited", body=str(self._process.wait()).encode()))

    def _response(self, body: bytes) -> Outcome:
        log = self._log.take()
        if len(body) > RESPONSE_LIMIT:
            message = f"Response payload size exceeded: {len(body)} bytes, {RESPONSE_LIMIT} are allowed"
            return Outcome(error=failure("Function.ResponseSizeTooLarge", message), log=log)
        return Outcome(result=json.loads(body) if body else None, log=log)

    def _timed_out(self) -> Outcome:
        message = f"Task timed out after {self._order.timeout:.2f} seconds"
        return Outcome(error=failure("Sandbox.Timedout", message), log=self._log.take())

    def _exited(self, event: RuntimeEvent) -> Outcome:
        status = int(event.body)
        how = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self._log.join(1.0)
        return Outcome(
            error=failure("Runtime.ExitError", f"RequestId: Error: Runtime exited with error: {how}"),
            log=self._log.take(),
        )
