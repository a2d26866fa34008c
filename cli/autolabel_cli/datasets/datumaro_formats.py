"""Script that writes staged frames in the formats of an export, with datumaro.

It runs in a process and, in a checkout, an environment of its own (`make setup-export`), because datumaro's
requirements differ from the command's. It reads a request as JSON from standard input (`formats.Request`), and writes
one JSON object a line to standard output: `{"written": n}` for progress, `{"refused": "<sentence>"}` for an error.

Where datumaro differs from a format, the script corrects it: `iscrowd` of a box without a mask (COCO), a dataset
without a validation split (YOLO), frames without boxes (KITTI, VOC), fifteen columns with cuboids (KITTI). It adds the
name of a frame's source file (COCO, VOC), and the videos and tracks of COCO's extension for video. It
writes KITTI tracking, which datumaro does not have, and CVAT's tracks, which datumaro writes without their ends.
"""

from __future__ import annotations

import json
import shutil
import sys
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, NamedTuple, TypedDict

import numpy as np
import yaml
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
from datumaro.components.dataset_base import DatasetBase, DatasetItem
from datumaro.components.errors import DatumaroError
from datumaro.components.media import Image
from datumaro.plugins.data_formats.coco.exporter import CocoExporter, _InstancesExporter
from datumaro.plugins.data_formats.coco.format import CocoTask
from datumaro.plugins.data_formats.cvat.exporter import XmlAnnotationWriter
from datumaro.plugins.data_formats.kitti.exporter import KittiDetectionExporter
from datumaro.plugins.data_formats.mot import MotSeqGtExporter
from datumaro.plugins.data_formats.voc.exporter import VocExporter
from datumaro.plugins.data_formats.voc.format import VocTask
from datumaro.plugins.data_formats.yolo.exporter import YoloUltralyticsExporter
from lxml import etree

# The formats' names for regions, which are neither object nor background. COCO has a flag, and YOLO has nothing.
REGIONS = {"kitti": "DontCare", "kitti-tracking": "DontCare", "voc": "ignore", "cvat-video": "ignore"}
# KITTI's values for an unknown angle, and for unknown size, place and rotation in space (object development kit).
_NO_ANGLE, _NO_BODY = "-10", ["-1", "-1", "-1", "-1000", "-1000", "-1000", "-10"]
_TELL_EVERY = 500


# What datumaro takes as the attributes of a box.
_Attributes = dict[str, int | float | str]


class _Request(TypedDict):
    """The request; its fields are those of `formats.Request`."""

    format: str
    folder: str
    classes: list[str]
    splits: dict[str, str]


class _Box(TypedDict):
    """A box of a staged frame; its fields are those of `staging.StagedBox`."""

    label: int
    at: list[int]
    occluded: bool
    truncated: bool
    score: float | None
    track: str
    solid: list[float] | None


class _Frame(TypedDict):
    """A staged frame; its fields are those of `staging.StagedFrame` that are read here."""

    name: str
    video: str
    extension: str
    width: int
    height: int
    depth: int
    boxes: list[_Box]
    regions: list[list[int]]
    bucket: str
    key: str
    labelled_by: str
    source: str


