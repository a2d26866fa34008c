"""`make loop`: three rounds of label, verify, train, judge and switch on generated drives, and a poisoned round.

It fails unless the edits fall by 30 % from the first to the last round, for a frame and for an object, a candidate is
switched on, and the candidate of the poisoned round is refused. SHORT=1 shows two rounds with fewer frames.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from typing import NamedTuple

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autolabel_cli.errors import CommandError
from autolabel_cli.models.bringing import bring_source
from autolabel_cli.models.documents import draft_model
from autolabel_cli.models.sources import Source
from autolabel_cli.models.switching import Verdict
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tools.demo.deployment import ONE_SERVER, PROJECT, STACK, DeploymentError, deploy_stack, image_uri
from tools.demo.folder_lock import lock_folder
from tools.loop.drives import CLASSES, NEW_CLASS
from tools.loop.reviewer import POISONED
from tools.loop.rounds import (
    TRAINING_IMAGE,
    Clock,
    Edits,
    ask_again,
    count_edits,
    judge,
    label_drives,
    relabel_changed,
    train,
)

OUT = PROJECT / "build" / "loop"
FIRST_MODEL = "yolox-nano"
TRAINER = PROJECT / ".venv-train" / "bin" / "python"
LEAST_FALL = 0.3
# Of the program's default, three times: drawings are further from what the network knows than pictures are.
_RATE = "0.03"


class Scale(NamedTuple):
    """How much is shown: rounds, drives of a round, frames of a drive, held-out drives and their frames, steps."""

    rounds: int
    drives: int
    frames: int
    held_out: int
    held_frames: int
    steps: int


FULL = Scale(rounds=3, drives=3, frames=12, held_out=8, held_frames=4, steps=200)
SHORT = Scale(rounds=2, drives=2, frames=12, held_out=8, held_frames=3, steps=150)


class Round(NamedTuple):
    """A round: the model that labelled its drives, their edits, the candidate, and its verdict (None without one)."""

    model: str
    edits: Edits
    candidate: str
    verdict: Verdict | None


def run_loop(console: Console, scale: Scale) -> int:
    """Show the loop; return the exit status. Figures are in build/loop/loop.json."""
    if not TRAINER.exists():
        raise DeploymentError(f"{TRAINER} is missing: run `make setup-train`")
    shutil.rmtree(OUT, ignore_errors=True)
    settings = CloudSettings(
        images={FIRST_MODEL: (sys.executable, "-m", "models.servers.yolox", "--port", "{port}")},
        training_images={TRAINING_IMAGE: (str(TRAINER), "-m", "models.training")},
        annotator="tools.loop.reviewer:answer",
        # The script stands for a person, since a training job takes no script's labels.
        annotator_is_person=True,
        enforce_iam=True,
    )
    began, clock = time.monotonic(), Clock()
    with EmbeddedCloud(OUT / "cloud", settings=settings) as cloud:
        deploy_stack(cloud, OUT, {"JobLabels": ",".join(CLASSES)})
        stack = Stack.find(STACK, cloud.client)
        draft = draft_model(FIRST_MODEL, PROJECT / "models" / f"{FIRST_MODEL}.json", None, None, {})
        parameters = {**ONE_SERVER, "MinInstances": "1"}
        source = Source(image_uri(FIRST_MODEL))
        bring_source(stack, draft, source, parameters=parameters, active=True, tell=lambda text: None)
        clock.took("set up")
        held_out = [f"held-out-{number}" for number in range(1, scale.held_out + 1)]
        label_drives(stack, held_out, scale.held_frames, (FIRST_MODEL,), blind=True)
        clock.took("label")
        rounds, active, learned = list[Round](), FIRST_MODEL, list[str]()
        for number in range(1, scale.rounds + 1):
            names = [f"round-{number}-{drive}" for drive in range(1, scale.drives + 1)]
            label_drives(stack, names, scale.frames)
            clock.took("label")
            learned += names
            edits = count_edits(stack, names)
            # Nothing is labelled after the last round, so nothing is trained for it.
            if number == scale.rounds:
                rounds.append(Round(active, edits, "", None))
                break
            verdict = _candidate(stack, f"candidate-{number}", active, learned, held_out, scale, clock)
            rounds.append(Round(active, edits, verdict.new, verdict))
            active = verdict.new.partition(".")[0] if verdict.switched else active
        poisoned = [f"{POISONED}-{drive}" for drive in range(1, scale.drives + 1)]
        label_drives(stack, poisoned, scale.frames)
        clock.took("label")
        refused = _candidate(stack, POISONED, active, poisoned, held_out, scale, clock)
        again = relabel_changed(stack, learned[0])
        clock.took("relabel")
    minutes = (time.monotonic() - began) / 60
    _show(console, rounds, refused, dict(again), clock, minutes)
    first, last = rounds[0].edits, rounds[-1].edits
    falls = (1 - last.per_frame / first.per_frame, 1 - last.per_object / first.per_object)
    switched = any(one.verdict and one.verdict.switched for one in rounds)
    figures = {
        "edits": [round(one.edits.per_frame, 3) for one in rounds],
        "fall_per_frame": round(falls[0], 3),
        "fall_per_object": round(falls[1], 3),
        "switched": switched,
        "poisoned_p": refused.p,
        "poisoned_switched": refused.switched,
        "relabelled": dict(again),
        "minutes": round(minutes, 1),
        "seconds": dict(clock.seconds),
    }
    (OUT / "loop.json").write_text(json.dumps(figures, indent=2))
    console.print(f"edits fell by {falls[0]:.0%} for a frame, {falls[1]:.0%} for an object", highlight=False)
    return 0 if min(falls) >= LEAST_FALL and switched and not refused.switched else 1


def _candidate(
    stack: Stack, name: str, start: str, drives: list[str], held_out: list[str], scale: Scale, clock: Clock
) -> Verdict:
    """Train a candidate, let it answer the held-out drives, and judge it."""
    train(stack, name, start, drives, {"steps": str(scale.steps), "rate": _RATE})
    clock.took("train and deploy")
    ask_again(stack, held_out, scale.held_frames, name)
    clock.took("answer held-out drives")
    verdict = judge(stack, start, name, held_out)
    clock.took("judge")
    return verdict


def _show(
    console: Console, rounds: list[Round], refused: Verdict, again: dict[str, int], clock: Clock, minutes: float
) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in (
        "round",
        "labelled by",
        "frames",
        "objects",
        "edits",
        "a frame",
        "an object",
        "candidate",
        "p",
        "level",
        "",
    ):
        table.add_column(column)
    for number, one in enumerate(rounds, start=1):
        counts = (str(each) for each in one.edits)
        frames, edits, objects = counts
        table.add_row(
            str(number),
            one.model,
            frames,
            objects,
            edits,
            f"{one.edits.per_frame:.2f}",
            f"{one.edits.per_object:.2f}",
            *_said(one.verdict),
        )
    table.add_row("poisoned", refused.old, "", "", "", "", "", *_said(refused))
    console.print(table, highlight=False)
    kinds = ", ".join(f"{count} {kind}" for kind, count in again.items())
    console.print(f"the first drive again, with the last model: {kinds}", highlight=False)
    steps = ", ".join(f"{step} {seconds} s" for step, seconds in clock.seconds.items())
    console.print(f"{minutes:.1f} minutes: {steps}; {NEW_CLASS} is the class that {FIRST_MODEL} lacks", highlight=False)


def _said(verdict: Verdict | None) -> tuple[str, str, str, str]:
    if verdict is None:
        return ("", "", "", "")
    became = "switched on" if verdict.switched else "refused"
    return (verdict.new, f"{verdict.p:.4f}", f"{verdict.level:.4f}", became)


@click.command()
@click.option("--short", is_flag=True, help="Two rounds with fewer frames.")
def main(short: bool) -> None:
    """Show the loop that learns on this machine."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with lock_folder(OUT, "make loop"):
            status = run_loop(console, SHORT if short else FULL)
    except (CommandError, DeploymentError, RuntimeError) as e:
        console.print(f"[red]the loop failed:[/] {escape(str(e))}; logs: {OUT / 'cloud'}", highlight=False)
        sys.exit(1)
    sys.exit(status)


if __name__ == "__main__":
    main()
