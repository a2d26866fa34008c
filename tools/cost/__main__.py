"""`python -m tools.cost [--frames N]`: price a drive, and other ways to label its frames, in the embedded cloud."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from autolabel.reporting import Prices, read_prices
from autolabel_cli.operations.capacity import USED
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud, Usage, used_between
from tools.cost.bill import Bill, of_notebook, of_uploads, without_reviews
from tools.cost.durations import with_modelled_durations
from tools.cost.rivals import run_executions, run_notebook
from tools.demo.deployment import PROJECT
from tools.load.drives import await_ends, count_frames, upload_drives
from tools.load.processors import Processors
from tools.load.stage import IMAGE, IMAGES, TEMPLATE_DEFAULTS, deploy

OUT = PROJECT / "build" / "cost"
SETTINGS = CloudSettings(images=IMAGES, annotator_is_person=True, enforce_iam=True, meter=True)
SMALL, SECONDS_A_FRAME = 20, 1.0
# A frame at the model, on the smallest instance with a GPU that is used to seven tenths; a plain camera's JPEG.
MODEL_SECONDS, INSTANCE, FRAME_BYTES = 0.05, "ml.g4dn.xlarge", 500_000
MILLION = 1_000_000
FURTHER = "this pipeline, each frame beyond a run's first 20"
# Smaller amounts are in the JSON file only.
_SHOWN = 0.005


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--frames", type=click.IntRange(min=SMALL + 1), default=1_000, show_default=True, help="Frames of the drive."
)
@click.option(
    "--others", type=click.IntRange(min=1), default=200, show_default=True, help="Frames of each other way to label."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OUT / "cost.json",
    help="Write the figures to this file as JSON; default: build/cost/cost.json.",
)
def main(frames: int, others: int, output: Path) -> None:
    """Meter every billed call of a drive on the embedded cloud; print dollars for a million frames."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    prices = read_prices()
    shutil.rmtree(OUT, ignore_errors=True)
    with EmbeddedCloud(OUT / "cloud", settings=SETTINGS) as cloud:
        console.print("[dim]deploying the stack and a fast model[/]")
        stack = deploy(cloud, OUT, TEMPLATE_DEFAULTS)
        console.print("[dim]labelling a small drive twice, at first to start the processes[/]")
        _meter(cloud, stack, "warm", SMALL)
        small, *_ = _meter(cloud, stack, "small", SMALL)
        console.print(f"[dim]labelling a drive of {frames} frames[/]")
        stored = _stored(stack)
        modelled, used, seconds, processors = _meter(cloud, stack, "metered", frames)
        speeds = {"this pipeline": frames / seconds}
        stored = _stored(stack) - stored
        whole = Bill.of("this pipeline, and reviews of every frame", modelled, frames, prices)
        pipeline = Bill.of("this pipeline", without_reviews(modelled), frames, prices)
        added = without_reviews(used_between(small, modelled))
        further = Bill.of(FURTHER, added, frames - SMALL, prices)
        metered = Bill.of("this pipeline, functions as long as on this machine", without_reviews(used), frames, prices)
        console.print(f"[dim]labelling {others} frames in the other ways[/]")
        rivals = [_executions(cloud, stack, others, prices)]
        began = time.monotonic()
        rivals.append(_notebook(cloud, stack, others, prices))
        speeds["the notebook's loop"] = others / (time.monotonic() - began)
    bills = [pipeline, further, metered, whole, *rivals]
    _show_lines(console, whole)
    _show_bills(console, bills, prices)
    rest = {"a run itself, beside its frames": (pipeline.dollars - further.dollars) * frames / MILLION}
    rest |= _rest(stored / frames, prices)
    for name, dollars in rest.items():
        console.print(f"{name}: ${dollars:,.4g}" if dollars < 1 else f"{name}: ${dollars:,.2f}")
    console.print("frames/s here: " + ", ".join(f"{name} {speed:.1f}" for name, speed in speeds.items()))
    spent = {name: 1000 * taken / frames for name, taken in sorted(processors.items(), key=lambda item: -item[1])}
    console.print("processor ms a frame here: " + ", ".join(f"{name} {taken:.1f}" for name, taken in spent.items()))
    console.print(f"prices: {prices.region}, {prices.date}; {prices.source}")
    document = {
        "prices": {"region": prices.region, "date": prices.date},
        "dollars_per_million_frames": {bill.name: bill.dollars for bill in bills},
        "without_puts": {bill.name: bill.without_puts(prices) for bill in (pipeline, further)},
        "rest": rest,
        "frames_per_second": speeds,
        "processor_milliseconds_a_frame": spent,
        "bills": [asdict(bill) for bill in bills],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"written to {output}")


