"""Mutated answers of a segmenter become masks of the frame's size, or are refused."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.rle import read_bitmap
from autolabel.models.segmenters import decode_masks
from tests.fuzz.mutations import fuzz_slow, outside
from tests.fuzz.refusals import assert_refusal

WIDTH, HEIGHT = 9, 6


def answer(count: int) -> bytes:
    bitmap = np.asfortranarray(np.tri(HEIGHT, WIDTH, dtype=np.uint8))
    rle = {"size": [HEIGHT, WIDTH], "counts": coco.encode(bitmap)["counts"].decode()}
    return json.dumps({"version": 1, "masks": [{"rle": rle, "score": 0.5, "draft": True}] * count}).encode()


@fuzz_slow
@given(outside([answer(0), answer(1), answer(2)]), st.integers(0, 2))
def test_answers_of_a_segmenter_are_masks_of_the_frame_or_refused(body: bytes, prompts: int) -> None:
    try:
        masks = decode_masks([body], prompts, WIDTH, HEIGHT)
    except AnswerRefused as e:
        assert_refusal(e, "answer-unreadable", "answer-too-large", "answer-not-finite")
        return
    assert len(masks) == prompts
    for mask in masks:
        assert 0 <= mask.score <= 1
        expected = coco.decode({"size": [HEIGHT, WIDTH], "counts": mask.rle.counts})
        assert (read_bitmap(mask.rle.counts, WIDTH, HEIGHT) == expected).all()
