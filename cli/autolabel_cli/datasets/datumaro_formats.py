"""Staged frames, written as COCO, KITTI, YOLO or Pascal VOC by datumaro.

Runs by itself in the environment that has datumaro (`make setup-export`), since its pins are not the command's own: a
request as JSON on standard input (`formats.Request`), and on standard output one JSON object a line:
`{"written": n}` as it goes on, `{"refused": "<a sentence>"}` when it cannot.

Where datumaro departs from a format, what it writes is put right: `iscrowd` of a box without a mask (COCO), a dataset
without a validation split (YOLO), frames without boxes (KITTI, VOC), fifteen columns (KITTI).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.errors import DatumaroError
from datumaro.components.media import Image
from datumaro.plugins.data_formats.coco.exporter import CocoExporter, _InstancesExporter
from datumaro.plugins.data_formats.coco.format import CocoTask
from datumaro.plugins.data_formats.kitti.exporter import KittiDetectionExporter
from datumaro.plugins.data_formats.voc.exporter import VocExporter
from datumaro.plugins.data_formats.voc.format import VocTask
from datumaro.plugins.data_formats.yolo.exporter import YoloUltralyticsExporter
from lxml import etree

# What is neither object nor background, where a format has a name for it. COCO has a flag, YOLO has nothing.
REGIONS = {"kitti": "DontCare", "voc": "ignore"}
# KITTI's own values for what nobody knows: the angle, and size, place and rotation in space (object development kit).
_NO_ANGLE, _NO_BODY = "-10", ["-1", "-1", "-1", "-1000", "-1000", "-1000", "-10"]
_TELL_EVERY = 500


class _Split(DatasetBase):
    """One split's staged frames, read from their file whenever they are asked for."""

    def __init__(self, request: dict[str, Any], name: str) -> None:
        super().__init__(subsets=[name])
        self._format, self._name, self._staged = request["format"], name, Path(request["splits"][name])
        self._classes = len(request["classes"])
        names = [*request["classes"], *filter(None, [REGIONS.get(self._format)])]
        self._categories = {AnnotationType.label: LabelCategories.from_iterable(names)}

    def categories(self) -> dict[AnnotationType, LabelCategories]:
        return self._categories

    def frames(self) -> Iterator[dict[str, Any]]:
        with self._staged.open("rb") as lines:
            yield from map(json.loads, lines)

    def __iter__(self) -> Iterator[DatasetItem]:
        untold = 0
        for frame in self.frames():
            yield self._item(frame)
            untold += 1
            if untold == _TELL_EVERY:
                _tell(written=untold)
                untold = 0
        _tell(written=untold)

    def _item(self, frame: dict[str, Any]) -> DatasetItem:
        size = (frame["height"], frame["width"])
        # VOC's depth is asked of the pixels: these take no memory.
        pixels = np.broadcast_to(np.uint8(0), (*size, frame["depth"]))
        boxes = [_bbox(box["at"], box["label"], self._marks(box)) for box in frame["boxes"]]
        for region in frame["regions"]:
            boxes += self._region(region)
        media = Image.from_numpy(pixels, ext=frame["extension"], size=size)
        return DatasetItem(frame["name"], subset=self._name, media=media, annotations=boxes)

    def _marks(self, box: dict[str, Any]) -> dict[str, Any]:
        return {mark: 1 for mark in ("occluded", "truncated") if box[mark]}

    def _region(self, at: list[int]) -> list[Bbox]:
        if self._format == "coco":
            # A crowd belongs to a category, and scorers look at one at a time: what counts for none is one of each.
            return [_bbox(at, label, {"is_crowd": True}) for label in range(self._classes)]
        return [
            _bbox(at, self._classes, {"truncated": -1, "occluded": -1} if self._format == "kitti" else {"difficult": 1})
        ]


