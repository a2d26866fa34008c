"""Joins the boxes of neighbouring frames that show the same object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Track = TypeVar("Track")

# From this IoU on, boxes of one class in neighbouring frames show one object. At 10 frames a second objects move, so
# the value is low.
SAME_TRACK = 0.3


class Tracker(Generic[Track]):
    """Follows objects from frame to frame; the pair with the greatest IoU is joined first.

    `likeness` returns the IoU of a track and a box that may show the same object, else 0. `join` adds the box to the
    track. Each new box starts as its own track.
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
        """Return the remaining tracks; the next frame starts without any."""
        return self.follow([])
