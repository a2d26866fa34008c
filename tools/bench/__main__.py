"""`python -m tools.bench [--short]`: measures all figures in one run; exit status 1 when one breaks its limit.

The short form never fails for a limit: its few rounds on a shared machine prove too little. It fails when it cannot
measure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from tools.bench.calls import call_figures
from tools.bench.decoding import box_figures, mask_figures, segment_figures
from tools.bench.extraction import extraction_figures
from tools.bench.figures import Figure, broken
from tools.bench.fusing import merge_figures
from tools.bench.import_time import import_figures
from tools.bench.probe import ROOT, ProbeFailed
from tools.bench.scaling import scaling_figures
from tools.bench.state_machine import state_machine_figures
from tools.bench.table import print_figures

LABEL = "tools.bench.work.labelling:label_frames"
# The steps that an execution calls for a whole run, by the group of their figures.
STEPS = {
    "reconcile: all answered": "tools.bench.work.reconciling:reconcile_answered",
    "reconcile: nothing known": "tools.bench.work.reconciling:reconcile_unknown",
    "reconcile: of each kind": "tools.bench.work.reconciling:reconcile_mixed",
    "plan": "tools.bench.work.planning:plan_frames",
    "link": "tools.bench.work.linking:link_frames",
    "assemble": "tools.bench.work.assembling:assemble_frames",
    "settle": "tools.bench.work.publishing:settle_frames",
    "parts": "tools.bench.work.publishing:write_parts",
    "publish": "tools.bench.work.publishing:join_parts",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--short", is_flag=True, help="Use smaller drives and fewer rounds; broken limits do not fail.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "build" / "bench" / "bench.json",
    help="Write the figures to this file as JSON; default: build/bench/bench.json.",
)
def main(short: bool, output: Path) -> None:
    """Measure the project's figures and compare them with their limits."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    long_label = 10_000 if short else 100_000
    long_run, short_run, stops = (20_000, 2_000, 4) if short else (1_000_000, 100_000, 8)
    parts: dict[str, Callable[[], list[Figure]]] = {
        "import time of the functions": lambda: import_figures(rounds=15 if short else 25),
        "label step": lambda: scaling_figures("label", LABEL, short=1_000, long=long_label, stops=20 if short else 40),
        "decoding boxes": lambda: box_figures(rounds=15),
        "decoding masks": lambda: mask_figures(rounds=5 if short else 9),
        "decoding segments": lambda: segment_figures(rounds=1 if short else 3, sizes=(36,) if short else (36, 360)),
        "merging": lambda: merge_figures(rounds=3 if short else 9),
        **{
            group: partial(scaling_figures, group, place, short=short_run, long=long_run, stops=stops)
            for group, place in STEPS.items()
        },
        "a reconcile pass in several calls": lambda: call_figures(units=long_run, asked=2_000 if short else 20_000),
        "extraction of logs": lambda: extraction_figures(
            frames=50 if short else 480,
            longest=150 if short else 3_700,
            video_megabytes=20 if short else 500,
            rounds=3 if short else 7,
        ),
        "state machine": lambda: state_machine_figures(frames=long_run, calls=2),
    }
    figures: list[Figure] = []
    for name, measure in parts.items():
        console.print(f"[dim]measuring: {name}[/]")
        try:
            figures += measure()
        except ProbeFailed as e:
            raise click.ClickException(f"{name}: {e}") from e
    print_figures(console, figures)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"short": short, "figures": [f.as_json() for f in figures]}, indent=2) + "\n")
    console.print(f"written to {output}")
    failures = broken(figures)
    if failures:
        console.print(f"[bold red]{len(failures)} of {len(figures)} figures break their limit[/]")
        sys.exit(0 if short else 1)


main()
