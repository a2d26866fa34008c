"""Asks the real model servers for answers to frames, and keeps the answers for the next run."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autolabel.models.catalogue import Model
from autolabel_cli.errors import CommandError
from local import ModelServer, ModelServerFailed
from tools.demo.__main__ import SERVERS
from tools.demo.deployment import PROJECT

_STARTUP_SECONDS = 60.0
_REQUEST_SECONDS = 120.0


def read_answers(model: Model, images: Sequence[Path], kept: Path) -> list[bytes]:
    """The model's answer to each image: from the folder `kept`, or else from its server.

    The name of a kept answer is a hash of the image's bytes, the model's headers and the servers' code. CommandError
    when the model has no server here, or the server fails.
    """
    if model.name not in SERVERS:
        raise CommandError(f"there is no model server for {model.name}; choose from {', '.join(sorted(SERVERS))}")
    served = _served(model)
    places = [kept / model.name / hashlib.sha256(served + image.read_bytes()).hexdigest()[:32] for image in images]
    missing = [(image, place) for image, place in zip(images, places, strict=True) if not place.exists()]
    if missing:
        (kept / model.name).mkdir(parents=True, exist_ok=True)
        with _server(model, kept) as server:
            for image, place in missing:
                answer = _ask(server, model, image)
                part = place.with_suffix(".part")
                part.write_bytes(answer)
                part.rename(place)
    return [place.read_bytes() for place in places]


def _served(model: Model) -> bytes:
    """A digest of all that an answer depends on, except the image."""
    digest = hashlib.sha256(f"{SERVERS[model.name]} {model.content_type} {model.accept}".encode())
    for path in sorted((PROJECT / "models" / "servers").rglob("*")):
        if path.suffix in (".py", ".mjs", ".json"):
            digest.update(path.read_bytes())
    return digest.digest()


@contextmanager
def _server(model: Model, kept: Path) -> Iterator[ModelServer]:
    command = [sys.executable, "-m", SERVERS[model.name], "--port", "{port}"]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "autolabel")])
    server = ModelServer(model.name, command, {"PYTHONPATH": path}, kept / f"{model.name}.log", _STARTUP_SECONDS)
    server.start()
    try:
        server.wait_until_healthy(threading.Event())
        yield server
    except ModelServerFailed as e:
        raise CommandError(str(e)) from e
    finally:
        server.stop()


def _ask(server: ModelServer, model: Model, image: Path) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_REQUEST_SECONDS)
    headers = {"Content-Type": model.content_type, "Accept": model.accept}
    try:
        connection.request("POST", "/invocations", image.read_bytes(), headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as e:
        raise CommandError(f"{model.name} did not answer for {image}: {e}; log: {server.log}") from e
    finally:
        connection.close()
    if response.status != 200:
        raise CommandError(f"{model.name} refused {image}: {response.status} {body[:200].decode(errors='replace')}")
    return body
