"""`make demo`: runs the whole pipeline on this machine, from a recording to a verified dataset."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.logs import LogDocument
from autolabel.contracts.wording import counted
from autolabel.models import Model
from autolabel_cli.browsing.page import PAGE, write_page
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.drives.frame_copies import DATASET, fetch_frames
from autolabel_cli.drives.logs import LogRecording, find_source
from autolabel_cli.drives.recordings import first_of
from autolabel_cli.drives.results import fetch_run, write_summary
from autolabel_cli.drives.run_progress import RunProgress, RunView
from autolabel_cli.drives.uploads import close_drive, document_of, upload_frames
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.servers import known_servers
from autolabel_cli.models.bringing import bring_source
from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.models.documents import draft_model
from autolabel_cli.models.sources import Source
from autolabel_cli.stack import Stack
from local import PEOPLE, CloudSettings, EmbeddedCloud
from tools.demo.assets import default_clip
from tools.demo.deployment import ONE_SERVER, PROJECT, STACK, DeploymentError, deploy_stack, image_uri
from tools.demo.folder_lock import lock_folder

OUT = PROJECT / "build" / "demo"
DRIVE = "demo"
CAMERA = "front"
ANNOTATOR = "Demo: a script answered the verification jobs and kept every box. No person has looked at these labels."
PEOPLE_ASKED = "Demo: people answered the verification jobs at the worker portal, not a script."
VIEWS_SHOWN = "Demo: people see views of the frames, in which number plates and heads are covered."
# The clip begins with a bus seen from above. From this frame on it shows a street with people and vehicles.
DEFAULT_FIRST = 100
DEFAULT_FRAMES = 100
START_WITHIN = 60.0
# The model server of each models/<name>.json, and the models that label.
SERVERS = known_servers(PROJECT / "models")
BLUR = "blur"
LABELLERS = [name for name in SERVERS if read_document(PROJECT / "models" / f"{name}.json").purpose == "labels"]
# It finds the most people and vehicles of the detectors here, and the demo still ends within a minute.
DEFAULT_MODELS = ("yolox-tiles-5",)
# The demo also shows the template's roles: IAM allows nothing beyond them.
SETTINGS = CloudSettings(
    images={name: (sys.executable, "-m", server, "--port", "{port}") for name, server in SERVERS.items()},
    enforce_iam=True,
)


@dataclass
class Clock:
    """Measures the seconds that each part of the demo takes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 2)


def run_demo(
    console: Console,
    source: Path,
    limit: int | None,
    first: int = 0,
    models: Sequence[str] = DEFAULT_MODELS,
    review: bool = False,
    privacy: bool = False,
) -> dict[str, Any]:
    """Run the demo with `models` on at most `limit` frames of a recording, from frame `first` on; returns the summary.

    With `review`, it waits for people at the worker portal; with `privacy`, people see views of the frames. The
    embedded cloud ends before this returns or raises.
    """
    # A demo needs no true times.
    recording = find_source(source, else_start=source.stat().st_mtime_ns if source.exists() else 0)
    clock = Clock()
    shutil.rmtree(OUT, ignore_errors=True)
    settings = dataclasses.replace(SETTINGS, annotator=PEOPLE) if review else SETTINGS
    verifiers = PEOPLE_ASKED if review else ANNOTATOR
    notes = (verifiers, VIEWS_SHOWN) if privacy else (verifiers,)
    described = LogDocument("demo", notes=notes, privacy="blur" if privacy else None)
    with clock.part("total"), EmbeddedCloud(OUT / "cloud", settings=settings) as cloud:
        with clock.part("setup"):
            stack = set_up_stack(console, cloud, OUT)
            set_up_models(console, stack, [*models, BLUR] if privacy else models)
        console.print(f"[bold]drive[/] {source}, {counted(limit, 'frame') if limit else 'all frames'}", highlight=False)
        if recording.skipped:
            console.print(f"  {recording.skipped_sentence}", style="yellow", highlight=False, markup=False)
        with RunDisplay(console) as display:
            with clock.part("upload"):
                total, frames = recording.count(limit), recording.frames(limit, first)
                counts = upload_frames(stack, DRIVE, CAMERA, frames, lambda n: display.count("uploaded", n, total))
                count = sum(counts.values())
                display.count("uploaded", count, count)
                if isinstance(recording, LogRecording):
                    for line in recording.report():
                        console.print(f"  {line}", highlight=False, markup=False)
                    recording.check(count, "there is nothing to label", partial=True)
                close_drive(stack, DRIVE, document_of(described, counts))
            closed = time.time()
            view = RunView(stack, DRIVE, FIRST_RUN)
            invitation = Invitation(console, cloud.portal_url) if review else None

            def show(seen: RunProgress) -> None:
                display.show(seen, count)
                if invitation:
                    invitation.extend(seen)

            progress = view.follow(show, start_within=START_WITHIN)
        if progress.status != "SUCCEEDED":
            raise CommandError(
                f"the execution ended with status {progress.status}: {progress.failure}\n"
                f"logs: {cloud.log} and {cloud.folder / 'functions'}"
            )
        summary = fetch_run(stack, DRIVE, FIRST_RUN, OUT)
        fetch_frames(OUT, stack.ingest, lambda count: None)
        write_page(OUT / DATASET)
        summary["verification"] = [{**job, "annotator": verifiers} for job in summary["verification"]]
        clock.seconds |= _times(progress, closed)
    summary["seconds"] = {part: clock.seconds[part] for part in ("setup", "upload", "label", "verify", "total")}
    write_summary(OUT, summary)
    if rejected := rejected_files(OUT / "rejected.jsonl", recording.times):
        console.print(f"  {rejected}", style="yellow", highlight=False, markup=False)
    return summary


