"""Import time of each function's module against a handler that does nothing: what a cold start pays before its work."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tools.bench.figures import Figure, at_most
from tools.bench.probe import ROOT, ProbeFailed, layer_environment

LIMIT = at_most(1.3)
BARE = Path(__file__).with_name("bare_handler.py")
_TIMED = """
import sys, time
sys.path.insert(0, sys.argv[1])
wall, processor = time.perf_counter(), time.process_time()
__import__(sys.argv[2])
print(time.perf_counter() - wall, time.process_time() - processor)
"""


class _Template(yaml.SafeLoader):
    """Reads a template without resolving its intrinsic functions."""


def _ignore(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
    # A number, so that it does for settings of every type.
    return "1"


_Template.add_multi_constructor("!", _ignore)


def import_figures(rounds: int, function: str = "*") -> list[Figure]:
    """The import time of every function over that of the bare handler, which is imported beside it each time.

    The ratio is of medians of processor time, since an import waits for nothing once its files were read. Beside it
    stand the ratio of the fastest imports, and that by the clock, which also holds what others do on the machine.
    """
    environment = layer_environment(_function_environment())
    return [_figure(app, rounds, environment) for app in sorted((ROOT / "functions").glob(f"{function}/app.py"))]


def _figure(app: Path, rounds: int, environment: dict[str, str]) -> Figure:
    taken: dict[Path, list[tuple[float, float]]] = {app: [], BARE: []}
    for module in taken:
        # The first import writes byte code, which is not to be measured.
        _import_seconds(module, environment)
    for turn in range(rounds):
        for module in (app, BARE) if turn % 2 else (BARE, app):
            taken[module].append(_import_seconds(module, environment))
    (own_wall, own), (bare_wall, bare) = ([*zip(*taken[module], strict=True)] for module in (app, BARE))
    median = statistics.median
    return Figure(
        "import",
        f"functions/{app.parent.name} over a bare handler",
        f"{1000 * median(own):.0f} ms, {1000 * median(bare):.0f} ms (of the fastest {min(own) / min(bare):.2f}, "
        f"by the clock {median(own_wall) / median(bare_wall):.2f})",
        median(own) / median(bare),
        LIMIT,
    )


def _import_seconds(module: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that an import takes in a fresh interpreter."""
    command = [sys.executable, "-c", _TIMED, str(module.parent), module.stem]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProbeFailed(f"importing {module.relative_to(ROOT)} failed:\n{done.stderr[-4_000:]}")
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def _function_environment() -> dict[str, str]:
    """Every variable that the template gives to any function, and what Lambda itself sets that imports depend on."""
    template = yaml.load((ROOT / "template.yaml").read_text(), _Template)  # noqa: S506 - a SafeLoader with tags
    variables = dict(_variables([template["Globals"]["Function"]]))
    functions = [r for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    variables.update(_variables(r["Properties"] for r in functions))
    # Powertools' Tracer imports the X-Ray SDK only where it believes itself on Lambda.
    lambda_own = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "LAMBDA_TASK_ROOT": os.sep + "var"}
    return {**{name: str(value) for name, value in variables.items()}, **lambda_own}


def _variables(owners: Iterable[dict[str, Any]]) -> Iterable[tuple[str, Any]]:
    for owner in owners:
        yield from owner.get("Environment", {}).get("Variables", {}).items()