class _Split(DatasetBase):
    """Staged frames of one split, read from their file on each iteration."""

    def __init__(self, request: _Request, name: str) -> None:
        super().__init__(subsets=[name])
        self.request, self.name = request, name
        self._format, self._staged = request["format"], Path(request["splits"][name])
        self._classes = len(request["classes"])
        self._tracks: dict[str, int] = {}
        names = [*request["classes"], *filter(None, [REGIONS.get(self._format)])]
        self._categories = {AnnotationType.label: LabelCategories.from_iterable(names)}

    def categories(self) -> dict[AnnotationType, LabelCategories]:
        return self._categories

    def frames(self) -> Iterator[_Frame]:
        with self._staged.open("rb") as lines:
            yield from map(json.loads, lines)

    def __iter__(self) -> Iterator[DatasetItem]:
        yield from map(self._item, _telling(self.frames()))

    def _item(self, frame: _Frame) -> DatasetItem:
        size = (frame["height"], frame["width"])
        # VOC's exporter takes the depth from the pixels. This array takes no memory.
        pixels = np.broadcast_to(np.uint8(0), (*size, frame["depth"]))
        boxes = [_bbox(box["at"], box["label"], self._attributes(frame, box)) for box in frame["boxes"]]
        for region in frame["regions"]:
            boxes += self._region(region)
        media = Image.from_numpy(pixels, ext=frame["extension"], size=size)
        attributes = {"source": frame["source"], "video": frame["video"]}
        return DatasetItem(frame["name"], subset=self.name, media=media, annotations=boxes, attributes=attributes)

    def _attributes(self, frame: _Frame, box: _Box) -> _Attributes:
        marks: _Attributes = {name: 1 for name, is_set in _marks(box) if is_set}
        if self._format == "mot":
            return {**marks, "track_id": self._track(box["track"])}
        if self._format != "coco":
            # The other formats have no place for an object's origin, or only one that datumaro would fill wrongly.
            return marks
        score: _Attributes = {} if box["score"] is None else {"score": box["score"]}
        source = f"s3://{frame['bucket']}/{frame['key']}"
        track = {"track": box["track"]} if box["track"] else {}
        return {**marks, **score, **track, "labelled-by": frame["labelled_by"], "source-ref": source}

    def _track(self, track: str) -> int:
        return _number(self._tracks, track) + 1

    def _region(self, at: list[int]) -> list[Bbox]:
        if self._format == "mot":
            return [_bbox(at, None, {"track_id": self._track(""), "ignored": True})]
        if self._format == "coco":
            # A crowd has one category, and scorers check one category at a time: a region needs a crowd for each.
            return [_bbox(at, label, {"is_crowd": True}) for label in range(self._classes)]
        return [
            _bbox(at, self._classes, {"truncated": -1, "occluded": -1} if self._format == "kitti" else {"difficult": 1})
        ]


def _number(tracks: dict[str, int], track: str) -> int:
    """Number the tracks of a video by their ids, from 0. An object without a track is one of its own."""
    return tracks.setdefault(track or f"single {len(tracks)}", len(tracks))


def _marks(box: _Box) -> Iterator[tuple[str, bool]]:
    yield "occluded", box["occluded"]
    yield "truncated", box["truncated"]


class _Dataset(DatasetBase):
    """All splits, including those without frames."""

    def __init__(self, request: _Request) -> None:
        splits = {name: _Split(request, name) for name in request["splits"]}
        # For a split without frames, datumaro's data.yaml would name a list that does not exist.
        kept = {name: split for name, split in splits.items() if request["format"] != "yolo" or any(split.frames())}
        self._splits = kept or splits
        super().__init__(subsets=list(self._splits))

    def categories(self) -> dict[AnnotationType, LabelCategories]:
        return next(iter(self._splits.values())).categories()

    def subsets(self) -> dict[str, _Split]:
        return self._splits


class _Instances(_InstancesExporter):
    # `Any`: what datumaro gives to the class that this one extends.
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The number of each video; how many frames it has so far; each track's number.
        self._videos: dict[str, int] = {}
        self._frames: Counter[str] = Counter()
        self._tracks: dict[str, int] = {}

    def save_image_info(self, item: DatasetItem, filename: str) -> None:
        height, width = item.media.size
        image = {"id": self._get_image_id(item), "width": width, "height": height, "file_name": filename}
        unused = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
        source = {"source_file": item.attributes["source"]} if item.attributes["source"] else {}
        video = item.attributes["video"]
        place = {"video_id": self._videos.setdefault(video, len(self._videos) + 1), "frame_id": self._frames[video]}
        self._frames[video] += 1
        self._temporary_writers.add_item({**image, **unused, **source, **place})

    def convert_instance(self, instance: Any, item: DatasetItem) -> dict[str, Any]:
        written: dict[str, Any] = super().convert_instance(instance, item)
        written["iscrowd"] = int(instance[0].attributes.get("is_crowd", False))
        if track := instance[0].attributes.get("track"):
            written["track_id"] = self._tracks.setdefault(track, len(self._tracks) + 1)
        return written

    def write(self, path: str) -> None:
        super().write(path)
        videos = [{"id": number, "name": name} for name, number in self._videos.items()]
        # datumaro writes the sections that it knows, so this one is put in front of them.
        whole = Path(f"{path}.videos")
        with Path(path).open("rb") as written, whole.open("wb") as file:
            file.write(b'{"videos": ' + json.dumps(videos).encode() + b", ")
            written.seek(1)
            shutil.copyfileobj(written, file)
        whole.replace(path)


