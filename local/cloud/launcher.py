"""Start an embedded cloud in a process of its own, and end all of its processes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3

from local.cloud.boot import BOOT_VARIABLE, Boot
from local.cloud.faults.control import FaultControl
from local.cloud.gateway_paths import RESUME, ask_path
from local.cloud.metering.meter import Usage, read_meter
from local.cloud.process_tree import kill_session
from local.records import UnreadableState
from local.settings import ACCOUNT, PEOPLE, REGION, CloudSettings

BOOT_SECONDS = 60
STOP_SECONDS = 10
PROJECT = Path(__file__).resolve().parents[2]


class CloudError(RuntimeError):
    """The embedded cloud did not start, or is not running."""


class EmbeddedCloud:
    """An AWS-like cloud on 127.0.0.1, alive between `start` and `stop` or inside a with statement.

    Its server runs in a session of its own and reads a pipe from this process: when this process ends, however that
    happens, the pipe closes, and the server ends itself and all of its processes. `portal_url`: the address for
    reviewers, empty without a portal.
    """

    def __init__(self, folder: Path, *, settings: CloudSettings | None = None) -> None:
        self.folder = folder.resolve()
        self.settings = settings or CloudSettings()
        self.log = self.folder / "cloud.log"
        self.endpoint_url = ""
        self.portal_url = ""
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises CloudError, which names the log file, when the server dies, reports a failure or takes longer than
        BOOT_SECONDS; UnreadableState when it cannot read what the folder's last cloud kept.
        """
        if self._server is not None:
            raise CloudError(f"the embedded cloud of {self.folder} is already running")
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            log = opened.enter_context(self.log.open("wb"))
            listener = opened.enter_context(self._listen("gateway"))
            boot = Boot(self.folder, listener.getsockname()[1], listener.fileno(), self.settings)
            sockets = [listener.fileno()]
            if self.settings.annotator == PEOPLE:
                portal = opened.enter_context(self._listen("portal"))
                boot = dataclasses.replace(boot, portal=portal.fileno())
                sockets.append(portal.fileno())
                self.portal_url = f"http://127.0.0.1:{portal.getsockname()[1]}/"
            self._server = subprocess.Popen(
                [sys.executable, "-m", "local.cloud.server"],
                cwd=PROJECT,
                env=self._server_environment(boot),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=sockets,
                start_new_session=True,
            )
        self.endpoint_url = boot.gateway
        try:
            self._await_ready(self._server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and every process that it started; has no effect when there is none."""
        server, self._server = self._server, None
        if server is None:
            return
        # An interrupt now would leave half of the tree running, so a second Ctrl-C has to wait for the end.
        in_main_thread = threading.current_thread() is threading.main_thread()
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
        try:
            for pipe in (server.stdin, server.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            kill_session(server.pid)
            shutil.rmtree(self.folder / "work", ignore_errors=True)
        finally:
            if previous is not None:
                signal.signal(signal.SIGINT, previous)

    def environment(self) -> dict[str, str]:
        """Return this process's environment, pointed at the embedded cloud with keys that are valid nowhere else."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }

    def client(self, service: str) -> Any:
        """Make a boto3 client of this cloud, independent of the caller's own AWS configuration."""
        if self._server is None:
            raise CloudError(f"the embedded cloud of {self.folder} is not running")
        return boto3.session.Session(
            aws_access_key_id=ACCOUNT, aws_secret_access_key="embedded", region_name=REGION
        ).client(service, endpoint_url=self.endpoint_url)

    def resume(self) -> dict[str, list[str]]:
        """Let the labelling jobs and executions go on that the last cloud kept; return their names as lists by kind.

        Call it once in a cloud with CloudSettings.keep, when all that they need is deployed: until then, little of
        what happens is kept.
        """
        names: dict[str, list[str]] = ask_path(self.endpoint_url + RESUME, "POST")
        return names

    @property
    def faults(self) -> FaultControl:
        """The faults of a cloud with CloudSettings.faults."""
        return FaultControl(self.endpoint_url)

    def usage(self) -> list[Usage]:
        """Read what was used since the start of a cloud with CloudSettings.meter."""
        return read_meter(self.endpoint_url)

    def __enter__(self) -> EmbeddedCloud:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self, use: str) -> socket.socket:
        """Listen on a free port: with `keep` on that of the folder's last cloud, which shells and pages still know."""
        note = self.folder / f"{use}.port"
        with suppress(OSError, ValueError):
            return socket.create_server(("127.0.0.1", int(note.read_text())))
        listener = socket.create_server(("127.0.0.1", 0))
        if self.settings.keep:
            note.write_text(str(listener.getsockname()[1]))
        return listener

    def _server_environment(self, boot: Boot) -> dict[str, str]:
        names = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LD_LIBRARY_PATH")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return kept | {BOOT_VARIABLE: boot.to_json(), "PYTHONUNBUFFERED": "1"}

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        answers: list[bytes] = []
        reader = threading.Thread(
            target=lambda: answers.append(server.stdout.readline() if server.stdout else b""), daemon=True
        )
        reader.start()
        reader.join(BOOT_SECONDS)
        if not answers:
            raise CloudError(f"the embedded cloud did not answer within {BOOT_SECONDS} s; see its log {self.log}")
        if not answers[0]:
            status = server.wait(STOP_SECONDS)
            raise CloudError(f"the embedded cloud ended with status {status} while booting; see its log {self.log}")
        answer = json.loads(answers[0])
        if "unreadable" in answer:
            raise UnreadableState(answer["unreadable"])
        if "error" in answer:
            raise CloudError(f"the embedded cloud cannot start: {answer['error']}; see its log {self.log}")
