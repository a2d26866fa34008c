"""Probes: functions that run in a fresh interpreter, so that no measurement profits from an earlier one."""

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
    """A probe failed; the message holds the end of its stderr."""


def layer_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a probe: this process's, with the layer and the checkout on the path, and `extra`."""
    path = [str(ROOT / "layers" / "autolabel"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **(extra or {})}


def run_probe(place: str, *arguments: object) -> dict[str, Any]:
    """Call `place` (`module:function`) in a fresh interpreter and return its result.

    Arguments and result must be JSON. ProbeFailed names the probe and holds the end of its stderr.
    """
    command = [sys.executable, "-m", "tools.bench.probe", place, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, env=layer_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProbeFailed(f"{place}{arguments} failed:\n{done.stderr[-4_000:]}")
    # The result is the last line that it prints.
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes: VmHWM of /proc/self/status.

    The maximum of getrusage survives exec, so a child would start at its parent's.
    """
    return _status("VmHWM")


def resident_memory() -> int:
    """The resident memory of this process now, in bytes."""
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
