"""Decoders: what each family of models answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.decoders import DecoderOptions, RawDetection, find_decoder
from autolabel.errors import AnswerRefused
from tests.fakes.answers import LABELS, answer

DECODER = find_decoder("jumpstart-detection")


def decode(body: bytes, width: int = 200, height: int = 100) -> list[RawDetection]:
    return DECODER.decode(body, width, height, DecoderOptions())


def test_an_answer_without_objects_is_empty() -> None:
    assert decode(answer(boxes=[])) == []
    assert decode(answer(boxes=[], labels=[])) == []


def test_normalised_boxes_become_pixels_of_the_frame() -> None:
    found = decode(answer([(0.25, 0.5, 0.75, 1.0)], classes=[0.0], scores=[0.5]))
    assert found == [RawDetection("person", 0.5, (50.0, 50.0, 150.0, 100.0))]


def test_classes_may_be_whole_numbers_or_floats() -> None:
    body = msgspec.json.encode(
        {"normalized_boxes": [[0, 0, 1, 1]] * 2, "classes": [1, 2.0], "scores": [1, 0], "labels": LABELS}
    )
    assert [one.label for one in decode(body)] == ["bicycle", "car"]


def test_padding_is_left_out() -> None:
    found = decode(answer([(0, 0, 1, 1)] * 3, classes=[-1.0, 2.0, -1.0], scores=[-1.0, 0.5, 7.0]))
    assert [one.label for one in found] == ["car"]


def test_a_box_outside_the_frame_or_inverted_is_handed_on_as_it_is() -> None:
    found = decode(answer([(-0.5, 0.9, 1.5, 0.1)]))
    assert found[0].box == (-100.0, 90.0, 300.0, 10.0)


def test_what_else_is_in_an_answer_is_passed_over() -> None:
    assert len(decode(answer(tensorflow_model_output={"x": [1]}, masks="…"))) == 1


GOOD: dict[str, Any] = msgspec.json.decode(answer())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>502 Bad Gateway</html>",
        b"\xff\xd8\xff",
        b'{"normalized_boxes":[[NaN,0,1,1]],"classes":[0],"scores":[0.5],"labels":["a"]}',
        b'{"normalized_boxes":[[1e999,0,1,1]],"classes":[0],"scores":[0.5],"labels":["a"]}',
        b'{"normalized_boxes":[[0,0,1,1]],"classes":[0],"scores":[NaN],"labels":["a"]}',
        b'{"normalized_boxes":' + b"[" * 100_000,
        b'{"normalized_boxes":[],"classes":[],"scores":[],"labels":["\xff"]}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerRefused) as refused:
        decode(body)
    assert refused.value.reason == "answer-unreadable"


@pytest.mark.parametrize(
    "change",
    [
        {"scores": []},
        {"scores": [0.5, 0.5]},
        {"classes": []},
        {"classes": [4.0]},
        {"classes": [1.5]},
        {"classes": [1e300]},
        {"scores": [1.001]},
        {"scores": [-0.001]},
        {"scores": [None]},
        {"scores": ["0.5"]},
        {"labels": []},
        {"labels": None},
        {"normalized_boxes": [[0, 0, 1]]},
        {"normalized_boxes": [[0, 0, 1, 1, 1]]},
        {"normalized_boxes": [None]},
    ],
    ids=str,
)
def test_an_answer_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AnswerRefused) as refused:
        decode(msgspec.json.encode({**GOOD, **change}))
    assert refused.value.reason == "answer-unreadable"


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5) | st.none()


@given(
    st.binary(max_size=100)
    | st.fixed_dictionaries(
        {
            "normalized_boxes": st.lists(st.lists(NUMBERS, min_size=3, max_size=5) | NUMBERS, max_size=3),
            "classes": st.lists(NUMBERS, max_size=3),
            "scores": st.lists(NUMBERS, max_size=3),
            "labels": st.lists(st.text(max_size=5), max_size=3),
        }
    ).map(msgspec.json.encode),
    st.integers(1, 5_000),
)
def test_an_answer_is_read_or_refused_and_nothing_else(body: bytes, size: int) -> None:
    try:
        found = decode(body, size, size)
    except AnswerRefused:
        return
    assert all(0.0 <= one.score <= 1.0 for one in found)
