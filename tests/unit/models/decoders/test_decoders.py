"""Tests of the decoders: the answers of each family of models."""

from __future__ import annotations

import json
import math
import random
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.models.decoders import DECODER_NAMES, DecoderOptions, RawDetection, find_decoder
from autolabel.models.decoders.base import MAX_OBJECTS, MAX_SCORE, Resized
from autolabel.models.decoders.mapping import Mapping
from tests.fakes.answers import LABELS, answer
from tests.fakes.bodies import (
    BODIES,
    CAR_BOX,
    CAR_SCORE,
    HEIGHT,
    NAMED,
    PERSON_BOX,
    PERSON_SCORE,
    WIDTH,
    encoded,
)

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


def test_a_box_outside_the_frame_or_inverted_is_not_changed() -> None:
    found = decode(answer([(-0.5, 0.9, 1.5, 0.1)]))
    assert found[0].box == (-100.0, 90.0, 300.0, 10.0)


def test_other_fields_of_an_answer_are_ignored() -> None:
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
        b'{"normalized_boxes":[[nan,0,1,1]],"classes":[0],"scores":[0.5],"labels":["a"]}',
        b'{"normalized_boxes":[[0,0,1,1]],"classes":[0],"scores":[NaN],"labels":["a"]',
        b'{"normalized_boxes":' + b"[" * 100_000,
        b'{"normalized_boxes":[],"classes":[],"scores":[],"labels":["\xff"]}',
    ],
    ids=lambda body: repr(body[:50]),
)
def test_a_body_that_is_not_an_answer_is_refused(body: bytes) -> None:
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
        {"scores": [1.0011]},
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


def test_a_number_that_is_too_large_is_not_finite() -> None:
    with pytest.raises(AnswerRefused, match=r"`normalized_boxes\[0\]\[0\]` is inf") as refused:
        decode(b'{"normalized_boxes":[[1e999,0,1,1]],"classes":[0],"scores":[0.5],"labels":["a"]}')
    assert refused.value.reason == "answer-not-finite"


# The other families


def read(decoder: str, answer: Any, options: DecoderOptions = NAMED) -> list[RawDetection]:
    body = answer if isinstance(answer, bytes) else encoded(answer)
    return find_decoder(decoder).decode(body, WIDTH, HEIGHT, options)


def refusal(decoder: str, answer: Any, options: DecoderOptions = NAMED) -> str:
    with pytest.raises(AnswerRefused) as refused:
        read(decoder, answer, options)
    return f"{refused.value.reason}: {refused.value}"


@pytest.mark.parametrize(("decoder", "options", "body"), BODIES.values(), ids=BODIES)
def test_all_families_decode_the_same_objects_alike(decoder: str, options: DecoderOptions, body: bytes) -> None:
    assert options.wrong(decoder) == ""
    found = read(decoder, body, options)
    assert [(one.label, one.score) for one in found] == [("car", CAR_SCORE), ("person", PERSON_SCORE)]
    if decoder != "hf-image-segmentation":
        assert [one.box for one in found] == [pytest.approx(CAR_BOX), pytest.approx(PERSON_BOX)]


EMPTY = {
    "jumpstart-mask-rcnn": {"ids": [], "scores": [], "bboxes": [], "labels": []},
    "hf-object-detection": [],
    "hf-image-segmentation": [],
    "torchvision": [],
    "yolo": [],
}


@pytest.mark.parametrize(("decoder", "answer"), EMPTY.items())
def test_an_answer_of_any_family_may_have_no_objects(decoder: str, answer: Any) -> None:
    assert read(decoder, answer) == []


def test_other_answers_without_objects_are_empty_too() -> None:
    assert read("torchvision", {"boxes": [], "labels": [], "scores": []}) == []
    assert read("yolo", {}) == []
    assert read("yolo", {"boxes": []}) == []
    assert read("yolo", [[]]) == []
    assert read("jumpstart-mask-rcnn", {"ids": [[]], "scores": [[]], "bboxes": [[]], "labels": []}) == []


