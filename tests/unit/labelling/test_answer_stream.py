"""Answers are read as streams: the projection gives the same as json.loads, wherever the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling import answer_stream as answers
from autolabel.labelling.answer_stream import project
from autolabel.models.decoders.base import MAX_OBJECTS, MaskPlace

WANTED = frozenset({"boxes", "labels", "ü"})


def cut(body: bytes, places: list[int]) -> Iterator[bytes]:
    """Cut bytes at places, which are taken modulo the length."""
    at = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return (body[start:end] for start, end in pairwise(at)) if len(at) > 1 else iter([body])


def projected(body: bytes, places: list[int]) -> Any:
    return json.loads(project(cut(body, places), WANTED))


def test_an_empty_object_has_nothing_wanted() -> None:
    assert project([b"{}"], WANTED) == b"{}"
    assert project([b" \n", b"", b"{", b"\t", b"}", b" "], WANTED) == b"{}"


def test_only_wanted_keys_of_the_top_level_are_kept() -> None:
    body = json.dumps({"masks": [{"boxes": 1}], "boxes": [[1, 2]], "labels": None, "more": "boxes"}).encode()
    assert projected(body, []) == {"boxes": [[1, 2]], "labels": None}


AWKWARD = [
    {"a": 'x"', "boxes": 1},
    {"a": "\\", "boxes": 1},
    {"a": "\\\\", "boxes": "\\"},
    {"a": '\\"', "boxes": '"\\'},
    {"a": "][}{", "boxes": ["}", "{", '"]"']},
    {"a": [[], {}, [[]], {"b": {}}], "boxes": {}},
    {"boxes": "", "labels": ""},
    {"boxes": 1e300, "a": -0.5, "labels": True},
    {"ü": "\u2028é\U0001f600", "a": "\ud83d"},
    {"": {"": [""]}, "boxes": [[]]},
]


@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_awkward_answers_are_read_wherever_they_are_cut(value: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if "\ud83d" in str(value) and not ascii_only:
        pytest.skip("a lone surrogate has no UTF-8")
    # A projection compares keys as they are written: a key with an escape is not wanted.
    expected = {key: item for key, item in value.items() if key in WANTED and (key.isascii() or not ascii_only)}
    for place in range(len(body) + 1):
        assert projected(body, [place]) == expected


@pytest.mark.parametrize("value", AWKWARD, ids=ascii)
def test_awkward_answers_are_read_byte_by_byte(value: Any) -> None:
    body = json.dumps(value).encode()
    expected = {key: item for key, item in value.items() if key in WANTED and key.isascii()}
    assert projected(body, list(range(len(body)))) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(st.sampled_from([*sorted(WANTED), "boxe", "masks"]) | st.text(max_size=5), JSON, max_size=6)
PLACES = st.lists(st.integers(0, 400), max_size=12)


@given(OBJECTS, PLACES, st.sampled_from([None, 0, 2]), st.booleans())
@example({"a": "x", "boxes": 1}, [7], None, True)
def test_a_projection_gives_the_same_as_json_for_the_wanted_keys(
    value: dict[str, Any], places: list[int], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    expected = {
        key: item for key, item in json.loads(body).items() if key in WANTED and (key.isascii() or not ascii_only)
    }
    assert projected(body, places) == expected


@given(OBJECTS, PLACES, st.integers(0, 400))
def test_a_truncated_answer_is_refused(value: dict[str, Any], places: list[int], end: int) -> None:
    body = json.dumps(value).encode()
    with pytest.raises(AnswerRefused) as refused:
        project(cut(body[: end % len(body)], places), WANTED)
    assert refused.value.reason == "answer-truncated"


@given(st.lists(OBJECTS | st.lists(JSON, max_size=4), max_size=5), PLACES, st.sampled_from([None, 2]))
def test_a_list_keeps_other_elements_and_wanted_keys_of_objects(
    value: list[Any], places: list[int], indent: int | None
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode()
    wanted = [
        {key: item for key, item in one.items() if key in WANTED} if isinstance(one, dict) else one
        for one in json.loads(body)
    ]
    assert projected(body, places) == wanted


@given(st.lists(JSON, max_size=4), st.sampled_from([None, 2]), PLACES)
def test_wanted_masks_are_passed_on_and_not_kept(masks: list[Any], indent: int | None, places: list[int]) -> None:
    taken: list[Any] = []

    def take(place: MaskPlace, mask: bytes) -> None:
        taken.append((place.key, json.loads(mask)))

    where = (MaskPlace("masks", listed=True), MaskPlace("mask"))
    body = json.dumps({"more": [1], "masks": masks, "boxes": 7}, indent=indent).encode()
    assert json.loads(project(cut(body, places), WANTED, where, take)) == {"boxes": 7}
    assert taken == [("masks", mask) for mask in masks]
    taken.clear()
    body = json.dumps([{"mask": mask, "boxes": 7} for mask in masks], indent=indent).encode()
    assert json.loads(project(cut(body, places), WANTED, where, take)) == [{"boxes": 7}] * len(masks)
    assert taken == [("mask", mask) for mask in masks]


def test_an_empty_list_of_masks_has_no_masks() -> None:
    taken: list[bytes] = []
    body = b'{"masks":null,"boxes":1}'
    where = [MaskPlace("masks", listed=True)]
    assert project([body], WANTED, where, lambda place, mask: taken.append(mask)) == b'{"boxes":1}'
    assert taken == []


@pytest.mark.parametrize("body", [b"[{},", b"[1,2", b"[", b'[{"boxes":1}', b'[{"boxes":'])
def test_a_list_that_ends_too_early_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerRefused) as refused:
        project([body], WANTED)
    assert refused.value.reason == "answer-truncated"


@pytest.mark.parametrize("element", [b"{}", b"0", b"[]"])
def test_a_list_with_too_many_elements_is_refused(element: bytes) -> None:
    assert len(json.loads(project([b"[" + b",".join([element] * MAX_OBJECTS) + b"]"], WANTED))) == MAX_OBJECTS
    with pytest.raises(AnswerRefused) as refused:
        project([b"[" + b",".join([element] * (MAX_OBJECTS + 1)) + b"]"], WANTED)
    assert refused.value.reason == "answer-too-large"


def test_a_mask_above_its_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_MASK_BYTES", 1_000)
    where = [MaskPlace("masks", listed=True)]
    with pytest.raises(AnswerRefused) as refused:
        project([b'{"masks":[[' + b"1," * 1_000 + b"1]]}"], WANTED, where, lambda place, mask: None)
    assert refused.value.reason == "answer-too-large"


GARBAGE = st.binary(max_size=60) | st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"boxes", b'"boxes"', b"1", b" ", b"\n", b"\xff"]
    ),
    max_size=25,
).map(b"".join)


@given(GARBAGE, PLACES)
def test_garbage_is_refused_or_passed_on(body: bytes, places: list[int]) -> None:
    try:
        kept = project(cut(body, places), WANTED)
    except AnswerRefused as e:
        assert e.reason.startswith("answer-")  # noqa: PT017 - a refusal is one of two correct results
    else:
        assert kept[:1] + kept[-1:] in (b"{}", b"[]")


@pytest.mark.parametrize("body", [b"null", b"1", b'"x"', b"<html>", b"{1:2}", b'{"a" 1}', b'{"a":1 "b":2}', b"{,}"])
def test_an_answer_that_is_neither_object_nor_list_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerRefused) as refused:
        project([body], WANTED)
    assert refused.value.reason in ("answer-unreadable", "answer-truncated")


@pytest.mark.parametrize("body", [b"", b"   ", b"{", b'{"a', b'{"a"', b'{"a":', b'{"a":1', b'{"a":[', b'{"a":"\\'])
def test_an_answer_that_ends_too_early_is_refused(body: bytes) -> None:
    for chunks in ([body], [], [b""], list(cut(body, list(range(len(body)))))):
        with pytest.raises(AnswerRefused) as refused:
            project(chunks, WANTED)
        assert refused.value.reason == "answer-truncated"


def test_deeply_nested_ballast_is_skipped() -> None:
    body = b'{"masks":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b',"boxes":7}'
    assert projected(body, list(range(0, len(body), 65_536))) == {"boxes": 7}


def test_ballast_of_any_size_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_KEPT_BYTES", 1_000)

    def chunks() -> Iterator[bytes]:
        yield b'{"masks":["'
        for _ in range(200):
            yield b"1,0" * 1_000
        yield b'"],"boxes":[1]}'

    assert json.loads(project(chunks(), WANTED)) == {"boxes": [1]}


@pytest.mark.parametrize(
    "value",
    ["[" + "1," * 9_000_000 + "1]", '"' + "x" * 17_000_000 + '"', "1" * 17_000_000],
    ids=["list", "string", "number"],
)
def test_too_many_wanted_values_are_refused(value: str) -> None:
    body = b'{"boxes":' + value.encode() + b"}"
    with pytest.raises(AnswerRefused) as refused:
        project(cut(body, list(range(0, len(body), 262_144))), WANTED)
    assert refused.value.reason == "answer-too-large"


def test_an_endless_key_is_refused() -> None:
    with pytest.raises(AnswerRefused) as refused:
        project([b'{"', *[b"k" * 1_000] * 10, b'":1}'], WANTED)
    assert refused.value.reason == "answer-too-large"
