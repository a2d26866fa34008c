"""`python -m tools.bench.end_to_end [--frames N]`: the pipeline against a notebook's loop, in the same embedded cloud.

Each is measured without latencies, and with those of AWS on every request to S3, SageMaker, DynamoDB, SQS and SNS.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click
from PIL import Image
from rich.console import Console

from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tools.bench.figures import Figure, at_least
from tools.bench.probe import ROOT
from tools.bench.table import print_figures
from tools.cost.durations import LATENCIES
from tools.cost.rivals import run_notebook
from tools.load.drives import await_ends, count_frames, upload_drives
from tools.load.stage import IMAGE, IMAGES, TEMPLATE_DEFAULTS, deploy

OUT = ROOT / "build" / "end-to-end"
WARM, SECONDS_A_FRAME = 20, 1.0
DELAYED = {name: LATENCIES[name] for name in ("s3", "sagemaker", "dynamodb", "sqs", "sns")}
# Frames a second of the pipeline, in those of the other way: a loop, and its one-by-one form.
FAST, SLOW = "calls without latency", "calls as slow as on AWS"
AIMS = {FAST: (1.5, 4.0), SLOW: (5.0, 20.0)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--frames", type=click.IntRange(min=1), default=(200, 2_000), multiple=True, show_default=True, help="Frames."
)
@click.option("--others", type=click.IntRange(min=1), default=200, show_default=True, help="Frames of the loop.")
@click.option(
    "--each", type=click.IntRange(min=1), default=50, show_default=True, help="Frames of its one-by-one form."
)
@click.option("--slow", is_flag=True, help="Measure only with latencies.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OUT / "end-to-end.json",
    help="Write the figures to this file as JSON; default: build/end-to-end/end-to-end.json.",
)
def main(frames: tuple[int, ...], others: int, each: int, slow: bool, output: Path) -> None:
    """Measure frames a second from the first upload to the dataset, beside a notebook's loop; print the ratios."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    shutil.rmtree(OUT, ignore_errors=True)
    figures = []
    for name in [SLOW] if slow else [FAST, SLOW]:
        console.print(f"[dim]measuring: {name}[/]")
        figures += _figures(name, AIMS[name], DELAYED if name == SLOW else {}, frames, others, each)
    print_figures(console, figures)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n")
    console.print(f"written to {output}")


def _figures(
    name: str,
    aims: tuple[float, float],
    latencies: Mapping[str, float],
    drives: tuple[int, ...],
    others: int,
    each: int,
) -> list[Figure]:
    folder = OUT / name.replace(" ", "-")
    settings = CloudSettings(images=IMAGES, annotator_is_person=True, enforce_iam=True, latencies=latencies)
    with EmbeddedCloud(folder / "cloud", settings=settings) as cloud:
        stack = deploy(cloud, folder, TEMPLATE_DEFAULTS)
        # Starts the processes of functions, and the connections.
        _label(stack, "warm", WARM)
        body = io.BytesIO()
        Image.new("RGB", (64, 36)).save(body, "PNG")
        loop = partial(run_notebook, stack, IMAGE, body=body.getvalue())
        # Before and after the drives: the machine may have other work.
        loops = [_speed(others, partial(loop, others))]
        singles = [_speed(each, partial(loop, each, one_by_one=True))]
        own = {frames: _speed(frames, partial(_label, stack, f"drive-{frames}", frames)) for frames in drives}
        loops.append(_speed(others, partial(loop, others)))
        singles.append(_speed(each, partial(loop, each, one_by_one=True)))
    return [
        Figure(
            name,
            f"{frames:,} frames against {rival}",
            f"{speed:.1f} against {min(speeds):.1f} to {max(speeds):.1f} frames/s",
            speed * len(speeds) / sum(speeds),
            at_least(aim),
        )
        for frames, speed in own.items()
        for rival, speeds, aim in (("a loop", loops, aims[0]), ("one by one", singles, aims[1]))
    ]


def _speed(frames: int, work: Callable[[], object]) -> float:
    """Return frames a second."""
    began = time.monotonic()
    work()
    return frames / (time.monotonic() - began)


def _label(stack: Stack, drive: str, frames: int) -> None:
    """Upload a drive and wait for its dataset. ClickException when a frame is lost or doubled."""
    upload_drives(stack, [drive], frames)
    status = await_ends(stack, [drive], 120 + frames * SECONDS_A_FRAME)[drive]
    if status != "SUCCEEDED":
        raise click.ClickException(f"the execution of drive {drive} is {status}, not SUCCEEDED; logs: {OUT}")
    if not count_frames(stack, drive, frames).is_right:
        raise click.ClickException(f"frames of drive {drive} are lost or doubled; logs: {OUT}")


if __name__ == "__main__":
    main()