@pytest.mark.parametrize(
    ("decoder", "answer"),
    [
        ("jumpstart-mask-rcnn", {"ids": [[0.0]], "scores": [[1.0]], "bboxes": [], "labels": ["a"]}),
        ("jumpstart-mask-rcnn", {"ids": [[0.0]], "scores": [[1.0]], "bboxes": [[0, 0, 1]], "labels": ["a"]}),
        ("jumpstart-mask-rcnn", {"ids": [[1.0]], "scores": [[1.0]], "bboxes": [[0, 0, 1, 1]], "labels": ["a"]}),
        ("jumpstart-mask-rcnn", {"ids": [[0, 0]], "scores": [[1.0]], "bboxes": [[0, 0, 1, 1]], "labels": ["a"]}),
        ("hf-object-detection", {"error": "out of memory"}),
        ("hf-object-detection", [{"score": 0.5, "label": "car"}]),
        ("hf-object-detection", [{"score": 1.5, "label": "a", "box": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}}]),
        ("hf-image-segmentation", [{"label": "road", "mask": "", "score": None}]),
        ("torchvision", [{"car": [0, 0, 1, 1]}]),
        ("torchvision", [{"car": [0, 0, 1, 1], "score": 0.5, "more": 1}]),
        ("torchvision", [{"car": "[(0, 0), (1, 1)]", "score": 0.5}]),
        ("torchvision", {"boxes": [[0, 0, 1, 1]], "labels": [], "scores": [0.5]}),
        ("torchvision", {"message": "failed"}),
        ("torchvision", [{"3": [0, 0, 1, 1], "score": 0.5}]),
        ("yolo", {"message": "failed"}),
        ("yolo", [[0, 0, 1, 1, 0.5]]),
        ("yolo", [[0, 0, 1, 1, 0.5, 0.5]]),
        ("yolo", [[[0] * 8_400] * 84]),
        ("yolo", [{"name": "car", "confidence": 0.5}]),
        ("yolo", [{"confidence": 0.5, "box": {"x1": 0, "y1": 0, "x2": 9, "y2": 9}}]),
        ("yolo", [[0, 0, 1, 1, 7, 2]]),
    ],
    ids=str,
)
def test_another_shape_is_refused(decoder: str, answer: Any) -> None:
    assert refusal(decoder, answer).startswith("answer-unreadable")


@pytest.mark.parametrize("name", ["hf-object-detection", "hf-image-segmentation", "torchserve", "yolo rows", "mapped"])
def test_too_many_objects_are_refused(name: str) -> None:
    decoder, options, body = BODIES[name] if name in BODIES else BODIES[name.replace("-", " ")]
    value = msgspec.json.decode(body)
    listed = value["result"]["objects"] if name == "mapped" else value
    listed[:] = listed[:1] * (MAX_OBJECTS + 1)
    assert refusal(decoder, value, options).startswith("answer-too-large")


def test_the_refusal_of_a_segment_without_score_says_how_to_get_one() -> None:
    assert "subtask" in refusal("hf-image-segmentation", [{"label": "road", "score": None}])


def test_an_index_without_labels_is_its_own_name() -> None:
    found = read("yolo", [[0, 0, 1, 1, 0.5, 3.0]], DecoderOptions())
    assert [one.label for one in found] == ["3"]
    found = read("torchvision", {"boxes": [[0, 0, 1, 1]], "labels": [3], "scores": [0.5]}, DecoderOptions())
    assert [one.label for one in found] == ["3"]


def test_a_rotated_box_becomes_its_upright_hull() -> None:
    corners = {"x1": 10, "y1": 0, "x2": 20, "y2": 10, "x3": 10, "y3": 20, "x4": 0, "y4": 10}
    assert read("yolo", [{"name": "car", "confidence": 1, "box": corners}])[0].box == (0, 0, 20, 20)


# Options


