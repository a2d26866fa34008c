"""Joins the boxes of neighbouring frames that show the same object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Track = TypeVar("Track")

# Boxes of one class in neighbouring frames with this IoU are of one object: at 10 frames a second objects move.
SAME_TRACK = 0.3


class Tracker(Generic[Track]):
    """Follows objects from frame to frame; the greatest IoU is joined first.

    `likeness` gives the IoU of a track and a box that may be of the same object, else 0. `join` adds the box to the
    track. A box is a track of its own at first.
    """

    def __init__(self, likeness: Callable[[Track, Track], float], join: Callable[[Track, Track], Track]) -> None:
        self._likeness = likeness
        self._join = join
        self._tracks: list[Track] = []

    def follow(self, found: Sequence[Track]) -> list[Track]:
        """Join the boxes of the next frame to the tracks so far, and return the tracks that end before it."""
        links = sorted(
            (-iou, then, now)
            for then, track in enumerate(self._tracks)
            for now, box in enumerate(found)
            if (iou := self._likeness(track, box)) >= SAME_TRACK
        )
        ended, tracks = dict(enumerate(self._tracks)), list(found)
        new = set(range(len(found)))
        for _, then, now in links:
            if then in ended and now in new:
                new.remove(now)
                tracks[now] = self._join(ended.pop(then), found[now])
        self._tracks = tracks
        return list(ended.values())

    def end(self) -> list[Track]:
        """Return the tracks that are left; the next frame begins anew."""
        return self.follow([])
