"""Labelled folders of every format and shape, generated for tests, and the stub that finds their objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.fakes.images import jpeg, png

# What the stub detects in every image: class, score, and the box as shares of the image.
STUB_BOXES: list[list[object]] = [
    ["car", 0.9, 0.1, 0.4, 0.3, 0.7],
    ["truck", 0.7, 0.5, 0.3, 0.8, 0.75],
    ["person", 0.4, 0.85, 0.45, 0.9, 0.65],
]


class Thing(NamedTuple):
    """Object of a generated label. `box`: left, top, right, bottom as shares of the image."""

    name: str
    box: tuple[float, float, float, float]
    region: bool = False


ALL_OF_STUB = tuple(Thing(str(row[0]), (row[2], row[3], row[4], row[5])) for row in STUB_BOXES)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Picture:
    """Image with its label. `place`: path without suffix. `things`: None for an image without a label."""

    place: str
    width: int
    height: int
    things: tuple[Thing, ...] | None
    suffix: str = ".png"

    def body(self) -> bytes:
        make = png if self.suffix.lower() == ".png" else jpeg
        return make(self.width, self.height)

    def pixels(self, thing: Thing) -> tuple[float, float, float, float]:
        left, top, right, bottom = thing.box
        return left * self.width, top * self.height, right * self.width, bottom * self.height


Write = Callable[[Path, Sequence[Picture]], None]


def write_kitti(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write a folder of KITTI's format; the folders of `place` are above image_2."""
    names = {"person": "Pedestrian", "train": "Tram"}
    for one in pictures:
        above, _, name = one.place.rpartition("/")
        _write(folder / above / "image_2" / f"{name}{one.suffix}", one.body())
        if one.things is not None:
            lines = [
                _kitti_line("DontCare" if t.region else names.get(t.name, t.name), one.pixels(t)) for t in one.things
            ]
            _write(folder / above / "label_2" / f"{name}.txt", "".join(lines).encode())


def _kitti_line(kind: str, box: tuple[float, float, float, float]) -> str:
    known = kind.replace(" ", "_")
    known = known[0].upper() + known[1:] if known in ("car", "van", "truck") else known
    return f"{known} 0.0 0 -10 {' '.join(map(str, box))} -1 -1 -1 -1000 -1000 -1000 -10\n"


def write_yolo(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write a folder of YOLO's format. It has no regions."""
    names = sorted({"car", "truck", "person"} | {t.name for one in pictures for t in one.things or ()})
    _write(folder / "data.yaml", yaml.safe_dump({"names": names, "nc": len(names)}).encode())
    for one in pictures:
        _write(folder / "images" / f"{one.place}{one.suffix}", one.body())
        if one.things is not None:
            lines = []
            for thing in one.things:
                left, top, right, bottom = thing.box
                shares = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
                lines.append(f"{names.index(thing.name)} {' '.join(f'{share:.6f}' for share in shares)}\n")
            _write(folder / "labels" / f"{one.place}.txt", "".join(lines).encode())


def write_coco(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write a folder of COCO's format."""
    names = sorted({"car", "truck", "person"} | {t.name for one in pictures for t in one.things or ()})
    images, annotations = list[dict[str, object]](), list[dict[str, object]]()
    for number, one in enumerate(pictures):
        _write(folder / "images" / f"{one.place}{one.suffix}", one.body())
        if one.things is None:
            continue
        size = {"width": one.width, "height": one.height}
        images.append({"id": number, "file_name": f"{one.place}{one.suffix}", **size})
        for thing in one.things:
            left, top, right, bottom = one.pixels(thing)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(thing.name) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "iscrowd": int(thing.region),
                    "segmentation": [],
                }
            )
    categories = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    _write(folder / "annotations" / "instances_all.json", json.dumps(document).encode())


WRITERS: dict[str, Write] = {"kitti": write_kitti, "coco": write_coco, "yolo": write_yolo}


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