@pytest.mark.parametrize(
    ("resized", "frame", "box", "expected"),
    [
        (Resized(), (200, 100), (0, 0, 50, 50), (0, 0, 50, 50)),
        # GluonCV's: the shorter side 600, the longer at most 1000.
        (Resized(short=600, long=1000), (1600, 900), (0, 0, 1000, 562), (0, 0, 1600, 900)),
        (Resized(short=600, long=1000), (800, 600), (0, 0, 800, 600), (0, 0, 800, 600)),
        (Resized(short=600), (300, 400), (300, 400, 600, 800), (150, 200, 300, 400)),
        (Resized(width=640, height=640), (200, 100), (320, 320, 640, 640), (100, 50, 200, 100)),
        (Resized(width=640, height=640, padded=True), (200, 100), (0, 160, 640, 480), (0, 0, 200, 100)),
        (Resized(width=640, height=640, padded=True), (100, 200), (160, 0, 480, 320), (0, 0, 100, 100)),
        (Resized(width=1, height=1), (200, 100), (0.25, 0.5, 1, 1), (50, 50, 200, 100)),
    ],
    ids=str,
)
def test_boxes_in_a_resized_picture_become_boxes_in_the_frame(
    resized: Resized, frame: tuple[int, int], box: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert DecoderOptions(resized=resized).on_frame(box, *frame) == pytest.approx(expected)


SIDES = st.integers(1, 5_000)
RESIZED = st.builds(Resized, short=SIDES, long=SIDES | st.just(0)) | st.builds(
    Resized, width=SIDES, height=SIDES, padded=st.booleans()
)


@given(RESIZED.filter(lambda resized: not resized.wrong()), SIDES, SIDES)
@example(Resized(short=600, long=1000), 5_000, 1)
def test_the_frames_area_in_the_models_picture_becomes_the_frame(resized: Resized, width: int, height: int) -> None:
    area = resized.area(width, height)
    box = DecoderOptions(resized=resized).on_frame(area.box, width, height)
    assert box == pytest.approx((0, 0, width, height), abs=1e-6)


MAPPING = {"items": "objects", "label": "name", "score": "score", "box": "box"}


@pytest.mark.parametrize(
    ("decoder", "options", "named"),
    [
        ("jumpstart-detection", {"labels": ["car"]}, "labels"),
        ("jumpstart-detection", {"masks": True}, "masks"),
        ("hf-object-detection", {"mapping": MAPPING}, "mapping"),
        ("jmespath", {"mapping": MAPPING, "masks": True}, "masks"),
        ("jumpstart-mask-rcnn", {}, "resized"),
        ("hf-image-segmentation", {}, "masks"),
        ("jmespath", {}, "mapping"),
        ("jmespath", {"mapping": {**MAPPING, "score": "score["}}, "score"),
        ("jmespath", {"mapping": {**MAPPING, "items": ""}}, "items"),
        ("jmespath", {"mapping": {**MAPPING, "box": "@ ||" * 500}}, "box"),
        ("jmespath", {"mapping": {**MAPPING, "label": "(" * 499}}, "label"),
        ("yolo", {"mask_threshold": 1.0}, "mask_threshold"),
        ("yolo", {"resized": {"width": 640}}, "height"),
        ("yolo", {"resized": {"width": 640, "height": 640, "short": 600}}, "short"),
        ("yolo", {"resized": {"short": -1}}, "sides"),
        ("yolo", {"resized": {"short": 600, "long": 500}}, "long"),
        ("yolo", {"resized": {"short": 600, "padded": True}}, "padded"),
    ],
    ids=str,
)
def test_an_option_that_a_decoder_cannot_use_is_named(decoder: str, options: Any, named: str) -> None:
    wrong = msgspec.convert(options, DecoderOptions).wrong(decoder)
    assert f"`{named}`" in wrong or named in wrong.split()


def test_every_decoder_has_a_body_and_can_be_found() -> None:
    assert {decoder for decoder, _, _ in BODIES.values()} == DECODER_NAMES
    assert all(find_decoder(name).decode for name in DECODER_NAMES)


# Mappings


def mapped(answer: Any, **change: Any) -> list[RawDetection]:
    mapping = msgspec.convert({**MAPPING, **change}, Mapping)
    assert mapping.wrong() == ""
    return read("jmespath", answer, DecoderOptions(mapping=mapping))


ONE = {"name": "car", "score": 0.5, "box": [10, 20, 30, 40]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (10, 20, 30, 40)),
        ({"format": "yxyx"}, (20, 10, 40, 30)),
        ({"format": "xywh"}, (10, 20, 40, 60)),
        ({"format": "cxcywh"}, (-5, 0, 25, 40)),
        ({"units": "normalised"}, (2_000, 2_000, 6_000, 4_000)),
        ({"box": "[box[1], box[0], box[3], box[2]]"}, (20, 10, 40, 30)),
    ],
    ids=str,
)
def test_a_mapping_says_the_format_and_units_of_a_box(change: dict[str, Any], expected: tuple[float, ...]) -> None:
    (found,) = mapped({"objects": [ONE]}, **change)
    assert found == RawDetection("car", 0.5, expected)


