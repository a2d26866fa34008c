"""Reads COCO run-length encodings (RLE) of masks from outside, and refuses texts that no encoder writes.

pycocotools, which reads the masks that this project encoded itself, takes what it is given: too few runs leave pixels
of its memory in the mask. Here nothing is read before all lengths are known to add up.

Source: `rleFrString` and `rleToString` of pycocotools. A mask's pixels go down the columns, from the left; the lengths
of its runs begin with one of background. Of the fourth and later runs, the difference to the one two places before is
written. Each character has five bits, the lowest first: 48 is added, and 32 if more bits follow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# 16 megapixels take 16 MB, and one mask is decoded at a time for each of several frames. A frame may be larger.
MAX_MASK_PIXELS = 16_000_000
# More than any real object needs on the largest frame that masks are read for. A run has one character or more.
MAX_RLE_BYTES = 200_000
# Runs of the largest frame, and their differences, take six characters.
_MOST_CHARACTERS = 6
_FIRST, _MORE, _SIGN = 48, 32, 16


class RleRefused(ValueError):
    """The text is not the RLE of a mask of this size; the message says why."""


def read_runs(counts: str, width: int, height: int) -> NDArray[np.int64]:
    """Return the lengths of a mask's runs [n] in pixels, background first, from the counts of its RLE.

    Raises RleRefused unless the runs cover exactly `width` x `height` pixels, and each after the first has a length.
    """
    if not 0 < len(counts) <= MAX_RLE_BYTES:
        raise RleRefused(f"its counts have {len(counts):,} characters, not 1 to {MAX_RLE_BYTES:,}")
    if not counts.isascii():
        raise RleRefused("its counts have characters that no RLE has")
    characters = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - _FIRST
    if characters.min() < 0 or characters.max() >= 2 * _MORE:
        raise RleRefused("its counts have characters that no RLE has")
    ends = np.flatnonzero(characters < _MORE)
    if not ends.size or ends[-1] != characters.size - 1:
        raise RleRefused("its counts end in the middle of a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _MOST_CHARACTERS:
        raise RleRefused("its counts have a number that is too large")
    places = np.arange(characters.size) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((characters % _MORE) << (5 * places), starts)
    numbers -= np.where(characters[ends] & _SIGN, 1 << (5 * (ends - starts + 1)), 0)
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    if runs[0] < 0 or (runs[1:] <= 0).any():
        raise RleRefused("it has a run without a length")
    # At most 200,000 runs of less than 2^48 pixels: the sum is exact.
    if (covered := int(runs.sum())) != width * height:
        raise RleRefused(f"its runs cover {covered:,} pixels, and the frame has {width} x {height}")
    return runs


def read_bitmap(counts: str, width: int, height: int) -> NDArray[np.bool_]:
    """Return a mask's pixels [height, width] from the counts of its RLE. Raises RleRefused as read_runs does."""
    runs = read_runs(counts, width, height)
    inside = np.arange(runs.size) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T
