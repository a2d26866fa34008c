"""Containers, which are processes here: their environment, their folder in the place of /opt/ml, and their end."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.sagemaker.names import S3Uri
from local.sagemaker.ports import ObjectStore

BASE = "SAGEMAKER_BASE_DIR"
"""The variable that names the folder in the place of /opt/ml, as in AWS's toolkits for training and inference."""

_PROJECT = Path(__file__).resolve().parents[2]
_BLOCK = 1 << 20


class BadArtefact(Exception):
    """An artefact cannot be unpacked; the message gives its URI and the reason."""


def image_name(image: str) -> str:
    """Strip registry, tag and digest from a container image's name: `r.example:5000/a/b:1` gives `a/b`."""
    name = image.partition("@")[0]
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        name = rest
    return name.rpartition(":")[0] or name


def start_container(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a process that ends with the thread that calls this, and append its output to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"--- {name}: {' '.join(command)}\n".encode())
        out.flush()
        return subprocess.Popen(
            [sys.executable, "-S", "-m", "local.sagemaker.leash", *command],
            cwd=_PROJECT,
            env={**_base_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def stop_container(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End a process and its whole group: SIGTERM first, then SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_seconds)
    # Its children may have ignored the first signal.
    _signal_group(process, signal.SIGKILL)
    process.wait()


def download(objects: ObjectStore, uri: S3Uri, path: Path) -> None:
    """Write an object to a file; raises StorageError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = objects.open(uri)
    try:
        with path.open("wb") as out:
            while block := stored.body.read(_BLOCK):
                out.write(block)
    finally:
        stored.body.close()


def unpack(objects: ObjectStore, uri: S3Uri, folder: Path) -> None:
    """Unpack an artefact, a .tar.gz, into a folder; raises StorageError and BadArtefact."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder.with_name(f"{folder.name}.tar.gz")
    try:
        download(objects, uri, packed)
        with tarfile.open(packed, "r:*") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise BadArtefact(f"{uri} is not a .tar.gz file that can be unpacked: {e}") from e
    finally:
        packed.unlink(missing_ok=True)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _base_environment() -> dict[str, str]:
    """Return a container's environment: no credentials, none of the launcher's own settings."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {"HOME": "/tmp", "PYTHONUNBUFFERED": "1", **found}  # noqa: S108
