"""Run the embedded cloud's process: check ministack, patch it, serve until the launcher ends.

    EMBEDDED_CLOUD_BOOT=<Boot as JSON> python -m local.cloud.server

Reports {"ready": true} or {"error": "..."} as one line on stdout, and logs to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
import urllib.request
from collections.abc import Iterator
from typing import TextIO

import psutil
import uvicorn

from local.cloud import symbols
from local.cloud.boot import BOOT_VARIABLE, Boot
from local.cloud.process_tree import kill_session
from local.records import UnreadableState
from local.settings import ACCOUNT, REGION

SHUTDOWN_SECONDS = 6


class ExposedListener(RuntimeError):
    """A listener of this process is reachable from other machines."""


def main() -> None:
    """Serve until the pipe on stdin closes or a signal arrives."""
    report = _claim_stdout()
    boot = Boot.from_json(os.environ.pop(BOOT_VARIABLE))
    stopping = threading.Event()
    threading.Thread(target=_watch_launcher, args=(stopping,), name="watch-launcher", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    status = 0
    close = _nothing
    try:
        _configure_ministack(boot)
        symbols.check_version()
        from local.cloud.installation import install

        close = install(boot, stopping)
        asyncio.run(_serve(boot, stopping, report))
    except BaseException as error:
        traceback.print_exc()
        kind = "unreadable" if isinstance(error, UnreadableState) else "error"
        _tell(report, {kind: str(error) if kind == "unreadable" else f"{type(error).__name__}: {error}"})
        status = 1
    stopping.set()
    _limit_shutdown()
    try:
        close()
    finally:
        kill_session(os.getsid(0))
        sys.stderr.flush()
        # ministack leaves threads running that would block an ordinary exit.
        os._exit(status)


def check_listeners() -> None:
    """Raise ExposedListener if a socket of this process or of a child listens beyond loopback."""
    process = psutil.Process()
    for member in (process, *process.children(recursive=True)):
        for connection in member.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in ("127.0.0.1", "::1"):
                raise ExposedListener(f"{member.name()} listens on {connection.laddr.ip}:{connection.laddr.port}")


def _claim_stdout() -> TextIO:
    """Keep stdout for the report; all later output goes to the log."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return report


def _configure_ministack(boot: Boot) -> None:
    temporary = boot.folder / "work" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(boot.port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": boot.gateway,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "LAMBDA_EXECUTOR": "local",
            "PERSIST_STATE": "0",
            "S3_PERSIST": str(int(boot.settings.keep)),
            "S3_DATA_DIR": str(boot.kept / "objects"),
            "AUTH": str(boot.settings.enforce_iam).lower(),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "TMPDIR": str(temporary),
        }
    )


async def _serve(boot: Boot, stopping: threading.Event, report: TextIO) -> None:
    config = uvicorn.Config(
        symbols.find("app", "app"),
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        # ministack sets these itself, as AWS does.
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    announcement = asyncio.create_task(_announce(boot, report))
    serving = asyncio.create_task(server.serve([socket.socket(fileno=boot.socket)]))
    await asyncio.to_thread(stopping.wait)
    server.should_exit = True
    await serving
    await announcement


class _Server(uvicorn.Server):
    """An HTTP server that leaves the signals of its process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _announce(boot: Boot, report: TextIO) -> None:
    await asyncio.to_thread(_probe, boot)
    check_listeners()
    _tell(report, {"ready": True})


def _probe(boot: Boot) -> None:
    # The launcher has opened the socket, so this request waits in its backlog until the server accepts it.
    with urllib.request.urlopen(f"{boot.gateway}/_ministack/health", timeout=50) as answer:
        answer.read()


def _watch_launcher(stopping: threading.Event) -> None:
    sys.stdin.buffer.read()
    stopping.set()
    _limit_shutdown()


def _limit_shutdown() -> None:
    def give_up() -> None:
        kill_session(os.getsid(0))
        os._exit(1)

    timer = threading.Timer(SHUTDOWN_SECONDS, give_up)
    timer.daemon = True
    timer.start()


def _tell(report: TextIO, message: dict[str, object]) -> None:
    if not report.closed:
        report.write(json.dumps(message) + "\n")
        report.flush()
        report.close()


def _nothing() -> None:
    return None


if __name__ == "__main__":
    main()
