"""One model server: a process that obeys SageMaker's container contract on a free loopback port."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[3]
_PING_SECONDS = 2.0
_PING_INTERVAL = 0.05
_GRACE_SECONDS = 1.5
# A server that broke a connection may be busy ending: it gets this long to pass a ping again.
_DOUBT_SECONDS = 5.0
_RESTART_INTERVAL = 1.0


class ModelServerFailed(Exception):
    """A model server did not become healthy; the message says why and where its log is."""


class ModelServer:
    """A model server process.

    `start` must be called from a thread that lives as long as the server may: the process dies with that thread.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, startup_seconds: float
    ) -> None:
        self.name = name
        self.log = log
        self.port = 0
        self.abandoned = False
        self._command = command
        self._startup_seconds = startup_seconds
        self._started = self._patience_ends = 0.0
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._healthy = threading.Event()

    def start(self) -> None:
        """Start the process, its output appended to the log. It is not healthy yet."""
        self._healthy.clear()
        self._started = time.monotonic()
        self._patience_ends = self._started + self._startup_seconds
        self.port = _free_port()
        command = [part.replace("{port}", str(self.port)) for part in self._command]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"--- {self.name}: {' '.join(command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-m", "local.sagemaker.hosting.leash", *command],
                cwd=_PROJECT,
                env={**_base_environment(), **self._environment, "SAGEMAKER_BIND_TO_PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def wait_until_healthy(self, cancelled: threading.Event) -> None:
        """Ping until the server answers 200; raises ModelServerFailed when it ends or its start-up time is over."""
        while not self.check():
            status = self.exit_status()
            if status is not None:
                raise ModelServerFailed(
                    f"The model server {self.name} ended with status {status} before it answered GET /ping. "
                    f"Its log: {self.log}"
                )
            if time.monotonic() > self._patience_ends:
                raise ModelServerFailed(
                    f"The model server {self.name} did not pass the ping health check within "
                    f"{self._startup_seconds:g} seconds. Its log: {self.log}"
                )
            if cancelled.wait(_PING_INTERVAL):
                raise ModelServerFailed(f"The model server {self.name} was stopped before it was healthy.")

    def check(self) -> bool:
        """Ping once, and remember the answer as the server's health."""
        healthy = self.exit_status() is None and _ping(self.port)
        (self._healthy.set if healthy else self._healthy.clear)()
        return healthy

    @property
    def healthy(self) -> bool:
        """The answer of the last check, taken back when the process has ended or an invocation doubted it."""
        return self._healthy.is_set() and self.exit_status() is None

    def doubt(self) -> None:
        """Not healthy until the next check says otherwise."""
        if self._healthy.is_set():
            self._patience_ends = time.monotonic() + _DOUBT_SECONDS
            self._healthy.clear()

    def beyond_hope(self) -> str | None:
        """Check an unhealthy server: why it must be started anew, None if it is well or deserves more time."""
        if self.check():
            return None
        status = self.exit_status()
        now = time.monotonic()
        if status is None:
            return "does not answer GET /ping" if now > self._patience_ends else None
        return f"ended with status {status}" if now > self._started + _RESTART_INTERVAL else None

    def exit_status(self) -> int | None:
        """The process's exit status, None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def abandon(self) -> None:
        """End the server for good: its requests under way have nobody left to answer to."""
        self.abandoned = True
        self.stop()

    def stop(self) -> None:
        """End the process and everything in its group: politely, then by force."""
        self._healthy.clear()
        process = self._process
        if process is None:
            return
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        # Children of the server may have ignored what it obeyed.
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _base_environment() -> dict[str, str]:
    """What a container would find: no credentials, nothing of the launcher's own settings."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {"HOME": "/tmp", "PYTHONUNBUFFERED": "1", **found}  # noqa: S108


def _ping(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PING_SECONDS)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