LISTS = {"items": "@", "label": "names", "score": "scores", "box": "boxes"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"names": ["car"], "scores": [0.5, 0.4], "boxes": [[0, 0, 9, 9]]}, "2 scores in `scores`"),
        ({"names": [], "scores": [0.5], "boxes": [[0, 0, 9, 9]]}, "0 classes in `names`"),
        ({"names": ["car"], "scores": [0.5], "boxes": []}, "0 boxes in `boxes`"),
        ({"names": ["car"], "scores": [0.5], "boxes": [0, 0, 9, 9, 1]}, "`boxes` has 5 numbers"),
        ({"names": ["car"], "scores": [0.5]}, "list of boxes in `boxes`"),
        ({"names": "car", "scores": [0.5], "boxes": [[0, 0, 9, 9]]}, "list of classes in `names`"),
        ({"names": ["car"], "scores": ["high"], "boxes": [[0, 0, 9, 9]]}, "score in `scores`"),
        ({"names": ["car"], "scores": [0.5], "boxes": [[0, 0, 9]]}, "box in `boxes`"),
        ({"message": "out of memory"}, "list of classes in `names`"),
    ],
    ids=str,
)
def test_parallel_lists_that_do_not_fit_are_refused_by_name(answer: Any, said: str) -> None:
    mapping = msgspec.convert(LISTS, Mapping)
    refused = refusal("jmespath", answer, DecoderOptions(mapping=mapping))
    assert refused.startswith("answer-unreadable")
    assert said in refused


@pytest.mark.parametrize("empty", [[], [[]]], ids=str)
def test_parallel_lists_may_be_empty(empty: list[Any]) -> None:
    assert mapped({"names": empty, "scores": empty, "boxes": empty}, **LISTS) == []


BOXES = st.lists(st.tuples(*[st.floats(0, 100)] * 4), max_size=5)


@given(BOXES, st.booleans(), st.booleans(), st.data())
def test_parallel_lists_give_what_a_list_of_objects_gives(
    boxes: list[tuple[float, ...]], batched: bool, flat: bool, data: st.DataObject
) -> None:
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(boxes), max_size=len(boxes)))
    objects = [{"name": "car", "score": s, "box": box} for s, box in zip(scores, boxes, strict=True)]
    tensor: list[Any] = [side for box in boxes for side in box] if flat else list(boxes)
    lists: dict[str, list[Any]] = {"names": ["car"] * len(boxes), "scores": scores, "boxes": tensor}
    answer = {key: [value] for key, value in lists.items()} if batched and not flat else lists
    assert mapped(answer, **LISTS) == mapped({"objects": objects})


