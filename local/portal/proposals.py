"""Propose boxes that a worker drew in neighbouring frames of a camera, along the way of their objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from local.sagemaker.ground_truth.annotators import Box
from local.sagemaker.ground_truth.consolidation import iou
from local.sagemaker.ground_truth.desk import Desk

# Frames in either direction: further away, an object is rarely where it was.
_REACH = 5
# An IoU from which two boxes of a frame show one object.
_SAME = 0.3
# An IoU from which two boxes of neighbouring frames show one object, which moves.
_NEAR = 0.1


def proposed_boxes(desk: Desk, number: int) -> list[Box]:
    """Return boxes that a task lacks: those drawn in the nearest sent frames before and after it.

    A box that is drawn on both sides is proposed between its places, another one where it was drawn. A task that is
    to be labelled from nothing gets none.
    """
    if desk.starts_empty(number):
        return []
    (before, drawn_before), (after, drawn_after) = (_drawn(desk, number, side) for side in (0, 1))
    proposed: list[Box] = []
    for box in join_places(drawn_before, drawn_after, before / (before + after) if before + after else 0.0):
        if not any(iou(box, other) >= _SAME for other in (*desk.boxes(number), *proposed)):
            proposed.append(box)
    return proposed


def join_places(before: Sequence[Box], after: Sequence[Box], share: float) -> Iterator[Box]:
    """Yield each object of two frames once: at `share` of its way if both have it, else where the one has it.

    Pairs are of one class, the largest IoU first.
    """
    pairs = sorted(
        ((iou(a, b), i, j) for i, a in enumerate(before) for j, b in enumerate(after) if a.label == b.label),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    partners: dict[int, int] = {}
    for value, i, j in pairs:
        if value >= _NEAR and i not in partners and j not in partners.values():
            partners[i] = j
    for i, a in enumerate(before):
        b = after[partners[i]] if i in partners else a
        places = zip((a.left, a.top, a.width, a.height), (b.left, b.top, b.width, b.height), strict=True)
        yield Box(a.label, *(round(x + (y - x) * share) for x, y in places))
    yield from (b for j, b in enumerate(after) if j not in partners.values())


def _drawn(desk: Desk, number: int, side: int) -> tuple[int, list[Box]]:
    """Return how far the nearest sent frame on a side is, and its boxes that its page did not show; 0 without one."""
    for distance in range(1, _REACH + 1):
        neighbour = desk.tasks.neighbours(number)[side]
        if neighbour is None:
            break
        number = neighbour
        if desk.tasks.result(number):
            shown = desk.shown_boxes(number)
            return distance, [box for box in desk.boxes(number) if all(iou(box, other) < _SAME for other in shown)]
    return 0, []
