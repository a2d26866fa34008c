"""Attempts at a task, each settled once: by its call, by a callback or by a timeout."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled, StateError

TOKEN_PREFIX = base64.b64encode(b"embedded-cloud-task:").decode().rstrip("=")


class Attempt:
    """The outcome of one attempt at a state machine's task; the first to settle it wins."""

    def __init__(self, machine_arn: str) -> None:
        self.machine_arn = machine_arn
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._result: Any = None
        self._error: StateError | None = None
        self._closed = False
        # The event alone does not tell: the end of the execution sets it, too.
        self._answered = False
        self._heartbeat = time.monotonic()

    def succeed(self, result: Any) -> bool:
        """Settle with a result; return False if that comes too late."""
        return self._settle(result, None)

    def fail(self, error: StateError) -> bool:
        """Settle with an error; return False if that comes too late."""
        return self._settle(None, error)

    def beat(self) -> bool:
        """Record a heartbeat; return False if the attempt is over."""
        with self._lock:
            if self._closed:
                return False
            self._heartbeat = time.monotonic()
            return True

    def await_outcome(self, cancellation: Cancellation, *, timeout: float | None, heartbeat: float | None) -> Any:
        """Wait for the result within `timeout` seconds, with at most `heartbeat` seconds between heartbeats.

        Raises the error that settled the attempt, StateError States.Timeout or States.HeartbeatTimeout, or Cancelled.
        The attempt is closed afterwards.
        """
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        # Closed at once: after a stop, no callback finds the token open, even when this thread wakes late.
        cancellation.listen(self.close)
        try:
            while True:
                next_beat = self._heartbeat + heartbeat if heartbeat is not None else float("inf")
                try:
                    if cancellation.wait(self._settled, min(end, next_beat)):
                        return self._outcome()
                except Cancelled:
                    # An answer that was taken before the end counts: a redrive must not ask for it again.
                    if self._answered:
                        return self._outcome()
                    raise
                # A result that comes at the last moment settles the attempt first and counts.
                if time.monotonic() >= end:
                    self.fail(StateError("States.Timeout", f"no result within {timeout:g} s"))
                    return self._outcome()
                if heartbeat is not None and time.monotonic() >= self._heartbeat + heartbeat:
                    self.fail(StateError("States.HeartbeatTimeout", f"no heartbeat within {heartbeat:g} s"))
                    return self._outcome()
        finally:
            cancellation.forget(self.close)
            self.close()

    def close(self) -> None:
        """Accept no outcome any more."""
        with self._lock:
            self._closed = True

    def _settle(self, result: Any, error: StateError | None) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._closed = self._answered = True
            self._result, self._error = result, error
        self._settled.set()
        return True

    def _outcome(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class TaskTokens:
    """All tokens that were issued, and their attempts."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()

    def issue(self, machine_arn: str) -> tuple[str, Attempt]:
        """Return a new token for a new attempt."""
        token = TOKEN_PREFIX + base64.urlsafe_b64encode(uuid.uuid4().bytes + uuid.uuid4().bytes).decode().rstrip("=")
        attempt = Attempt(machine_arn)
        with self._lock:
            self._attempts[token] = attempt
        return token, attempt

    def find(self, token: str) -> Attempt | None:
        """Return the attempt of a token, also of an ended one."""
        with self._lock:
            return self._attempts.get(token)
