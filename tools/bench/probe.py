"""Probes: a function that runs in a fresh interpreter, so that no measurement lives on what another has left behind."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class ProbeFailed(Exception):
    """A probe ended without an answer."""


def layer_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a probe: this one with the layer's package and the checkout on the path, and `extra`."""
    path = [str(ROOT / "layers" / "autolabel"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **(extra or {})}


def run_probe(place: str, *arguments: object) -> dict[str, Any]:
    """Call `place` (`module:function`) with JSON-able arguments in a fresh interpreter; what it returns.

    ProbeFailed names the probe and holds the end of what it said.
    """
    command = [sys.executable, "-m", "tools.bench.probe", place, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, env=layer_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProbeFailed(f"{place}{arguments} failed:\n{done.stderr[-4_000:]}")
    # Whatever else it printed, its answer is the last line.
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_memory() -> int:
    """The most bytes of memory that this process has ever had resident.

    From /proc (proc_pid_status, VmHWM). getrusage would not do: its maximum outlives exec, so a child would start at
    the size of its parent.
    """
    return _status("VmHWM")


def resident_memory() -> int:
    """Bytes of memory that are resident now."""
    return _status("VmRSS")


def _status(name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise ProbeFailed(f"/proc/self/status has no {name}")
    return int(match[1]) * 1024


def main() -> None:
    place, arguments = sys.argv[1:]
    module, function = place.split(":")
    print(json.dumps(getattr(importlib.import_module(module), function)(*json.loads(arguments))))


if __name__ == "__main__":
    main()
