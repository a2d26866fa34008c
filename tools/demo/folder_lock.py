"""Keeps the folder of a demo or a cloud for one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRunning(RuntimeError):
    """Another process uses the folder; the message names it and says what to do."""


@contextmanager
def lock_folder(folder: Path, command: str) -> Iterator[None]:
    """Keep other processes out of `folder` while the body runs; AlreadyRunning when another one has it.

    `command` is what the user calls. The lock is the system's, on a file beside the folder, and ends with the process
    that holds it, however that ends. The file stays; its content is the process id.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not truncated before it is locked: until then the id is the other process's.
    with folder.with_suffix(".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            file.seek(0)
            process = file.read().strip()
            raise AlreadyRunning(
                f"{command} already runs in this checkout, as process {process}, and uses {folder}: "
                f"wait until it ends, or end it with `kill {process}`"
            ) from e
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
