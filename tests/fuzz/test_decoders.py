"""Mutated answers of every family become boxes and masks inside the frame, or are refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling.decoding import decode_answer
from autolabel.labelling.masks import decode
from autolabel.labelling.segmentation_map import mask_document, segmentation_picture
from autolabel.labels.detections import Detections
from autolabel.models.decoders.base import MAX_OBJECTS
from tests.fakes.answers import DETECTOR
from tests.fakes.bodies import BODIES, HEIGHT, WIDTH, rectangle
from tests.fuzz.mutations import fuzz_slow, outside
from tests.fuzz.refusals import assert_refusal
from tests.fuzz.test_answers import LABELS, pieces

REASONS = ("answer-unreadable", "answer-truncated", "answer-too-large", "answer-not-finite")
# The smallest masks leave room for mutations elsewhere.
TINY = msgspec.json.encode(rectangle((0, 0, 2, 1), 3, 2))
OUTLINE = msgspec.json.encode({"x": [0, 9, 9], "y": [0, 0, 9]})


def samples(name: str) -> list[bytes]:
    """The family's answer, and the same with tiny masks."""
    body = BODIES[name][2]
    value = msgspec.json.decode(body)
    for thing in value if isinstance(value, list) else [value]:
        if isinstance(thing, dict):
            if "masks" in thing:
                thing["masks"] = [msgspec.Raw(TINY)] * len(thing["masks"])
            for key in thing.keys() & {"mask", "segments"}:
                thing[key] = msgspec.Raw(TINY if key == "mask" else OUTLINE)
    return [body, msgspec.json.encode(value)]


@pytest.mark.parametrize("name", BODIES)
def test_answers_of_every_family_are_inside_the_frame_or_refused(name: str) -> None:
    decoder, options, _ = BODIES[name]
    given_bodies = samples(name)

    @fuzz_slow
    @given(outside(given_bodies), st.sampled_from([7, 1_000, 10_000_000]), st.booleans(), st.booleans())
    def hold(body: bytes, size: int, masks: bool, small_frame: bool) -> None:
        width, height = (5, 3) if small_frame else (WIDTH, HEIGHT)
        wanted = msgspec.structs.replace(options, masks=masks, mask_area="box" if small_frame else "picture")
        model = msgspec.structs.replace(DETECTOR, decoder=decoder, options=wanted)
        try:
            found, dropped, _ = decode_answer(pieces(body, size), model, width, height)
        except AnswerRefused as e:
            assert_refusal(e, *REASONS)
            return
        assert len(found) + dropped.total() <= MAX_OBJECTS
        # Raises unless every box is inside the frame and every score between 0 and 1.
        detections = Detections(width, height, tuple(found))
        for one in found:
            assert one.name in LABELS
            assert masks or not one.mask
            if one.mask:
                assert decode(one.mask, width, height).any()
        if masks:
            few = Detections(width, height, detections.items[:5])
            assert segmentation_picture(few, LABELS)
            assert mask_document("k", few)

    hold()
