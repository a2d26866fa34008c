"""Scales images to the square input of YOLOX, as `preproc` of YOLOX's ONNX demo (Megvii)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.images import Image

_GREY = 114.0


def letterbox(image: Image, side: int) -> tuple[npt.NDArray[np.float32], float]:
    """Scale the image to fit the top left of a grey square of `side` pixels; returns the square and the scale.

    The square is [1, 3, side, side], BGR, 0..255 as float. Boxes divided by the scale are in the image's pixels.
    """
    height, width = image.shape[:2]
    scale = min(side / height, side / width)
    # The short side of a very long image would round to 0.
    new_height, new_width = max(int(height * scale), 1), max(int(width * scale), 1)
    square = np.full((side, side, 3), _GREY, np.float32)
    square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None]), scale
