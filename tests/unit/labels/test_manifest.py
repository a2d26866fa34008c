"""Tests of manifest lines: Ground Truth's shape and limits."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.detections import Box, Detection, Detections
from autolabel.labels.manifest import (
    MAX_ATTRIBUTE,
    MAX_LINE,
    LabelledBy,
    LineTooLong,
    ManifestLine,
    Provenance,
    encode_line,
    prelabelled_line,
    raw,
)
from tests.fakes.lines import boxes_of

LABELS = ("car", "truck", "person")
SOURCE = "s3://ingest/drives/d1/front/0.png"


def detection(name: str = "car", box: Box = (1.4, 2.6, 10.2, 20.0), confidence: float = 0.87654) -> Detection:
    return Detection(name, box, confidence, confidence, name, ("m.0001",))


def line(*items: Detection, width: int = 100, height: int = 50) -> dict[str, Any]:
    known = prelabelled_line(
        source=SOURCE,
        detections=Detections(width, height, items),
        depth=3,
        labels=LABELS,
        job="d1-0001",
        created="2026-01-01T00:00:00.000",
        provenance=Provenance(labelled_by=LabelledBy.NOBODY),
    )
    body = encode_line(known)
    assert body.endswith(b"\n")
    assert body.count(b"\n") == 1
    decoded: dict[str, Any] = json.loads(body)
    return decoded


def test_a_frame_without_boxes_has_empty_annotations_and_its_size() -> None:
    assert line() == {
        "source-ref": SOURCE,
        "review-ref": SOURCE,
        "prelabel": {"image_size": [{"width": 100, "height": 50, "depth": 3}], "annotations": []},
        "prelabel-metadata": {
            "objects": [],
            "class-map": {},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "creation-date": "2026-01-01T00:00:00.000",
            "job-name": "d1-0001",
        },
        "provenance": {"labelled-by": "nobody"},
    }


def test_boxes_are_whole_pixels_with_their_class_and_confidence() -> None:
    found = line(detection("person"), detection("car", (0, 0, 100, 50), 1.0))
    assert found["prelabel"]["annotations"] == [
        {"class_id": 2, "left": 1, "top": 3, "width": 9, "height": 17},
        {"class_id": 0, "left": 0, "top": 0, "width": 100, "height": 50},
    ]
    assert found["prelabel-metadata"]["objects"] == [{"confidence": 0.8765}, {"confidence": 1.0}]


def test_the_class_map_names_only_the_classes_in_use() -> None:
    assert line(detection("person"), detection("person"))["prelabel-metadata"]["class-map"] == {"2": "person"}


def test_boxes_are_read_as_they_were_written() -> None:
    found = boxes_of(line(detection("truck")), "prelabel")
    assert [(b.name, b.left, b.top, b.width, b.height, b.confidence) for b in found] == [("truck", 1, 3, 9, 17, 0.8765)]


@pytest.mark.parametrize(
    "change",
    [
        {"prelabel": None},
        {"prelabel": {"annotations": []}},
        {"prelabel": {"image_size": [], "annotations": [{"class_id": "0"}]}},
        {"prelabel-metadata": {"objects": [], "class-map": {"0": "car"}}},
        {"prelabel-metadata": {"objects": [{}], "class-map": {}}},
        {"prelabel-metadata": []},
    ],
    ids=str,
)
def test_boxes_of_another_shape_are_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        boxes_of({**line(detection("car")), **change}, "prelabel")


def test_an_attribute_has_at_most_20_000_characters() -> None:
    assert MAX_ATTRIBUTE == 20_000
    fits = ManifestLine(SOURCE, verified=raw("x" * (MAX_ATTRIBUTE - 2)))
    assert json.loads(encode_line(fits)) == {"source-ref": SOURCE, "verified": "x" * (MAX_ATTRIBUTE - 2)}
    with pytest.raises(LineTooLong, match=f"{SOURCE}: attribute 'verified' takes 20,001 of 20,000"):
        encode_line(ManifestLine(SOURCE, verified=raw("x" * (MAX_ATTRIBUTE - 1))))


def test_limits_count_characters_and_not_bytes() -> None:
    assert encode_line(ManifestLine(SOURCE, verified=raw("é" * (MAX_ATTRIBUTE - 2))))
    with pytest.raises(LineTooLong):
        encode_line(ManifestLine(SOURCE, verified=raw("é" * (MAX_ATTRIBUTE - 1))))


def test_a_line_has_at_most_100_000_characters() -> None:
    assert MAX_LINE == 100_000
    parts = ("prelabel", "prelabel_metadata", "segmentation_metadata", "verified", "verified_metadata")
    full = {name: raw("x" * 19_000) for name in parts}
    room = MAX_LINE + 1 - len(encode_line(ManifestLine(SOURCE, masks="", **full)))
    assert len(encode_line(ManifestLine(SOURCE, masks="x" * room, **full))) == MAX_LINE + 1
    with pytest.raises(LineTooLong, match="the line takes 100,001 of 100,000"):
        encode_line(ManifestLine(SOURCE, masks="x" * (room + 1), **full))


def test_a_frame_with_too_many_boxes_is_refused_by_name() -> None:
    wide = detection(box=(1000.0, 1000.0, 3000.0, 3000.0))
    assert len(line(*[wide] * 250, width=4000, height=4000)["prelabel"]["annotations"]) == 250
    with pytest.raises(LineTooLong, match="drives/d1/front"):
        line(*[wide] * 320, width=4000, height=4000)


@given(
    st.lists(
        st.builds(
            lambda name, x, y, confidence: detection(name, (min(x), min(y), max(x) + 1, max(y) + 1), confidence),
            st.sampled_from(LABELS),
            st.tuples(st.floats(0, 99), st.floats(0, 99)),
            st.tuples(st.floats(0, 49), st.floats(0, 49)),
            st.floats(0, 1),
        ),
        max_size=20,
    )
)
def test_every_box_of_a_line_is_in_the_frame_and_has_its_object(items: list[Detection]) -> None:
    found = line(*items)
    boxes = boxes_of(found, "prelabel")
    assert [b.name for b in boxes] == [item.name for item in items]
    for box in boxes:
        assert 0 <= box.left < box.left + box.width <= 100
        assert 0 <= box.top < box.top + box.height <= 50
