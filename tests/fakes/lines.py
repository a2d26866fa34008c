"""Manifest lines with pre-labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autolabel.labels.detections import Detection, Detections
from autolabel.labels.manifest import (
    LabelledBox,
    LabelledBy,
    ManifestLine,
    Provenance,
    encode_line,
    prelabelled_line,
    read_line,
)

LABELS = ("car", "person", "traffic light")
SIZE = (640, 272)
Boxed = tuple[str, float, float, float, float]


def line(index: int, boxes: Sequence[Boxed], *, size: tuple[int, int] = SIZE, **more: Any) -> bytes:
    """A line as labelling a shard writes it. `boxes`: class names and xyxy in pixels; `more`: other attributes."""
    known = prelabelled_line(
        source=f"s3://ingest/drives/d/front/{index:019d}.png",
        detections=Detections(*size, tuple(_detection(*box) for box in boxes)),
        depth=3,
        labels=LABELS,
        job="d-0001",
        created="2026-01-02T00:00:00.000000",
        provenance=Provenance(drive="d", run="0001", models=("yolox-nano.0001",), labelled_by=LabelledBy.MODEL),
    )
    return json.dumps(json.loads(encode_line(known)) | more).encode()


def parsed(line: Mapping[str, Any] | bytes) -> ManifestLine:
    """A line as the domain reads it."""
    return read_line(line if isinstance(line, bytes) else json.dumps(line).encode())


def boxes_of(line: Mapping[str, Any] | bytes, attribute: str) -> list[LabelledBox]:
    """The boxes of a line's `prelabel` or `verified`."""
    return parsed(line).verified_boxes if attribute == "verified" else parsed(line).prelabel_boxes


def _detection(name: str, x1: float, y1: float, x2: float, y2: float) -> Detection:
    return Detection(name, (x1, y1, x2, y2), 0.9, 0.8, name, ("yolox-nano.0001",))