class _Dataset(DatasetBase):
    """All splits, also those without frames."""

    def __init__(self, request: dict[str, Any]) -> None:
        splits = {name: _Split(request, name) for name in request["splits"]}
        # Of a split without frames, datumaro's data.yaml would name a list that is not there.
        kept = {name: split for name, split in splits.items() if request["format"] != "yolo" or any(split.frames())}
        self._splits = kept or splits
        super().__init__(subsets=list(self._splits))

    def categories(self) -> dict[AnnotationType, LabelCategories]:
        return next(iter(self._splits.values())).categories()

    def subsets(self) -> dict[str, _Split]:
        return self._splits


class _CrowdsWithoutMasks(_InstancesExporter):
    def convert_instance(self, instance: Any, item: DatasetItem) -> dict[str, Any]:
        written: dict[str, Any] = super().convert_instance(instance, item)
        written["iscrowd"] = int(instance[0].attributes.get("is_crowd", False))
        return written


class _Coco(CocoExporter):
    _TASK_CONVERTER: ClassVar = {CocoTask.instances: _CrowdsWithoutMasks}

    def __init__(self, dataset: _Dataset, folder: str) -> None:
        super().__init__(dataset, folder, tasks=[CocoTask.instances], reindex=True, stream=True)


class _Yolo(YoloUltralyticsExporter):
    must_subset_names = frozenset[str]()


class _Voc(VocExporter):
    def __init__(self, dataset: _Dataset, folder: str) -> None:
        options = {"task": VocTask.voc_detection, "coordinate_mode": "voc-one-based", "keep_empty": True}
        # As JSON: in the other form of the list, a class's name could not hold a colon.
        super().__init__(dataset, folder, save_dataset_meta=True, **options)

    def _export_annotations(self, item: DatasetItem, **rest: Any) -> None:
        if item.annotations:
            super()._export_annotations(item, **rest)
            return
        super()._export_annotations(item.wrap(annotations=[_bbox([0, 0, 1, 1], 0, {})]), **rest)
        path = str(Path(self._ann_dir, f"{item.id}.xml"))
        tree = etree.parse(path)
        tree.getroot().remove(tree.find("object"))
        tree.write(path, encoding="utf-8")


class _Kitti(KittiDetectionExporter):
    def _apply_impl(self) -> None:
        super()._apply_impl()
        for name, split in self._extractor.subsets().items():
            folder = Path(self._save_dir, name, "label_2")
            folder.mkdir(parents=True, exist_ok=True)
            for frame in split.frames():
                path = folder / f"{frame['name']}.txt"
                lines = path.read_text().splitlines() if frame["boxes"] or frame["regions"] else []
                path.write_text("".join(f"{_fifteen_columns(line)}\n" for line in lines))


def _fifteen_columns(line: str) -> str:
    """A label's line without the score that only results have, and with KITTI's values for what nobody knows."""
    kind, truncated, occluded, _, *box = line.split()[:8]
    return " ".join([kind, truncated, occluded, _NO_ANGLE, *box, *_NO_BODY])


_EXPORTERS: dict[str, Any] = {"coco": _Coco, "kitti": _Kitti, "yolo": _Yolo, "voc": _Voc}


def _bbox(at: list[int], label: int, attributes: dict[str, Any]) -> Bbox:
    left, top, right, bottom = at
    return Bbox(left, top, right - left, bottom - top, label=label, attributes=attributes)


# Kept before the libraries, which print where they like, are sent to standard error.
_ANSWERS = sys.stdout


def _tell(**answer: Any) -> None:
    print(json.dumps(answer), file=_ANSWERS, flush=True)


def _cause(error: BaseException) -> str:
    """What went wrong first: datumaro raises errors from errors without words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    request = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        try:
            _EXPORTERS[request["format"]](_Dataset(request), request["folder"]).apply()
        except (DatumaroError, OSError, ValueError) as e:
            _tell(refused=f"datumaro says: {_cause(e)}")


if __name__ == "__main__":
    main()
