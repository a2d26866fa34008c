"""Measures decoding and merging the answers of several models to one frame."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.fusion import merge_frame
from autolabel.labelling.model_detections import ModelDetections
from tools.bench.work.drive import CAMERA, CLASSES, HEIGHT, LABELS, MODEL, WIDTH
from tools.bench.work.rounds import time_ways

MODELS = 3


def time_frame(objects: int, rounds: int, calls: int) -> dict[str, Any]:
    """Median processor seconds of a frame on which each model detects about `objects` objects, slightly moved.

    `json` only parses the answers, `decode` makes detections, `merge` merges those of all models, `single` those of
    one. `found`: detections of all models together.
    """
    draw = random.Random(objects)
    places = [(draw.uniform(0, 0.9), draw.uniform(0, 0.9), draw.randrange(len(CLASSES))) for _ in range(objects)]
    models = [msgspec.structs.replace(MODEL, name=f"model-{number}") for number in range(MODELS)]
    bodies = [_answer(places, draw) for _ in models]

    def decode() -> list[ModelDetections]:
        return [
            ModelDetections(model, decode_answer([body], model, WIDTH, HEIGHT)[0])
            for model, body in zip(models, bodies, strict=True)
        ]

    seen = decode()
    merged, _ = merge_frame(seen, CAMERA, WIDTH, HEIGHT)
    found = sum(len(one.detections) for one in seen)
    if not found / MODELS <= len(merged) < found:
        raise AssertionError(f"{found} detections of {MODELS} models were merged into {len(merged)}")
    ways: dict[str, Callable[[], object]] = {
        "json": lambda: [json.loads(body) for body in bodies],
        "decode": decode,
        "merge": lambda: merge_frame(seen, CAMERA, WIDTH, HEIGHT),
        "single": lambda: merge_frame(seen[:1], CAMERA, WIDTH, HEIGHT),
    }
    return {"found": found, **time_ways(ways, rounds, calls)}


def _answer(places: list[tuple[float, float, int]], draw: random.Random) -> bytes:
    boxes = []
    for x, y, _ in places:
        left, top = x + draw.uniform(0, 0.01), y + draw.uniform(0, 0.01)
        boxes.append((left, top, left + 0.08, top + 0.08))
    return msgspec.json.encode(
        {
            "normalized_boxes": boxes,
            "classes": [float(number) for _, _, number in places],
            "scores": [draw.uniform(0.03, 1.0) for _ in places],
            "labels": LABELS,
        }
    )