def _meter(
    cloud: EmbeddedCloud, stack: Stack, drive: str, frames: int
) -> tuple[list[Usage], list[Usage], float, dict[str, float]]:
    """Label a drive; return its use with durations as on AWS, its use with those of this machine, its seconds, and
    the processor seconds by kind of process."""
    before = cloud.usage()
    with Processors() as processors:
        seconds = _label(stack, drive, frames)
    used = of_uploads(used_between(before, cloud.usage()))
    return with_modelled_durations(used, processors.seconds, _memory(stack)), used, seconds, processors.seconds


def _label(stack: Stack, drive: str, frames: int) -> float:
    """Upload a drive, wait for its end, and return the seconds. ClickException when a frame is lost or doubled."""
    began = time.monotonic()
    upload_drives(stack, [drive], frames)
    status = await_ends(stack, [drive], 60 + frames * SECONDS_A_FRAME)[drive]
    seconds = time.monotonic() - began
    if status != "SUCCEEDED":
        raise click.ClickException(f"the execution of drive {drive} is {status}, not SUCCEEDED; logs: {OUT}")
    if not count_frames(stack, drive, frames).is_right:
        raise click.ClickException(f"frames of drive {drive} are lost or doubled; logs: {OUT}")
    return seconds


def _executions(cloud: EmbeddedCloud, stack: Stack, frames: int, prices: Prices) -> Bill:
    before = cloud.usage()
    machine = run_executions(cloud, stack, frames)
    used = [usage for usage in used_between(before, cloud.usage()) if usage.caller == machine]
    return Bill.of("an execution of five states for each frame, its transitions alone", used, frames, prices)


def _notebook(cloud: EmbeddedCloud, stack: Stack, frames: int, prices: Prices) -> Bill:
    body = io.BytesIO()
    Image.new("RGB", (64, 36)).save(body, "PNG")
    before: Sequence[Usage] = cloud.usage()
    run_notebook(stack, IMAGE, frames, body.getvalue())
    used = of_notebook(used_between(before, cloud.usage()))
    return Bill.of("the notebook's loop, without its own instance", used, frames, prices)


def _memory(stack: Stack) -> dict[str, int]:
    """Return the MemorySize of the stack's functions by their logical names."""
    functions = stack.client("lambda")
    return {
        name: functions.get_function_configuration(FunctionName=found)["MemorySize"]
        for name, found in stack.resources("AWS::Lambda::Function").items()
    }


def _stored(stack: Stack) -> int:
    """Return the bytes of the label bucket's objects."""
    return sum(thing.size for thing in stack.labels.list(""))


def _rest(stored: float, prices: Prices) -> dict[str, float]:
    """Return the dollars of a million frames that no call shows. `stored`: bytes of the label bucket for one frame."""
    month = prices.storage_gigabyte_month * MILLION / 1e9
    return {
        f"inference, {MODEL_SECONDS:g} s a frame on {INSTANCE} at {USED:.0%}": MILLION
        * MODEL_SECONDS
        / 3600
        * prices.instance_hours[INSTANCE]
        / USED,
        f"storage a month, frames of {FRAME_BYTES:,} bytes": FRAME_BYTES * month,
        f"storage a month, answers and labels of {stored:,.0f} bytes a frame": stored * month,
        "Ground Truth, all frames reviewed; a second for each is 278 hours of reviewers": prices.review_dollars(
            MILLION
        ),
    }


def _show_lines(console: Console, bill: Bill) -> None:
    table = Table(title=f"{bill.name}: dollars for a million frames, from {bill.frames:,} frames", title_justify="left")
    for name in ("service", "operation", "caller"):
        table.add_column(name)
    for name in ("units a frame", "dollars"):
        table.add_column(name, justify="right")
    for line in bill.lines:
        if line.dollars >= _SHOWN:
            table.add_row(line.service, line.operation, line.caller, f"{line.each:.4f}", f"{line.dollars:.2f}")
    console.print(table)
    for title, sums in (
        ("service", bill.grouped(lambda line: line.service)),
        ("caller", bill.grouped(lambda line: line.caller)),
    ):
        shown = (f"{name} {dollars:.2f}" for name, dollars in sums if dollars >= _SHOWN)
        console.print(f"by {title}: {', '.join(shown)}")


def _show_bills(console: Console, bills: Sequence[Bill], prices: Prices) -> None:
    table = Table(title="Dollars for a million frames", title_justify="left")
    table.add_column("way")
    for name in ("all", "without the two PUTs", "times this pipeline"):
        table.add_column(name, justify="right")
    for bill in bills:
        # Only executions make no PUT here.
        rest = bill.without_puts(prices) if any(line.service == "s3" for line in bill.lines) else bill.dollars
        table.add_row(bill.name, f"{bill.dollars:.2f}", f"{rest:.2f}", f"{bill.dollars / bills[0].dollars:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
