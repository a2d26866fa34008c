"""Writes a frame's line again, once the tracks of its boxes are known: classes, sides, filled boxes, uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.labelling.uncertainty import FLOOR, FrameUncertainty, frame_level
from autolabel.labelling.uncertainty_map import UncertaintyMap, calibrated
from autolabel.labels.detections import Box
from autolabel.labels.manifest import (
    LineTooLong,
    ManifestLine,
    Origin,
    PrelabelTracks,
    encode_line,
    read_line,
    whole_pixels,
    with_values,
)

# Why a box is uncertain, and how much: the shares of such boxes that were wrong on seven sequences of KITTI tracking,
# at 10 Hz, with PointRCNN's cars of scores from 0.9 (unconfirmed .88, ends .49 and .66 at 25 pixels and more).
UNCONFIRMED, UNCONFIRMED_LEVEL = "an object in fewer than three frames", 0.8
END, END_LEVEL = "an object appears or disappears inside the picture", 0.5
# Of 270 filled boxes 56 % were wrong there. Policies accept levels below 1 only, so a person sees each filled box.
FILLED, FILLED_LEVEL = "a box that no model found in this frame", 1.0
JUMP = "a box jumps between its neighbours in time"
NAME, NAME_LEVEL = "the class differs within a track", 0.5
TOO_LONG = "too many boxes to fill gaps and to smooth"


class TrackedBox(NamedTuple):
    """A box of a pre-label, as its track has it. `id`: empty without a track; `box`: xyxy, pixels.

    `levels`: its uncertainty from 0 to 1, by the reason.
    """

    id: str
    name: str
    box: Box
    levels: Mapping[str, float] = {}


class LinkedLine(NamedTuple):
    """A line with its line feed, and its uncertainty. `more`: by class, how many boxes it has more than before."""

    body: bytes
    uncertainty: FrameUncertainty
    more: Mapping[str, int] = {}


def link_line(
    body: bytes,
    uncertainty: FrameUncertainty,
    seen: Sequence[TrackedBox],
    filled: Sequence[TrackedBox],
    labels: Sequence[str],
    uncertainty_map: UncertaintyMap | None = None,
) -> LinkedLine:
    """Write a line with the boxes of its tracks. A frame without a usable pre-label stays as it is.

    `seen`: the tracked box of each box of the pre-label; `filled`: boxes that no model found here. `labels`: the job's,
    whose positions are the class ids. `uncertainty_map`: the run's. A line that would be longer than Ground Truth
    allows keeps the models' boxes.
    """
    line = read_line(body)
    own = line.prelabel_boxes
    if uncertainty.level is None:
        return LinkedLine(body + b"\n", uncertainty)
    renamed = tuple("" if box.name == track.name else box.name for box, track in zip(own, seen, strict=True))
    tracks = PrelabelTracks(
        tuple(track.id for track in (*seen, *filled)),
        (*(Origin.MODEL for _ in seen), *(Origin.INTERPOLATED for _ in filled)),
        (*renamed, *("" for _ in filled)) if any(renamed) else (),
    )
    confidences = [*(box.confidence for box in own), *(0.0 for _ in filled)]
    boxes = [*seen, *filled]
    _put_boxes(line, boxes, confidences, labels)
    line.prelabel_tracks = tracks
    judged = _judge(line, uncertainty, boxes, uncertainty_map)
    more = Counter(box.name for box in boxes)
    more.subtract(box.name for box in own)
    try:
        return LinkedLine(encode_line(line), judged, more)
    except LineTooLong:
        return _with_own_boxes(body, uncertainty)


def _put_boxes(
    line: ManifestLine, boxes: Sequence[TrackedBox], confidences: Sequence[float], labels: Sequence[str]
) -> None:
    """Replace the boxes of a line's pre-label."""
    width, height = line.size.width, line.size.height
    placed = [whole_pixels(box.box, width, height) for box in boxes]
    annotations = [
        {"class_id": labels.index(box.name), "left": left, "top": top, "width": w, "height": h}
        for box, (left, top, w, h) in zip(boxes, placed, strict=True)
    ]
    names = {box.name for box in boxes}
    line.prelabel = with_values(line.prelabel, {"annotations": annotations})
    line.prelabel_metadata = with_values(
        line.prelabel_metadata,
        {
            "objects": [{"confidence": confidence} for confidence in confidences],
            "class-map": {str(index): name for index, name in enumerate(labels) if name in names},
        },
    )


def _judge(
    line: ManifestLine,
    uncertainty: FrameUncertainty,
    boxes: Sequence[TrackedBox],
    uncertainty_map: UncertaintyMap | None,
) -> FrameUncertainty:
    """Put the uncertainty of the tracks into a line; return it as triage needs it."""
    strongest = dict[str, float]()
    levels = [*uncertainty.boxes, *(0.0 for _ in boxes[len(uncertainty.boxes) :])]
    for at, box in enumerate(boxes):
        for why, level in box.levels.items():
            strongest[why] = max(level, strongest.get(why, 0.0))
            levels[at] = max(levels[at], round(level, 2))
    level = calibrated(frame_level(levels, uncertainty.candidates, uncertainty.failed), uncertainty_map)
    names = {box.name for box in boxes}
    if line.uncertainty is not UNSET:
        names |= {one.label for one in line.uncertainty.candidates if one.confidence >= FLOOR}
        reasons = sorted((why for why, of in strongest.items() if of >= FLOOR), key=lambda why: (-strongest[why], why))
        line.uncertainty = msgspec.structs.replace(
            line.uncertainty, level=level, boxes=tuple(levels), why=(*reasons, *line.uncertainty.why)
        )
    return msgspec.structs.replace(uncertainty, level=level, boxes=tuple(levels), claims=tuple(sorted(names)))


def _with_own_boxes(body: bytes, uncertainty: FrameUncertainty) -> LinkedLine:
    """Return a line as it was, with the reason why, if that fits."""
    line = read_line(body)
    if line.uncertainty is not UNSET:
        line.uncertainty = msgspec.structs.replace(line.uncertainty, why=(TOO_LONG, *line.uncertainty.why))
    try:
        return LinkedLine(encode_line(line), uncertainty)
    except LineTooLong:
        return LinkedLine(body + b"\n", uncertainty)
