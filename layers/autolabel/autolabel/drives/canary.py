"""Canary: a small drive that the stack uploads by itself, to see whether a drive still ends."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime

import msgspec

from autolabel.contracts.drive import Camera, DriveDocument
from autolabel.contracts.frames import DRIVE_DOCUMENT, FrameKey, drive_prefix
from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import VerifyNone

# The vehicle, and the beginning of the drives' names. template.yaml has lifecycle rules and a permission for it.
CANARY = "autolabel-canary"
FRAMES = 10
_CAMERA = "front"
_WIDTH, _HEIGHT = 640, 360
_STEP = 100_000_000
_HOUR = 3_600.0
_TIME = "%Y%m%dT%H"


def is_canary(drive: str) -> bool:
    """Check whether a drive is a canary, by its name."""
    return drive.startswith(f"{CANARY}_")


def start_canary(ingest: Bucket, now: float) -> str:
    """Upload the canary of this hour, and return its name. A repeated call in the hour puts the same bytes again.

    `now`: seconds since the epoch.
    """
    drive = f"{CANARY}_{datetime.fromtimestamp(now, UTC).strftime(_TIME)}"
    first = int(now // _HOUR * _HOUR) * 1_000_000_000
    for index in range(FRAMES):
        key = FrameKey(drive, _CAMERA, f"{first + index * _STEP:019d}", "png")
        ingest.write(key.key, draw_frame(first // 1_000_000_000, index), "image/png")
    document = DriveDocument(CANARY, {_CAMERA: Camera(expected_frames=FRAMES)}, verification=VerifyNone())
    ingest.write(drive_prefix(drive) + DRIVE_DOCUMENT, msgspec.json.encode(document))
    return drive


def hours_of_canary(ingest: Bucket, label_bucket: Bucket, now: float) -> float:
    """Return for how many hours canaries have not ended: the age of the oldest one since the last that has ended.

    It is 0 if the newest has ended, or without one. A canary has ended if a run of it has a dataset. `now`: seconds
    since the epoch.
    """
    hours = 0.0
    for name in sorted(ingest.folders(f"drives/{CANARY}_"), reverse=True):
        try:
            began = datetime.strptime(name, _TIME).replace(tzinfo=UTC).timestamp()
        except ValueError:
            # Uploaded by another, under the canaries' name.
            continue
        if any(_is_dataset(found.key) for found in label_bucket.list(f"labels/{CANARY}_{name}/")):
            break
        hours = max(hours, (now - began) / _HOUR)
    return hours


def _is_dataset(key: str) -> bool:
    return key == RunFolder.of(key).dataset


def draw_frame(seed: int, index: int) -> bytes:
    """Draw a frame as PNG: a dark box moves over a grey street. Other seeds give other bytes, so no answer fits yet."""
    left, top, width, height = 40 + 30 * index, 180, 120, 80
    plain = bytes((150, 150, 150)) * _WIDTH
    with_box = plain[: left * 3] + bytes((40, 40, 60)) * width + plain[(left + width) * 3 :]
    rows = b"".join(b"\0" + (with_box if top <= y < top + height else plain) for y in range(_HEIGHT))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    text = f"Comment\0{CANARY} {seed} {index}".encode()
    chunks = ((b"IHDR", header), (b"tEXt", text), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
