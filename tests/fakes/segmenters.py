"""A promptable segmenter that fills the ellipse in each box, and faults that break one rule of the contract each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from models.servers.container import Reply, Request, RequestRefused
from models.servers.prompts import Box, FoundMask, PromptedImage, masks_reply, read_prompted

Answer = dict[str, Any]


class EllipseSegmenter:
    """Fills the ellipse in each box. `fault`: one of FAULTS, WHOLE_FAULTS, LIMITS or its own two; or empty."""

    max_request_bytes = 32 << 20

    def __init__(self, fault: str = "", *, draft: bool = True) -> None:
        self._fault = fault
        self._draft = draft
        self.asked: list[PromptedImage] = []

    def load(self) -> None:
        pass

    def predict(self, request: Request) -> Reply:
        if fault := WHOLE_FAULTS.get(self._fault):
            return fault(request)
        prompted = read_prompted(request)
        self.asked.append(prompted)
        if self._fault in LIMITS and LIMITS[self._fault](prompted):
            raise RuntimeError("index out of range")
        if self._fault == "one request at a time":
            time.sleep(0.05)
            prompted = self.asked[-1]
        if self._fault == "turned" and b"Exif" in request.body:
            prompted = PromptedImage(np.rot90(prompted.image), prompted.boxes)
        reply = masks_reply((ellipse(prompted.image, box) for box in prompted.boxes), draft=self._draft)
        if self._fault in FAULTS:
            assert isinstance(reply.body, bytes)
            answer = json.loads(reply.body)
            FAULTS[self._fault](answer)
            return replace(reply, body=json.dumps(answer).encode())
        return reply


def ellipse(image: np.ndarray, box: Box) -> FoundMask:
    """Fill the ellipse in a box."""
    left, top, right, bottom = box
    pixels = np.zeros(image.shape[:2], np.uint8)
    middle = round((left + right) / 2), round((top + bottom) / 2)
    cv2.ellipse(pixels, middle, (round((right - left) / 2), round((bottom - top) / 2)), 0, 0, 360, 1, -1)
    return FoundMask(pixels > 0, 0.9)


def _each(change: Callable[[Answer], None]) -> Callable[[Answer], None]:
    def all_of_them(answer: Answer) -> None:
        for mask in answer["masks"]:
            change(mask)

    return all_of_them


def _answers_anything(request: Request) -> Reply:
    try:
        return EllipseSegmenter().predict(request)
    except RequestRefused:
        return Reply(b'{"version": 1, "masks": []}')


def _fails(request: Request) -> Reply:
    raise RuntimeError("out of memory")


FAULTS: dict[str, Callable[[Answer], None]] = {
    "no draft mark": _each(lambda mask: mask.pop("draft")),
    "a score of 1.2": _each(lambda mask: mask.update(score=1.2)),
    "no version": lambda answer: answer.pop("version"),
    "sizes as width and height": _each(lambda mask: mask["rle"]["size"].reverse()),
    "a mask too few": lambda answer: answer["masks"] and answer["masks"].pop(),
    "the wrong order": lambda answer: answer["masks"].reverse(),
    "runs as a list": _each(lambda mask: mask["rle"].update(counts=[6])),
    "empty masks": _each(lambda mask: mask["rle"].update(counts="PPh1" if mask["rle"]["size"] == [200, 320] else "0")),
}
LIMITS: dict[str, Callable[[PromptedImage], bool]] = {
    "nothing tall": lambda asked: asked.image.shape[0] > asked.image.shape[1],
    "nothing large": lambda asked: asked.image.shape[1] > 2_000,
    "no more than 16 boxes": lambda asked: len(asked.boxes) > 16,
    "no tiny box": lambda asked: any(right - left < 1 for left, _, right, _ in asked.boxes),
    "nothing grey": lambda asked: bool((asked.image == asked.image[..., :1]).all()),
}
WHOLE_FAULTS: dict[str, Callable[[Request], Reply]] = {
    "answers wrong requests": _answers_anything,
    "fails": _fails,
    "another content type": lambda request: Reply(b"<html>", "text/html"),
    "endless": lambda request: Reply(b" " * 1_000_000 for _ in range(100)),
}
