"""The commands `autolabel upload`, `watch`, `fetch` and `report`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import msgspec

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.frames import LOG_DOCUMENT
from autolabel.contracts.logs import LogDocument, parse_selection, parse_start
from autolabel.contracts.verification import Policy, VerifyAll, VerifyKeyFrames, VerifyNone, VerifyUncertain
from autolabel.contracts.wording import counted
from autolabel_cli.browsing.page import write_page
from autolabel_cli.completion import complete_drives, complete_models
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.drives.frame_copies import DATASET, fetch_frames
from autolabel_cli.drives.log_uploads import (
    LogFiles,
    absent_sentence,
    check_described,
    document_of_logs,
    find_logs,
    upload_logs,
)
from autolabel_cli.drives.logs import LogRecording, find_source, read_document
from autolabel_cli.drives.recordings import Recording, first_of
from autolabel_cli.drives.results import fetch_report, fetch_run, read_summary
from autolabel_cli.drives.run_progress import RunView
from autolabel_cli.drives.uploads import (
    check_closed,
    check_names,
    close_drive,
    document_of,
    upload_frames,
)
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import check_models
from autolabel_cli.options import json_option, run_option, stack_option
from autolabel_cli.output import console, print_json
from autolabel_cli.stack import Stack

DEFAULT_CAMERA = "front"
_MB = 1_000_000
_UNKNOWN = (
    "; your identity may not read the ledger, so it is not known whether the drive was closed before: if it was, "
    "these frames are late"
)
# With the defaults of the contract. A drive.json can set other values.
_POLICIES: dict[str, Policy] = {
    "all": VerifyAll(),
    "doubtful": VerifyUncertain(),
    "key-frames": VerifyKeyFrames(),
    "none": VerifyNone(),
}


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--drive", required=True, help="Name of the drive.")
@click.option("--camera", help="Name of the only camera; default: front, else its own.")
@click.option("--topic", "topics", multiple=True, help="Topic of a log instead of all with pictures; repeatable.")
@click.option(
    "--start", callback=lambda _context, _option, text: _start(text), help="Time of a video's first frame, with a zone."
)
@click.option("--vehicle", default="unknown", show_default=True, help="Vehicle that recorded the drive.")
@click.option(
    "--model",
    "models",
    multiple=True,
    shell_complete=complete_models,
    help="Model instead of the active ones; repeatable.",
)
@click.option("--note", "notes", multiple=True, help="Note for readers of the report; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), help="Upload only this number of frames, from the first.")
@click.option(
    "--policy",
    type=click.Choice(list(_POLICIES)),
    default="all",
    show_default=True,
    help="Frames that reviewers verify: all; uncertain frames, unproven classes and audits; key frames; or none.",
)
@click.option(
    "--verification",
    callback=lambda _context, _option, text: _verification(text),
    metavar="JSON",
    help='Instead of --policy, the `verification` of drive.json: {"policy": "all", "task": "tracks"}.',
)
@click.option("--late", is_flag=True, help="Add frames to a drive that is closed already; its drive.json stays.")
@click.option("--extract", is_flag=True, help="Extract a log on this machine, and upload only its frames.")
@click.option("--partial", is_flag=True, help="With --extract, close the drive even if parts of a log cannot be read.")
@click.option("--replace", is_flag=True, help="Upload logs again that are there with other bytes.")
@stack_option
def upload(
    source: Path,
    drive: str,
    camera: str | None,
    topics: tuple[str, ...],
    start: int,
    vehicle: str,
    models: tuple[str, ...],
    notes: tuple[str, ...],
    limit: int | None,
    policy: str,
    verification: Policy | None,
    late: bool,
    extract: bool,
    partial: bool,
    replace: bool,
    stack_name: str,
) -> None:
    """Upload SOURCE as a drive, and close the drive.

    SOURCE is a folder of .png, .jpg and .jpeg images, which become one camera, or of folders of images, which become
    a camera each; a video file (MP4, MKV, TS); or a drive log (MCAP, a ROS bag, or a zip or tar archive of images or of
    one log) or a folder of logs, with all their cameras.
    Closing the drive starts its run. A drive that is closed already is refused without --late, if you may read the
    ledger.

    Logs are uploaded as they are. The stack extracts their frames, and closes the drive after the last one. An upload
    that was broken off goes on where it ended when the command is given again, and nothing is uploaded twice. With
    --extract, a log is extracted here, as a video always is.

    Images are frames in the order of the numbers in their names. A name of 19 digits is the frame's time in ns, one of
    16 in µs; KITTI's timestamps.txt is read. The file .autolabel-upload.json, which is written beside the images, keeps
    the times of all other names: when a changed folder is uploaded to its drive again, the same names are the same
    frames.
    """
    check_names(drive, camera or DEFAULT_CAMERA)
    if verification and policy != "all":
        raise CommandError("--verification names the policy: leave out --policy")
    if late and (models or notes or policy != "all" or verification):
        raise CommandError("--late leaves drive.json as it is: leave out --model, --note, --policy and --verification")
    chosen = verification or _POLICIES[policy]
    described = LogDocument(vehicle, models=models or None, verification=chosen, notes=notes)
    logs = None if extract else find_logs(source)
    stack = Stack.find(stack_name) if logs else None
    # Older stacks extract no logs.
    if logs and stack and ("ExtractMachineArn" in stack.outputs or source.is_dir()):
        if camera or topics or start or limit or partial:
            raise CommandError(
                "--camera, --topic, --start, --limit and --partial are for logs that are extracted here: give "
                f"--extract, or name topics and cameras in the {LOG_DOCUMENT} of a folder of logs"
            )
        if models:
            check_models(stack, models)
        _upload_logs(stack, drive, logs, described, late=late, replace=replace)
        return
    if own := read_document(source):
        check_described(source.parent, described)
        described = own
    recording = find_source(source, topics, start, document=described)
    if isinstance(recording, Recording) and (topics or partial or start or extract):
        raise CommandError(f"{source} is not a drive log: leave out --topic, --start, --extract and --partial")
    if replace:
        raise CommandError("--replace is for logs that are uploaded as they are: leave it out")
    if camera:
        recording.rename_camera(camera)
    stack = stack or Stack.find(stack_name)
    if described.models:
        check_models(stack, described.models)
    if isinstance(recording, LogRecording):
        recording.default = parse_selection(stack.parameters.get("LogSelection", ""))
    known = check_closed(stack, drive, late=late)
    if notice := recording.keep_times():
        console.print(notice, style="yellow", highlight=False, markup=False, soft_wrap=True)
    with RunDisplay(console) as display:
        total, frames = recording.count(limit), recording.frames(limit)
        counts = upload_frames(
            stack, drive, camera or DEFAULT_CAMERA, frames, lambda n: display.count("uploaded", n, total)
        )
    count = sum(counts.values())
    if isinstance(recording, LogRecording):
        for line in recording.report():
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        so = f"drive {drive} has {counted(count, 'frame')} of it" + ("" if late else " and is not closed")
        recording.check(count, so, partial=partial)
        if recording.note:
            noted = (*described.notes, f"log {source.name}: {recording.note}")
            described = msgspec.structs.replace(described, notes=noted)
    if not late:
        calibrations = recording.calibrations if isinstance(recording, LogRecording) else None
        close_drive(stack, drive, document_of(described, counts, calibrations))
    skipped = f"; {recording.skipped_sentence}" if recording.skipped else ""
    done = _uploaded(drive, late=late, known=known)
    cameras = f" of {first_of(counts)}" if isinstance(recording, Recording) and recording.cameras else ""
    said = f"drive {drive}: {counted(count, 'frame')}{cameras} uploaded{done[0]}{skipped}{done[1]}"
    console.print(said, highlight=False, soft_wrap=True)


def _upload_logs(
    stack: Stack, drive: str, logs: LogFiles, described: LogDocument, *, late: bool, replace: bool
) -> None:
    """Upload logs as they are, with their document in front, and say what becomes of them."""
    if "ExtractMachineArn" not in stack.outputs:
        raise CommandError(
            f"stack {stack.name!r} does not extract logs: deploy it again, or upload each log of {logs.folder} with "
            "--extract"
        )
    document = document_of_logs(logs, described)
    total, done, known = max(1, logs.size // _MB), 0, True

    def check() -> None:
        nonlocal known
        known = check_closed(stack, drive, late=late)

    with RunDisplay(console) as display:

        def show(sent: int) -> None:
            nonlocal done
            done += sent
            display.count("MB", min(done // _MB, total), total)

        uploaded = upload_logs(stack, drive, logs, None if late else document, replace=replace, check=check, sent=show)
    for notice in filter(None, (*uploaded.notices, absent_sentence(logs), logs.skipped_sentence)):
        console.print(notice, highlight=False, markup=False, soft_wrap=True)
    there = f", {counted(len(uploaded.there), 'file')} there already" if uploaded.there else ""
    follows = f"autolabel relabel {drive} takes in their frames" if late else f"autolabel watch {drive} follows them"
    said = f"drive {drive}: {counted(len(uploaded.sent), 'file')} of logs uploaded{there}; {follows}"
    console.print(said + ("" if known else _UNKNOWN), highlight=False, soft_wrap=True)


def _start(text: str | None) -> int:
    """Read the option --start as ns since the epoch; 0 without it."""
    try:
        return parse_start(text) if text else 0
    except ValueError as e:
        raise click.BadParameter(str(e)) from e


def _verification(text: str | None) -> Policy | None:
    """Read the option --verification by the rules of drive.json; None without it."""
    if text is None:
        return None
    try:
        msgspec.json.decode(text)
    except (ValueError, UnicodeError) as e:
        raise click.BadParameter(f"it is not JSON: {e}") from e
    body = b'{"vehicle": "v", "cameras": {"c": {}}, "verification": %s}' % text.encode()
    try:
        return parse_drive_document(body, "--verification").verification
    except DocumentRefused as e:
        raise click.BadParameter(str(e)) from e


def _uploaded(drive: str, *, late: bool, known: bool) -> tuple[str, str]:
    """Say what became of the drive, and what follows from it."""
    if late:
        return "", f"; autolabel relabel {drive} makes a run with those that its runs do not have"
    if known:
        return " and closed", ""
    return " with drive.json", _UNKNOWN


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@run_option
@stack_option
def watch(drive: str, run: str | None, stack_name: str) -> None:
    """Follow the run of DRIVE until its execution ends."""
    stack = Stack.find(stack_name)
    view = RunView(stack, drive, stack.run_of(drive, run))
    with RunDisplay(console) as display:
        progress = view.follow(display.show)
    if progress.status != "SUCCEEDED":
        raise CommandError(
            f"{view.arn} ended as {progress.status}: {progress.failure}; autolabel status {drive} says what to do"
        )
    rejections = f"; {progress.rejections}, see autolabel status {drive}" if progress.rejected else ""
    console.print(f"{view.arn}: SUCCEEDED{rejections}", highlight=False, soft_wrap=True)


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--images", is_flag=True, help="Also download the dataset's frames, for exports and browse.html.")
@run_option
@stack_option
def fetch(drive: str, folder: Path, images: bool, run: str | None, stack_name: str) -> None:
    """Download the summary, manifests, report, and rejected, failed and suspect frames of DRIVE."""
    stack = Stack.find(stack_name)
    summary = fetch_run(stack, drive, stack.run_of(drive, run), folder)
    if images:
        total = summary["frames"]["labelled"] + summary["frames"]["failed"]
        with RunDisplay(console) as display:
            fetch_frames(folder, stack.ingest, lambda n: display.count("images", n, total))
        write_page(folder / DATASET)
    frames = ", ".join(f"{count} {name}" for name, count in summary["frames"].items())
    reasons = summary["reasons"].get("rejected", {})
    rejected = f"; rejected: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}" if reasons else ""
    boxes = counted(summary["boxes"], "box", "boxes")
    console.print(f"{folder}: frames {frames}; {boxes}{rejected}", highlight=False, soft_wrap=True)


@click.command()
@click.argument("drive", shell_complete=complete_drives)
@click.option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, instead of opening the report.",
)
@run_option
@json_option
@stack_option
def report(drive: str, path: Path | None, run: str | None, as_json: bool, stack_name: str) -> None:
    """Show the report of DRIVE: open it in a browser, or write it into a file with --to.

    With --json, print the run's summary instead. `autolabel fetch` downloads all results.
    """
    stack = Stack.find(stack_name)
    run = stack.run_of(drive, run)
    if path or not as_json:
        place = path or Path(tempfile.mkdtemp(prefix="autolabel-")) / f"{drive}-{run}.html"
        fetch_report(stack, drive, run, place)
        if path is None and console.is_terminal:
            click.launch(str(place))
    if as_json:
        print_json(read_summary(stack, drive, run))
    else:
        console.print(f"the report of run {run} of drive {drive} is {place}", highlight=False, soft_wrap=True)
