"""`python -m cli`: the commands."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from autolabel.drives import FIRST_RUN
from cli.catalogue import add_model, read_document
from cli.display import RunDisplay
from cli.errors import CommandError
from cli.progress import RunView
from cli.recordings import find_recording
from cli.results import fetch_run
from cli.stack import Stack
from cli.uploads import check_names, close_drive, document_of, upload_frames

console = Console()
stack_option = click.option("--stack", "stack_name", default="autolabel", show_default=True, help="The deployed stack.")
run_option = click.option("--run", default=FIRST_RUN, show_default=True, help="The run of the drive.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Turn recorded drives into labelled datasets."""


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--drive", required=True, help="The drive's name.")
@click.option("--camera", default="front", show_default=True, help="The camera's name.")
@click.option("--vehicle", default="unknown", show_default=True, help="The vehicle that recorded it.")
@click.option("--model", "models", multiple=True, help="A model of the catalogue instead of the default one.")
@click.option("--note", "notes", multiple=True, help="What readers of the report should know.")
@click.option("--limit", type=click.IntRange(min=1), help="Upload the first frames only.")
@stack_option
def upload(
    source: Path,
    drive: str,
    camera: str,
    vehicle: str,
    models: tuple[str, ...],
    notes: tuple[str, ...],
    limit: int | None,
    stack_name: str,
) -> None:
    """Upload SOURCE, a video file or a folder of images, as a drive of one camera, and close it."""
    check_names(drive, camera)
    recording = find_recording(source)
    stack = Stack.find(stack_name)
    with RunDisplay(console) as display:
        total, frames = recording.count(limit), recording.frames(limit)
        count = upload_frames(stack, drive, camera, frames, lambda n: display.count("uploaded", n, total))
    close_drive(stack, drive, document_of(vehicle, camera, count, models or None, notes))
    skipped = f", skipped {len(recording.skipped)} files that are no PNG or JPEG" if recording.skipped else ""
    console.print(f"drive {drive}: {count} frames uploaded and closed{skipped}", highlight=False)


@main.command()
@click.argument("drive")
@run_option
@stack_option
def watch(drive: str, run: str, stack_name: str) -> None:
    """Follow the run of DRIVE until its execution ends."""
    view = RunView(Stack.find(stack_name), drive, run)
    with RunDisplay(console) as display:
        progress = view.follow(display.show)
    if progress.status != "SUCCEEDED":
        raise CommandError(f"{view.arn} ended as {progress.status}: {progress.failure}")
    console.print(f"{view.arn}: SUCCEEDED", highlight=False)


@main.command()
@click.argument("drive")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="The folder to write into.")
@run_option
@stack_option
def fetch(drive: str, folder: Path, run: str, stack_name: str) -> None:
    """Fetch the summary, manifests and report of DRIVE."""
    summary = fetch_run(Stack.find(stack_name), drive, run, folder)
    console.print(f"{folder}: {summary['frames']}, {summary['boxes']} boxes", highlight=False)


@main.group()
def models() -> None:
    """The catalogue of models."""


@models.command("add")
@click.argument("document", type=click.Path(path_type=Path))
@click.option("--endpoint", help="The deployed endpoint, if it is not the one that the document names.")
@click.option("--default", is_flag=True, help="Let this model label drives that name none.")
@stack_option
def add(document: Path, endpoint: str | None, default: bool, stack_name: str) -> None:
    """Add the revision that DOCUMENT describes (models/*.json) and make it the model's current one."""
    model = read_document(document, endpoint)
    add_model(Stack.find(stack_name), model, default=default)
    console.print(f"{model.id} is in the catalogue of {stack_name}", highlight=False)


if __name__ == "__main__":
    main(prog_name="autolabel")
