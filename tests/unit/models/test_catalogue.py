"""Tests of the model catalogue."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused
from autolabel.models.catalogue import CATALOGUE_KEY, Catalogue, CatalogueIndex, Model, model_key, parse_model
from tests.fakes.answers import BLUR, DETECTOR

GOOD: dict[str, Any] = msgspec.to_builtins(DETECTOR)
SEGMENTS = Model("cutter", "0001", "cutter", "segmenter", {}, purpose="masks")


class Shelf:
    """A label bucket that counts reads, and a clock."""

    def __init__(self, *models: Model, **index: Any) -> None:
        self.objects = {model_key(model.id): msgspec.json.encode(model) for model in models}
        if index:
            self.objects[CATALOGUE_KEY] = msgspec.json.encode(CatalogueIndex(**index))
        self.reads: list[str] = []
        self.now = 0.0
        self.catalogue = Catalogue(self.read, lambda: self.now, ttl=30.0)

    def read(self, key: str) -> bytes | None:
        self.reads.append(key)
        return self.objects.get(key)


def test_a_bucket_without_a_catalogue_is_not_ready() -> None:
    with pytest.raises(CatalogueUnavailable, match=CATALOGUE_KEY):
        Shelf().catalogue.active_models()


def test_the_active_models_are_the_current_revisions() -> None:
    newer = msgspec.structs.replace(DETECTOR, revision="0002")
    shelf = Shelf(DETECTOR, newer, models={"detector": "0002"}, active=("detector",))
    assert shelf.catalogue.active_models() == [newer]
    assert shelf.catalogue.revision("detector.0001") == DETECTOR
    assert shelf.catalogue.revisions(["detector.0001", "detector.0002"]) == [DETECTOR, newer]


def test_a_model_of_views_labels_no_drive() -> None:
    shelf = Shelf(DETECTOR, BLUR, models={"detector": "0001", "blur": "0001"}, active=("blur", "detector"))
    assert shelf.catalogue.active_models() == [DETECTOR]


@pytest.mark.parametrize(
    ("purpose", "classes"), [("views", {"face": "head", "car": "car"}), ("labels", {"plate": "plate"})]
)
def test_a_model_maps_its_classes_to_those_of_its_purpose(purpose: str, classes: dict[str, str]) -> None:
    document = json.dumps(GOOD | {"purpose": purpose, "classes": classes}).encode()
    with pytest.raises(DocumentRefused, match="|".join(classes.values())):
        parse_model(document, "blur.json")


def test_a_model_of_masks_labels_nothing_and_names_no_class() -> None:
    shelf = Shelf(DETECTOR, SEGMENTS, models={"detector": "0001", "cutter": "0001"}, active=("cutter", "detector"))
    assert shelf.catalogue.active_models() == [DETECTOR]
    document = msgspec.to_builtins(SEGMENTS)
    for field in ({"classes": {"car": "car"}}, {"thresholds": {"car": 0.5}}, {"decoder": "yolo"}):
        with pytest.raises(DocumentRefused, match=r"any class|segmenter"):
            parse_model(json.dumps(document | field).encode(), "cutter.json")
    with pytest.raises(DocumentRefused, match="'segmenter' is unknown"):
        parse_model(json.dumps(GOOD | {"decoder": "segmenter"}).encode(), "detector.json")


def test_a_model_is_known_as_soon_as_it_is_added() -> None:
    shelf = Shelf(DETECTOR, models={"detector": "0001"}, active=("detector",))
    shelf.catalogue.current("detector")
    other = msgspec.structs.replace(DETECTOR, name="other")
    shelf.objects[model_key(other.id)] = msgspec.json.encode(other)
    shelf.objects[CATALOGUE_KEY] = msgspec.json.encode(CatalogueIndex({"detector": "0001", "other": "0001"}, ()))
    assert shelf.catalogue.current("other") == other


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    shelf = Shelf(DETECTOR, models={"detector": "0001"}, active=())
    with pytest.raises(DocumentRefused, match="detector") as refused:
        shelf.catalogue.current("other")
    assert refused.value.reason == "unknown-model"
    assert "'other'" in str(refused.value)


def test_an_active_model_without_entry_does_not_refuse_a_drive() -> None:
    shelf = Shelf(DETECTOR, models={"detector": "0001"}, active=("other",))
    with pytest.raises(CatalogueUnavailable, match="other"):
        shelf.catalogue.active_models()


def test_a_revision_without_its_document_is_reported_with_its_key() -> None:
    shelf = Shelf(models={"detector": "0003"}, active=("detector",))
    with pytest.raises(CatalogueUnavailable, match=r"catalogue/models/detector/0003\.json"):
        shelf.catalogue.active_models()


def test_the_index_is_read_again_after_its_time_and_revisions_never() -> None:
    shelf = Shelf(DETECTOR, models={"detector": "0001"}, active=("detector",))
    for now in (0.0, 10.0, 30.0):
        shelf.now = now
        shelf.catalogue.active_models()
    assert shelf.reads == [CATALOGUE_KEY, model_key(DETECTOR.id)]
    shelf.now = 30.5
    shelf.catalogue.active_models()
    assert shelf.reads == [CATALOGUE_KEY, model_key(DETECTOR.id), CATALOGUE_KEY]


def test_an_index_that_changes_meanwhile_does_not_remove_models() -> None:
    second = msgspec.structs.replace(DETECTOR, name="second")
    index = {"models": {"detector": "0001", "second": "0001"}, "active": ("detector", "second")}
    shelf = Shelf(DETECTOR, second, **index)

    def read(key: str) -> bytes | None:
        if key == model_key(DETECTOR.id):
            shelf.objects[CATALOGUE_KEY] = msgspec.json.encode(CatalogueIndex({"detector": "0001"}, ("detector",)))
            shelf.now += 60.0
        return shelf.read(key)

    assert Catalogue(read, lambda: shelf.now).active_models() == [DETECTOR, second]


def test_a_document_with_another_models_name_is_not_used() -> None:
    shelf = Shelf(models={"detector": "0001"}, active=())
    shelf.objects[model_key("detector.0001")] = msgspec.json.encode(msgspec.structs.replace(DETECTOR, revision="0009"))
    with pytest.raises(CatalogueUnavailable, match=r"detector\.0009"):
        shelf.catalogue.revision("detector.0001")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"models":{"a":5},"active":[]}', b"[" * 100_000])
def test_a_broken_index_is_reported_by_name(body: bytes) -> None:
    shelf = Shelf()
    shelf.objects[CATALOGUE_KEY] = body
    with pytest.raises(CatalogueUnavailable, match=CATALOGUE_KEY):
        shelf.catalogue.index()


def test_a_broken_document_is_reported_until_it_is_fixed() -> None:
    shelf = Shelf(models={"detector": "0001"}, active=("detector",))
    shelf.objects[model_key("detector.0001")] = b"{"
    with pytest.raises(CatalogueUnavailable, match=model_key("detector.0001")):
        shelf.catalogue.active_models()
    shelf.objects[model_key("detector.0001")] = msgspec.json.encode(DETECTOR)
    assert shelf.catalogue.active_models() == [DETECTOR]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "A"},
        {"name": "a_b"},
        {"name": "-a"},
        {"name": "a-"},
        {"name": "a" * 25},
        {"name": "a\n"},
        {"name": "a.b"},
        {"revision": "1"},
        {"revision": "00011"},
        {"revision": "０００１"},
        {"revision": "0001\n"},
        {"endpoint": ""},
        {"endpoint": "no endpoint!"},
        {"endpoint": "a" * 64},
        {"endpoint": "-a"},
        {"decoder": "unknown"},
        {"classes": {}},
        {"classes": {"car": "spaceship"}},
        {"classes": {"car": 5}},
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"thresholds": {"car": 2}},
        {"thresholds": {"spaceship": 0.5}},
        {"authority": ["bus"]},
        {"reach": {"classes": ["bus"]}},
        {"weight": 0.0},
        {"weight": 5e-324},
        {"calibration": {"car": {"slope": -1}}},
        {"calibration": {"car": {"recall": 1.1}}},
        {"calibration": {"car": {"shift": [0, 0, 0.3, 0]}}},
        {"calibration": {"car": {"shift": [0, 0, 0]}}},
        {"calibration": {"spaceship": {}}},
        {"invocation_timeout": 0},
        {"invocation_timeout": 3601},
        {"queue_ttl": 59},
        {"queue_ttl": 21601},
        {"content_type": "x" * 1025},
        {"accept": "é"},
        {"accept": "a\r\nX-Evil: 1"},
        {"unknown": 1},
    ],
    ids=lambda change: ascii(change)[:50],
)
def test_a_document_that_breaks_its_schema_is_refused_with_its_origin(change: dict[str, Any]) -> None:
    with pytest.raises(DocumentRefused, match=r"models/x\.json"):
        parse_model(json.dumps({**GOOD, **change}).encode(), "models/x.json")


def test_a_class_may_have_its_own_threshold() -> None:
    model = parse_model(json.dumps({**GOOD, "threshold": 0.3, "thresholds": {"person": 0.1}}).encode(), "x")
    assert (model.threshold_of("person"), model.threshold_of("car")) == (0.1, 0.3)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
NEARLY = st.fixed_dictionaries({}, optional={name: st.just(value) | ANYTHING for name, value in GOOD.items()}).map(
    lambda some: {**GOOD, **some}
)


@given(st.binary(max_size=200) | (ANYTHING | NEARLY).map(lambda value: json.dumps(value).encode()))
def test_every_document_is_read_or_refused(body: bytes) -> None:
    try:
        model = parse_model(body, "x.json")
    except DocumentRefused as e:
        assert "x.json" in str(e)  # noqa: PT017 - a refusal is a valid result
    else:
        assert parse_model(msgspec.json.encode(model), "again") == model
