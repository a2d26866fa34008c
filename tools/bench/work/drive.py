"""A generated drive: frames, headers and answers are computed when they are read."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import Unit
from autolabel.models.catalogue import Model

# Names of the largest allowed length: payloads hold them.
DRIVE, RUN, CAMERA = "bench".ljust(63, "-"), "0001", "front".ljust(63, "-")
FOLDER = RunFolder(DRIVE, RUN)
WIDTH, HEIGHT = 1920, 1080
# The template's defaults of ShardFrames, MaxJobObjects and PartFrames.
SHARD_FRAMES, JOB_FRAMES = 500, 100_000
PART_FRAMES = 20_000
ETAG = "0123456789abcdef0123456789abcdef"
# From 2026-01-01T00:00:00Z on, 25 frames a second, in nanoseconds.
_START, _STEP = 1_767_225_600_000_000_000, 40_000_000

CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "train", "truck", "traffic light")
MODEL = Model(
    name="bench",
    revision="0001",
    endpoint="bench",
    decoder="jumpstart-detection",
    classes={name: name for name in CLASSES},
)
# As many as COCO has; the taxonomy has only the first few.
LABELS = (*CLASSES, *(f"thing number {i}" for i in range(len(CLASSES), 80)))


def make_run() -> Run:
    """The run that labels the drive: one camera, one model."""
    document = DriveDocument(vehicle="bench", cameras={CAMERA: Camera()})
    return Run(DRIVE, RUN, document, ETAG, (MODEL.id,), "2026.1", CLASSES)


def frame_key(index: int) -> FrameKey:
    return FrameKey(DRIVE, CAMERA, str(_START + index * _STEP), "png")


def unit_of(index: int) -> Unit:
    return Unit.of(frame_key(index), ETAG, MODEL.id)


def index_of(timestamp: str) -> int:
    """The index of the frame with this timestamp."""
    return (int(timestamp) - _START) // _STEP


def png_header() -> bytes:
    """The first bytes of a frame, as a range request returns them: signature, IHDR, start of the pixels."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    pixels = struct.pack(">I", 1_000_000) + b"IDAT" + bytes(16_000)
    return b"\x89PNG\r\n\x1a\n" + chunk + pixels


def detection_answer(detections: int, seed: int) -> dict[str, Any]:
    """An answer of JumpStart's object detection, with coordinates as long as float32 models write them."""
    chance = random.Random(seed)

    def box() -> list[float]:
        left, top = chance.uniform(0, 0.8), chance.uniform(0, 0.8)
        return [left, top, left + chance.uniform(0.01, 0.2), top + chance.uniform(0.01, 0.2)]

    return {
        "normalized_boxes": [box() for _ in range(detections)],
        # Every other object is of a class of the taxonomy, as in traffic.
        "classes": [float(chance.randrange(len(CLASSES) if i % 2 else len(LABELS))) for i in range(detections)],
        "scores": sorted((chance.random() for _ in range(detections)), reverse=True),
        "labels": list(LABELS),
    }
