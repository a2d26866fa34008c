"""Makes the view of a frame: the same picture, with number plates and heads covered.

A view holds nothing else of the frame's file: a thumbnail in its metadata would show the original.
"""

from __future__ import annotations

import hashlib
import io
import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autolabel.contracts.errors import ImageRefused
from autolabel.labels.detections import Box, Detection, Detections
from autolabel.labels.image_pixels import MAX_SCANS, as_rgb, open_pixels

# The most cells that a head becomes, across and down, and the least pixels of a cell, which has one colour.
MAX_CELLS, MIN_CELL = 4, 3
# A plate becomes one colour, and this is the most by which its pixels differ: people see that it was covered. With
# more noise, detectors lose vehicles.
NOISE = 4
# JPEG's quality: labels of people must not suffer.
_QUALITY = 95

Pixels = npt.NDArray[np.uint8]


def cover(body: bytes, name: str, regions: Detections, model_id: str) -> bytes:
    """Return a frame's view, in the frame's format and size. The same arguments always give the same bytes.

    `body`: the whole PNG or JPEG; `name`: what an error calls it; `model_id`: of the model that found the regions.
    Regions that are not a `plate` are covered as heads. Raises ImageRefused if the frame cannot be decoded, or has
    another size than the regions' frame.
    """
    from PIL import Image

    try:
        with open_pixels(body, name) as picture:
            form = picture.format
            if form == "JPEG" and body.count(b"\xff\xda") > MAX_SCANS:
                raise ImageRefused("not-an-image", f"{name} has more than {MAX_SCANS} scans, too many for its view")
            view = np.array(as_rgb(picture))
    except (OSError, SyntaxError, ValueError) as e:
        raise ImageRefused("not-an-image", f"{name} cannot be decoded for its view: {e}") from e
    if view.shape[:2] != (regions.height, regions.width):
        raise ImageRefused(
            "not-an-image",
            f"{name} has {view.shape[1]}x{view.shape[0]} pixels, and regions of another picture with "
            f"{regions.width}x{regions.height}",
        )
    # Never drawn from a generator of random numbers: its numbers change with its version.
    seed = model_id.encode() + hashlib.sha256(body).digest()
    # A face in a head gets the head's larger cells, and a plate shows nothing of what is before it. All are made before
    # the first one changes the picture, because a second copy could be too large.
    areas = [(_area(region.box), region.name == "plate") for region in sorted(regions, key=_order)]
    covers = [_plate(view[area], seed) if is_plate else _head(view[area]) for area, is_plate in areas]
    for (area, _), made in zip(areas, covers, strict=True):
        view[area] = made
    written = io.BytesIO()
    Image.fromarray(view).save(written, form, quality=_QUALITY)
    return written.getvalue()


def _order(region: Detection) -> tuple[bool, float, Box]:
    left, top, right, bottom = region.box
    return region.name == "plate", (right - left) * (bottom - top), region.box


def _area(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns of all pixels that a box touches."""
    left, top, right, bottom = box
    return slice(math.floor(top), math.ceil(bottom)), slice(math.floor(left), math.ceil(right))


def _plate(pixels: Pixels, seed: bytes) -> Pixels:
    color = pixels.reshape(-1, 3).mean(axis=0)
    height, width = pixels.shape[:2]
    drawn = np.frombuffer(hashlib.shake_256(seed).digest(height * width), np.uint8).reshape(height, width, 1)
    covered: Pixels = np.clip(color + drawn.astype(np.int16) % (2 * NOISE + 1) - NOISE, 0, 255).astype(np.uint8)
    return covered


def _head(pixels: Pixels) -> Pixels:
    cells = pixels.copy()
    height, width = pixels.shape[:2]
    for rows in _cut(height):
        for columns in _cut(width):
            cells[rows, columns] = pixels[rows, columns].reshape(-1, 3).mean(axis=0)
    return cells


def _cut(length: int) -> list[slice]:
    count = max(1, min(MAX_CELLS, length // MIN_CELL))
    ends = [length * at // count for at in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
