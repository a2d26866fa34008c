"""`python -m tools.load [--drives N] [--frames N]`: run the load test; exit status 1 if a frame is lost or doubled."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tools.demo.deployment import PROJECT
from tools.load.drives import Count, await_ends, count_frames, upload_drives
from tools.load.invocations import Invocations, read_invocations
from tools.load.processors import Processors
from tools.load.stage import IMAGES, deploy

OUT = PROJECT / "build" / "load"
SETTINGS = CloudSettings(
    images=IMAGES,
    annotator_is_person=True,
    enforce_iam=True,
)
# Longer than a slow machine takes; only a run that hangs reaches it.
SECONDS_A_FRAME = 1.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--drives", type=click.IntRange(min=1), default=10, show_default=True, help="Drives uploaded at once.")
@click.option("--frames", type=click.IntRange(min=1), default=200, show_default=True, help="Frames in each drive.")
def main(drives: int, frames: int) -> None:
    """Label many drives at once on the embedded cloud with a fast model; print frames/s and where the time goes."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    shutil.rmtree(OUT, ignore_errors=True)
    names = [f"load-{index:02d}" for index in range(drives)]
    with EmbeddedCloud(OUT / "cloud", settings=SETTINGS) as cloud:
        console.print("[dim]deploying the stack and a fast model[/]")
        stack = deploy(cloud, OUT)
        console.print(f"[dim]uploading {drives} drives of {frames} frames[/]")
        began = time.time()
        with Processors() as processors:
            upload_drives(stack, names, frames)
            uploaded = time.time()
            statuses = await_ends(stack, names, 60 + drives * frames * SECONDS_A_FRAME)
        failed = {drive: status for drive, status in statuses.items() if status != "SUCCEEDED"}
        if failed:
            raise click.ClickException(f"these executions did not succeed: {failed}; logs: {OUT}")
        counts = [count_frames(stack, drive, frames) for drive in names]
        letters = _dead_letters(stack)
    invocations = read_invocations(OUT / "cloud" / "functions")
    times = _times(counts, began, uploaded)
    _show(console, times, counts, invocations, processors)
    document = {
        "seconds": times,
        "states": _states(counts),
        "functions": {name: asdict(one) for name, one in invocations.items()},
        "processor_seconds": processors.seconds,
        "drives": [{name: value for name, value in asdict(c).items() if name != "states"} for c in counts],
    }
    (OUT / "load.json").write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"written to {OUT / 'load.json'}")
    wrong = [count.drive for count in counts if not count.is_right]
    if wrong or letters:
        raise click.ClickException(
            f"drives with wrong counts: {', '.join(wrong) or 'none'}; dead letters: {letters}; logs: {OUT}"
        )


def _dead_letters(stack: Stack) -> int:
    """Messages in the dead-letter queues."""
    queues, name = stack.client("sqs"), "ApproximateNumberOfMessages"
    urls = (stack.outputs["SubmitDeadLettersUrl"], stack.outputs["CollectDeadLettersUrl"])
    answers = (queues.get_queue_attributes(QueueUrl=url, AttributeNames=[name]) for url in urls)
    return sum(int(answer["Attributes"][name]) for answer in answers)


def _times(counts: Sequence[Count], began: float, uploaded: float) -> dict[str, float]:
    """Seconds until all drives were uploaded, answered and published as datasets."""

    def last(state: str) -> float:
        return max(s.entered for count in counts for s in count.states if s.name == state)

    ends = max(count.states[-1].exited or 0.0 for count in counts)
    return {"uploaded": uploaded - began, "answered": last("PlanShards") - began, "datasets": ends - began}


def _states(counts: Sequence[Count]) -> dict[str, float]:
    """Median over the drives of the seconds spent in each state, all visits together."""
    taken: dict[str, list[float]] = defaultdict(list)
    for count in counts:
        of_drive: dict[str, float] = defaultdict(float)
        for state in count.states:
            of_drive[state.name] += (state.exited or state.entered) - state.entered
        for name, seconds in of_drive.items():
            taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _show(
    console: Console,
    times: dict[str, float],
    counts: Sequence[Count],
    invocations: dict[str, Invocations],
    processors: Processors,
) -> None:
    frames = sum(count.listed for count in counts)
    table = Table(title=f"{len(counts)} drives, {frames:,} frames", title_justify="left")
    for name in ("what", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    table.add_column("")

    def section(rows: dict[str, tuple[float, str]]) -> None:
        for name, (seconds, more) in rows.items():
            table.add_row(name, f"{seconds:.1f}", more)
        table.add_section()

    section({f"all {name}": (seconds, f"{frames / seconds:.1f} frames/s") for name, seconds in times.items()})
    section({f"state {name}": (seconds, "median of the drives") for name, seconds in _states(counts).items()})
    section(
        {
            f"function {name}": (
                one.busy,
                f"{one.count} calls, {one.cold_starts} cold starts of {one.init:.1f} s in all",
            )
            for name, one in invocations.items()
        }
    )
    spent = sorted(processors.seconds.items(), key=lambda item: -item[1])
    whole = sum(seconds for _, seconds in spent)
    section({f"processor: {name}": (seconds, f"{seconds / whole:.0%}") for name, seconds in spent})
    console.print(table)
    lost, doubled = sum(count.lost for count in counts), sum(count.doubled for count in counts)
    again = sum(count.answers for count in counts) - frames
    console.print(f"{lost} frames lost, {doubled} doubled, {again} more answers than frames")


if __name__ == "__main__":
    main()