def rejected_files(rejected: Path, times: Mapping[str, int]) -> str:
    """Say which files a run rejected and why, by their names in the recording; empty when there are none."""
    lines = [msgspec.json.decode(line) for line in rejected.read_bytes().splitlines()] if rejected.exists() else []
    if not lines:
        return ""
    # Lines of objects that were rejected without a look into them have no source.
    names = {f"{time:019d}": name for name, time in times.items()}
    files = (
        f"{line.get('source') or names.get(Path(line['key']).stem, line['key'])} ({line['reason']})" for line in lines
    )
    rejected_count = counted(len(lines), "that is not usable as a frame", "that are not usable as frames")
    return f"rejected {rejected_count}: {first_of(files)}"


class Invitation:
    """Prints the address of the worker portal once, when the run reaches its verification."""

    def __init__(self, console: Console, url: str) -> None:
        self._console = console
        self._url = url
        self._extended = False

    def extend(self, progress: RunProgress) -> None:
        """Print it if the run is there and it was not printed before."""
        if not self._extended and any(state.name == "Verify" for state in progress.states):
            self._extended = True
            self._console.print(
                f"\n  [bold]Your frames are ready:[/] {self._url}\n"
                "  Open it in a browser on this machine. The run goes on after the last frame; Ctrl-C stops it.\n"
                "  Frames that you mark as unsure come back in a second job.\n",
                highlight=False,
            )


def set_up_stack(console: Console, cloud: EmbeddedCloud, folder: Path) -> Stack:
    """Deploy the stack into a cloud. Logs go to `folder`/logs."""
    console.print(f"embedded cloud on {cloud.endpoint_url}", highlight=False)
    with console.status("building and deploying template.yaml with sam"):
        deploy_stack(cloud, folder)
    return Stack.find(STACK, cloud.client)


def set_up_models(console: Console, stack: Stack, models: Sequence[str] = DEFAULT_MODELS) -> None:
    """Deploy each model behind its own endpoint, and add it to the catalogue."""
    drafts = [draft_model(name, PROJECT / "models" / f"{name}.json", None, None, {}) for name in models]

    def bring(draft: Model) -> Model:
        source = Source(image_uri(draft.name))
        return bring_source(stack, draft, source, parameters=ONE_SERVER, active=False, tell=lambda text: None).model

    with console.status(f"starting {', '.join(models)}"), ThreadPoolExecutor(len(drafts)) as starts:
        brought = list(starts.map(bring, drafts))
    for model in brought:
        add_model(stack, model)
    endpoints = ", ".join(model.endpoint for model in brought)
    console.print(f"deployed stack {STACK} and endpoints {endpoints}", highlight=False)


def _times(progress: RunProgress, closed: float) -> dict[str, float]:
    """Seconds from closing the drive to its verification (`label`), and of the verification (`verify`)."""
    verify = next(state for state in progress.states if state.name == "Verify")
    return {
        "label": round(verify.entered - closed, 2),
        "verify": round((verify.exited or verify.entered) - verify.entered, 2),
    }


