"""Decodes images, up to a limit of pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.servers.image_headers import NotAnImage, image_size

# 192 MB in BGR, and far more than vehicle cameras have.
MAX_PIXELS = 64_000_000

Image = npt.NDArray[np.uint8]


def decode(body: bytes) -> Image:
    """Decode a JPEG or PNG image to pixels [height, width, 3] in BGR; raises NotAnImage, also above MAX_PIXELS.

    The EXIF orientation is ignored: boxes refer to the pixels as they are stored.
    """
    width, height = image_size(body)
    if width * height > MAX_PIXELS:
        raise NotAnImage(f"the image has {width} x {height} pixels, more than {MAX_PIXELS}")
    try:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as e:
        raise NotAnImage(f"the image cannot be decoded: {e}") from e
    if image is None:
        raise NotAnImage("the image cannot be decoded")
    return np.asarray(image, np.uint8)
