"""Checks frames that a model failed: one that is not a whole picture is not the model's failure."""

from __future__ import annotations

from autolabel.contracts.errors import ImageRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.labels.image_header import read_header
from autolabel.labels.image_parts import Read
from autolabel.labels.image_pixels import check_pixels

# After this many whole pictures in a row, it is the model that fails.
MAX_WHOLE = 50
# The most bytes read and pixels decoded before the last check; some 100 million take a second.
MAX_WORK = 10_000_000_000


class FrameCheck:
    """Reads and decodes failed frames, one after the other, within bounds: beyond them, a frame counts as whole.

    After MAX_WHOLE whole pictures in a row, or MAX_WORK bytes and pixels, it reads no more. The same frames in the
    same order have the same results.
    """

    def __init__(self) -> None:
        self._whole = 0
        self._work = 0

    def refusal(self, read: Read, key: str) -> ImageRefused | None:
        """Return why a frame must be rejected; None if it is a whole picture, or is not checked any more.

        `read(start, count)` reads the frame.
        """
        if self._whole >= MAX_WHOLE or self._work >= MAX_WORK:
            return None
        try:
            body = read(0, MAX_FRAME_BYTES)
            self._work += len(body)
            read_header(lambda start, count: body[start : start + count], key)
            self._work += check_pixels(body, key)
        except ImageRefused as e:
            self._whole = 0
            return e
        self._whole += 1
        return None
