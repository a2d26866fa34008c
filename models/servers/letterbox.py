"""Images to the square input of YOLOX. Recipe: YOLOX's ONNX demo (Megvii), `preproc`."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.images import Image

_GREY = 114.0


def letterbox(image: Image, side: int) -> tuple[npt.NDArray[np.float32], float]:
    """The image scaled to fit a square of `side` pixels, at its top left, the rest grey; and the scale.

    The array is [1, 3, side, side], BGR, 0..255 as float. Divide boxes by the scale to get back to the image's pixels.
    """
    height, width = image.shape[:2]
    scale = min(side / height, side / width)
    # Extreme shapes would round to nothing.
    new_height, new_width = max(int(height * scale), 1), max(int(width * scale), 1)
    square = np.full((side, side, 3), _GREY, np.float32)
    square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None]), scale
