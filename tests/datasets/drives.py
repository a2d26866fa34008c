"""Published drives for exports: dataset lines as Publish writes them, in a stack in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.run_folder import RunFolder
from autolabel.labels.taxonomy import current_taxonomy
from autolabel_cli.stack import Stack
from tests.fakes.bucket import FakeBucket
from tests.fakes.images import png_header
from tests.fakes.ledger import FakeLedger

TAXONOMY = current_taxonomy().names


class Labelled(NamedTuple):
    """A box in whole pixels, with the reviewer's marks."""

    name: str
    left: int
    top: int
    width: int
    height: int
    occluded: bool = False
    truncated: bool = False


def boxes_of(boxes: Sequence[Labelled], width: int, height: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A bounding-box attribute and its metadata."""
    label = {
        "image_size": [{"width": width, "height": height, "depth": 3}],
        "annotations": [
            {"class_id": TAXONOMY.index(b.name), "left": b.left, "top": b.top, "width": b.width, "height": b.height}
            for b in boxes
        ],
    }
    metadata = {
        "objects": [{"confidence": 0.0} for _ in boxes],
        "class-map": {str(TAXONOMY.index(b.name)): b.name for b in boxes},
        "type": "groundtruth/object-detection",
    }
    return label, metadata


@dataclass
class Shelf:
    """A stack with published and unpublished drives; `ingest` holds their frames."""

    name: str = "autolabel"
    ingest: FakeBucket = field(default_factory=lambda: FakeBucket("ingest"))
    labels: FakeBucket = field(default_factory=lambda: FakeBucket("labels"))
    ledger: FakeLedger = field(default_factory=FakeLedger)
    # The stack's own, over these fakes.
    published_run = Stack.published_run

    def frame(
        self,
        key: FrameKey,
        boxes: Sequence[Labelled] = (),
        *,
        size: tuple[int, int] = (64, 48),
        prelabels: Sequence[Labelled] | None = None,
        run: str = "0001",
        **provenance: Any,
    ) -> dict[str, Any]:
        """Write a frame; returns its line, verified with `boxes` or, when given, with `prelabels` alone."""
        self.ingest.write(key.key, png_header(*size))
        line: dict[str, Any] = {"source-ref": self.ingest.uri(key.key)}
        line["prelabel"], line["prelabel-metadata"] = boxes_of(prelabels or (), *size)
        if prelabels is None:
            line["verified"], line["verified-metadata"] = boxes_of(boxes, *size)
        if any(box.occluded or box.truncated for box in boxes):
            line["review"] = {"boxes": [{"occluded": b.occluded, "truncated": b.truncated} for b in boxes]}
        line["provenance"] = {
            "drive": key.drive,
            "run": run,
            "camera": key.camera,
            "timestamp": key.timestamp,
            "etag": self.ingest.etag(key.key),
            "models": ["yolox-nano.0001"],
            "taxonomy": "2026.1",
            "labelled-by": "model and person" if prelabels is None else "model",
            **provenance,
        }
        return line

    def publish(
        self,
        drive: str,
        lines: Sequence[dict[str, Any]],
        *,
        run: str = "0001",
        vehicle: str = "v",
        outcome: str = "published",
    ) -> None:
        """Allocate a run of the drive, and write its dataset unless the outcome is empty."""
        document = DriveDocument(vehicle, {"front": Camera()})
        allocated = self.ledger.allocate_run(Run(drive, run, document, "e", ("yolox-nano.0001",), "2026.1", TAXONOMY))
        if outcome:
            self.ledger.finish_run(allocated, outcome, 0.0)
            self.labels.write(RunFolder(drive, run).dataset, as_manifest(lines))


def as_manifest(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def key_of(drive: str = "drive-a", camera: str = "front", index: int = 0, extension: str = "png") -> FrameKey:
    return FrameKey(drive, camera, f"{1_700_000_000_000_000_000 + index}", extension)
