"""Formats of labelled folders: KITTI, COCO and YOLO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation import coco_format, kitti_format, yolo_format
from autolabel_cli.evaluation.folders import LabelledFolder, Listing, Tree, read_folder, walk

FormatName = Literal["kitti", "coco", "yolo"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
# YOLO and COCO say nothing of occlusion and truncation, so all that they label counts.
LEVEL_OF: dict[FormatName, str] = {"kitti": "hard", "coco": "all", "yolo": "all"}
_LISTINGS: dict[FormatName, Callable[[Tree], Listing]] = {
    "kitti": kitti_format.list_frames,
    "coco": coco_format.list_frames,
    "yolo": yolo_format.list_frames,
}
_RECOGNISERS: dict[FormatName, Callable[[Tree], bool]] = {
    "kitti": kitti_format.is_kitti,
    "coco": coco_format.is_coco,
    "yolo": yolo_format.is_yolo,
}


def read_labels(folder: Path, form: FormatName | None) -> tuple[FormatName, LabelledFolder]:
    """Read a labelled folder in a format; None recognises it. CommandError says what is missing or broken."""
    tree = walk(folder)
    form = form or _recognise(tree)
    return form, read_folder(_LISTINGS[form](tree), folder)


def _recognise(tree: Tree) -> FormatName:
    found = [form for form, is_it in _RECOGNISERS.items() if is_it(tree)]
    if not found and tree.documents:
        # Then the reader says which document is broken, or what it lacks.
        return "coco"
    if not found:
        raise CommandError(
            f"{tree.folder} is not a labelled folder: it needs image_2/ and label_2/ (KITTI), annotations/*.json and "
            "images (COCO), or data.yaml, images/ and labels/ (YOLO)"
        )
    if len(found) > 1:
        raise CommandError(f"{tree.folder} has labels of {' and '.join(found)}: give one of them with --format")
    return found[0]