class _Coco(CocoExporter):
    _TASK_CONVERTER: ClassVar = {CocoTask.instances: _Instances}

    def __init__(self, dataset: _Dataset, folder: str) -> None:
        super().__init__(dataset, folder, tasks=[CocoTask.instances], reindex=True, stream=True)


class _Yolo(YoloUltralyticsExporter):
    must_subset_names = frozenset[str]()

    def _apply_impl(self) -> None:
        super()._apply_impl()
        path = Path(self._save_dir, "data.yaml")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        # Ultralytics refuses a file without `val`; the command warns when it repeats another split.
        if "val" not in data:
            data["val"] = data.get("train", data.get("test"))
        ordered = {name: data[name] for name in ("train", "val", "test", "names") if name in data}
        path.write_text(yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True), encoding="utf-8")


class _Voc(VocExporter):
    def __init__(self, dataset: _Dataset, folder: str) -> None:
        options = {"task": VocTask.voc_detection, "coordinate_mode": "voc-one-based", "keep_empty": True}
        # The classes as JSON, because in the other form a class's name could not hold a colon.
        super().__init__(dataset, folder, save_dataset_meta=True, **options)

    def _export_annotations(self, item: DatasetItem, **rest: Any) -> None:
        boxes, source = item.annotations, item.attributes["source"]
        super()._export_annotations(item.wrap(annotations=boxes or [_bbox([0, 0, 1, 1], 0, {})]), **rest)
        if boxes and not source:
            return
        path = str(Path(self._ann_dir, f"{item.id}.xml"))
        tree = etree.parse(path)
        if not boxes:
            tree.getroot().remove(tree.find("object"))
        if source:
            tree.find("source/image").text = source
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
                solids = [*(box["solid"] for box in frame["boxes"]), *(None for _ in frame["regions"])]
                rows = map(_fifteen_columns, lines, solids)
                path.write_text("".join(f"{row}\n" for row in rows))


def _fifteen_columns(line: str, solid: list[float] | None) -> str:
    """Rewrite a line without the score, which only results have, and with the object's cuboid, if it has one."""
    kind, truncated, occluded, _, *box = line.split()[:8]
    angle, body = _in_space(solid)
    return " ".join([kind, truncated, occluded, angle, *box, *body])


def _in_space(solid: list[float] | None) -> tuple[str, list[str]]:
    """Return KITTI's columns of a cuboid: alpha, and the last seven."""
    if solid is None:
        return _NO_ANGLE, _NO_BODY
    angle, *body = (f"{number:.2f}" for number in solid)
    return angle, body


class _Video(_Split):
    """The frames of one video, which pass once; `times` and `first` are those that have passed."""

    def __init__(self, split: _Split, frames: Iterator[_Frame]) -> None:
        super().__init__(split.request, split.name)
        self._frames = frames
        self.times: list[int] = []
        self.first: _Frame | None = None

    def frames(self) -> Iterator[_Frame]:
        for frame in self._frames:
            self.first = self.first or frame
            self.times.append(int(frame["name"].rpartition(".")[2]))
            yield frame


