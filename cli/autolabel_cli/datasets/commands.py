"""The commands `autolabel export` and `autolabel diff`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import click
from rich.markup import escape
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel_cli.completion import complete_sources
from autolabel_cli.datasets.classes import map_classes, read_class_map
from autolabel_cli.datasets.formats import FORMATS, IN_SPACE, Format
from autolabel_cli.datasets.sources import find_source, is_file
from autolabel_cli.datasets.splits import Splitter, Stretches, parse_shares, split_by_file, split_by_hash
from autolabel_cli.datasets.staging import Labels
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.drives.frame_copies import copies_of
from autolabel_cli.errors import CommandError
from autolabel_cli.installation import DATUMARO
from autolabel_cli.options import json_option, stack_option
from autolabel_cli.output import console, print_json, print_table
from autolabel_cli.stack import Stack

_FILE = click.Path(path_type=Path)
# Changed frames that `diff` names.
_SHOWN = 10


@click.command()
@click.argument("sources", metavar="DRIVE...", nargs=-1, required=True, shell_complete=complete_sources)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Format to write.")
@click.option("--to", "folder", type=_FILE, required=True, help="Folder to write into, empty or new.")
@click.option(
    "--labels",
    type=click.Choice(get_args(Labels)),
    default="verified",
    show_default=True,
    help="Frames with a final label (a reviewer's, a script's, or accepted by policy), or all frames with a label.",
)
@click.option("--classes", type=_FILE, help='Class map as a JSON file: {"van": "car", "train": null, "bus": "ignore"}.')
@click.option(
    "--split",
    "shares",
    help="Share of drives for each split, chosen by a hash of the drive's name: train=0.8,val=0.1,test=0.1.",
)
@click.option(
    "--split-file", type=_FILE, help='Drives of each split as a JSON file: {"train": ["drive-a"], "val": ["drive-b"]}.'
)
@click.option(
    "--split-by",
    type=click.Choice(["drive", "vehicle", "time"]),
    default="drive",
    show_default=True,
    help="Frames that --split keeps together; time cuts drives into stretches.",
)
@click.option(
    "--stretch",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help=f"Length of a stretch of --split-by time.  [default: {Stretches().seconds}]",
)
@click.option(
    "--gap",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"Frames that --split-by time leaves out where the split changes.  [default: {Stretches().gap:g}]",
)
@click.option(
    "--sample-tolerance",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="MS",
    help="Most milliseconds between the frames of cameras that are one sample (nuscenes, openlabel).",
)
@click.option("--no-images", is_flag=True, help="Write labels without images.")
@stack_option
def export(
    sources: tuple[str, ...],
    form: Format,
    folder: Path,
    labels: Labels,
    classes: Path | None,
    shares: str | None,
    split_file: Path | None,
    split_by: str,
    stretch: int | None,
    gap: float | None,
    sample_tolerance: int,
    no_images: bool,
    stack_name: str,
) -> None:
    """Write published datasets in a format for training code.

    DRIVE is the name of a drive (for its latest published run), a run such as DRIVE@0002, or a dataset.manifest file.
    A file whose frames are beside it (make demo, autolabel fetch --images) needs no stack.

    \b
    coco            annotations/instances_<split>.json, images/<split>/
    kitti           <split>/label_2/*.txt, <split>/image_2/
    yolo            data.yaml, labels/<split>/*.txt, images/<split>/
    voc             Annotations/*.xml, ImageSets/Main/<split>.txt, JPEGImages/
    mot             <split>/<drive>.<camera>/gt/gt.txt, seqinfo.ini, img1/
    kitti-tracking  <split>/label_02/<drive>.<camera>.txt, image_02/<drive>.<camera>/
    cvat-video      <split>/<drive>.<camera>/annotations.xml, images/
    nuscenes        v1.0-<split>/*.json, samples/<channel>/, maps/
    openlabel       <split>/<drive>.json, <split>/images/

    File names are <drive>.<camera>.<timestamp>; formats of videos number the frames of a camera. All frames of a
    drive are in one split, but for --split-by time, where a stretch is a sequence of its own. The class map renames,
    merges, drops (null) or ignores ("ignore") classes. Ignored boxes become COCO's crowds (one for each category),
    KITTI's DontCare, VOC's difficult objects, CVAT's label ignore and MOT's boxes without confidence; YOLO, nuScenes
    and OpenLABEL have no such boxes. nuscenes and openlabel have cuboids, and join the frames of a moment to samples.
    dataset.json lists the contents and their origin.
    """
    # Imported here, because it loads numpy, which other commands do not need.
    from autolabel_cli.datasets.exporting import CARD, IN_GAP, Export

    if shares and split_file:
        raise click.UsageError("give either --split or --split-file")
    if split_by != "drive" and not shares:
        raise click.UsageError(f"--split-by {split_by} needs --split: give both")
    cut = _stretches(split_by, stretch, gap)
    # Refused before anything is read.
    if form not in IN_SPACE:
        DATUMARO.python()
    mapping = read_class_map(classes)
    stack = _stack(stack_name, sources, images=not no_images, vehicles=split_by == "vehicle")
    splitter = _splitter(shares, split_file, stack if split_by == "vehicle" else None, cut)
    described = {
        "format": form,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": labels,
        "class_map": mapping or {},
        "images": not no_images,
        **({"sample_tolerance_ms": sample_tolerance} if form in IN_SPACE else {}),
        **({"stretch_seconds": cut.seconds, "gap_seconds": cut.gap} if cut else {}),
    }
    plan = Export(form, labels, map_classes(mapping, form), splitter, described, sample_tolerance * 1_000_000)
    with RunDisplay(console) as display:
        found = [find_source(source, stack) for source in dict.fromkeys(sources)]
        card = plan.run(found, stack, folder, not no_images, display.count)
    if cut:
        frames = ", ".join(f"{split} {counted(count, 'frame')}" for split, count in card.split_frames.items())
        said = f"{frames}; {counted(card.frames_left_out[IN_GAP], 'frame')} between them left out"
        console.print(said, highlight=False, markup=False)
    whole = "stretches: a shorter --stretch makes more of them" if cut else "drives only"
    for split in card.empty_splits:
        click.echo(f"warning: no frame is in {split}, because a split has whole {whole}", err=True)
    if form == "yolo" and (repeated := card.split_as_val):
        said = f"no frame is in val, so data.yaml names those of {repeated} as val; --split sets some drives aside"
        click.echo(f"warning: {said}", err=True)
    if card.scripted:
        of = f"{card.scripted:,} of {counted(card.frames, 'frame')}"
        click.echo(f"warning: a script made the labels of {of}: no person has looked at them", err=True)
    left_out = sum(card.frames_left_out.values())
    said = f", left out {counted(left_out, 'frame')} ({CARD} says why)" if left_out else ""
    written = f"{counted(card.frames, 'frame')}, {counted(card.boxes, 'box', 'boxes')}"
    console.print(f"{folder}: {written}{said}", highlight=False, markup=False)


def _stack(name: str, sources: Sequence[str], *, images: bool, vehicles: bool) -> Stack | None:
    """Find the stack; None when runs, images and vehicles need none. CommandError says how a file goes without it."""
    files = [Path(source) for source in sources if is_file(source)]
    alone = [path for path in files if path.is_file() and not copies_of(path)] if images else []
    if not (alone or vehicles or len(files) < len(sources)):
        return None
    try:
        return Stack.find(name)
    except CommandError as e:
        if not alone or vehicles or len(files) < len(sources):
            raise
        raise CommandError(
            f"{e.message.rstrip('.')}; {alone[0]} has no frames beside it: `autolabel fetch DRIVE --to FOLDER "
            "--images` writes both, and --no-images exports without them"
        ) from e


def _stretches(split_by: str, seconds: int | None, gap: float | None) -> Stretches | None:
    """Return how drives are cut; None if they are not."""
    if split_by != "time":
        if seconds is not None or gap is not None:
            raise click.UsageError("--stretch and --gap need --split-by time: give it, or leave them out")
        return None
    cut = Stretches()
    cut = Stretches(cut.seconds if seconds is None else seconds, cut.gap if gap is None else gap)
    if cut.gap >= cut.seconds:
        raise click.UsageError(f"a gap of {cut.gap:g} s leaves nothing of stretches of {cut.seconds} s: give less")
    return cut


def _splitter(shares: str | None, split_file: Path | None, vehicles: Stack | None, cut: Stretches | None) -> Splitter:
    if split_file:
        return split_by_file(split_file)
    if not shares:
        return Splitter()
    parsed = parse_shares(shares)
    vehicle_of = None if vehicles is None else lambda drive, run: vehicles.ledger.run(drive, run).document.vehicle
    return Splitter(list(parsed), partial(split_by_hash, shares=parsed), vehicle_of, cut)


@click.command("diff")
@click.argument("old", metavar="OLD", shell_complete=complete_sources)
@click.argument("new", metavar="NEW", shell_complete=complete_sources)
@click.option("--to", "page", type=_FILE, help="Write a page with the frames that changed most, an HTML file.")
@json_option
@stack_option
def differences(old: str, new: str, page: Path | None, as_json: bool, stack_name: str) -> None:
    """Show how the labels of two datasets differ, box by box.

    OLD and NEW are runs such as DRIVE@0001 and DRIVE@0002, drives (for their latest published run), or dataset.manifest
    files. A frame counts with its final label, else with its pre-label.
    """
    # Imported here, because it loads the reports, which other commands do not need.
    from autolabel_cli.datasets.differences import Differences

    stack = None if is_file(old) and is_file(new) else Stack.find(stack_name)
    found = Differences(find_source(old, stack), find_source(new, stack), stack)
    document = found.document()
    if page:
        try:
            page.write_text(found.page(), encoding="utf-8")
        except OSError as e:
            raise CommandError(f"{page} cannot be written: {e.strerror}; give another path with --to") from e
    if as_json:
        return print_json(document)
    for sentence in document.said:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    kinds = ("added", "deleted", "relabelled", "moved", "kept")
    for column in ("class", *kinds):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, counts in document.classes.items():
        table.add_row(escape(name), *(f"{getattr(counts, kind):,}" for kind in kinds))
    print_table(console, table)
    for one in document.relabelled:
        console.print(f"{one.old} → {one.new}: {counted(one.boxes, 'box', 'boxes')}", highlight=False, markup=False)
    for frame in document.changed[:_SHOWN]:
        console.print(
            f"{frame.camera} {frame.timestamp}: {frame.counts}", highlight=False, markup=False, soft_wrap=True
        )
    if (more := document.frames - document.unchanged - _SHOWN) > 0:
        console.print(f"and {counted(more, 'more changed frame')}: see --json, or --to for pictures", highlight=False)
    return None
