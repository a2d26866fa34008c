"""RLE of masks from outside is read exactly as pycocotools reads it, and nothing else is read."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from autolabel.labels.rle import MAX_RLE_BYTES, RleRefused, read_bitmap, read_runs

# All characters that can be in an RLE, and some that cannot.
TEXTS = st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=12)
# Sides beyond a byte make runs whose numbers take several characters.
BITMAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))


def encoded(bitmap: np.ndarray) -> str:
    counts: bytes = coco.encode(np.asfortranarray(bitmap))["counts"]
    return counts.decode()


@given(BITMAPS, st.sampled_from([1, 37]))
@example(np.zeros((3, 5), np.uint8), 1)
@example(np.ones((3, 5), np.uint8), 37)
def test_every_mask_of_pycocotools_is_read_back(bitmap: np.ndarray, zoom: int) -> None:
    bitmap = np.kron(bitmap, np.ones((zoom, zoom), np.uint8))
    height, width = bitmap.shape
    assert (read_bitmap(encoded(bitmap), width, height) == bitmap).all()


@given(TEXTS, st.integers(1, 6), st.integers(1, 6))
def test_any_text_is_read_as_pycocotools_reads_it_or_refused(counts: str, width: int, height: int) -> None:
    try:
        bitmap = read_bitmap(counts, width, height)
    except RleRefused:
        return
    assert (coco.decode({"size": [height, width], "counts": counts}) == bitmap).all()
    # Of all texts of a mask, the one that an encoder writes is the shortest.
    assert len(encoded(bitmap.astype(np.uint8))) <= len(counts)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ("", "0 characters"),
        ("1" * (MAX_RLE_BYTES + 1), "characters, not 1 to"),
        ("é5", "characters that no RLE has"),
        (" 5", "characters that no RLE has"),
        ("o", "ends? in the middle of a number"),
        ("ooooooo1", "too large"),
        ("O6", "without a length"),
        ("300", "without a length"),
        ("4", "cover 4 pixels, and the frame has 3 x 2"),
        ("7", "cover 7 pixels"),
        # 2^24 pixels beside a negative run of as many: a sum alone would not tell.
        ("PPPP16PPPPo6", "."),
    ],
)
def test_a_text_that_is_no_mask_of_the_frame_says_why(counts: str, why: str) -> None:
    with pytest.raises(RleRefused, match=why):
        read_runs(counts, 3, 2)


def test_the_largest_text_is_read_in_its_own_order_of_memory() -> None:
    # A chessboard has a run for each pixel.
    side = 400
    board = np.indices((side, side)).sum(axis=0).astype(np.uint8) % 2
    assert read_runs(encoded(board), side, side).size >= side * (side - 1)
    hostile = (string.digits[1] * MAX_RLE_BYTES)[:MAX_RLE_BYTES]
    with pytest.raises(RleRefused):
        read_runs(hostile, 4000, 4000)
