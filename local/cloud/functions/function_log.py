"""Collect a function process's output in a file, and return it for each invocation."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import threading
from pathlib import Path
from typing import BinaryIO

_READ = 65536


class FunctionLog:
    """Drains a process's output pipe as long as the process lives."""

    def __init__(self, pipe: BinaryIO, file: Path) -> None:
        self._pipe = pipe
        self._file = file
        self._pending = bytearray()
        self._lock = threading.Lock()
        self._wake = threading.Thread(target=self._pump, name="function-log", daemon=True)
        self._wake.start()

    def take(self) -> str:
        """Return all output since the last call.

        The runtime writes unbuffered, so a handler's output is in the pipe before its response is posted.
        """
        with self._lock:
            while not self._pipe.closed and self._waiting_bytes():
                self._read_once()
            text = self._pending.decode(errors="replace")
            self._pending.clear()
        return text

    def join(self, timeout: float) -> None:
        """Wait until the pipe's other end is closed."""
        self._wake.join(timeout)

    def _pump(self) -> None:
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        open_ended = True
        while open_ended:
            poller.poll()
            with self._lock:
                open_ended = self._read_once()
        with self._lock:
            self._pipe.close()

    def _read_once(self) -> bool:
        if not self._waiting_bytes() and not self._at_end():
            return True
        chunk = os.read(self._pipe.fileno(), _READ)
        self._pending += chunk
        if chunk:
            with self._file.open("ab") as file:
                file.write(chunk)
        return bool(chunk)

    def _waiting_bytes(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0\0\0\0"))[0])

    def _at_end(self) -> bool:
        poller = select.poll()
        poller.register(self._pipe, 0)
        return bool(poller.poll(0))
