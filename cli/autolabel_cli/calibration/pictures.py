"""Reads pictures as grey levels, and finds line segments in them."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from autolabel.calibration import Grey
from autolabel.cuboids import Array

# Canny's thresholds in grey levels, and Hough's votes, least length and largest gap in pixels, at the width below.
_CANNY, _VOTES, _LENGTH, _GAP = (50, 150), 30, 40, 20
_WIDTH = 960


def read_grey(body: bytes) -> Grey | None:
    """Read a picture as grey levels (height, width); None if no decoder reads it."""
    try:
        with Image.open(io.BytesIO(body), formats=("PNG", "JPEG")) as picture:
            return np.asarray(picture.convert("L"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def find_segments(grey: Grey) -> Array:
    """Return the line segments of a picture's lower half, as x, y, x, y in its pixels (n, 4)."""
    scale = grey.shape[1] / _WIDTH
    small = cv2.resize(grey, (_WIDTH, max(1, round(grey.shape[0] / scale))), interpolation=cv2.INTER_AREA)
    top = small.shape[0] // 2
    edges = cv2.Canny(cv2.GaussianBlur(small[top:], (5, 5), 0), *_CANNY)
    found = cv2.HoughLinesP(edges, 1, np.pi / 180, _VOTES, minLineLength=_LENGTH, maxLineGap=_GAP)
    if found is None:
        return np.empty((0, 4))
    segments: Array = (found.reshape(-1, 4) + np.array([0.0, top, 0, top])) * scale
    return segments
