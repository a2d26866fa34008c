"""Documents from outside: drive.json, a model's revision, the catalogue's index."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from autolabel.contracts.drive import (
    MAX_COORDINATE,
    MAX_DOCUMENT_BYTES,
    MAX_MASK_POINTS,
    DriveDocument,
    Run,
    parse_drive_document,
)
from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused
from autolabel.contracts.frames import is_name
from autolabel.labelling.ego_mask import covered_share
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import CATALOGUE_KEY, Catalogue, parse_model
from autolabel.streams.json_depth import MAX_DEPTH
from tests.fakes.answers import DETECTOR
from tests.fuzz.mutations import fuzz, outside
from tests.fuzz.refusals import assert_refusal

KEY = "drives/d1/drive.json"
DOCUMENT = {
    "vehicle": "car-1",
    "cameras": {
        "front": {
            "expected_frames": 7,
            "ego_mask": [[0, 900], [1920, 900.5], [1920, 1080], [0, 1080]],
            "intrinsics": {"matrix": [[1000.0, 0.0, 960.0], [0.0, 1000.0, 540.0], [0.0, 0.0, 1.0]]},
            "extrinsics": {"rotation": [0.0, 0.0, 0.0, 1.0], "translation": {"x": 1.5}},
        },
        "rear": {},
    },
    "models": ["detector"],
    "verification": {"policy": "all"},
    "notes": ["rain"],
}
SAMPLES = [msgspec.json.encode(DOCUMENT), b'{"vehicle":"v","cameras":{"front":{}}}']
MODELS = [
    msgspec.json.encode(DETECTOR),
    (Path(__file__).parents[2] / "models" / "yolox-nano.json").read_bytes(),
]


def run_of(document: DriveDocument) -> Run:
    return Run("d" * 63, "0001", document, "e" * 128, ("detector.0001",), "2026.1", ("car",))


@fuzz
@given(outside(SAMPLES))
def test_a_drives_document_fits_into_its_run_or_is_refused(body: bytes) -> None:
    try:
        document = parse_drive_document(body, KEY)
    except DocumentRefused as e:
        assert_refusal(e, "document-not-json", "document-schema", "document-too-large")
        return
    # The run is kept in an item of DynamoDB, which holds at most 400 KB.
    kept = msgspec.json.encode(run_of(document))
    assert len(kept) < 390_000
    assert msgspec.json.decode(kept, type=Run).document == document
    for name, camera in document.cameras.items():
        assert is_name(name)
        mask = camera.ego_mask or ()
        assert len(mask) <= MAX_MASK_POINTS
        assert all(abs(x) <= MAX_COORDINATE and abs(y) <= MAX_COORDINATE for x, y in mask)
        assert 0.0 <= covered_share((0.0, 0.0, 100.0, 100.0), mask or [(0.0, 0.0)] * 3) <= 1.0


def nested(depth: int) -> bytes:
    return b'{"vehicle":"v","cameras":{"f":{"intrinsics":{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}}}}"


def deeper(calls: int, body: bytes) -> None:
    """Read a document `calls` frames further down the stack, as another caller may."""
    if calls:
        deeper(calls - 1, body)
    else:
        msgspec.json.decode(msgspec.json.encode(run_of(parse_drive_document(body, KEY))), type=Run)


def test_an_accepted_document_can_be_read_deep_in_the_stack() -> None:
    deeper(800, nested(MAX_DEPTH - 1))


@pytest.mark.parametrize("depth", [MAX_DEPTH, 100, 900, 980, 990, 1_000, 10_000, 120_000])
def test_a_deep_document_is_refused(depth: int) -> None:
    with pytest.raises(DocumentRefused):
        parse_drive_document(nested(depth), KEY)


def test_a_document_that_is_too_large_when_stored_is_refused() -> None:
    masks = ",".join(f'"c{i}":{{"ego_mask":[{",".join(["[9,9]"] * MAX_MASK_POINTS)}]}}' for i in range(82))
    body = b'{"vehicle":"v","cameras":{' + masks.encode() + b"}}"
    assert len(body) <= MAX_DOCUMENT_BYTES
    with pytest.raises(DocumentRefused, match="written out"):
        parse_drive_document(body, KEY)


def test_an_ego_mask_with_too_many_points_is_refused() -> None:
    mask = ",".join(["[1,2]"] * (MAX_MASK_POINTS + 1))
    with pytest.raises(DocumentRefused, match="more than 500 points"):
        parse_drive_document(f'{{"vehicle":"v","cameras":{{"f":{{"ego_mask":[{mask}]}}}}}}'.encode(), KEY)


@fuzz
@given(outside(MODELS))
def test_a_models_document_is_valid_for_the_service_or_refused(body: bytes) -> None:
    try:
        model = parse_model(body, "m.json")
    except DocumentRefused as e:
        assert_refusal(e, "model-schema", "unknown-class")
        return
    assert model.endpoint.isascii()
    assert len(model.id) <= 29
    assert set(model.classes.values()) <= current_taxonomy().colors.keys()
    assert parse_model(msgspec.json.encode(model), "m.json") == model


@fuzz
@given(outside([b'{"models":{"detector":"0001"},"active":["detector"]}']))
def test_a_broken_index_only_makes_the_catalogue_unavailable(body: bytes) -> None:
    objects = {CATALOGUE_KEY: body, "catalogue/models/detector/0001.json": MODELS[0]}
    catalogue = Catalogue(objects.get, lambda: 0.0)
    for ask in (catalogue.active_models, lambda: [catalogue.current("detector")]):
        with suppress(CatalogueUnavailable, DocumentRefused):
            assert all(model == DETECTOR for model in ask())
