"""Measures the processor time of the cloud's processes, by kind."""

from __future__ import annotations

import os
import threading
from collections import defaultdict

import psutil

from local import session_members
from models import servers

SERVER = "the cloud's server"
MODELS = "model servers"
OWN = "uploading and polling"
_SECONDS = 0.5


class Processors:
    """A context manager that watches this process and those below it.

    `seconds`: processor time by kind of process, a function's kind being its logical name.
    """

    def __init__(self) -> None:
        self._processes: dict[tuple[int, float], tuple[str, float]] = {}
        self._before: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Processors:
        self._look()
        self._before = {process: seconds for process, (_, seconds) in self._processes.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> dict[str, float]:
        taken: dict[str, float] = defaultdict(float)
        for process, (name, seconds) in self._processes.items():
            taken[name] += seconds - self._before.get(process, 0.0)
        return dict(taken)

    def _watch(self) -> None:
        while not self._ended.wait(_SECONDS):
            self._look()

    def _look(self) -> None:
        own = psutil.Process()
        for process in (own, *(m for child in own.children() for m in session_members(child.pid)), *own.children()):
            try:
                identity = process.pid, process.create_time()
                times = process.cpu_times()
                known = self._processes.get(identity)
                name = known[0] if known else _name(process)
                self._processes[identity] = name, times.user + times.system
            except (psutil.Error, OSError):
                # The process ended after it was listed; its time up to the last look counts.
                continue


def _name(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return OWN
    function = process.environ().get("AWS_LAMBDA_FUNCTION_NAME")
    if function:
        return function.split("-")[1]
    return MODELS if any(part.startswith(servers.__name__) for part in process.cmdline()) else SERVER
