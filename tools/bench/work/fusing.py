"""What becomes of the answers to one frame: reading them, and merging what they say."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.fusion import merge_frame
from autolabel.labelling.model_detections import Seen
from tools.bench.work.drive import CAMERA, CLASSES, HEIGHT, LABELS, MODEL, WIDTH

MODELS = 3


def time_frame(objects: int, rounds: int, calls: int) -> dict[str, Any]:
    """Median processor seconds of a frame on which several models each see about so many objects, a little displaced.

    `json` only reads the answers, `decode` brings them to detections on the taxonomy, `merge` merges those of all
    models, `single` those of one.
    """
    draw = random.Random(objects)
    places = [(draw.uniform(0, 0.9), draw.uniform(0, 0.9), draw.randrange(len(CLASSES))) for _ in range(objects)]
    models = [msgspec.structs.replace(MODEL, name=f"model-{number}") for number in range(MODELS)]
    bodies = [_answer(places, draw) for _ in models]

    def decode() -> list[Seen]:
        return [
            Seen(model, decode_answer([body], model, WIDTH, HEIGHT)[0])
            for model, body in zip(models, bodies, strict=True)
        ]

    seen = decode()
    merged, _ = merge_frame(seen, CAMERA, WIDTH, HEIGHT)
    found = sum(len(one.detections) for one in seen)
    if not found / MODELS <= len(merged) < found:
        raise AssertionError(f"{found} detections of {MODELS} models came to {len(merged)}")
    ways: dict[str, Callable[[], object]] = {
        "json": lambda: [json.loads(body) for body in bodies],
        "decode": decode,
        "merge": lambda: merge_frame(seen, CAMERA, WIDTH, HEIGHT),
        "single": lambda: merge_frame(seen[:1], CAMERA, WIDTH, HEIGHT),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            for _ in range(calls):
                way()
            taken[name].append((time.process_time() - started) / calls)
    return {"found": found, **{name: statistics.median(seconds) for name, seconds in taken.items()}}


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
