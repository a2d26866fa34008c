"""Reads the request of a promptable segmenter, and writes its answer: docs/ml-engineers/segmenters.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from email import message_from_bytes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from models.servers.container import Reply, Request, RequestRefused
from models.servers.image_headers import NotAnImage
from models.servers.images import Image, decode

CONTENT_TYPE = "multipart/form-data"
VERSION = 1
MAX_BOXES = 500

Box = tuple[float, float, float, float]


class PromptedImage(NamedTuple):
    """An image [height, width, 3] in BGR, and boxes in it: left, top, right, bottom in its pixels."""

    image: Image
    boxes: list[Box]


class FoundMask(NamedTuple):
    """The pixels [height, width] of one object, and how good its model thinks they are, 0 to 1."""

    pixels: npt.NDArray[np.bool_]
    score: float


def read_prompted(request: Request) -> PromptedImage:
    """Read the form of an invocation; RequestRefused if it is another thing, or if a box is not inside the image."""
    if request.content_type.partition(";")[0].strip() != CONTENT_TYPE:
        raise RequestRefused(415, f"the content type is {request.content_type!r}, not {CONTENT_TYPE}")
    form = message_from_bytes(f"Content-Type: {request.content_type}\r\n\r\n".encode() + request.body)
    parts = dict[str, bytes]()
    # A walk begins with the form itself, which has no name.
    for part in form.walk():
        name, body = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(body, bytes):
            parts[name] = body
    if missing := {"image", "prompt"} - parts.keys():
        raise RequestRefused(400, f"the form lacks the part {' and '.join(sorted(missing))}")
    try:
        image = decode(parts["image"])
    except NotAnImage as e:
        raise RequestRefused(400, str(e)) from e
    height, width = image.shape[:2]
    return PromptedImage(image, _boxes(parts["prompt"], width, height))


def masks_reply(found: Iterable[FoundMask], *, draft: bool) -> Reply:
    """Make the answer of masks in the order of the boxes, one at a time; `draft`: only a person may accept them."""
    masks = [
        {
            "rle": {
                "size": pixels.shape,
                "counts": coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode(),
            },
            "score": score,
            "draft": draft,
        }
        for pixels, score in found
    ]
    return Reply(json.dumps({"version": VERSION, "masks": masks}).encode())


def _boxes(prompt: bytes, width: int, height: int) -> list[Box]:
    try:
        document: Any = json.loads(prompt)
        version, boxes = document["version"], [_box(box) for box in document["boxes"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as e:
        raise RequestRefused(400, f"the prompt is not a JSON object with version and boxes: {e!r}") from e
    if version != VERSION:
        raise RequestRefused(400, f"the prompt has version {version!r}, not {VERSION}")
    if len(boxes) > MAX_BOXES:
        raise RequestRefused(400, f"the prompt has {len(boxes)} boxes, more than {MAX_BOXES}")
    for box in boxes:
        if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
            raise RequestRefused(400, f"the box {box} is not inside the image of {width} x {height}")
    return boxes


def _box(box: Any) -> Box:
    left, top, right, bottom = box
    for side in (left, top, right, bottom):
        if isinstance(side, bool) or not isinstance(side, int | float) or not math.isfinite(side):
            raise ValueError(f"{side!r} is not a number")
    return float(left), float(top), float(right), float(bottom)
