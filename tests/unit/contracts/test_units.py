"""Tests of the names that are derived from a frame and a model."""

from __future__ import annotations

import re

import pytest
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.frames import FrameKey
from autolabel.contracts.units import (
    PENDING_PARTITIONS,
    Unit,
    answers_prefix,
    bytes_token,
    model_of_inference_id,
    parse_answer_key,
    pending_partition,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)
MODELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?\.[0-9]{4}", fullmatch=True)
UNITS = st.builds(
    Unit.of,
    st.builds(FrameKey, NAMES, NAMES, st.from_regex(r"[0-9]{19}", fullmatch=True), st.sampled_from(["png", "jpg"])),
    st.text(max_size=40),
    MODELS,
)
ATTEMPTS = st.integers(1, 999_999)
SHAPES = Session().get_service_model("sagemaker-runtime").operation_model("InvokeEndpointAsync").input_shape.members


def fits(member: str, value: str) -> bool:
    """Check whether a value fits a member of InvokeEndpointAsync; the API model's patterns have Java's syntax."""
    limits = SHAPES[member].metadata
    pattern = (
        limits["pattern"]
        .replace(r"\p{Print}", r"\x20-\x7e")
        .replace("[[", "[")
        .replace("]]", "]")
        .replace(r"\z", r"\Z")
    )
    return limits["min"] <= len(value) <= limits["max"] and re.fullmatch(pattern, value) is not None


@pytest.mark.parametrize(
    ("member", "bad"),
    [("Filename", "a.b.c"), ("S3OutputPathExtension", "a b"), ("S3OutputPathExtension", "s3:x"), ("InferenceId", "")],
)
def test_a_bad_value_breaks_the_services_limits(member: str, bad: str) -> None:
    assert not fits(member, bad)


@given(UNITS, ATTEMPTS)
def test_every_name_of_a_unit_is_within_the_services_limits(unit: Unit, attempt: int) -> None:
    assert fits("InferenceId", unit.inference_id(attempt))
    assert fits("Filename", unit.filename(attempt))
    assert fits("S3OutputPathExtension", unit.output_extension)
    # Limits of the service, as numbers: the API model might get wider ones.
    assert len(unit.inference_id(attempt)) <= 64
    assert re.fullmatch(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,31}", unit.filename(attempt))
    assert re.fullmatch(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}", unit.output_extension)
    assert len(unit.answer_key(attempt).encode()) <= 1024


@given(UNITS, ATTEMPTS)
def test_an_answers_key_names_its_unit_and_attempt(unit: Unit, attempt: int) -> None:
    key = unit.answer_key(attempt)
    assert parse_answer_key(key) == (unit, attempt)
    assert key.startswith(answers_prefix(unit.drive, unit.model))
    assert key == f"inference/{unit.output_extension}/{unit.filename(attempt)}"


@given(UNITS, ATTEMPTS)
def test_an_inference_id_names_its_model(unit: Unit, attempt: int) -> None:
    assert model_of_inference_id(unit.inference_id(attempt)) == unit.model


@given(UNITS, UNITS, ATTEMPTS, ATTEMPTS)
def test_different_units_and_attempts_have_different_names(one: Unit, other: Unit, first: int, second: int) -> None:
    if (one, first) != (other, second):
        assert one.inference_id(first) != other.inference_id(second)
        assert one.answer_key(first) != other.answer_key(second)


@given(st.text(max_size=200))
def test_a_random_key_does_not_name_an_answer(key: str) -> None:
    assert parse_answer_key(key) is None
    assert model_of_inference_id(key) is None


@pytest.mark.parametrize(
    "change",
    [
        ("inference/", "inference//"),
        ("inference/", "elsewhere/"),
        (".out", ".out\n"),
        (".out", ".json"),
        (".0001/", ".1/"),
        ("-1.", "-."),
        ("-1.", "-1234567."),
        ("front/", "front/x/"),
    ],
    ids=str,
)
def test_a_key_that_is_almost_an_answers_does_not_name_one(change: tuple[str, str]) -> None:
    key = Unit.of(FrameKey("d", "front", "0" * 19, "png"), "e", "m.0001").answer_key(1)
    assert parse_answer_key(key)
    assert parse_answer_key(key.replace(*change)) is None


def test_an_etag_with_or_without_quotes_has_the_same_token() -> None:
    assert bytes_token('"abc"') == bytes_token("abc")
    assert bytes_token("abc") != bytes_token("abd")
    assert re.fullmatch("[0-9a-f]{12}", bytes_token("0123-7"))


def test_pending_units_are_spread_over_all_partitions() -> None:
    found = [pending_partition(f"front/{i:019d}") for i in range(400)]
    assert sorted(set(found)) == list(range(PENDING_PARTITIONS))
    assert min(map(found.count, set(found))) > 50


def test_places_sort_like_positions_and_s3_keys() -> None:
    frames = [FrameKey("d", camera, f"{i:019d}", "png") for camera in ("a", "a-b", "a_b", "B", "a0") for i in (9, 10)]
    units = [Unit.of(frame, "e", "m.0001") for frame in frames]
    by_place = sorted(units, key=lambda u: u.place.encode())
    assert by_place == sorted(units, key=lambda u: u.position.encode())
    assert by_place == sorted(units, key=lambda u: u.answer_key(1).encode())
    assert [u.position for u in by_place] == [f.position for f in sorted(frames, key=lambda f: f.key.encode())]
