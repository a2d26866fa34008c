"""Tests of drive.json, the document that closes a drive."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES, DriveDocument, Run, execution_name, parse_drive_document
from autolabel.contracts.errors import DocumentRefused
from autolabel.contracts.verification import VerifyAll
from autolabel.labelling.ego_mask import covered_share

KEY = "drives/d1/drive.json"
LEAST = {"vehicle": "car-1", "cameras": {"front": {}}}


def parse(document: object) -> DriveDocument:
    return parse_drive_document(json.dumps(document).encode(), KEY)


def test_the_smallest_document_names_a_vehicle_and_a_camera() -> None:
    document = parse(LEAST)
    assert document.vehicle == "car-1"
    assert list(document.cameras) == ["front"]
    assert (document.models, document.verification, document.notes) == (None, VerifyAll(), ())


def test_every_field_of_a_document_is_kept() -> None:
    camera = {
        "expected_frames": 0,
        "ego_mask": [[0, 700], [1280, 700.5], [640, 650]],
        "intrinsics": {"fx": 1000.5, "distortion": [0, None, {"k": "v"}]},
        "extrinsics": {"x": 1},
    }
    full = {**LEAST, "cameras": {"front": camera}, "models": ["m"], "verification": {"policy": "all"}, "notes": ["é"]}
    document = parse(full)
    assert document.cameras["front"].ego_mask == ((0.0, 700.0), (1280.0, 700.5), (640.0, 650.0))
    assert document.cameras["front"].intrinsics == camera["intrinsics"]
    assert document.models == ("m",)
    assert document.notes == ("é",)


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"vehicle":"\xff","cameras":{}}',
    "UTF-16": json.dumps(LEAST).encode("utf-16"),
    "two documents": b"{}{}",
    "a depth bomb": b"[" * 200_000,
    "a depth bomb where anything goes": b'{"vehicle":"c","cameras":{"f":{"intrinsics":{"a":' + b"[" * 50_000,
    "a number beyond floats": b'{"vehicle":"c","cameras":{"f":{"ego_mask":[[1e999,0],[0,0],[1,1]]}}}',
    "NaN": b'{"vehicle":"c","cameras":{"f":{"ego_mask":[[NaN,0],[0,0],[1,1]]}}}',
    "too large": b'{"vehicle":"' + b"x" * MAX_DOCUMENT_BYTES + b'"}',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_a_body_that_is_not_a_document_is_refused_by_its_key(body: bytes) -> None:
    with pytest.raises(DocumentRefused, match=re.escape(KEY)):
        parse_drive_document(body, KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"vehicle": None},
        {"vehicle": 5},
        {"cameras": {}},
        {"cameras": []},
        {"cameras": {"front": None}},
        {"cameras": {"": {}}},
        {"cameras": {"logs": {}}},
        {"cameras": {"front left": {}}},
        {"cameras": {"front\n": {}}},
        {"cameras": {"front": {"ego_mask": []}}},
        {"cameras": {"front": {"ego_mask": [[0, 0], [1, 1]]}}},
        {"cameras": {"front": {"ego_mask": [[0, 0], [1, 1], [1]]}}},
        {"cameras": {"front": {"ego_mask": [[0, 0], [1, 1], ["1", 2]]}}},
        {"cameras": {"front": {"expected_frames": -1}}},
        {"cameras": {"front": {"expected_frames": 1.5}}},
        {"cameras": {"front": {"expected_frames": "7"}}},
        {"cameras": {"front": {"unknown": 1}}},
        {"models": ["a", "a"]},
        {"models": []},
        {"models": list("abcdefghi")},
        {"models": "a"},
        {"verification": {"policy": "never"}},
        {"verification": {"policy": "none", "reviewers": 2}},
        {"verification": "all"},
        {"verification": {"policy": "all", "task": "polygons"}},
        {"verification": {"policy": "all", "task": "segments", "back_end": "label-studio"}},
        {"verification": {"policy": "doubtful", "task": "segments"}},
        {"verification": {"policy": "key-frames", "task": "segments"}},
        {"verification": {"policy": "key-frames", "iou": 1.0}},
        {"verification": {"policy": "key-frames"}, "tracks": False},
        {"verification": {"policy": "all", "task": "tracks", "back_end": "label-studio"}},
        {"verification": {"policy": "key-frames", "task": "tracks"}},
        {"verification": {"policy": "doubtful", "task": "tracks", "vigilance": True}},
        {"verification": {"policy": "doubtful", "task": "tracks", "reviewers": 2}},
        {"verification": {"policy": "all", "task": "tracks"}, "tracks": False},
        {"verification": {"policy": "all", "task": "segments", "reviewers": 2}},
        {"verification": {"policy": "all", "reviewers": 0}},
        {"verification": {"policy": "doubtful", "reviewers": 6}},
        {"verification": {"policy": "all", "reviewers": 2, "reviewers_share": 0}},
        {"verification": {"policy": "all", "vigilance": 0.02}},
        {"verification": {"policy": "all", "vigilance": 0}},
        {"verification": {"policy": "all", "vigilance": "yes"}},
        {"verification": {"policy": "all", "task": "segments", "vigilance": True}},
        {"verification": {"policy": "all", "task": "tracks", "vigilance": 0.02}},
        {"notes": "text"},
        {"cuboids": True},
        {"cuboids": "yes", "lidars": {"top": {}}},
        {"camera": {}},
    ],
    ids=json.dumps,
)
def test_a_document_that_breaks_its_schema_is_refused_with_the_field(change: dict[str, object]) -> None:
    with pytest.raises(DocumentRefused) as refused:
        parse({**LEAST, **change})
    assert refused.value.reason == "document-schema"
    assert str(refused.value).startswith(KEY)


@pytest.mark.parametrize("change", [{"policy": "sometimes"}, {"policy": "all", "back_end": "cvat"}], ids=json.dumps)
def test_an_unknown_policy_or_back_end_is_refused_with_the_known_ones(change: dict[str, str]) -> None:
    with pytest.raises(
        DocumentRefused, match=r"policies all, none, doubtful, key-frames, the back-ends ground-truth, label-studio"
    ):
        parse({**LEAST, "verification": change})


@pytest.mark.parametrize("depth", [100, 400, 700, 900, 950, 980, 990, 1000, 1100, 5000])
def test_a_deep_document_is_refused_or_kept_whole(depth: int) -> None:
    body = b'{"vehicle":"c","cameras":{"f":{"intrinsics":{"a":' + b"[" * depth + b"]" * depth + b"}}}}"
    with suppress(DocumentRefused):
        document = parse_drive_document(body, KEY)
        assert msgspec.json.decode(msgspec.json.encode(document), type=DriveDocument) == document


@pytest.mark.parametrize("far", [1e4, 1e9, 1e300, 1.7e308])
def test_a_mask_with_huge_coordinates_is_refused_or_covers_its_area(far: float) -> None:
    mask = [[far, far], [-far, far], [0, far]]
    with suppress(DocumentRefused):
        corners = parse({**LEAST, "cameras": {"front": {"ego_mask": mask}}}).cameras["front"].ego_mask
        assert corners is not None
        assert covered_share((0, 0, 10, 10), corners) == 0.0


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=10,
)
CAMERA = st.fixed_dictionaries(
    {},
    optional={
        "expected_frames": st.integers(0, 10**30) | ANYTHING,
        "ego_mask": st.lists(st.tuples(st.floats(), st.integers() | st.floats(allow_nan=False)), max_size=5) | ANYTHING,
        "intrinsics": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3),
        "extrinsics": ANYTHING,
    },
)
NEARLY = st.fixed_dictionaries(
    {
        "vehicle": st.text(max_size=5) | ANYTHING,
        "cameras": st.dictionaries(st.just("front") | st.text(max_size=5), CAMERA | ANYTHING, max_size=3) | ANYTHING,
    },
    optional={
        "models": st.lists(st.text(max_size=5), max_size=2) | ANYTHING,
        "verification": st.just({"policy": "all"}) | ANYTHING,
        "notes": st.lists(st.text(max_size=9), max_size=3) | ANYTHING,
        "more": ANYTHING,
    },
)


@given(st.binary(max_size=300) | (ANYTHING | NEARLY).map(lambda value: json.dumps(value).encode()))
def test_every_document_is_read_whole_or_refused(body: bytes) -> None:
    try:
        document = parse_drive_document(body, KEY)
    except DocumentRefused as e:
        assert str(e).startswith(KEY)  # noqa: PT017 - a refusal is a valid result
    else:
        # An accepted document can be stored with its run and read again.
        run = Run("d1", "0001", document, "e", ("m.0001",), "2026.1", ("car",))
        assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
        assert document.cameras


def test_the_largest_document_fits_into_the_ledger() -> None:
    # An item of DynamoDB has at most 400 KB.
    assert MAX_DOCUMENT_BYTES < 390_000
    padding = "x" * (MAX_DOCUMENT_BYTES - len(json.dumps({**LEAST, "notes": [""]})))
    document = parse({**LEAST, "notes": [padding]})
    run = Run("d1", "0001", document, "e", ("m.0001",), "2026.1", ("car",))
    assert len(msgspec.json.encode(run)) < 390_000


@pytest.mark.parametrize("task", ["boxes", "tracks"])
def test_boxes_and_tracks_take_several_reviewers_and_seeds_beside_them(task: str) -> None:
    wanted = {"policy": "all", "task": task, "reviewers": 5, "reviewers_share": 0.5, "vigilance": True}
    document = {"vehicle": "golf-7", "cameras": {"front": {}}, "verification": wanted}
    policy = parse_drive_document(json.dumps(document).encode(), KEY).verification
    assert (policy.task, policy.reviewers, policy.vigilance) == (task, 5, True)


def test_each_run_has_its_own_name_and_folder() -> None:
    assert execution_name("d" * 63, "0001") == "d" * 63 + "-0001"
    assert len(execution_name("d" * 63, "0001")) <= 80
