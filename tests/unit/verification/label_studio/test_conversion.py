"""Manifest lines become tasks of Label Studio, and its annotations become lines, exact to the pixel."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.taxonomy import current_taxonomy
from autolabel.verification.label_studio.config import label_config
from autolabel.verification.label_studio.results import Annotation, answered_line
from autolabel.verification.label_studio.tasks import task_of
from tests.fakes.lines import LABELS, Boxed, boxes_of, line, parsed

NOW = datetime(2026, 1, 3, tzinfo=UTC)


def answered(body: bytes, *annotations: Annotation) -> dict[str, Any]:
    line = answered_line(parsed(body), annotations, job="Drive-7-0001-000", labels=LABELS, now=NOW)
    whole: dict[str, Any] = json.loads(msgspec.json.encode(line))
    return whole


def shown(body: bytes) -> list[dict[str, Any]]:
    """The result that the page submits without a change, written and read as JSON."""
    task = json.loads(msgspec.json.encode(task_of(parsed(body), "job", "https://x/y.png")))
    return task["predictions"][0]["result"] if task["predictions"] else []


def annotation(result: list[dict[str, Any]] | None, number: int = 1, **more: Any) -> Annotation:
    given = {"id": number, "updated_at": f"2026-01-02T03:04:{number:02d}.5Z", "result": result, **more}
    return msgspec.convert(given, Annotation)


def pixels(answer: dict[str, Any], attribute: str = "verified") -> list[tuple[Any, ...]]:
    return [(b.name, b.left, b.top, b.width, b.height) for b in boxes_of(answer, attribute)]


def reason(answer: dict[str, Any]) -> str | None:
    found: str | None = answer["verified-metadata"].get("failure-reason")
    assert (found is None) == ("verified" in answer)
    return found


def region(value: dict[str, Any], name: str = "car", **more: Any) -> dict[str, Any]:
    whole = {"id": "r", "type": "rectanglelabels", "from_name": "box", "to_name": "image"}
    return {**whole, "value": {"rotation": 0, "rectanglelabels": [name], **value}, **more}


@st.composite
def sized_boxes(draw: st.DrawFn) -> tuple[tuple[int, int], list[Boxed]]:
    width, height = draw(st.tuples(st.integers(1, 12_000), st.integers(1, 8_000)))
    boxes = []
    for name in draw(st.lists(st.sampled_from(LABELS), max_size=6)):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        boxes.append((name, float(left), float(top), float(right), float(bottom)))
    return (width, height), boxes


@given(sized_boxes())
def test_unchanged_boxes_come_back_to_the_pixel(frame: tuple[tuple[int, int], list[Boxed]]) -> None:
    size, boxes = frame
    body = line(0, boxes, size=size)
    answer = answered(body, annotation(shown(body)))
    assert answer["verified-metadata"]["adjustment-status"] == "unadjusted"
    assert pixels(answer) == pixels(answer, "prelabel")


@given(sized_boxes().filter(lambda frame: bool(frame[1])), st.data())
def test_a_box_moved_by_one_pixel_makes_the_label_adjusted(
    frame: tuple[tuple[int, int], list[Boxed]], data: st.DataObject
) -> None:
    size, boxes = frame
    body = line(0, boxes, size=size)
    result = copy.deepcopy(shown(body))
    index = data.draw(st.integers(0, len(result) - 1))
    before = pixels(json.loads(body), "prelabel")
    _, left, top, width, height = before[index]
    if left + width >= size[0]:
        return
    result[index]["value"]["x"] = (left + 1) * 100 / size[0]
    answer = answered(body, annotation(result))
    after = pixels(answer)
    assert after[index] == (before[index][0], left + 1, top, width, height)
    assert after[:index] + after[index + 1 :] == before[:index] + before[index + 1 :]
    assert answer["verified-metadata"]["adjustment-status"] == "adjusted"


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-20, 120)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"x": numbers, "y": numbers, "width": numbers, "height": numbers, "rotation": st.floats(-720, 720)}
        ),
        max_size=4,
    )
)
def test_every_box_of_a_line_is_inside_the_frame(values: list[dict[str, Any]]) -> None:
    answer = answered(line(0, []), annotation([region(value) for value in values]))
    for _, left, top, width, height in pixels(answer):
        assert 0 <= left < left + width <= 640
        assert 0 <= top < top + height <= 272
        assert all(n == int(n) for n in (left, top, width, height))


def test_a_label_has_ground_truths_format() -> None:
    body = line(0, [("person", 300, 41, 333, 131)])
    answer = answered(body, annotation(shown(body), completed_by=7, lead_time=12.3456))
    assert answer == json.loads(body) | {
        "verified": {
            "image_size": [{"width": 640, "height": 272, "depth": 3}],
            "annotations": [{"class_id": 1, "left": 300, "top": 41, "width": 33, "height": 90}],
        },
        "verified-metadata": {
            "objects": [{"confidence": 0.0}],
            "class-map": {"1": "person"},
            "type": "groundtruth/object-detection",
            "adjustment-status": "unadjusted",
            "human-annotated": "yes",
            "creation-date": "2026-01-02T03:04:01.500000",
            "job-name": "labeling-job/drive-7-0001-000",
        },
        "review": {"seconds": 12.346, "worker": "7"},
    }


def test_a_rotated_box_becomes_the_upright_box_around_it() -> None:
    # After a quarter turn about its top left corner, the box is to the left of that corner.
    value = {"x": 50, "y": 50, "width": 10, "height": 25, "rotation": 90}
    (box,) = pixels(answered(line(0, []), annotation([region(value)])))
    assert box == ("car", 320 - 68, 136, 68, 64)


def test_a_box_outside_the_frame_is_dropped_and_at_its_edge_cut() -> None:
    outside = region({"x": 101, "y": 10, "width": 5, "height": 5})
    edge = region({"x": -10, "y": 90, "width": 20, "height": 20})
    assert pixels(answered(line(0, []), annotation([outside, edge]))) == [("car", 0, 245, 64, 27)]


@pytest.mark.parametrize(
    ("result", "part"),
    [
        ([region({"x": 1, "y": 1, "width": 9, "height": 9}, "tank")], "'tank' is not one of the job's labels"),
        ([region({"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": []})], "a box has 0 classes"),
        ([region({"x": 1, "y": 1, "width": 9, "height": 9}, image_rotation=90)], "the image was rotated"),
        ([region({"x": "1", "y": 1, "width": 9, "height": 9})], "Expected `float`"),
        ([region({"x": None, "y": None, "width": None, "height": None})], "Expected `float`, got `null`"),
        ([region({"x": 1, "y": 1})], "missing required field `width`"),
        ([{"id": "r", "type": "choices", "from_name": "marks", "value": None}], "Expected `object`"),
    ],
)
def test_an_unreadable_annotation_is_a_failure_with_a_reason(result: list[Any], part: str) -> None:
    found = reason(answered(line(0, []), annotation(result)))
    assert found is not None
    assert found.startswith("annotation 1 of Label Studio cannot be read: ")
    assert part in found


def test_results_of_other_types_are_not_boxes() -> None:
    other = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    assert pixels(answered(line(0, []), annotation([other, {"type": None}, {}]))) == []


def test_the_newest_answer_that_is_not_a_skip_counts() -> None:
    body = line(0, [("car", 10, 10, 50, 40)])
    kept, emptied = annotation(shown(body), 5), annotation([], 9)
    skipped = annotation([], 11, was_cancelled=True)
    assert pixels(answered(body, emptied, kept, skipped)) == []
    assert len(pixels(answered(body, skipped, kept))) == 1
    assert reason(answered(body, skipped)) == "a reviewer skipped it in Label Studio"
    assert reason(answered(body)) == "no reviewer annotated it in Label Studio"


def test_times_of_other_zones_are_compared_and_written_in_utc() -> None:
    body = line(0, [("car", 10, 10, 50, 40)])
    earlier = annotation([], 1, updated_at="2026-01-02T05:00:00+02:00")
    later = annotation(shown(body), 2, updated_at="2026-01-02T03:00:01Z")
    answer = answered(body, later, earlier)
    assert len(pixels(answer)) == 1
    assert answer["verified-metadata"]["creation-date"] == "2026-01-02T03:00:01.000000"


def test_marks_belong_to_their_boxes_and_unsure_to_the_frame() -> None:
    body = line(0, [("car", 10, 10, 50, 40), ("person", 100, 10, 120, 40), ("car", 200, 10, 250, 40)])
    marks = {"id": "prelabel-1", "type": "choices", "from_name": "marks", "value": {"choices": ["truncated", "other"]}}
    both = {
        "id": "prelabel-2",
        "type": "choices",
        "from_name": "marks",
        "value": {"choices": ["truncated", "occluded"]},
    }
    unsure = {"id": "x", "type": "choices", "from_name": "frame", "value": {"choices": ["unsure"]}}
    # The third box is first in the result: marks follow boxes, not positions.
    first, second, third = shown(body)
    answer = answered(body, annotation([third, unsure, marks, first, second, both]))
    assert answer["review"] == {
        "unsure": True,
        "boxes": [{"occluded": True, "truncated": True}, {}, {"truncated": True}],
    }
    assert answer["verified-metadata"]["adjustment-status"] == "unadjusted"


@pytest.mark.parametrize("seconds", [None, -1.0, 1e12, 0.0])
def test_impossible_seconds_are_unknown(seconds: float | None) -> None:
    review = answered(line(0, []), annotation([], lead_time=seconds, completed_by={"id": 3}))["review"]
    assert review == ({"worker": "3"} if seconds != 0 else {"worker": "3", "seconds": 0.0})


def test_a_task_has_its_frame_its_job_and_its_score() -> None:
    plain = json.loads(line(0, [("car", 10, 10, 50, 40)]))
    task = task_of(parsed(plain), "job", "https://x/y.png")
    assert task["data"] == {
        "image": "https://x/y.png",
        "why": "",
        "source-ref": plain["source-ref"],
        "review-ref": plain["source-ref"],
        "job": "job",
    }
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("yolox-nano.0001", 0.8)
    assert [item["score"] for item in prediction["result"]] == [0.8]
    doubtful = plain | {"doubt": {"level": 0.75, "boxes": [0.75], "why": [], "ghosts": []}}
    assert task_of(parsed(doubtful), "job", "i")["predictions"][0]["score"] == 0.25
    assert task_of(parsed(line(0, [])), "job", "i")["predictions"] == []


def test_the_page_offers_the_jobs_labels_in_their_colours() -> None:
    taxonomy = current_taxonomy()
    labels = ('a "quoted" <name> & more', *taxonomy.names[:10])
    root = ET.fromstring(label_config(labels, taxonomy.colors))  # noqa: S314  # of our own making
    offered = [(e.get("value"), e.get("background"), e.get("hotkey")) for e in root.iter("Label")]
    assert [value for value, _, _ in offered] == list(labels)
    assert [color for _, color, _ in offered[1:]] == [taxonomy.colors[name] for name in labels[1:]]
    assert [key for _, _, key in offered] == [*"1234567890", None]
