"""Figures of the import time of each function, over a handler that does nothing: the cost of a cold start."""

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
    """Loads a template without resolving its intrinsic functions."""


def _ignore(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
    # A number is valid for settings of every type.
    return "1"


_Template.add_multi_constructor("!", _ignore)


def import_figures(rounds: int, function: str = "*") -> list[Figure]:
    """The import time of each function over that of the bare handler, both imported in turns.

    `function` is a glob of folder names. The ratio is of medians of processor time: once its files are cached, an
    import waits for nothing. The figure also shows the ratio of the fastest imports, and the ratio by the clock, which
    includes the work of others on the machine.
    """
    environment = layer_environment(_function_environment())
    return [_figure(app, rounds, environment) for app in sorted((ROOT / "functions").glob(f"{function}/app.py"))]


def _figure(app: Path, rounds: int, environment: dict[str, str]) -> Figure:
    taken: dict[Path, list[tuple[float, float]]] = {app: [], BARE: []}
    for module in taken:
        # The first import writes byte code, which must not count.
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
    """Seconds by the clock and of processor time that an import takes in a fresh interpreter."""
    command = [sys.executable, "-c", _TIMED, str(module.parent), module.stem]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProbeFailed(f"importing {module.relative_to(ROOT)} failed:\n{done.stderr[-4_000:]}")
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def _function_environment() -> dict[str, str]:
    """All variables that the template gives to functions, and those of Lambda itself on which imports depend."""
    template = yaml.load((ROOT / "template.yaml").read_text(), _Template)  # noqa: S506 - a SafeLoader with tags
    variables = dict(_variables([template["Globals"]["Function"]]))
    functions = [r for r in template["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    variables.update(_variables(r["Properties"] for r in functions))
    # Powertools' Tracer imports the X-Ray SDK only when these say that it runs on Lambda.
    lambda_own = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "LAMBDA_TASK_ROOT": os.sep + "var"}
    return {**{name: str(value) for name, value in variables.items()}, **lambda_own}


def _variables(owners: Iterable[dict[str, Any]]) -> Iterable[tuple[str, Any]]:
    for owner in owners:
        yield from owner.get("Environment", {}).get("Variables", {}).items()
