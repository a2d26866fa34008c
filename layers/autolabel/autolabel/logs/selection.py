"""Chooses which frames of a log's cameras are kept: the first one of each time, and those that a selection wants.

A selection begins anew with each slice, and slices have a fixed size then. So it depends on the log alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import LINKED_RATE, MAX_TIMESTAMP, FrameSelection, LogDocument

SAME_TIMESTAMP = "same-timestamp"
NOT_SELECTED = "not-selected"
# The size of the thumbnails that are compared.
THUMBNAIL = (32, 18)

_SECOND = 1_000_000_000
# Many cameras are triggered at whole multiples of their period. The borders of cells are elsewhere, so that some
# microseconds more or less do not move a frame over one.
_CELL_OFFSET = 12_500_000
# Where boxes are linked, a frame that shows a change is kept with all frames of this time behind it. The linker goes by
# the median pause between frames, which is then the camera's own.
_STRETCH = 1 * _SECOND
# Seconds, if a selection by change tells none.
_LONGEST_GAP = 5.0

# Makes the grey thumbnail of a picture: a byte for each pixel, row by row; None if the picture cannot be read.
Thumbnail = Callable[[], bytes | None]


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """The selection of each camera's frames; a camera without one keeps every frame. `tracks`: boxes are linked."""

    cameras: dict[str, FrameSelection] = {}
    tracks: bool = True


EVERY_FRAME = Selection()


def choose_selection(document: LogDocument, default: FrameSelection | None, cameras: Iterable[str]) -> Selection:
    """Choose the selection of a log's cameras: the document's, or else the default."""
    chosen = {camera: document.selection_of(camera, default) for camera in cameras}
    return Selection({camera: of for camera, of in chosen.items() if of}, document.tracks)


def check_timestamp(timestamp: int) -> None:
    """LogRefused if it cannot be the time of a message."""
    if not 0 < timestamp < MAX_TIMESTAMP:
        raise LogRefused("timestamp-wrong", f"its time is {timestamp}")


class Timestamps:
    """The timestamps of each camera and LiDAR: eight bytes for each, if they come roughly in order."""

    def __init__(self) -> None:
        self._taken: dict[str, array[int]] = {}

    def add(self, camera: str, timestamp: int) -> bool:
        """Add a timestamp; False if the camera has it already."""
        taken = self._taken.setdefault(camera, array("Q"))
        if not taken or timestamp > taken[-1]:
            taken.append(timestamp)
            return True
        at = bisect_left(taken, timestamp)
        if taken[at] == timestamp:
            return False
        taken.insert(at, timestamp)
        return True

    def check(self, camera: str, timestamp: int) -> None:
        """Add a timestamp; LogRefused if it cannot be one, or the camera has it already."""
        check_timestamp(timestamp)
        if not self.add(camera, timestamp):
            raise LogRefused(SAME_TIMESTAMP, f"an earlier message of {camera!r} has time {timestamp}")

    def pause(self, camera: str) -> int:
        """Return the median pause between a camera's frames, in ns; 0 without two frames."""
        pauses = sorted(later - earlier for earlier, later in pairwise(self._taken.get(camera, ())))
        return pauses[(len(pauses) - 1) // 2] if pauses else 0


class Selector:
    """Decides on the frames of one slice, in the order of the log."""

    def __init__(self, selection: Selection, taken: Timestamps) -> None:
        """Make a selector. `taken`: the times of the frames of this slice, and of other slices if they share it."""
        self._cameras = {camera: _rule(of, tracks=selection.tracks) for camera, of in selection.cameras.items()}
        self._taken = taken
        # Frames of other slices must not change what is selected in this one.
        self._own = Timestamps()

    def check(self, camera: str, timestamp: int, thumbnail: Thumbnail) -> None:
        """LogRefused if the selection does not want a frame. It must be taken before the camera's next one is checked.

        A frame that turns out to be none is not taken, and changes nothing.
        """
        rule = self._cameras.get(camera)
        if rule and not rule.wants(timestamp, thumbnail):
            raise LogRefused(NOT_SELECTED, f"the selection of camera {camera!r} leaves it out")

    def take(self, camera: str, timestamp: int) -> None:
        """Take a frame that was checked. LogRefused if its time is wrong, or the camera has it already."""
        if rule := self._cameras.get(camera):
            self._own.check(camera, timestamp)
            rule.take(timestamp)
        self._taken.check(camera, timestamp)


class _ByRate:
    """Keeps the first frame of each cell of a grid in time, which all cameras share."""

    def __init__(self, rate: float) -> None:
        # By its text: 0.1 is a tenth.
        self._rate = Fraction(str(rate)) / _SECOND
        # All of the slice: frames need not come in the order of their times.
        self._cells = set[int]()

    def wants(self, timestamp: int, _: Thumbnail) -> bool:
        return self._cell_of(timestamp) not in self._cells

    def take(self, timestamp: int) -> None:
        self._cells.add(self._cell_of(timestamp))

    def _cell_of(self, timestamp: int) -> int:
        return (timestamp + _CELL_OFFSET) * self._rate.numerator // self._rate.denominator


class _ByChange:
    """Keeps a frame that differs from the last one that was kept so, and the frames of a stretch behind it."""

    def __init__(self, of: FrameSelection, stretch: int) -> None:
        self._least = of.visual_change * THUMBNAIL[0] * THUMBNAIL[1]
        self._gap = round((of.longest_gap or _LONGEST_GAP) * _SECOND)
        self._stretch = stretch
        self._since: int | None = None
        self._shown: bytes | None = None
        self._next: bytes | None = None
        self._begins = False

    def wants(self, timestamp: int, thumbnail: Thumbnail) -> bool:
        passed = None if self._since is None else timestamp - self._since
        self._begins = passed is None or not 0 <= passed < self._stretch
        if not self._begins:
            return True
        self._next = thumbnail()
        # A clock that was set back must not stop the selection.
        return passed is None or abs(passed) >= self._gap or self._changed(self._next)

    def take(self, timestamp: int) -> None:
        if self._begins:
            self._since, self._shown = timestamp, self._next

    def _changed(self, shown: bytes | None) -> bool:
        if shown is None or self._shown is None:
            return True
        return sum(abs(a - b) for a, b in zip(shown, self._shown, strict=True)) >= self._least


def _rule(of: FrameSelection, *, tracks: bool) -> _ByRate | _ByChange:
    return _ByRate(of.rate) if of.rate else _ByChange(of, _STRETCH if tracks else 0)


def unlinked_note(selection: Selection, taken: Timestamps) -> str:
    """Name the cameras whose frames are too far apart for tracks after a selection; empty if there is none."""
    if not selection.tracks:
        return ""
    pauses = {camera: taken.pause(camera) // 1_000_000 for camera in sorted(selection.cameras)}
    slow = [f"{camera} ({pause:,} ms)" for camera, pause in pauses.items() if pause > 1000 / LINKED_RATE]
    if not slow:
        return ""
    return f"selected frames are more than {1000 / LINKED_RATE:.0f} ms apart, too far for tracks: {', '.join(slow)}"
