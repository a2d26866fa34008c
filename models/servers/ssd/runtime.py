"""Runs the network in a Node.js process of its own (infer.mjs), one window after the other."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from models.servers.ssd.assets import Assets

Floats = npt.NDArray[np.float32]

SIDE = 300
ANCHORS = 1917
CLASSES = 90
_SCRIPT = Path(__file__).with_name("infer.mjs")
_FLOAT = np.dtype("<f4")
# Seconds to wait for a window, which takes about a tenth of a second.
_PATIENCE = 30.0


class RuntimeFailed(RuntimeError):
    """The process ended or did not answer; the next window gets a new process."""


class Runtime:
    """The loaded network; several threads may use it, one after the other."""

    def __init__(self, assets: Assets) -> None:
        self._command = [str(assets.node), str(_SCRIPT), str(assets.packages), str(assets.model)]
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Load the network; raises RuntimeFailed."""
        with self._lock:
            self._started()

    def infer(self, window: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Scores [ANCHORS, CLASSES] and boxes [ANCHORS, 4] (top, left, bottom, right in 0..1); raises RuntimeFailed.

        The window is [SIDE, SIDE, 3] in RGB.
        """
        with self._lock:
            process = self._started()
            pipe = _pipe(process.stdin)
            try:
                pipe.write(window.tobytes())
                pipe.flush()
            except OSError as e:
                self.stop()
                raise RuntimeFailed(f"the Node.js process does not accept a window: {e}") from e
            answer = np.frombuffer(self._read(process, ANCHORS * (CLASSES + 4) * _FLOAT.itemsize), _FLOAT)
        scores, boxes = np.split(answer, [ANCHORS * CLASSES])
        return scores.reshape(ANCHORS, CLASSES), boxes.reshape(ANCHORS, 4)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # It ends when its input closes, and so with this process, also when that is killed.
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._read(self._process, 1)
        return self._process

    def _read(self, process: subprocess.Popen[bytes], size: int) -> bytes:
        watch = threading.Timer(_PATIENCE, process.kill)
        watch.start()
        try:
            read = _pipe(process.stdout).read(size)
        finally:
            watch.cancel()
        if len(read) < size:
            self.stop()
            raise RuntimeFailed(
                f"the Node.js process ended with status {process.returncode} after {len(read)} of {size} bytes"
            )
        return read


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