class _Videos(ABC):
    """A format that has each video apart."""

    def __init__(self, dataset: _Dataset, folder: str) -> None:
        self._dataset, self._folder = dataset, Path(folder)

    def apply(self) -> None:
        for name, split in self._dataset.subsets().items():
            # Frames of a video follow each other, in the order of time.
            for video, frames in groupby(split.frames(), key=lambda frame: frame["video"]):
                self.write(split, video, frames, self._folder / name)

    @abstractmethod
    def write(self, split: _Split, video: str, frames: Iterator[_Frame], folder: Path) -> None:
        """Write a video into the folder of its split."""


class _Mot(_Videos):
    """MOT's folders: one for each video, with its boxes, its classes and its rate."""

    def write(self, split: _Split, video: str, frames: Iterator[_Frame], folder: Path) -> None:
        shown, folder = _Video(split, frames), folder / video
        MotSeqGtExporter(shown, str(folder)).apply()
        if shown.first:
            self._write_info(video, shown.first, shown.times, folder / "seqinfo.ini")

    @staticmethod
    def _write_info(name: str, first: _Frame, times: list[int], path: Path) -> None:
        pause = median(after - before for before, after in pairwise(times)) if len(times) > 1 else 1e9
        lines = {
            "name": name,
            "imDir": "img1",
            "frameRate": max(round(1e9 / max(pause, 1)), 1),
            "seqLength": len(times),
            "imWidth": first["width"],
            "imHeight": first["height"],
            "imExt": first["extension"],
        }
        path.write_text("[Sequence]\n" + "".join(f"{name}={value}\n" for name, value in lines.items()))


class _KittiTracking(_Videos):
    """KITTI tracking: a file of boxes for each video, and the number of frames of each in the list of sequences.

    The list is needed, since a frame without boxes leaves no trace in a file of boxes.
    """

    def write(self, split: _Split, video: str, frames: Iterator[_Frame], folder: Path) -> None:
        labels, names, tracks, number = folder / "label_02", split.request["classes"], dict[str, int](), -1
        labels.mkdir(parents=True, exist_ok=True)
        with (labels / f"{video}.txt").open("w", encoding="utf-8") as file:
            for number, frame in enumerate(_telling(frames)):
                rows = [
                    [_number(tracks, box["track"]), names[box["label"]], int(box["truncated"]), int(box["occluded"])]
                    for box in frame["boxes"]
                ]
                rows += [[-1, REGIONS["kitti-tracking"], -1, -1] for _ in frame["regions"]]
                places = [*((box["at"], box["solid"]) for box in frame["boxes"])]
                places += [(region, None) for region in frame["regions"]]
                for row, (at, solid) in zip(rows, places, strict=True):
                    angle, body = _in_space(solid)
                    print(number, *row, angle, *at, *body, file=file)
        with (folder / "evaluate_tracking.seqmap").open("a", encoding="utf-8") as file:
            print(video, "empty", f"{0:06d}", f"{number + 1:06d}", file=file)


class _CvatBox(NamedTuple):
    """A box of a CVAT track. `outside`: the object is not seen from this frame on."""

    frame: int
    at: list[int]
    occluded: bool = False
    truncated: bool = False
    outside: bool = False


