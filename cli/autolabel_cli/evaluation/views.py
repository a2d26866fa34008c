"""Measures the views of a folder's images: what is covered, what can still be read, and what labels lose."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image, ImageDraw

from autolabel.contracts.errors import AnswerRefused, ImageRefused
from autolabel.labelling import decode_regions
from autolabel.labels import Box, Detections, share_in
from autolabel.reporting import least_rate
from autolabel.views import cover
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import ViewScores, ViewsDocument
from autolabel_cli.evaluation.evaluation import evaluate_folder
from autolabel_cli.evaluation.folders import Frame, FrameLeftOut, LabelledFolder, image_size, walk
from autolabel_cli.evaluation.formats import LEVEL_OF, FormatName, read_labels
from autolabel_cli.evaluation.objects import CLASS_NAMES
from autolabel_cli.evaluation.scores import rounded
from autolabel_cli.evaluation.servers import ModelServer
from autolabel_cli.evaluation.systems import FUSED, by_models
from autolabel_cli.models.kitti import GROUPS, LEVELS, Level

BLUR, PLATE = "blur", "plate"
# A marked plate counts as covered when a region covers so much of it, and text is found again when so much of it is on
# a covered plate.
COVERED, AGAIN = 0.9, 0.5
# A cell of a sheet in pixels, cells across and down, and the least width or height of what is worth a look.
_CELL, _ACROSS, _DOWN, _LEAST = (320, 240), 5, 5, 40
_SHOWN = frozenset({"car", "truck", "bus", "motorcycle", "person", "rider"})


class _View(NamedTuple):
    """A frame whose image is its view. `regions`: what is covered; `again`: what the model finds in the view."""

    frame: Frame
    regions: Detections
    again: Detections


def evaluate_views(
    folder: Path,
    blur: ModelServer,
    servers: Sequence[ModelServer],
    *,
    form: FormatName | None,
    level: str | None,
    marks: Path | None,
    sheets: Path | None,
    tell: Callable[[int, int], None],
) -> ViewsDocument:
    """Make the view of each image of a folder, and measure it. Scores need labels, and the folder may have none.

    `marks`: a file with the plates that a person can read in the images. `sheets`: a folder to write pictures to, on
    which each vehicle and person is enlarged as its view shows it. `tell(count, total)` gets the progress.
    """
    left_out = Counter[str]()
    frames, labels = _frames(folder, form, left_out)
    marked = read_marks(marks, [frame.name for frame in frames]) if marks else {}
    look = by_models(servers, frozenset(CLASS_NAMES))
    counts, cells = Counter[str](), list[Image.Image]()
    pixels = all_pixels = 0.0
    shown = 0
    viewed = list[Frame]()
    with tempfile.TemporaryDirectory() as views:
        for count, frame in enumerate(frames, start=1):
            tell(count, len(frames))
            try:
                one = _make(frame, Path(views) / f"{count}{frame.image.suffix}", blur)
            except FrameLeftOut as e:
                left_out[str(e)] += 1
                continue
            viewed.append(one.frame)
            counts.update(region.name for region in one.regions)
            pixels += sum((region.box[2] - region.box[0]) * (region.box[3] - region.box[1]) for region in one.regions)
            all_pixels += frame.width * frame.height
            plates = [region.box for region in one.regions if region.name == PLATE]
            counts["read again"] += sum(
                region.name == PLATE and _share_covered(region.box, plates) > AGAIN for region in one.again
            )
            marks_here = marked.get(frame.name, ())
            counts["marked"] += len(marks_here)
            counts["covered"] += sum(_share_covered(box, plates) >= COVERED for box in marks_here)
            if sheets:
                for cell in _cells(one.frame, look(frame)[FUSED].prelabel, shown):
                    cells.append(cell)
                    shown += 1
                    if len(cells) == _ACROSS * _DOWN:
                        _write_sheet(cells, sheets, shown)
                        cells.clear()
        if not viewed:
            raise CommandError(f"no image of {folder} can be covered: {dict(left_out)}")
        if sheets and cells:
            _write_sheet(cells, sheets, shown)
        scores = _scores(labels, servers, viewed, LEVELS[level or LEVEL_OF[labels[0]]]) if labels else {}
    return ViewsDocument(
        frames=len(viewed),
        plates=counts[PLATE],
        heads=counts["head"],
        pixels=round(pixels / all_pixels, 5),
        read_again=counts["read again"],
        marked=counts["marked"],
        covered=counts["covered"],
        covered_least=rounded(least_rate(counts["marked"], counts["covered"])) if counts["marked"] else None,
        scores=scores,
        left_out=dict(left_out.most_common()),
    )


def read_marks(file: Path, images: Sequence[PurePosixPath]) -> dict[PurePosixPath, list[Box]]:
    """Read marked plates: lines of an image's path in the folder and left, top, right and bottom in its pixels.

    CommandError for a line that is not such, or that names no image of the folder.
    """
    marks = dict[PurePosixPath, list[Box]]()
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        name, *numbers = line.rsplit(maxsplit=4)
        try:
            left, top, right, bottom = map(float, numbers)
        except ValueError as e:
            raise CommandError(
                f"{file}, line {number} is not an image's path with four numbers: give left, top, right and bottom"
            ) from e
        if PurePosixPath(name) not in images or not (left < right and top < bottom):
            raise CommandError(f"{file}, line {number}: the folder has no image {name}, or the box has no area")
        marks.setdefault(PurePosixPath(name), []).append((left, top, right, bottom))
    return marks


def _frames(
    folder: Path, form: FormatName | None, left_out: Counter[str]
) -> tuple[Sequence[Frame], tuple[FormatName, LabelledFolder] | None]:
    """List the frames of a folder, and its labels if it has any. `left_out` counts images that cannot be read."""
    tree = walk(folder)
    if form or tree.texts or tree.documents or tree.settings:
        labels = read_labels(folder, form)
        return labels[1].frames, labels
    frames = list[Frame]()
    for name in tree.images:
        try:
            width, height = image_size(folder / name)
        except FrameLeftOut as e:
            left_out[str(e)] += 1
            continue
        frames.append(Frame(name, folder / name, width, height, lambda *_: ()))
    return frames, None


def _make(frame: Frame, view: Path, blur: ModelServer) -> _View:
    try:
        regions = decode_regions([blur.ask(frame.image)], blur.model, frame.width, frame.height)
        view.write_bytes(cover(frame.image.read_bytes(), str(frame.image), regions, blur.model.id))
        again = decode_regions([blur.ask(view)], blur.model, frame.width, frame.height)
    except AnswerRefused as e:
        raise CommandError(f"the answer of {blur.model.name} to {frame.image} cannot be read: {e}") from e
    except ImageRefused as e:
        raise FrameLeftOut(f"images refused as {e.reason}") from e
    return _View(frame._replace(image=view), regions, again)


def _scores(
    labels: tuple[FormatName, LabelledFolder], servers: Sequence[ModelServer], viewed: Sequence[Frame], level: Level
) -> dict[str, ViewScores]:
    """Score the models on the frames and on their views: what models would lose if they got views."""
    folder, names = labels[1], {frame.name for frame in viewed}
    label = by_models(servers, folder.labelled)
    frames = [frame for frame in folder.frames if frame.name in names]
    one, other = (
        evaluate_folder(folder._replace(frames=of), label, level, lambda *_: None).scores[FUSED]
        for of in (frames, viewed)
    )
    return {name: ViewScores(one[name].objects, one[name].ap50, other[name].ap50) for name in GROUPS}


def _share_covered(box: Box, regions: Sequence[Box]) -> float:
    return max((share_in(box, region) for region in regions), default=0.0)


def _cells(frame: Frame, found: Detections, first: int) -> list[Image.Image]:
    """Enlarge each vehicle and person of a view."""
    made = list[Image.Image]()
    with Image.open(frame.image) as view:
        for detection in found:
            left, top, right, bottom = detection.box
            if detection.name not in _SHOWN or max(right - left, bottom - top) < _LEAST:
                continue
            across, down = (right - left) * 0.05, (bottom - top) * 0.05
            crop = view.crop((int(left - across), int(top - down), int(right + across), int(bottom + down)))
            zoom = min(_CELL[0] / crop.width, (_CELL[1] - 20) / crop.height)
            crop = crop.resize(
                (max(1, int(crop.width * zoom)), max(1, int(crop.height * zoom))), Image.Resampling.BICUBIC
            )
            cell = Image.new("RGB", _CELL)
            cell.paste(crop, (0, 20))
            ImageDraw.Draw(cell).text((4, 4), f"{first + len(made) + 1}  {frame.name}", fill="white")
            made.append(cell)
    return made


def _write_sheet(cells: Sequence[Image.Image], folder: Path, shown: int) -> None:
    """Write the last of `shown` cells as the next sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (_CELL[0] * _ACROSS, _CELL[1] * _DOWN))
    for place, cell in enumerate(cells):
        sheet.paste(cell, (place % _ACROSS * _CELL[0], place // _ACROSS * _CELL[1]))
    sheet.save(folder / f"sheet-{-(-shown // (_ACROSS * _DOWN)):03}.png")
