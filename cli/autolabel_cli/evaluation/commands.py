"""The commands of `autolabel evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.table import Table

from autolabel.contracts.wording import counted
from autolabel.sequences import LEAST_RATE
from autolabel_cli.drives.display import RunDisplay
from autolabel_cli.errors import CommandError, CommandGroup
from autolabel_cli.evaluation.document import (
    BestAlone,
    EvaluationDocument,
    IssuesDocument,
    MasksDocument,
    ReviewSpeedDocument,
)
from autolabel_cli.models.kitti import LEVELS
from autolabel_cli.options import json_option, stack_option
from autolabel_cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from autolabel_cli.evaluation.evaluation import Evaluation
    from autolabel_cli.evaluation.folders import LabelledFolder

FUSED, FINAL = "fused", "final"
_MOST_NAMES = 10
# GrabCut takes a third of a second for a box.
_SEGMENTER_SECONDS = 120.0


_format = click.option(
    "--format",
    "form",
    type=click.Choice(["kitti", "coco", "yolo"]),
    help="Format of the labels; by default the folder tells it.",
)
_models = click.option("--models", help='Models of the checkout, such as "yolox-nano ssd-mobilenet"; all by default.')
_level = click.option(
    "--level",
    type=click.Choice(list(LEVELS)),
    help="Objects that count; by default hard for KITTI's format, and all for the others.",
)
_labelled_tracks = click.option(
    "--labels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of labelled tracks: KITTI's <sequence>.txt.",
)
_min_score = click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Detections of a lower score are left out; a file's score is a logit.",
)
_rate = click.option(
    "--rate",
    type=click.FloatRange(LEAST_RATE),
    default=10.0,
    show_default=True,
    help="Frames a second of the sequences.",
)


@click.group(cls=CommandGroup)
def evaluate() -> None:
    """Score models, or a published run, against labels."""


@evaluate.command("boxes")
@click.argument("folder", type=click.Path(path_type=Path))
@_format
@_models
@click.option(
    "--dataset", metavar="DRIVE", help="Score a drive, a run such as DRIVE@0002, or a dataset.manifest file instead."
)
@_level
@click.option("--intervals", is_flag=True, help="Add the 95 % interval of AP50, by 200 draws of the frames.")
@json_option
@stack_option
def boxes(
    folder: Path,
    form: Any,
    models: str | None,
    dataset: str | None,
    level: str | None,
    intervals: bool,
    as_json: bool,
    stack_name: str,
) -> None:
    """Score boxes against the labelled images of FOLDER.

    \b
    kitti  image_2/*.png, label_2/*.txt
    coco   annotations/*.json, images
    yolo   data.yaml, images/, labels/

    Folders may be nested, and images of any size. The models of the checkout run here, without a stack: each alone,
    and merged as the pipeline does it. Images without labels, labels without an image and unknown classes are counted
    and left out. An empty label says that an image has no objects.

    Levels are KITTI's: least height 40, 25 or 25 pixels (easy, moderate, hard), highest occlusion and truncation. whole
    is hard with truncated objects; all is every object.
    """
    # Imported here, because they load numpy and pycocotools, which the list of commands does not need.
    from autolabel_cli.evaluation.evaluation import evaluate_folder
    from autolabel_cli.evaluation.formats import LEVEL_OF, read_labels
    from autolabel_cli.evaluation.servers import running_servers
    from autolabel_cli.evaluation.systems import by_dataset, by_models

    if dataset and models:
        raise click.UsageError("give either --dataset or --models")
    with _files_as_errors(folder), ExitStack() as running:
        form, labels = read_labels(folder, form)
        chosen = level or LEVEL_OF[form]
        if dataset:
            label = by_dataset(dataset, labels.frames, stack_name)
        else:
            servers = running.enter_context(running_servers((models or "").replace(",", " ").split()))
            label = by_models(servers, labels.labelled)
        display = None if as_json else running.enter_context(RunDisplay(console))
        evaluation = evaluate_folder(
            labels,
            label,
            LEVELS[chosen],
            lambda count, total: display.count("frames", count, total) if display else None,
            intervals=intervals,
        )
    if as_json:
        return print_json(_document(evaluation, labels, form, chosen))
    _show(evaluation, labels, f"{folder}: {evaluation.frames} frames, {form}, level {chosen}")
    return None


@evaluate.command("uncertainty")
@click.argument("folder", type=click.Path(path_type=Path))
@_format
@_models
@_level
@click.option(
    "--max-doubt",
    "limits",
    multiple=True,
    type=click.FloatRange(0, 1, max_open=True),
    default=(0.15, 0.2, 0.3, 0.5, 0.7, 0.9),
    show_default=True,
    help="Limit of the uncertainty to examine; repeatable.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the time of all reviews after which the found errors are counted.",
)
@json_option
def uncertainty(
    folder: Path,
    form: Any,
    models: str | None,
    level: str | None,
    limits: tuple[float, ...],
    share: float,
    as_json: bool,
) -> None:
    """Measure what the uncertainty of models tells of the labelled images of FOLDER.

    For each limit: how many frames a policy would accept once all classes are proven, how many of these have an error,
    and which share of the review time it saves. And which share of the errors is found first, if the frames with most
    uncertainty, most boxes or least confidence are reviewed first. A review takes 1 for a frame and 0.5 for each box.
    """
    from autolabel_cli.evaluation.formats import LEVEL_OF, read_labels
    from autolabel_cli.evaluation.servers import running_servers
    from autolabel_cli.evaluation.systems import by_models
    from autolabel_cli.evaluation.uncertainty import evaluate_uncertainty

    with _files_as_errors(folder), ExitStack() as running:
        form, labels = read_labels(folder, form)
        servers = running.enter_context(running_servers((models or "").replace(",", " ").split()))
        display = None if as_json else running.enter_context(RunDisplay(console))
        document = evaluate_uncertainty(
            labels,
            by_models(servers, labels.labelled),
            [server.model for server in servers],
            LEVELS[level or LEVEL_OF[form]],
            limits=limits,
            share=share,
            tell=lambda count, total: display.count("frames", count, total) if display else None,
        )
    if as_json:
        return print_json(document)
    errors = f"{counted(document.errors, 'error')} in {document.faulty:,} of {counted(document.frames, 'frame')}"
    console.print(f"{folder}: {errors}", highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("max_doubt", "accepted", "with an error", "saves"):
        table.add_column(column, justify="right")
    for of in document.limits:
        table.add_row(f"{of.limit:g}", f"{of.frames:,}", f"{of.faulty:,}", f"{of.saved:.1%}")
    print_table(console, table)
    first = ", ".join(f"by {order} {found:.0%}" for order, found in document.found.items())
    console.print(f"errors in the first {document.share:.0%} of the time: {first}", highlight=False, soft_wrap=True)
    _warn("left out", Counter(document.left_out))
    return None


@evaluate.command("steadiness")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--every", type=click.IntRange(min=1), default=1, help="Take only every such frame of a camera.")
@json_option
def steadiness(manifest: Path, every: int, as_json: bool) -> None:
    """Measure how steady pre-labels are over time, as the models gave them and as tracks. No labels are needed.

    MANIFEST is the verify.manifest of a drive that was labelled with "tracks": false.
    """
    from autolabel_cli.evaluation.steadiness import measure_steadiness

    document = measure_steadiness(manifest, every=every)
    if as_json:
        return print_json(document)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in (counted(document.frames, "frame"), "boxes", "ends", "gaps", "jitter"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, of in (("raw", document.raw), ("tracks", document.tracks)):
        jitter = "–" if of.jitter is None else f"{of.jitter:.2%}"
        table.add_row(name, _share(of.boxes), _share(of.ends), f"{of.gaps:,}", jitter)
    print_table(console, table)
    return None


@evaluate.command("tracks")
@_labelled_tracks
@click.option(
    "--detections",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of detections: <sequence>.txt with lines frame,class,left,top,right,bottom,score.",
)
@_min_score
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Frames a second of the sequences.",
)
@click.option("--every", type=click.IntRange(min=1), default=1, help="Take only every such frame.")
@json_option
def tracks(labels: Path, detections: Path, min_score: float, rate: float, every: int, as_json: bool) -> None:
    """Link detections of cars into tracks, and score them against labelled tracks.

    Cars of 25 pixels and more count, up to occlusion 2. Vans, lorries and unlabelled regions are neither right nor
    wrong. The metrics need the package trackers: `make setup-tracks`.
    """
    from autolabel_cli.evaluation.tracks import evaluate_tracks

    document = evaluate_tracks(labels, detections, min_score=min_score, rate=rate, every=every)
    if as_json:
        return print_json(document)
    counts = f"{counted(document.sequences, 'sequence')}, {counted(document.frames, 'frame')} at {document.rate:g} Hz"
    console.print(f"{labels}: {counts}, scores from {min_score:g}", highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("tracks", "HOTA", "IDF1", "MOTA", "switches", "fragments", "precision", "recall"):
        table.add_column(column, justify="left" if column == "tracks" else "right")
    for name, of in (("confirmed", document), ("all", document.all)):
        shares = (_share(share) for share in (of.hota, of.idf1, of.mota))
        sides = (_share(share) for share in (of.precision, of.recall))
        table.add_row(name, *shares, f"{of.switches:,}", f"{of.fragments:,}", *sides)
    print_table(console, table)
    for why, count in document.left_out.items():
        console.print(f"left out: {count:,} {why}", highlight=False)
    return None


@evaluate.command("review-speed")
@_labelled_tracks
@click.option(
    "--detections",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of detections, as for evaluate tracks; without it, a camera is simulated.",
)
@_min_score
@_rate
@click.option("--seed", type=int, default=1, show_default=True, help="Of the camera and of what is noticed.")
@click.option(
    "--chance",
    type=click.Choice(["0.8", "0.9", "1"]),
    default="0.8",
    show_default=True,
    help="Chance to notice an error at a stop; the JSON object has all.",
)
@click.option("--straight", is_flag=True, help="Join the boxes of two stops by straight lines.")
@json_option
def review_speed(
    labels: Path,
    detections: Path | None,
    min_score: float,
    rate: float,
    seed: int,
    chance: str,
    straight: bool,
    as_json: bool,
) -> None:
    """Review linked detections of cars by script: how fast it is, and how right the boxes are after it.

    The reviewer knows the truth only where they stop. Times are compared with drawing every box, and with drawing the
    fewest boxes from which straight lines give all. Precision and recall are at an IoU of 0.7.
    """
    from autolabel_cli.evaluation.review_speed import evaluate_review_speed

    document = evaluate_review_speed(labels, detections, min_score=min_score, rate=rate, seed=seed, straight=straight)
    if as_json:
        return print_json(document)
    return _show_speed(document, float(chance))


@evaluate.command("label-issues")
@_labelled_tracks
@_rate
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="Part of the ranking to look at, as a share of the number of boxes.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Other seeds choose other errors.")
@json_option
def label_issues(labels: Path, rate: float, share: float, seed: int, as_json: bool) -> None:
    """Seed errors into labelled tracks, and count those among the first label issues by time.

    One side of a box is moved by 15 to 30 %, boxes are taken away, get another class, or are invented. The search does
    not see the numbers of tracks.
    """
    from autolabel_cli.evaluation.seeded_errors import evaluate_label_issues

    document = evaluate_label_issues(labels, rate=rate, seed=seed, share=share)
    if as_json:
        return print_json(document)
    counts = f"{counted(document.sequences, 'sequence')}, {counted(document.frames, 'frame')}"
    return _show_issues(f"{labels}: {counts}, {counted(document.boxes, 'box', 'boxes')}", document)


def _show_issues(title: str, document: IssuesDocument) -> None:
    seeded = counted(sum(document.seeded.values()), "error")
    console.print(f"{title}, {seeded}", highlight=False, markup=False, soft_wrap=True)
    said = f"the first {counted(document.issues, 'issue')} hold {document.found['all']:.1%} of the errors"
    by_kind = ", ".join(f"{kind} {found:.1%}" for kind, found in document.found.items() if kind != "all")
    console.print(
        f"{said} ({by_kind}); {document.right:.1%} of these issues are such errors", highlight=False, markup=False
    )


@evaluate.command("sensor-issues")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--list", "listed", is_flag=True, help="List the label issues of FOLDER as it is, and seed none.")
@click.option(
    "--scenes", type=click.IntRange(1), default=40, show_default=True, help="Generated scenes, without FOLDER."
)
@click.option("--draws", type=click.IntRange(1), default=10, show_default=True, help="How often to seed errors.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="Part of the ranking to look at, as a share of the number of boxes.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Other seeds choose other errors.")
@json_option
def sensor_issues(
    folder: Path | None, listed: bool, scenes: int, draws: int, share: float, seed: int, as_json: bool
) -> None:
    """Seed errors into labels with points, and count those among the first label issues across sensors.

    Boxes are invented, taken away in all cameras, or get another class in one of two. FOLDER is in KITTI's format:
    image_2/, label_2/, calib/, and velodyne/ with .bin or .pcd files; with P3 in calib/, the labelled cuboids give the
    boxes of a second camera. Without FOLDER, the scenes are generated. It needs the extras `calibration` and `cuboids`.
    """
    if listed and folder is None:
        raise click.UsageError("--list needs FOLDER")
    try:
        from autolabel_cli.evaluation.sensor_issues import evaluate_sensor_issues, list_sensor_issues
    except ModuleNotFoundError as e:
        raise CommandError(f"{e.name} is not installed: pip install 'autolabel[calibration,cuboids]'") from e

    with _files_as_errors(folder or Path()):
        if listed and folder:
            issues = list_sensor_issues(folder)
            if as_json:
                return print_json(issues)
            table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
            for column in ("frame", "camera", "issue", "suspicion", "box", "points", "other camera"):
                table.add_column(column)
            for frame, one in issues:
                box = ", ".join(f"{side:.0f}" for side in one.box)
                other = f"{one.name} in {one.other}" if one.other else ""
                table.add_row(frame, one.camera, one.kind, f"{one.suspicion:.2f}", box, str(one.points), other)
            print_table(console, table)
            return None
        document = evaluate_sensor_issues(folder, scenes=scenes, draws=draws, seed=seed, share=share)
    if as_json:
        return print_json(document)
    counts = f"{counted(document.frames, 'frame')}, {counted(document.boxes, 'box', 'boxes')}"
    return _show_issues(f"{folder or 'generated scenes'}: {counts}, {counted(document.sequences, 'draw')}", document)


@evaluate.command("cuboids")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--boxes",
    type=click.Choice(["labels", "models"]),
    default="labels",
    show_default=True,
    help="Boxes that are lifted: those of the labels, as persons draw them, or those that models find.",
)
@click.option("--models", help='Models of the checkout, such as "yolox-nano yolox-tiles"; all by default.')
@json_option
def cuboids(folder: Path, boxes: str, models: str | None, as_json: bool) -> None:
    """Lift the boxes of cars to cuboids with a LiDAR's points, and score them against the labels of FOLDER.

    FOLDER is in KITTI's format: image_2/, label_2/, calib/, and velodyne/ with .bin or .pcd files. Cars and vans of 25
    pixels and more count, up to 50 m. It needs the extra `cuboids`.
    """
    if models and boxes != "models":
        raise click.UsageError("--models needs --boxes models")
    try:
        from autolabel_cli.evaluation.cuboids import evaluate_cuboids
    except ModuleNotFoundError as e:
        raise CommandError(f"{e.name} is not installed: pip install 'autolabel[cuboids]'") from e
    from autolabel_cli.evaluation.servers import running_servers
    from autolabel_cli.evaluation.systems import vehicle_finder

    with _files_as_errors(folder), ExitStack() as running:
        find = None
        if boxes == "models":
            find = vehicle_finder(running.enter_context(running_servers((models or "").replace(",", " ").split())))
        display = None if as_json else running.enter_context(RunDisplay(console))
        document = evaluate_cuboids(
            folder, find, lambda count, total: display.count("frames", count, total) if display else None
        )
    if as_json:
        return print_json(document)
    counts = f"{counted(document.frames, 'frame')}, {counted(document.cars, 'car')}"
    spent = f"{document.seconds_per_box:.3f} s a box"
    console.print(f"{folder}: {counts}, {spent}", highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("IoU with the label", "cars", "95 %"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, what in (("iou50", "3D 0.5"), ("iou70", "3D 0.7"), ("bev70", "from above 0.7")):
        low, high = document.intervals[name]
        table.add_row(what, _share(getattr(document, name)), f"{low:.2f} to {high:.2f}")
    print_table(console, table)
    for why, count in document.left_out.items():
        console.print(f"{why}: {count:,}", highlight=False)
    return None


@evaluate.command("calibration")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--induce",
    metavar="DEG",
    type=click.FloatRange(0, 2),
    default=0.0,
    show_default=True,
    help="Turn the sensors against each other by this angle, about a random axis in each draw.",
)
@click.option("--draws", type=click.IntRange(1), default=6, show_default=True, help="How often to draw frames.")
@click.option("--seed", type=int, default=1, show_default=True, help="Other seeds draw other frames and axes.")
@click.option("--lanes", is_flag=True, help="Check yaw and pitch by the lanes of the pictures, without points.")
@click.option(
    "--focal", metavar="PIXELS", type=click.FloatRange(1), help="With --lanes: the focal length, without calib/."
)
@json_option
def calibration(
    folder: Path, induce: float, draws: int, seed: int, lanes: bool, focal: float | None, as_json: bool
) -> None:
    """Measure what the calibration watch finds in FOLDER, as it is or after a rotation.

    FOLDER is in KITTI's format: image_2/, calib/, and velodyne/ with .bin or .pcd files. Each draw takes 20 of its
    frames. With --lanes it takes 40 in a row, and compares what it finds with what all frames say. The command needs
    the extras `calibration` and `cuboids`.
    """
    if focal and not lanes:
        raise click.UsageError("--focal needs --lanes")
    try:
        from autolabel_cli.evaluation.calibration import evaluate_by_lanes, evaluate_by_lidar
    except ModuleNotFoundError as e:
        raise CommandError(f"{e.name} is not installed: pip install 'autolabel[calibration,cuboids]'") from e

    with _files_as_errors(folder), ExitStack() as running:
        display = None if as_json else running.enter_context(RunDisplay(console))

        def tell(count: int, total: int) -> None:
            if display:
                display.count("draws", count, total)

        if lanes:
            document = evaluate_by_lanes(folder, focal, induce=induce, draws=draws, seed=seed, tell=tell)
        else:
            document = evaluate_by_lidar(folder, induce=induce, draws=draws, seed=seed, tell=tell)
    if as_json:
        return print_json(document)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("induced x, y, z", "found", "left over", "uncertainty", "verdict"):
        table.add_column(column)
    for draw in document.draws:
        induced, found = (", ".join(f"{one:+.2f}" for one in turn or ()) for turn in (draw.induced, draw.found))
        rest = (f"{one:.2f}°" if one is not None else "-" for one in (draw.left, draw.uncertainty))
        table.add_row(induced, found or "-", *rest, draw.verdict)
    print_table(console, table)
    said = f"{counted(document.frames, 'frame')}; {document.turned} of {counted(draws, 'draw')} turned"
    worst = f"; largest angle left over {document.worst:.2f}°" if document.worst is not None else ""
    console.print(f"{said}, {document.silent} with too little evidence{worst}", highlight=False)
    _warn("left out", Counter(document.left_out))
    return None


@evaluate.command("views")
@click.argument("folder", type=click.Path(path_type=Path))
@_format
@click.option(
    "--models",
    default="yolox-tiles",
    show_default=True,
    help="Models of the checkout that are scored on images and views, and find what the sheets show.",
)
@_level
@click.option(
    "--plates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the plates that a person can read: lines of an image's path, left, top, right, bottom.",
)
@click.option(
    "--sheets",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write pictures to, with each vehicle and person of the views, enlarged.",
)
@json_option
def views(
    folder: Path,
    form: Any,
    models: str,
    level: str | None,
    plates: Path | None,
    sheets: Path | None,
    as_json: bool,
) -> None:
    """Cover number plates and heads in the images of FOLDER, and measure the views.

    The images are covered here by the checkout's model `blur`; nothing of FOLDER changes. Where it is a labelled folder
    (see evaluate boxes), the models are scored on the images and on their views. What stays readable only a person can
    tell: look at --sheets, and mark the plates that can be read in the images for --plates.
    """
    from autolabel_cli.evaluation.servers import running_servers
    from autolabel_cli.evaluation.views import BLUR, evaluate_views

    with _files_as_errors(folder), ExitStack() as running:
        blur, *servers = running.enter_context(running_servers([BLUR, *models.replace(",", " ").split()]))
        display = None if as_json else running.enter_context(RunDisplay(console))
        document = evaluate_views(
            folder,
            blur,
            servers,
            form=form,
            level=level,
            marks=plates,
            sheets=sheets,
            tell=lambda count, total: display.count("frames", count, total) if display else None,
        )
    if as_json:
        return print_json(document)
    counts = ", ".join(
        (counted(document.frames, "frame"), counted(document.plates, "plate"), counted(document.heads, "head"))
    )
    console.print(f"{folder}: {counts}, {document.pixels:.2%} of the pixels", highlight=False, markup=False)
    console.print(f"text found again where a plate is covered: {document.read_again:,}", highlight=False)
    if document.covered_least is not None:
        share = f"{document.covered:,} of {document.marked:,}, at least {document.covered_least:.0%}"
        console.print(f"marked plates covered: {share} (at 95 %)", highlight=False)
    for name, of in document.scores.items():
        said = f"{name}, {counted(of.objects, 'object')}: AP50 {_share(of.ap50)}, on views {_share(of.ap50_views)}"
        console.print(said, highlight=False)
    _warn("left out", Counter(document.left_out))
    return None


@evaluate.command("masks")
@click.option(
    "--model", default="grabcut", show_default=True, help="Segmenter of the checkout; its server is started here."
)
@click.option("--url", help="Address of a running container such as http://127.0.0.1:8080, instead of --model.")
@click.option("--pictures", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Drawn pictures.")
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=1, show_default=True, help="Of pictures and boxes.")
@click.option(
    "--moved",
    type=click.FloatRange(0, 0.3),
    default=0.0,
    show_default=True,
    help="Move each side of a box by up to this share of the box's size, as pre-labels are off; 0: verified boxes.",
)
@click.option(
    "--tolerance",
    type=click.IntRange(0, 20),
    default=2,
    show_default=True,
    help="Pixels between two boundaries that count as one.",
)
@json_option
def masks(model: str, url: str | None, pictures: int, seed: int, moved: float, tolerance: int, as_json: bool) -> None:
    """Score a promptable segmenter on drawn street scenes, whose masks are known exactly.

    Mask AP is COCO's. Boundary F is the harmonic mean of the boundaries' precision and recall. Drawings are easier than
    a street: compare segmenters by these figures, and do not expect them of a camera.
    """
    from autolabel_cli.evaluation.masks import evaluate_masks
    from autolabel_cli.evaluation.servers import running_servers
    from autolabel_cli.models.segmenter_client import Segmenter

    with ExitStack() as running:
        if not url:
            (server,) = running.enter_context(running_servers([model]))
            if server.model.purpose != "masks":
                raise CommandError(f"{model} is for {server.model.purpose} and no segmenter: name one with --model")
        segmenter = running.enter_context(Segmenter(url or server.url, _SEGMENTER_SECONDS))
        display = None if as_json else running.enter_context(RunDisplay(console))
        document = evaluate_masks(
            segmenter,
            url or model,
            pictures=pictures,
            seed=seed,
            moved=moved,
            tolerance=tolerance,
            tell=lambda count, total: display.count("pictures", count, total) if display else None,
        )
    if as_json:
        return print_json(document)
    return _show_masks(document)


@contextmanager
def _files_as_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise CommandError(f"{e.filename or folder} cannot be read: {e.strerror or e}") from e


def _show_speed(document: ReviewSpeedDocument, chance: float) -> None:
    if document.camera:
        errors = ", ".join(f"{name} {of:g}" for name, of in msgspec.structs.asdict(document.camera).items())
        console.print(f"simulated camera, seed {document.seed}: {errors}", highlight=False, soft_wrap=True)
    draw = document.prices["draw"]
    every, key = (
        f"{counted(count, *name)} ({count * draw:,.0f} s)"
        for count, *name in ((document.boxes, "box", "boxes"), (document.key_boxes, "key box", "key boxes"))
    )
    console.print(f"{counted(document.frames, 'frame')}; to draw: {every}, or {key}", highlight=False)
    for tracks, of in document.unreviewed.items():
        shares = f"precision {_share(of.precision)}, recall {_share(of.recall)}"
        console.print(f"no review, {tracks}: {shares}", highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("tracks", "stops", "stride", "looks", "edits", "precision", "recall"):
        table.add_column(column, justify="left" if column in ("tracks", "stops") else "right")
    shown = [cell for cell in document.cells if cell.chance == chance]
    for look in sorted({cell.look for cell in shown}):
        table.add_column(f"look {look:g} s", justify="right")
        table.add_column("key", justify="right")
    for _, row in groupby(shown, lambda cell: (cell.tracks, cell.stops, cell.stride)):
        cells = list(row)
        first, edits = cells[0], f"{sum(cells[0].edits.values()):,}"
        faster = [(f"{cell.faster:.1f}×", f"{cell.faster_than_key_boxes:.2f}×") for cell in cells]
        right = _share(first.precision), _share(first.recall)
        table.add_row(first.tracks, first.stops, str(first.stride), f"{first.looks:,}", edits, *right, *chain(*faster))
    print_table(console, table)
    console.print("faster than drawing every box, and than drawing key boxes", highlight=False)


def _show_masks(document: MasksDocument) -> None:
    objects = counted(document.scores["all"].objects, "object")
    boxes = f"boxes moved by up to {document.moved:.0%}" if document.moved else "exact boxes"
    counts = f"{counted(document.pictures, 'drawn picture')} of seed {document.seed}, {objects}, {boxes}"
    console.print(f"{document.model}: {counts}, {document.seconds_per_box:.2f} s a box", highlight=False, markup=False)
    between = " ({:.3f} to {:.3f})".format(*document.ap50_interval) if document.ap50_interval else ""
    precisions = f"mask AP {_share(document.ap)}, AP50 {_share(document.ap50)}{between}, AP75 {_share(document.ap75)}"
    console.print(f"{precisions}; a mask that fills its box: AP {_share(document.boxes.ap)}", highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("objects", "", "mean IoU", "IoU ≥ 0.5", f"boundary F, {document.tolerance} px"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, of in {**document.scores, "all, boxes filled": document.boxes.scores}.items():
        table.add_row(name, f"{of.objects:,}", _share(of.iou), _share(of.iou50), _share(of.boundary_f))
    print_table(console, table)
    if document.draft:
        console.print("all masks are drafts: a person must accept each", style="yellow", highlight=False)


def _document(evaluation: Evaluation, labels: LabelledFolder, form: str, level: str) -> EvaluationDocument:
    scores = evaluation.scores
    best = {name: evaluation.best_alone(name) for name in scores[FUSED]} if evaluation.alone else {}
    return EvaluationDocument(
        evaluation.frames,
        form,
        level,
        scores[FUSED],
        {name: BestAlone(**msgspec.structs.asdict(scores[model][name]), model=model) for name, model in best.items()},
        {system: edits["total"] for system, edits in evaluation.edits.items()},
        dict(labels.unknown.most_common()),
        dict(evaluation.left_out.most_common()),
        scores.get(FINAL, msgspec.UNSET),
        evaluation.intervals or msgspec.UNSET,
        evaluation.differences or msgspec.UNSET,
    )


def _show(evaluation: Evaluation, labels: LabelledFolder, title: str) -> None:
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("class", "objects", "system", "AP50", "AP70", "precision", "recall"):
        table.add_column(column, justify="left" if column in ("class", "system") else "right")
    for name in evaluation.scores[FUSED]:
        best = evaluation.best_alone(name)
        for index, (system, of) in enumerate(evaluation.scores.items()):
            scores = of[name]
            shown = [_share(s) for s in (scores.ap50, scores.ap70, scores.precision, scores.recall)]
            if ends := evaluation.intervals.get(system, {}).get(name):
                shown[0] += f" ({ends[0]:.3f} to {ends[1]:.3f})"
            first = (name, str(scores.objects)) if not index else ("", "")
            table.add_row(*first, system + (" *" if system == best else ""), *shown)
    print_table(console, table)
    if evaluation.alone:
        console.print("* best alone\n", highlight=False)
    edits = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("edits of a frame", *next(iter(evaluation.edits.values()))):
        edits.add_column(column, justify="left" if column == "edits of a frame" else "right")
    for system, kinds in evaluation.edits.items():
        edits.add_row(system, *(f"{count:.2f}" for count in kinds.values()))
    print_table(console, edits)
    _warn("objects of classes that the taxonomy does not have", labels.unknown)
    _warn("left out", evaluation.left_out)


def _warn(what: str, counts: Counter[str]) -> None:
    if counts:
        shown = ", ".join(f"{count} {name}" for name, count in counts.most_common(_MOST_NAMES))
        more = f" and {len(counts) - _MOST_NAMES} more" if len(counts) > _MOST_NAMES else ""
        console.print(f"{what}: {shown}{more}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
