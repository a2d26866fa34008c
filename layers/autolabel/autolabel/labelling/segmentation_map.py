"""Write a frame's masks beside its manifest line: a document of its objects, and a picture of its classes.

The picture is a semantic-segmentation label as Ground Truth reads it (sms-input-data-input-manifest): an indexed PNG of
the frame's size. Its palette has the classes' colours, and its metadata say which index is which class.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import contourpy
import msgspec
import numpy as np
from PIL import Image

from autolabel.labelling.masks import bounds, decode
from autolabel.labels.detections import Detections
from autolabel.labels.manifest import BACKGROUND, MaskClass
from autolabel.labels.rle import MAX_RLE_BYTES
from autolabel.labels.taxonomy import current_taxonomy

BACKGROUND_COLOR = "#ffffff"
# A mask of more pieces is noise, and its outlines take a thousand times as much room as its encoding.
MAX_OUTLINES = 200


def mask_document(key: str, detections: Detections) -> bytes:
    """Encode a frame's objects as JSON, with COCO's RLE and polygons for objects with a mask; `key`: the frame's."""
    size = (detections.width, detections.height)
    objects = []
    for one in detections:
        thing: dict[str, Any] = {"class": one.name, "score": one.score, "confidence": one.confidence, "box": one.box}
        if one.mask:
            thing["rle"] = {"size": size[::-1], "counts": one.mask}
            thing["polygons"] = polygons(one.mask, *size)
        objects.append(thing)
    return msgspec.json.encode({"frame": key, "width": size[0], "height": size[1], "objects": objects})


def polygons(mask: str, width: int, height: int) -> list[list[float]]:
    """Return the outer outlines of a mask as COCO writes them: [x1, y1, x2, y2, ...] in pixels, closed implicitly.

    Corners are in the middle of pixels' sides, which cuts every right angle by half a pixel. Holes are in the RLE only.
    A mask of more than MAX_OUTLINES pieces has no outlines.
    """
    if len(mask) > MAX_RLE_BYTES:
        return []
    left, top, right, bottom = (int(side) for side in bounds(mask, width, height))
    bitmap = decode(mask, width, height)[top:bottom, left:right]
    # Padding closes the outlines of parts that touch the border.
    lines = contourpy.contour_generator(z=np.pad(bitmap, 1), fill_type=contourpy.FillType.OuterOffset)
    filled: Any = lines.filled(0.5, 1.5)
    found, offsets = filled
    if len(found) > MAX_OUTLINES:
        return []
    outlines = [_without_middles(points[start[0] : start[1] - 1]) for points, start in zip(found, offsets, strict=True)]
    # The middle of the padding's first pixel is half a pixel outside of the frame.
    return [np.clip(outline - 0.5 + (left, top), 0, (width, height)).ravel().tolist() for outline in outlines]


def _without_middles(corners: Any) -> Any:
    """Drop the corners that are on the straight line between their neighbours."""
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    return corners[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def segmentation_picture(detections: Detections, labels: Sequence[str]) -> bytes:
    """Paint the indexed PNG of a frame: 0 for background, 1 + a class's position in `labels` where it has a mask.

    Where masks overlap, the most confident object is visible.
    """
    indexes = np.zeros((detections.height, detections.width), np.uint8)
    for one in sorted(detections, key=lambda d: d.confidence):
        if one.mask:
            indexes[decode(one.mask, detections.width, detections.height) == 1] = 1 + labels.index(one.name)
    picture = Image.fromarray(indexes, "P")
    picture.putpalette(bytes.fromhex("".join(color[1:] for _, color in _classes(labels))))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def color_map(detections: Detections, labels: Sequence[str]) -> dict[str, MaskClass]:
    """Return Ground Truth's `internal-color-map` of a picture."""
    confidences: dict[str, list[float]] = {}
    for one in detections:
        if one.mask:
            confidences.setdefault(one.name, []).append(one.confidence)
    return {
        str(index): MaskClass(name, color, round(float(np.mean(confidences.get(name, [0.0]))), 4))
        for index, (name, color) in enumerate(_classes(labels))
    }


def _classes(labels: Sequence[str]) -> list[tuple[str, str]]:
    colors = current_taxonomy().colors
    return [(BACKGROUND, BACKGROUND_COLOR), *((name, colors[name]) for name in labels)]
