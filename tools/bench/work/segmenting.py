"""Measures reading one answer of a segmentation model, with and without its masks."""

from __future__ import annotations

import base64
import gc
import io
import json
import time
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from autolabel.labelling.decoding import decode_answer
from autolabel.models.catalogue import Model
from autolabel.models.decoders import DecoderOptions
from autolabel.models.decoders.base import Resized
from tools.bench.probe import peak_memory, resident_memory
from tools.bench.work.decoding import file_chunks
from tools.bench.work.drive import HEIGHT, MODEL, WIDTH

# The size to which GluonCV scales such a frame.
_RESIZED = Resized(short=600, long=1000)
_ROWS, _COLUMNS = 562, 1000
MODELS = {
    "lists": msgspec.structs.replace(MODEL, decoder="jumpstart-mask-rcnn", options=DecoderOptions(resized=_RESIZED)),
    "pictures": msgspec.structs.replace(MODEL, decoder="hf-object-detection"),
}


def write_answer(path: str, shape: str, megabytes: int) -> dict[str, int]:
    """Write an answer of about `megabytes`; returns its `bytes` and its number of `masks`.

    `shape`: `lists` is an answer of Mask R-CNN with masks as nested lists of zeros and ones; `pictures` is a list as
    Hugging Face's, with masks as base64 PNGs of the frame's size, uncompressed.
    """
    mask = _mask_of_lists() if shape == "lists" else _mask_of_picture()
    count = max(1, megabytes * 1_000_000 // len(mask))
    with Path(path).open("wb") as file:
        if shape == "lists":
            file.write(b'{"masks": [')
            for index in range(count):
                file.write((b", " if index else b"") + mask)
            rest = {
                "ids": [[2.0]] * count,
                "scores": [[0.9]] * count,
                "bboxes": [[300.0, 200.0, 700.0, 400.0]] * count,
                "labels": list(MODEL.classes),
            }
            file.write(b"], " + json.dumps(rest).encode()[1:])
        else:
            thing = b'"score": 0.9, "label": "car", "box": {"xmin": 9, "ymin": 9, "xmax": 99, "ymax": 99}'
            for index in range(count):
                file.write((b", " if index else b"[") + b'{"mask": ' + mask + b", " + thing + b"}")
            file.write(b"]")
        return {"bytes": file.tell(), "masks": count}


def read_answer(path: str, shape: str, way: str) -> dict[str, float]:
    """Read an answer; returns processor seconds, growth of peak memory in bytes, and counts of what was found.

    `way`: `bare` only reads the file's chunks, `boxes` decodes without masks, `masks` with them.
    """
    model = MODELS[shape]
    options = msgspec.structs.replace(model.options, masks=way == "masks")
    model = msgspec.structs.replace(model, options=options)
    _warm_up(model)
    gc.collect()
    before = resident_memory()
    started = time.process_time()
    found = [] if way == "bare" else decode_answer(file_chunks(path), model, WIDTH, HEIGHT)[0]
    if way == "bare":
        for _ in file_chunks(path):
            pass
    seconds = time.process_time() - started
    return {
        "seconds": seconds,
        "growth": peak_memory() - before,
        "found": len(found),
        "masks": sum(bool(one.mask) for one in found),
    }


def _warm_up(model: Model) -> None:
    """Decode an empty answer: what a first call loads, such as numpy, must not count as growth."""
    empty: Any = {"masks": [], "ids": [], "scores": [], "bboxes": [], "labels": []}
    decode_answer([msgspec.json.encode(empty if "mask" in model.decoder else [])], model, WIDTH, HEIGHT)


def _mask_of_lists() -> bytes:
    inside, outside = "[" + ", ".join(["0"] * 300 + ["1"] * 400 + ["0"] * 300) + "]", str([0] * _COLUMNS)
    return ("[" + ", ".join([outside] * 200 + [inside] * 200 + [outside] * (_ROWS - 400)) + "]").encode()


def _mask_of_picture() -> bytes:
    out = io.BytesIO()
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (600, 300, 1_300, 800))
    mask.save(out, "PNG", compress_level=0)
    return b'"' + base64.b64encode(out.getvalue()) + b'"'
