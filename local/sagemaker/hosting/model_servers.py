"""Run one model server: a process that follows SageMaker's container contract on a free loopback port."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.sagemaker.containers import start_container, stop_container

_PING_SECONDS = 2.0
_PING_INTERVAL = 0.05
_GRACE_SECONDS = 1.5
# A server that broke a connection may be about to end: it has this long to pass a ping again.
_RECOVERY_SECONDS = 5.0
_RESTART_INTERVAL = 1.0
# Below the ports that Linux gives out by itself (32768 to 60999): it could give one of those to another program before
# the server has it.
_PORTS = range(20_000, 32_768)
_LOG_BYTES = 4096


class ModelServerFailed(Exception):
    """A model server did not become healthy; the message gives the reason and the log."""


class ModelServer:
    """A model server process.

    Call `start` from a thread that lives as long as the server may: the process dies with that thread.
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
        self._started = self._deadline = 0.0
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._healthy = threading.Event()

    def start(self) -> None:
        """Start the process and append its output to the log. It is not healthy yet."""
        self._healthy.clear()
        self._started = time.monotonic()
        self._deadline = self._started + self._startup_seconds
        self.port = _free_port()
        command = [part.replace("{port}", str(self.port)) for part in self._command]
        environment = {**self._environment, "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        self._process = start_container(self.name, command, environment, self.log)

    def wait_until_healthy(self, cancelled: threading.Event) -> None:
        """Ping until the server answers 200; raises ModelServerFailed when it ends or its start-up time is over."""
        ports_left = 3
        while not self.check():
            status = self.exit_status()
            if status is not None and ports_left and not _is_free(self.port):
                # Another program took the port first.
                ports_left -= 1
                self.start()
                continue
            if status is not None:
                raise ModelServerFailed(
                    f"The model server {self.name} ended with status {status} before it answered GET /ping: "
                    f"{self._last_line()}. Its log: {self.log}"
                )
            if time.monotonic() > self._deadline:
                raise ModelServerFailed(
                    f"The model server {self.name} did not pass the ping health check within "
                    f"{self._startup_seconds:g} seconds. Its log: {self.log}"
                )
            if cancelled.wait(_PING_INTERVAL):
                raise ModelServerFailed(f"The model server {self.name} was stopped before it was healthy.")

    def check(self) -> bool:
        """Ping once and record the result as the server's health."""
        healthy = self.exit_status() is None and _ping(self.port)
        (self._healthy.set if healthy else self._healthy.clear)()
        return healthy

    @property
    def healthy(self) -> bool:
        """The result of the last check; False when the process has ended or `mark_unhealthy` was called since."""
        return self._healthy.is_set() and self.exit_status() is None

    def mark_unhealthy(self) -> None:
        """Count as unhealthy until the next check passes."""
        if self._healthy.is_set():
            self._deadline = time.monotonic() + _RECOVERY_SECONDS
            self._healthy.clear()

    def restart_reason(self) -> str | None:
        """Check an unhealthy server; return why it must be restarted, None if it is healthy or may still recover."""
        if self.check():
            return None
        status = self.exit_status()
        now = time.monotonic()
        if status is None:
            return "does not answer GET /ping" if now > self._deadline else None
        return f"ended with status {status}" if now > self._started + _RESTART_INTERVAL else None

    def exit_status(self) -> int | None:
        """Return the process's exit status, None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def abandon(self) -> None:
        """End the server for good; requests in process get no answer."""
        self.abandoned = True
        self.stop()

    def _last_line(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_BYTES))
            return log.read().decode(errors="replace").rstrip().rpartition("\n")[2].strip()

    def stop(self) -> None:
        """End the process and its whole group: SIGTERM first, then SIGKILL."""
        self._healthy.clear()
        process = self._process
        if process is None:
            return
        stop_container(process, _GRACE_SECONDS)


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
    return next(port for port in iter(lambda: random.choice(_PORTS), None) if _is_free(port))  # noqa: S311


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose connections are about to end is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
