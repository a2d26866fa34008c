"""Requests to segmenters are plain forms, and their answers are read strictly."""

from __future__ import annotations

import json
import tracemalloc
from email import message_from_bytes
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels.rle import MAX_MASK_PIXELS, MAX_RLE_BYTES
from autolabel.models.segmenters import (
    MAX_ANSWER_BYTES,
    MAX_PROMPTS,
    Prompt,
    decode_masks,
    segmenter_request,
)
from models.servers.container import Request
from models.servers.prompts import read_prompted
from tests.fakes.images import png

WIDTH, HEIGHT = 40, 30
BOXES = [(1.5, 2.0, 30.25, 20.0), (0.0, 0.0, 40.0, 30.0)]


def mask(**changes: Any) -> dict[str, Any]:
    counts = coco.encode(np.asfortranarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)))["counts"].decode()
    return {"rle": {"size": [HEIGHT, WIDTH], "counts": counts}, "score": 0.5, "draft": True} | changes


def answer(*masks: Any, **changes: Any) -> bytes:
    return json.dumps({"version": 1, "masks": list(masks)} | changes).encode()


# Line ends, boundaries and bytes that are not text must all come through.
@given(st.binary(max_size=200) | st.sampled_from([b"\r\n", b"\n--", b"a\r", b"--\r\n\r\n", bytes(range(256)) * 3]))
def test_a_request_is_a_form_with_the_frames_bytes_and_its_boxes(image: bytes) -> None:
    request = segmenter_request(image, "image/jpeg", BOXES, WIDTH, HEIGHT)
    form = message_from_bytes(f"Content-Type: {request.content_type}\r\n\r\n".encode() + request.body)
    parts: Any = form.get_payload()
    names = [part.get_param("name", header="content-disposition") for part in parts]
    assert (names, [part.get_content_type() for part in parts]) == (
        ["image", "prompt"],
        ["image/jpeg", "application/json"],
    )
    assert parts[0].get_payload(decode=True) == image
    assert msgspec.json.decode(parts[1].get_payload(decode=True), type=Prompt) == Prompt(boxes=tuple(BOXES))
    assert segmenter_request(image, "image/jpeg", BOXES, WIDTH, HEIGHT) == request


def test_a_container_reads_the_frame_and_the_boxes_of_a_request() -> None:
    request = segmenter_request(png(WIDTH, HEIGHT), "image/png", BOXES, WIDTH, HEIGHT)
    image, boxes = read_prompted(Request(request.body, request.content_type, "", ""))
    assert (image.shape, boxes) == ((HEIGHT, WIDTH, 3), BOXES)


@pytest.mark.parametrize(
    ("boxes", "size", "why"),
    [
        ([(0.0, 0.0, 41.0, 5.0)], (WIDTH, HEIGHT), "not inside the frame of 40 x 30"),
        ([(5.0, 0.0, 5.0, 5.0)], (WIDTH, HEIGHT), "not inside"),
        ([(0.0, 0.0, float("nan"), 5.0)], (WIDTH, HEIGHT), "not inside"),
        ([(0.0, 0.0, 1.0, 1.0)] * (MAX_PROMPTS + 1), (WIDTH, HEIGHT), "several requests"),
        ([], (MAX_MASK_PIXELS, 2), "more than 16,000,000"),
    ],
)
def test_a_request_that_no_container_can_answer_is_not_made(boxes: Any, size: tuple[int, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        segmenter_request(b"", "image/png", boxes, *size)


@given(st.integers(1, 50))
def test_an_answer_is_read_in_pieces_with_its_marks(size: int) -> None:
    body = answer(mask(), mask(score=1, draft=False, later="a new field"))
    found = decode_masks((body[at : at + size] for at in range(0, len(body), size)), 2, WIDTH, HEIGHT)
    assert [(one.score, one.draft, one.rle.size) for one in found] == [
        (0.5, True, (HEIGHT, WIDTH)),
        (1.0, False, (HEIGHT, WIDTH)),
    ]


@pytest.mark.parametrize(
    ("body", "reason", "why"),
    [
        (b"", "answer-unreadable", "not one of a segmenter"),
        (b"\xff\xfe", "answer-unreadable", "not one of a segmenter"),
        (b"[" * 100_000, "answer-unreadable", "not one of a segmenter"),
        (b'{"version": 1, "x": ' + b"[" * 100_000, "answer-unreadable", "not one of a segmenter"),
        (answer(mask(), version=2), "answer-unreadable", "version 2, not 1"),
        (answer(), "answer-unreadable", "0 masks for 1 boxes"),
        (answer(mask(), mask()), "answer-unreadable", "2 masks for 1 boxes"),
        (answer(mask(score=1.001)), "answer-unreadable", r"masks\[0\]: the score 1.001"),
        (answer(mask(score="0.5")), "answer-unreadable", r"masks\[0\]\.score"),
        (answer(mask()).replace(b"0.5", b"1e999"), "answer-unreadable", "out of range"),
        (answer(mask()).replace(b"0.5", b"NaN"), "answer-unreadable", "not one of a segmenter"),
        (answer(mask()).replace(b"true", b"null"), "answer-unreadable", r"masks\[0\]\.draft"),
        (answer(mask()).replace(b', "draft": true', b""), "answer-unreadable", "missing required field `draft`"),
        (answer(mask(rle={"size": [WIDTH, HEIGHT], "counts": "1"})), "answer-unreadable", r"\[30, 40\]"),
        (answer(mask(rle={"size": [10**20, 1], "counts": "1"})), "answer-unreadable", "out of range|size"),
        (answer(mask(rle={"size": [HEIGHT, WIDTH], "counts": "1"})), "answer-unreadable", "cover 1 pixels"),
        (answer(mask(rle={"size": [HEIGHT, WIDTH], "counts": [1200]})), "answer-unreadable", "counts"),
        (answer(mask(rle={"size": [HEIGHT, WIDTH], "counts": "1" * 200_001})), "answer-too-large", "characters"),
    ],
)
def test_an_answer_outside_the_contract_is_refused_with_its_place(body: bytes, reason: str, why: str) -> None:
    with pytest.raises(AnswerRefused, match=why) as refused:
        decode_masks([body], 1, WIDTH, HEIGHT)
    assert refused.value.reason == reason


def test_an_endless_answer_takes_no_more_memory_than_the_limit() -> None:
    def endless() -> Any:
        while True:
            yield b" " * 1_000_000

    tracemalloc.start()
    with pytest.raises(AnswerRefused, match="more than 16,000,000 bytes"):
        decode_masks(endless(), 1, WIDTH, HEIGHT)
    # As many runs as a text may have: a chessboard of objects.
    board = np.indices((440, 440)).sum(axis=0).astype(np.uint8) % 2
    counts = coco.encode(np.asfortranarray(board))["counts"].decode()
    worst = answer(*[mask(rle={"size": [440, 440], "counts": counts})] * 80)
    assert len(decode_masks([worst], 80, 440, 440)) == 80
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.9 * MAX_ANSWER_BYTES < len(worst) < MAX_ANSWER_BYTES
    assert len(counts) > 0.9 * MAX_RLE_BYTES
    assert peak < 6 * MAX_ANSWER_BYTES