class _Cvat(_Videos):
    """CVAT for video 1.1: a file for each video.

    CVAT draws a track's boxes between two key frames itself. So each box is a key frame, and a track is outside after
    its last box and in each gap. A CVAT track has one class, so a track of several is written as one for each.
    """

    def write(self, split: _Split, video: str, frames: Iterator[_Frame], folder: Path) -> None:
        names = [category.name for category in split.categories()[AnnotationType.label]]
        # A track's boxes are written together, so those of a video are kept.
        tracks, objects, number, size = dict[str, int](), dict[tuple[int, int], list[_CvatBox]](), -1, (0, 0)
        for number, frame in enumerate(_telling(frames)):
            size = size if number else (frame["width"], frame["height"])
            for box in frame["boxes"]:
                seen = _CvatBox(number, box["at"], box["occluded"], box["truncated"])
                objects.setdefault((_number(tracks, box["track"]), box["label"]), []).append(seen)
            for region in frame["regions"]:
                objects[_number(tracks, ""), len(names) - 1] = [_CvatBox(number, region)]
        (folder / video).mkdir(parents=True, exist_ok=True)
        with (folder / video / "annotations.xml").open("w", encoding="utf-8") as file:
            writer = XmlAnnotationWriter(file)
            writer.open_root()
            writer.write_meta({"task": self._task(video, number + 1, size, names)})
            for index, ((_, label), boxes) in enumerate(objects.items()):
                writer.open_track({"id": str(index), "label": names[label]})
                for shape in self._with_ends(boxes, number + 1):
                    self._write_box(writer, shape)
                writer.close_track()
            writer.close_root()

    @staticmethod
    def _task(video: str, frames: int, size: tuple[int, int], names: list[str]) -> OrderedDict[str, Any]:
        # `Any`: the writer takes texts, ordered dictionaries, and lists of pairs.
        truncated = OrderedDict(
            name="truncated", mutable="True", input_type="checkbox", default_value="false", values="false"
        )
        attributes = [("attribute", truncated)]
        return OrderedDict(
            name=video,
            size=str(frames),
            mode="interpolation",
            start_frame="0",
            stop_frame=str(frames - 1),
            labels=[("label", OrderedDict(name=name, attributes=attributes)) for name in names],
            original_size=OrderedDict(width=str(size[0]), height=str(size[1])),
        )

    @staticmethod
    def _with_ends(boxes: list[_CvatBox], frames: int) -> Iterator[_CvatBox]:
        for box, after in zip(boxes, [*(box.frame for box in boxes[1:]), frames], strict=True):
            yield box
            if after > box.frame + 1:
                yield box._replace(frame=box.frame + 1, outside=True)

    @staticmethod
    def _write_box(writer: XmlAnnotationWriter, box: _CvatBox) -> None:
        marks = {"outside": box.outside, "occluded": box.occluded, "keyframe": True}
        sides = zip(("xtl", "ytl", "xbr", "ybr"), box.at, strict=True)
        flags = {name: str(int(is_set)) for name, is_set in marks.items()}
        writer.open_box({"frame": str(box.frame), **flags, **{name: f"{at:.2f}" for name, at in sides}, "z_order": "0"})
        writer.add_attribute({"name": "truncated", "value": "true" if box.truncated else "false"})
        writer.close_box()


# `Any`: datumaro's classes have no types. Each is called with the dataset and the folder.
_EXPORTERS: dict[str, Any] = {
    "coco": _Coco,
    "kitti": _Kitti,
    "yolo": _Yolo,
    "voc": _Voc,
    "mot": _Mot,
    "kitti-tracking": _KittiTracking,
    "cvat-video": _Cvat,
}


def _bbox(at: list[int], label: int | None, attributes: _Attributes) -> Bbox:
    left, top, right, bottom = at
    return Bbox(left, top, right - left, bottom - top, label=label, attributes=attributes)


# The libraries print to standard output as well, so `main` redirects them to standard error.
_ANSWERS = sys.stdout


def _tell(**answer: Any) -> None:
    print(json.dumps(answer), file=_ANSWERS, flush=True)


def _telling(frames: Iterator[_Frame]) -> Iterator[_Frame]:
    """Yield the frames, and tell now and then how many have passed."""
    untold = 0
    for frame in frames:
        yield frame
        untold += 1
        if untold == _TELL_EVERY:
            _tell(written=untold)
            untold = 0
    _tell(written=untold)


def _cause(error: BaseException) -> str:
    """Return the message of the first error, since datumaro raises errors without messages from it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    request = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        try:
            _EXPORTERS[request["format"]](_Dataset(request), request["folder"]).apply()
        except (DatumaroError, OSError, ValueError) as e:
            _tell(refused=f"datumaro reports: {_cause(e)}")


if __name__ == "__main__":
    main()