def test_a_mapping_may_use_shares_of_a_padded_picture() -> None:
    mapping = msgspec.convert({**MAPPING, "units": "normalised"}, Mapping)
    options = DecoderOptions(mapping=mapping, resized=Resized(width=640, height=640, padded=True))
    (found,) = read("jmespath", {"objects": [{**ONE, "box": [0, 0.25, 1, 0.75]}]}, options)
    assert found.box == pytest.approx((0, 0, WIDTH, HEIGHT))


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        ({"other": []}, {}),
        ({"objects": 7}, {}),
        ({"objects": [7]}, {}),
        ({"objects": [{**ONE, "score": "high"}]}, {}),
        ({"objects": [{**ONE, "score": 2}]}, {}),
        ({"objects": [{**ONE, "name": [1, 2]}]}, {}),
        ({"objects": [{**ONE, "name": None}]}, {}),
        ({"objects": [{**ONE, "box": [1, 2, 3]}]}, {}),
        ({"objects": [ONE]}, {"items": "sort_by(objects, &box)"}),
        ({"objects": [ONE]}, {"score": "avg(name)"}),
        ({"objects": [ONE]}, {"score": "no_such_function(score)"}),
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_the_mapping_is_refused(answer: Any, change: dict[str, Any]) -> None:
    mapping = msgspec.convert({**MAPPING, **change}, Mapping)
    assert refusal("jmespath", answer, DecoderOptions(mapping=mapping)).startswith("answer-unreadable")


@pytest.mark.parametrize(
    ("items", "root"),
    [
        ("objects", {"objects"}),
        (" result.objects[?kind == 'box']", {"result"}),
        ("result[0].a", {"result"}),
        ("result | [0]", {"result"}),
        ("@", set()),
        ("[]", set()),
        ("keys(@)", set()),
        ("a || b", set()),
        ("result && b", set()),
        ("'x'", set()),
    ],
)
def test_a_mapping_needs_the_key_that_its_items_begin_with(items: str, root: set[str]) -> None:
    assert msgspec.convert({**MAPPING, "items": items}, Mapping).root == root


@given(st.sampled_from(sorted(BODIES)), st.integers(0, 2**32))
def test_shuffled_values_are_decoded_or_refused(name: str, seed: int) -> None:
    """Shuffle the values of an answer: it gives objects with scores from 0 to 1, or a refusal."""
    decoder, options, body = BODIES[name]
    rng = random.Random(seed)
    text = body.decode()
    numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
    swapped = rng.choice(numbers)
    changed = (
        text[: swapped.start()] + rng.choice(["-1", "1e300", '"car"', "null", "[]", "2.5"]) + text[swapped.end() :]
    )
    try:
        found = read(decoder, changed.encode(), options)
    except AnswerRefused as e:
        assert e.reason in ("answer-unreadable", "answer-too-large")  # noqa: PT017 - a refusal is a valid result
        return
    assert all(0.0 <= one.score <= MAX_SCORE for one in found)


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
def test_every_answer_is_decoded_or_refused(body: bytes, size: int) -> None:
    try:
        found = decode(body, size, size)
    except AnswerRefused:
        return
    assert all(0.0 <= one.score <= MAX_SCORE for one in found)


@given(st.sampled_from(sorted(BODIES)), st.sampled_from(["NaN", "Infinity", "-Infinity"]), st.data())
def test_a_number_that_is_not_finite_is_named(name: str, written: str, data: st.DataObject) -> None:
    decoder, options, body = BODIES[name]
    text = body.decode()
    # Numbers outside of strings.
    numbers = [found for found in re.finditer(r'"[^"]*"|-?\d+(?:\.\d+)?', text) if found[0][0] != '"']
    swapped = data.draw(st.sampled_from(numbers))
    changed = text[: swapped.start()] + written + text[swapped.end() :]
    said = refusal(decoder, changed.encode(), options)
    assert said.startswith("answer-not-finite")
    place = re.search(r"`(.+)` is (nan|inf|-inf)$", said)
    assert place, said
    here: Any = json.loads(changed)
    for key, index in re.findall(r"([^.\[\]]+(?=[.\[]|$))|\[(\d+)\]", place[1]):
        here = here[key or int(index)]
    assert not math.isfinite(here)