def show_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print the results as a table."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    frames = summary["frames"]
    table.add_row("frames", ", ".join(f"{count} {name}" for name, count in frames.items()))
    for outcome, reasons in summary["reasons"].items():
        table.add_row(f"  {outcome}", ", ".join(f"{count} {reason}" for reason, count in reasons.items()))
    classes = ", ".join(f"{count} {name}" for name, count in summary["classes"].items())
    table.add_row("models", ", ".join(summary["models"]))
    table.add_row("boxes", f"{summary['boxes']}" + (f" ({classes})" if classes else ""))
    for job in summary["verification"]:
        table.add_row("verification", f"{job['job']}: {job['status']}, {counted(job['frames'], 'frame')}")
    labelled_by = (f"{name}: {counted(count, 'frame')}" for name, count in summary["labelled_by"].items())
    table.add_row("labelled by", ", ".join(labelled_by))
    shown = summary["agreement"]["shown"]
    if shown["frames"]:
        table.add_row(
            "unchanged",
            f"{shown['kept']} of {counted(shown['boxes'], 'box', 'boxes')}, "
            f"{shown['untouched']} of {counted(shown['frames'], 'frame')}",
        )
    table.add_row("execution", summary["execution"]["status"])
    table.add_row("seconds", ", ".join(f"{part} {seconds:.1f}" for part, seconds in summary["seconds"].items()))
    table.add_row("dataset", str(OUT / DATASET))
    table.add_row("report", str(OUT / "report.html"))
    table.add_row("all frames", str(OUT / PAGE))
    table.add_row("", "in the same folder: the frames, summary.json, verify.manifest, execution.json")
    console.print()
    console.print(table, highlight=False)
    if VIEWS_SHOWN in summary["notes"]:
        console.print(f"\n{VIEWS_SHOWN}", style="yellow", highlight=False)
    for verifiers in {job["annotator"]: None for job in summary["verification"]}:
        console.print(f"\n{verifiers}", style="yellow", highlight=False)
        if verifiers == PEOPLE_ASKED:
            verified, asked = (sum(job[name] for job in summary["verification"]) for name in ("verified", "frames"))
            console.print(
                f"A person answered {verified} of {counted(asked, 'frame')}.", style="yellow", highlight=False
            )


def _known_models(value: str) -> list[str]:
    """Split names and drop repeated ones; BadParameter when there is none, or one has no model server here."""
    names = list(dict.fromkeys(value.replace(",", " ").split()))
    if unknown := [name for name in names if name not in LABELLERS]:
        raise click.BadParameter(f"unknown model {', '.join(unknown)}; choose from {', '.join(LABELLERS)}")
    if not names:
        raise click.BadParameter(f"give at least one model of {', '.join(LABELLERS)}")
    return names


@click.command()
@click.option(
    "--drive",
    type=click.Path(path_type=Path),
    help="A log, a video file or a folder of images; default: a built-in clip.",
)
@click.option(
    "--frames", type=click.IntRange(min=1), help="Number of frames; default: 100 of the built-in clip, or all of yours."
)
@click.option(
    "--models",
    default=" ".join(DEFAULT_MODELS),
    show_default=True,
    callback=lambda _context, _option, value: _known_models(value),
    help=f"Models that label every frame; choose from: {' '.join(LABELLERS)}.",
)
@click.option(
    "--review", is_flag=True, help="You verify the frames at the worker portal; otherwise a script keeps every box."
)
@click.option("--privacy", is_flag=True, help="People see views of the frames: number plates and heads are covered.")
def main(drive: Path | None, frames: int | None, models: Sequence[str], review: bool, privacy: bool) -> None:
    """Label a recording on this machine and write the results to build/demo."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    # SIGTERM, and SIGINT also where a shell lets its jobs ignore it, end the demo like Ctrl-C: the cloud is stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with lock_folder(OUT, "make demo"):
            if drive:
                summary = run_demo(console, drive, frames, models=models, review=review, privacy=privacy)
            else:
                clip, count = default_clip(), frames or DEFAULT_FRAMES
                summary = run_demo(console, clip, count, DEFAULT_FIRST, models, review, privacy)
    except KeyboardInterrupt:
        console.print("interrupted; the embedded cloud was stopped", style="yellow")
        sys.exit(130)
    except (CommandError, DeploymentError, RuntimeError) as e:
        console.print(f"[red]demo failed:[/] {escape(str(e))}", highlight=False)
        sys.exit(1)
    except (BotoCoreError, ClientError, OSError) as e:
        console.print(f"[red]demo failed:[/] {escape(str(e))}; logs: {OUT / 'cloud'}", highlight=False)
        sys.exit(1)
    show_summary(console, summary)


if __name__ == "__main__":
    main()
