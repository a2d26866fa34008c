"""Answers of models become boxes inside the frame, or are refused."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling.decoding import MAX_LABEL, decode_answer
from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.prelabel import label_frame
from autolabel.labelling.shards import MAX_KINDS, OTHER_KINDS, Tally
from autolabel.labels.detections import Detection
from autolabel.labels.manifest import LabelledBy, LineTooLong, Provenance, encode_line, prelabelled_line
from autolabel.models.decoders.base import MAX_OBJECTS
from tests.fakes.answers import CAR, DETECTOR, answer
from tests.fakes.lines import boxes_of
from tests.fuzz.mutations import fuzz, outside
from tests.fuzz.refusals import assert_refusal

LABELS = ("car", "bicycle", "person")
SAMPLES = [
    answer(),
    answer([]),
    answer([CAR, (0.0, 0.0, 1.0, 1.0), (-0.5, 0.2, 0.4, 1.5)], [0.0, 1, 2], [1.0, 0.31, 0.05]),
    answer(masks=[[[0, 1], [1, 0]]], more={"deep": [{"a": '\\"]}'}]}),
]
BALLAST = b'{"masks":"' + b"x" * 1_100_000 + b'",'


def pieces(body: bytes, size: int) -> Iterable[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


@fuzz
@given(outside(SAMPLES), st.sampled_from([1, 7, 1_000, 10_000_000]), st.booleans())
def test_an_answer_has_boxes_inside_the_frame_or_is_refused(body: bytes, size: int, large: bool) -> None:
    if large:
        # An answer of more than a megabyte is read in pieces, not parsed whole.
        body = BALLAST + body[1:]
        size *= 1_000
    try:
        found, dropped, _ = decode_answer(pieces(body, size), DETECTOR, 640, 480)
    except AnswerRefused as e:
        assert_refusal(e, "answer-unreadable", "answer-truncated", "answer-too-large", "answer-not-finite")
        return
    assert len(found) + dropped.total() <= MAX_OBJECTS
    assert all(len(why) < 20 + 10 * MAX_LABEL for why in dropped)
    for detection in found:
        x1, y1, x2, y2 = detection.box
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
        assert 0 <= detection.score <= 1
        assert detection.name in LABELS
    assert_writable(found)


def assert_writable(found: list[Detection]) -> None:
    """Check that the detections make a line of whole pixels inside the frame, if they fit into a line."""
    chosen = label_frame([ModelDetections(DETECTOR, found)], "front", 640, 480, labels=frozenset(LABELS), ego_mask=None)
    try:
        known = prelabelled_line(
            source="s3://b/k",
            detections=chosen.prelabel,
            depth=3,
            labels=LABELS,
            job="j",
            created="c",
            provenance=Provenance(labelled_by=LabelledBy.MODEL),
        )
        line = encode_line(known)
    except LineTooLong:
        return
    for box in boxes_of(line, "prelabel"):
        assert math.isfinite(box.confidence)
        assert 0 <= box.left < box.left + box.width <= 640
        assert 0 <= box.top < box.top + box.height <= 480


@pytest.mark.parametrize("count", [MAX_OBJECTS, MAX_OBJECTS + 1])
def test_an_answer_with_too_many_boxes_is_refused(count: int) -> None:
    body = answer([CAR] * count)
    if count <= MAX_OBJECTS:
        assert len(decode_answer([body], DETECTOR, 640, 480)[0]) == count
        return
    with pytest.raises(AnswerRefused) as refused:
        decode_answer([body], DETECTOR, 640, 480)
    assert refused.value.reason == "answer-too-large"


def test_unknown_class_names_take_limited_space_in_the_tally() -> None:
    tally = Tally()
    for frame in range(5):
        names = [f"{frame}-{i}-" + "x" * 300 for i in range(1_000)]
        body = answer([CAR] * 1_000, list(range(1_000)), labels=names)
        tally.count_labels({}, decode_answer([body], DETECTOR, 640, 480)[1])
    assert sum(tally.dropped.values()) == 5_000
    assert tally.dropped[OTHER_KINDS] == 5_000 - MAX_KINDS
    assert len(msgspec.json.encode(tally)) < 200_000
