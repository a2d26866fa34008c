"""The second detector as a model of the container contract."""

from __future__ import annotations

import json
import threading

import cv2
import numpy as np

from models.servers.coco import NAMES
from models.servers.container import JSON, Reply, Request, RequestRefused
from models.servers.detections import Detections
from models.servers.requests import read_image
from models.servers.ssd.assets import Assets
from models.servers.ssd.detector import Detector
from models.servers.ssd.runtime import Runtime, RuntimeFailed
from models.servers.windows import Window, look, tiles, whole

# Frames decoded at once: bounds memory. The network takes windows one by one.
_AT_ONCE = 2
_DIGITS = 6
# The network returns hundreds of weak detections; COCO's evaluation counts at most 100 for an image.
_MOST = 100


class SsdModel:
    """Decodes an image, runs the detector on its windows and answers."""

    max_request_bytes = 32 << 20

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def load(self) -> None:
        """Raises AssetsMissing, RuntimeFailed."""
        cv2.setNumThreads(1)
        self._runtime = Runtime(Assets.find())
        self._runtime.start()
        self._detector = Detector(self._runtime)

    def unload(self) -> None:
        self._runtime.stop()

    def predict(self, request: Request) -> Reply:
        if request.accept.partition(";")[0] not in ("", "*/*", JSON):
            raise RequestRefused(406, f"the answer is {JSON}, not {request.accept!r}")
        with self._turns:
            image = read_image(request)
            height, width = image.shape[:2]
            try:
                found = look(image, layout(width, height), self._detector.detect)
            except RuntimeFailed as e:
                raise RequestRefused(500, str(e)) from e
        return Reply(render(found, width, height))


def layout(width: int, height: int) -> list[Window]:
    """The whole image and three tiles of it."""
    return [*whole(width, height), *tiles(width, height, count=3)]


def render(found: Detections, width: int, height: int) -> bytes:
    """The best detections as JSON."""
    pixels = found.boxes * np.array([width, height, width, height], np.float32)
    return json.dumps(
        [
            {
                "score": round(float(score), _DIGITS),
                "label": NAMES[number],
                "box": dict(
                    zip(("xmin", "ymin", "xmax", "ymax"), (round(float(edge), 2) for edge in box), strict=True)
                ),
            }
            for score, number, box in zip(found.scores[:_MOST], found.classes[:_MOST], pixels[:_MOST], strict=True)
        ]
    ).encode()
