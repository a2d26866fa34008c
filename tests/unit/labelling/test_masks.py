"""Masks of answers are brought to the frame's size from every form."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling import decoding, masks
from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.masks import AnswerMasks, bounds, decode, encode
from autolabel.labels.detections import Detection, repair_box
from autolabel.models.decoders import DecoderOptions, RawDetection
from autolabel.models.decoders.base import MaskPlace, Resized
from tests.fakes.answers import DETECTOR
from tests.fakes.bodies import (
    BODIES,
    CAR_BOX,
    CAR_MASK,
    HEIGHT,
    PERSON_BOX,
    PERSON_MASK,
    WIDTH,
    encoded,
    picture,
    rectangle,
)

WITH_MASKS = [name for name, (_, _, body) in BODIES.items() if b'"mask' in body or b'"segments"' in body]


def read(
    decoder: str, options: DecoderOptions, body: bytes, *, wanted: bool = True, size: int = 10_000_000
) -> list[Detection]:
    options = msgspec.structs.replace(options, masks=wanted)
    model = msgspec.structs.replace(DETECTOR, decoder=decoder, options=options)
    chunks = (body[at : at + size] for at in range(0, len(body), size))
    return decode_answer(chunks, model, WIDTH, HEIGHT)[0]


def bitmap(detection: Detection) -> Any:
    return decode(detection.mask, WIDTH, HEIGHT)


def iou(one: Any, other: Any) -> float:
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("size", [97, 10_000_000])
@pytest.mark.parametrize("name", WITH_MASKS)
def test_every_decoder_gives_the_same_masks_of_a_frame(name: str, size: int) -> None:
    car, person = read(*BODIES[name], size=size)
    assert (car.name, person.name) == ("car", "person")
    assert iou(bitmap(car), CAR_MASK) > 0.95
    assert iou(bitmap(person), PERSON_MASK) > 0.95
    assert car.box == pytest.approx(CAR_BOX)
    assert person.box == pytest.approx(PERSON_BOX)


@pytest.mark.parametrize("name", WITH_MASKS)
def test_a_large_answer_gives_the_same_as_a_small_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in (True, False):
        small = read(*BODIES[name], wanted=wanted)
        monkeypatch.setattr(decoding, "SMALL_ANSWER", 50)
        assert read(*BODIES[name], wanted=wanted, size=97) == small
        monkeypatch.undo()


@pytest.mark.parametrize("name", [name for name in BODIES if name != "hf image segmentation"])
def test_unwanted_masks_are_not_read(name: str) -> None:
    found = read(*BODIES[name], wanted=False)
    assert [one.name for one in found] == ["car", "person"]
    assert [one.mask for one in found] == ["", ""]


@pytest.mark.parametrize("name", [name for name in BODIES if name not in WITH_MASKS and name != "mapped"])
def test_an_answer_without_masks_still_has_boxes(name: str) -> None:
    assert [one.mask for one in read(*BODIES[name])] == ["", ""]


# Forms of a mask


def of(mask: Any, *, box: Any = CAR_BOX, **options: Any) -> list[Detection]:
    """Read one object with this mask, or with this JSON as its mask."""
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    thing = {"label": "car", "score": 0.5, "box": sides, "mask": msgspec.Raw(mask) if isinstance(mask, bytes) else mask}
    return read("hf-object-detection", msgspec.convert(options, DecoderOptions), encoded([thing]))


SOFT = [[0.5 + 0.25 * value if value else 0.25 for value in row] for row in CAR_MASK]


@pytest.mark.parametrize(
    "mask",
    [
        CAR_MASK,
        [CAR_MASK],
        [[bool(value) for value in row] for row in CAR_MASK],
        SOFT,
        json.dumps(CAR_MASK, indent=1).encode(),
        json.dumps([[value + 0.0 for value in row] for row in CAR_MASK]).encode(),
        picture(CAR_MASK),
    ],
    ids=["digits", "batch of one", "booleans", "probabilities", "indented", "floats", "picture"],
)
def test_a_mask_is_read_in_every_form(mask: Any) -> None:
    assert (bitmap(of(mask)[0]) == CAR_MASK).all()


@pytest.mark.parametrize(("threshold", "covered"), [(0.2, WIDTH * HEIGHT), (0.5, 5_000), (0.8, 0)])
def test_a_soft_mask_covers_pixels_at_or_above_the_threshold(threshold: float, covered: int) -> None:
    found = of(SOFT, mask_threshold=threshold)[0]
    assert (int(bitmap(found).sum()) if found.mask else 0) == covered


@pytest.mark.parametrize("mask", [b"null", [[0] * WIDTH] * HEIGHT, {"x": [], "y": []}, {"x": [1, 2], "y": [1, 2]}])
def test_an_object_whose_mask_covers_nothing_keeps_its_box(mask: Any) -> None:
    (found,) = of(mask)
    assert (found.box, found.mask) == (CAR_BOX, "")


def _with_a_broken_profile() -> bytes:
    """Make a picture with an empty colour profile after its data, where no reader expects one."""
    body = base64.b64decode(picture(CAR_MASK))
    profile = bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4)
    return body[:-12] + profile + body[-12:]


@pytest.mark.parametrize(
    "mask",
    [
        b"7",
        b"true",
        b"[]",
        b"[[]]",
        b'[["a"]]',
        b"[[1,0],[1]]",
        b"[[1.0,0.5],[1]]",
        b"[[1 0]]",
        b"[[1,,0]]",
        b'""',
        b'"no base64!"',
        b'"aGFsbG8="',
        b'{"x":[1,2,3],"y":[1,2]}',
        b'{"x":[1,2,3]}',
        b'"' + base64.b64encode(_with_a_broken_profile()) + b'"',
    ],
)
def test_an_invalid_mask_refuses_the_answer(mask: bytes) -> None:
    with pytest.raises(AnswerRefused) as refused:
        of(mask)
    assert refused.value.reason == "answer-unreadable"


def test_fewer_masks_than_objects_refuse_the_answer() -> None:
    decoder, options, body = BODIES["torchvision"]
    answer = {**msgspec.json.decode(body), "masks": [CAR_MASK]}
    with pytest.raises(AnswerRefused) as refused:
        read(decoder, options, encoded(answer))
    assert "more objects than masks" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_MASKS", 1), ("MAX_ENCODED_BYTES", 10), ("MAX_MASK_PIXELS", WIDTH * HEIGHT - 1)]
)
def test_masks_beyond_their_limits_refuse_the_answer(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, name, value)
    with pytest.raises(AnswerRefused) as refused:
        read(*BODIES["torchvision"])
    assert refused.value.reason == "answer-too-large"


@pytest.mark.parametrize("known", [True, False])
def test_an_object_without_a_mask_does_not_get_the_next_mask(known: bool) -> None:
    decoder, options, body = BODIES["hf object detection"]
    car, person = msgspec.json.decode(body)
    person["mask"] = PERSON_MASK
    if not known:
        person["label"] = "kite"
    found = read(decoder, options, encoded([car, person]))
    assert [bool(one.mask) for one in found] == ([False, True] if known else [False])
    assert not known or iou(bitmap(found[1]), PERSON_MASK) > 0.95


def test_an_object_with_two_masks_refuses_the_answer() -> None:
    with pytest.raises(AnswerRefused, match="two masks"):
        of(b'null,"mask":[[1]]')


def test_objects_without_masks_do_not_count_as_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MAX_MASKS", 1)
    decoder, options, body = BODIES["hf object detection"]
    car, person = msgspec.json.decode(body)
    assert len(read(decoder, options, encoded([car, car, {**person, "mask": PERSON_MASK}]))) == 3


def test_an_outline_outside_of_the_frame_ends_at_the_border() -> None:
    (found,) = of({"x": [-1e18, 1e18, 1e18, -1e18], "y": [-1e18, -1e18, 50, 50]})
    assert bitmap(found).sum() == WIDTH * 50
    assert bitmap(found)[:50].all()


# The place of a mask


@pytest.mark.parametrize(
    "resized", [None, Resized(), Resized(width=50, height=70), Resized(width=64, height=64, padded=True)], ids=str
)
def test_a_mask_of_the_models_input_is_scaled_to_the_frame(resized: Resized | None) -> None:
    options = DecoderOptions(resized=resized)
    area = (resized or Resized()).area(WIDTH, HEIGHT)
    x1, y1, x2, y2 = area.box
    across, down = (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT
    there = (x1 + CAR_BOX[0] * across, y1 + CAR_BOX[1] * down, x1 + CAR_BOX[2] * across, y1 + CAR_BOX[3] * down)
    mask = rectangle(tuple(round(side) for side in there), int(area.width), int(area.height))
    (found,) = of(mask, box=there, **({} if resized is None else {"resized": msgspec.to_builtins(resized)}))
    assert iou(bitmap(found), CAR_MASK) > 0.85
    assert options.on_frame(there, WIDTH, HEIGHT) == pytest.approx(CAR_BOX)


@pytest.mark.parametrize("box", [CAR_BOX, (-50, -25, 50, 25), (150, 75, 250, 125), (0.4, 0.4, 1.6, 1.6)], ids=str)
def test_a_mask_of_a_box_covers_its_part_in_the_frame(box: tuple[float, ...]) -> None:
    (found,) = of([[1] * 28] * 28, box=box, mask_area="box")
    x1, y1, x2, y2 = found.box
    expected = rectangle((round(x1), round(y1), round(x2), round(y2)))
    assert iou(bitmap(found), expected) > 0.99


@pytest.mark.parametrize("far", [1e10, 1e20, 1e300, 8e307])
@pytest.mark.parametrize("mask", [[[1] * 28] * 28, [[1]]], ids=len)
def test_an_extremely_large_box_has_no_mask(far: float, mask: Any) -> None:
    for box in ((-far, -far, far, far), (0.0, 0.0, far, 50.0)):
        (found,) = of(mask, box=box, mask_area="box")
        assert found.mask == ""


def test_a_mask_of_a_box_keeps_its_shape() -> None:
    (found,) = of([[1] * 28] * 14 + [[0] * 28] * 14, box=CAR_BOX, mask_area="box")
    assert iou(bitmap(found), rectangle((50, 25, 150, 50))) > 0.97


SIDE = st.integers(1, 40)


@given(st.integers(0, 2**32), SIDE, SIDE, SIDE, SIDE, st.sampled_from(["picture", "box"]), st.booleans())
def test_any_mask_can_be_placed_in_any_frame(
    seed: int, rows: int, columns: int, width: int, height: int, area: str, padded: bool
) -> None:
    rng = np.random.default_rng(seed)
    options = msgspec.convert({"masks": True, "mask_area": area}, DecoderOptions)
    taken = AnswerMasks(width, height, options)
    mask = rng.integers(0, 2, (rows, columns))
    taken.take(MaskPlace("mask", padded=padded), msgspec.json.encode(mask.tolist()))
    x1, y1 = rng.uniform(-50, 50, 2)
    x2, y2 = x1 + rng.uniform(0, 100), y1 + rng.uniform(0, 100)
    inside = repair_box((x1, y1, x2, y2), width, height)
    counts, box = taken.of_object(RawDetection("car", 0.5, (x1, y1, x2, y2), 0), inside)
    assert box == inside
    if counts:
        assert decode(counts, width, height).shape == (height, width)


@given(st.integers(0, 2**32), SIDE, SIDE)
def test_an_encoding_decodes_to_its_bitmap(seed: int, width: int, height: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.uint8)
    assert (decode(encode(mask), width, height) == mask).all()
    rows, columns = np.nonzero(mask)
    if rows.size:
        assert bounds(encode(mask), width, height) == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )
