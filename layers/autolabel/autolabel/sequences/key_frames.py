"""Chooses key frames: those of a strip that a person must see, so that straight lines lead from one to the next.

Every box is in a key frame, or between two key frames that show its track in every frame from one to the other. So the
label of a frame follows from its two key frames alone. A strip begins and ends with a key frame, and nothing outside it
counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from autolabel.labels.detections import Box, box_iou
from autolabel.sequences.tracks import TrackBox, between

# Times of frames are compared with this tolerance, because a recorder's clock shakes.
_TOLERANCE = 1e-6


class StripFrame(NamedTuple):
    """A frame of a strip. `time`: in seconds; `boxes`: xyxy, pixels, by the track's id.

    `is_key`: it is a key frame in any case: it has a box without a track, no pre-label, or a person's label.
    """

    time: float
    boxes: Mapping[str, Box]
    is_key: bool = False


def choose_key_frames(
    frames: Sequence[StripFrame], least_iou: Mapping[str, float], longest_gap: float
) -> tuple[int, ...]:
    """Choose the key frames of a strip; return their indexes, in order.

    `least_iou`: by track, what a box must reach with the box on the straight lines between its two key frames.
    `longest_gap`: the most seconds between two key frames that are not neighbours. Where a box is too far off, the
    frame with the largest error becomes a key frame, and the frames on both sides of it are tested again.
    """
    chosen = [index for index in range(len(frames)) if _must_be_key(frames, index)]
    ahead = list(pairwise(chosen))
    while ahead:
        first, last = ahead.pop()
        if (at := _worst(frames, first, last, least_iou)) is None:
            if last - first < 2 or frames[last].time - frames[first].time <= longest_gap + _TOLERANCE:
                continue
            at = (first + last) // 2
        chosen.append(at)
        ahead += [(first, at), (at, last)]
    return tuple(sorted(chosen))


def _must_be_key(frames: Sequence[StripFrame], index: int) -> bool:
    if frames[index].is_key or index in (0, len(frames) - 1):
        return True
    before, boxes, after = (frames[at].boxes.keys() for at in (index - 1, index, index + 1))
    return not boxes <= before or not boxes <= after


def _worst(frames: Sequence[StripFrame], first: int, last: int, least_iou: Mapping[str, float]) -> int | None:
    """Return the frame between two key frames with the box that lacks most of its least IoU; None if no box does."""
    errors = list(_errors(frames, first, last, least_iou))
    error, minus_index = max(errors, default=(0.0, 0))
    return -minus_index if error > 0 else None


def _errors(
    frames: Sequence[StripFrame], first: int, last: int, least_iou: Mapping[str, float]
) -> Iterator[tuple[float, int]]:
    times = [frame.time for frame in frames[first : last + 1]]
    for index in range(first + 1, last):
        for track, box in frames[index].boxes.items():
            ends = TrackBox(0, frames[first].boxes[track]), TrackBox(last - first, frames[last].boxes[track])
            yield least_iou[track] - box_iou(box, between(*ends, index - first, times).box), -index
