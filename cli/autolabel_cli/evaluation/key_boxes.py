"""The fewest key boxes from which straight lines give all boxes of labelled tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autolabel_cli.evaluation.tracks import ScoredFrame, TruthObject

# The boxes that one line can give, at most: checking a line for each end needs memory by the square.
_LONGEST = 500


def fewest_key_boxes(frames: Sequence[ScoredFrame], least_iou: float) -> int:
    """Count the fewest boxes to draw of a sequence, so that lines between them give each box that counts.

    A line has to reach this IoU with each of these boxes. No line leads over frames in which the object has no label.
    """
    tracks = dict[int, list[tuple[int, TruthObject]]]()
    for index, frame in enumerate(frames):
        for each in frame.objects:
            tracks.setdefault(each.track, []).append((index, each))
    return sum(_fewest_of(row, least_iou) for track in tracks.values() for row in _rows(track))


def _rows(track: Sequence[tuple[int, TruthObject]]) -> list[list[tuple[int, TruthObject]]]:
    """Cut a track where frames have no label."""
    rows = list[list[tuple[int, TruthObject]]]()
    for each in track:
        if not rows or each[0] != rows[-1][-1][0] + 1:
            rows.append([])
        rows[-1].append(each)
    return rows


def _fewest_of(row: Sequence[tuple[int, TruthObject]], least_iou: float) -> int:
    """Find the shortest way from the first box that counts to the last one, over boxes that lines can join."""
    counting = [at for at, (_, each) in enumerate(row) if each.counts]
    if not counting:
        return 0
    row = row[counting[0] : counting[-1] + 1]
    boxes = np.array([each.box for _, each in row])
    wanted = np.array([each.counts for _, each in row])
    reached = {0}
    frontier, drawn = [0], 1
    while len(row) - 1 not in reached:
        new = {int(b) for a in frontier for b in _joined(boxes, wanted, a, least_iou)} - reached
        reached |= new
        frontier, drawn = sorted(new), drawn + 1
    return drawn


def _joined(
    boxes: npt.NDArray[np.float64], wanted: npt.NDArray[np.bool_], start: int, least_iou: float
) -> npt.NDArray[np.intp]:
    """Return the boxes [n, 4] to which a line from one is good: one for each end, checked at all boxes between."""
    boxes, wanted = boxes[start : start + _LONGEST], wanted[start + 1 : start + _LONGEST]
    spans = np.arange(1, len(boxes))
    # shares [end, between], of the way from the start to the end
    shares = np.minimum(spans[None, :] / spans[:, None], 1.0)
    ends = boxes[1:]
    lines = boxes[0] + (ends - boxes[0])[:, None, :] * shares[:, :, None]
    inner = np.maximum(
        np.minimum(lines[..., 2:], ends[None, :, 2:]) - np.maximum(lines[..., :2], ends[None, :, :2]), 0.0
    ).prod(axis=-1)
    areas = (lines[..., 2:] - lines[..., :2]).prod(axis=-1) + (ends[:, 2:] - ends[:, :2]).prod(axis=-1)[None, :]
    good = (inner / (areas - inner) >= least_iou) | ~wanted[None, :] | (spans[None, :] >= spans[:, None])
    return start + 1 + np.flatnonzero(good.all(axis=1))
