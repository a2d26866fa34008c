"""Serves YOLOX-Nano by the container contract: `python -m models.servers.yolox --port N`.

It takes `application/x-image` and answers in the format of JumpStart's object detection models: `normalized_boxes` as
left, top, right, bottom in 0..1, `classes` as indexes into `labels`, and `scores`, best first. With
`Accept: application/json;verbose` the answer has `labels`; `;n_predictions=N` keeps the N best.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import cv2

from models.servers.coco import NAMES
from models.servers.container import JSON, Reply, Request, RequestRefused, run
from models.servers.detections import Detections
from models.servers.detector import Detector
from models.servers.fusion import fuse
from models.servers.requests import read_image
from models.servers.windows import Layout, look, whole

# Requests decoded and predicted at once: bounds memory and load.
_AT_ONCE = 2
_DIGITS = 6


class YoloxModel:
    """The detector as a model of the container contract; what it finds in the windows of each layout is fused."""

    max_request_bytes = 32 << 20

    def __init__(self, *layouts: Layout) -> None:
        self._layouts = layouts or (whole,)
        self._detector: Detector | None = None
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def load(self) -> None:
        # The semaphore bounds the work, which OpenCV's own threads would escape.
        cv2.setNumThreads(1)
        self._detector = Detector()

    def predict(self, request: Request) -> Reply:
        verbose, count = read_accept(request.accept)
        assert self._detector is not None
        with self._turns:
            image = read_image(request)
            height, width = image.shape[:2]
            views = [look(image, layout(width, height), self._detector.detect) for layout in self._layouts]
        found = views[0] if len(views) == 1 else fuse(views)
        return Reply(render(found, verbose=verbose, count=count))


def read_accept(accept: str) -> tuple[bool, int | None]:
    """Whether labels are wanted, and how many predictions (None: all); RequestRefused if JSON is not accepted."""
    media, *parameters = (part.strip() for part in accept.split(";"))
    if media not in ("", "*/*", JSON):
        raise RequestRefused(406, f"the answer is {JSON}, not {accept!r}")
    count = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "n_predictions":
            if not value.isdecimal():
                raise RequestRefused(406, f"n_predictions is not a number: {accept!r}")
            count = int(value)
    return "verbose" in parameters, count


def render(found: Detections, *, verbose: bool, count: int | None, labels: Sequence[str] = NAMES) -> bytes:
    """The answer as JSON."""
    answer: dict[str, object] = {
        "normalized_boxes": [[round(float(v), _DIGITS) for v in box] for box in found.boxes[:count]],
        "classes": [float(number) for number in found.classes[:count]],
        "scores": [round(float(score), _DIGITS) for score in found.scores[:count]],
    }
    if verbose:
        answer["labels"] = list(labels)
    return json.dumps(answer).encode()


if __name__ == "__main__":
    run(YoloxModel())
