"""Model servers of a checkout, which run as child processes while a folder is evaluated."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import msgspec

from autolabel.models import Model
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.folders import FrameLeftOut
from autolabel_cli.installation import models_folder
from autolabel_cli.models.catalogue import read_document
from autolabel_cli.suggestions import did_you_mean

_STARTUP_SECONDS = 60.0
_REQUEST_SECONDS = 120.0
_PING_SECONDS = 2.0
_PING_INTERVAL = 0.05
_GRACE_SECONDS = 2.0
_MAX_REASON = 300
_LOG_BYTES = 4096


class ModelServer:
    """Server of one model: a process that answers on a free port of 127.0.0.1."""

    def __init__(self, model: Model, module: str, checkout: Path, log: IO[bytes]) -> None:
        self.model = model
        self._log = log
        path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH", ""))))
        # The socket is made here: another program could take a free port before the child listens on it.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--listener", str(listener.fileno()), "--until-eof"],
                cwd=checkout,
                env={**os.environ, "PYTHONPATH": path},
                # The server ends when this pipe closes, and so with this process, also when that is killed.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process alone, which then ends the servers.
                process_group=0,
                pass_fds=[listener.fileno()],
            )

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return f"http://127.0.0.1:{self._port}"

    def wait(self) -> None:
        """Wait until the model is loaded. CommandError with the last line of its output when that fails."""
        deadline = time.monotonic() + _STARTUP_SECONDS
        while not self._answers_ping():
            if self._process.poll() is not None or time.monotonic() > deadline:
                what = "took too long to load" if self._process.poll() is None else "did not start"
                raise CommandError(
                    f"the model server of {self.model.name} {what}: {self._last_line()}; run "
                    f"`make setup setup-ssd setup-blur` in the checkout, or name other models with --models"
                )
            # A server tells by nothing else that its model is loaded.
            time.sleep(_PING_INTERVAL)

    def ask(self, image: Path) -> bytes:
        """Return the model's answer to an image. FrameLeftOut when it refuses the image, CommandError when it fails."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_REQUEST_SECONDS)
        headers = {"Content-Type": self.model.content_type, "Accept": self.model.accept}
        try:
            connection.request("POST", "/invocations", image.read_bytes(), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as e:
            raise CommandError(
                f"{self.model.name} did not answer for {image} ({e or type(e).__name__}): {self._last_line()}"
            ) from e
        finally:
            connection.close()
        if response.status != 200:
            # The servers answer 400 to an image that they cannot decode.
            if response.status == 400:
                raise FrameLeftOut(f"images that {self.model.name} cannot decode")
            said = body[:_MAX_REASON].decode(errors="replace")
            raise CommandError(f"{self.model.name} failed on {image} with status {response.status}: {said}")
        return body

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PING_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _last_line(self) -> str:
        # Reading at a position moves nothing: the child writes to the same open file.
        end = os.fstat(self._log.fileno()).st_size
        said = os.pread(self._log.fileno(), _LOG_BYTES, max(0, end - _LOG_BYTES)).decode(errors="replace")
        lines = (line.strip()[:_MAX_REASON] for line in reversed(said.splitlines()))
        return next(filter(None, lines), "it said nothing")


def known_servers(folder: Path) -> dict[str, str]:
    """Return the module of each model's server by the model's name. CommandError when there are no servers."""
    index = folder / "servers" / "servers.json"
    try:
        return msgspec.json.decode(index.read_bytes(), type=dict[str, str])
    except FileNotFoundError as e:
        raise CommandError(
            "the model servers are not a part of the installed command: take .venv/bin/autolabel of a checkout, after "
            "`make setup setup-ssd`, or score a dataset with --dataset"
        ) from e
    except msgspec.DecodeError as e:
        raise CommandError(f"{index} cannot be read: {e}") from e


@contextmanager
def running_servers(names: Sequence[str]) -> Iterator[list[ModelServer]]:
    """Run the servers of the named models, without names of all that label. CommandError for an unknown name."""
    folder = models_folder()
    known = known_servers(folder)
    for name in names:
        if name not in known:
            raise CommandError(
                f"there is no model server for {name!r}; choose from {', '.join(known)}{did_you_mean(name, known)}"
            )
    models = [read_document(folder / f"{name}.json") for name in dict.fromkeys(names or known)]
    if not names:
        models = [model for model in models if model.purpose == "labels"]
    with ExitStack() as stack:
        servers = []
        for model in models:
            log = stack.enter_context(tempfile.TemporaryFile())
            server = ModelServer(model, known[model.name], folder.parent, log)
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait()
        yield servers
