"""Measures decoding one answer, and `json.loads` of the same body."""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from autolabel.labelling.decoding import decode_answer
from autolabel.labels.detections import Detection, repair_box
from autolabel.models.decoders import jumpstart
from tools.bench.probe import peak_memory, resident_memory
from tools.bench.work.drive import HEIGHT, MODEL, WIDTH, detection_answer
from tools.bench.work.rounds import time_ways

# The size of chunks of S3Bucket.stream.
CHUNK = 256 * 1024
BOXES = 100
MASK_BYTES = 36_000_000
_ROW = 320
_ROWS = 240


def time_boxes(rounds: int, calls: int) -> dict[str, Any]:
    """Median processor seconds of four ways to read a body of 100 detections and 80 labels, run in turns.

    `json` and `schema` only parse it. `plain` and `decode` also make detections of the taxonomy's classes, `plain`
    from the lists of `json.loads`.
    """
    body = msgspec.json.encode(detection_answer(BOXES, seed=1))
    if _detect_plainly(body) != _detect(body) or not _detect(body):
        raise AssertionError("the two ways to detections give different ones")
    ways: dict[str, Callable[[], object]] = {
        "json": lambda: json.loads(body),
        # The decoder's own private schema: a copy here could begin to differ.
        "schema": lambda: jumpstart._detection.decode(body),
        "plain": lambda: _detect_plainly(body),
        "decode": lambda: _detect(body),
    }
    return {"bytes": len(body), **time_ways(ways, rounds, calls)}


def _detect(body: bytes) -> list[Detection]:
    return decode_answer([body], MODEL, WIDTH, HEIGHT)[0]


def _detect_plainly(body: bytes) -> list[Detection]:
    """Make the same detections without a schema and without the decoder's checks."""
    answer = json.loads(body)
    found = []
    for (left, top, right, bottom), index, score in zip(
        answer["normalized_boxes"], answer["classes"], answer["scores"], strict=True
    ):
        label = answer["labels"][int(index)]
        name = MODEL.classes.get(label)
        if name is None:
            continue
        box = repair_box((left * WIDTH, top * HEIGHT, right * WIDTH, bottom * HEIGHT), WIDTH, HEIGHT)
        if box is not None:
            found.append(Detection(name=name, box=box, score=score, confidence=score, label=label, models=(MODEL.id,)))
    return found


def write_masks(path: str, kind: str) -> dict[str, int]:
    """Write a Mask R-CNN answer of 36 MB: detections with masks as nested lists, between their other values.

    `kind`: `hard` masks hold zeros and ones, `soft` masks probabilities; both with the spaces that json.dumps writes.
    """
    answer = detection_answer(BOXES, seed=2)
    chance = random.Random(3)
    values = ["0", "1"] if kind == "hard" else [f"{chance.random():.8f}" for _ in range(1_000)]
    rows = ["[" + ", ".join(chance.choices(values, k=_ROW)) + "]" for _ in range(64)]
    written = 0
    with Path(path).open("w") as file:
        written += file.write('{"normalized_boxes": ' + json.dumps(answer["normalized_boxes"]) + ', "masks": [')
        while written < MASK_BYTES:
            mask = "[" + ", ".join(chance.choices(rows, k=_ROWS)) + "]"
            written += file.write(mask if written + len(mask) >= MASK_BYTES else mask + ", ")
        rest = {name: answer[name] for name in ("classes", "scores", "labels")}
        written += file.write("], " + json.dumps(rest)[1:])
    return {"bytes": written}


def read_masks(path: str, way: str) -> dict[str, float]:
    """Read a file of masks by `json` or `decode`: processor seconds, and growth of peak memory in bytes.

    The time of `json` leaves out reading the body into memory; that of `decode` includes reading its chunks.
    """
    # What a first call loads, such as compiled patterns, must not count as growth.
    _detect(msgspec.json.encode(detection_answer(1, seed=4)))
    gc.collect()
    before = resident_memory()
    if way == "json":
        body = Path(path).read_bytes()
        started = time.process_time()
        found: object = json.loads(body)
    else:
        started = time.process_time()
        found = decode_answer(file_chunks(path), MODEL, WIDTH, HEIGHT)[0]
    seconds = time.process_time() - started
    if not found:
        raise AssertionError(f"{way} found nothing in {path}")
    return {"seconds": seconds, "growth": peak_memory() - before}


def file_chunks(path: str) -> Iterator[bytes]:
    """A file in chunks of the size in which S3Bucket.stream reads an object."""
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
