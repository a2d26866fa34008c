"""What reviewers left in two key frames is the label of the frames between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from autolabel.contracts.verification import BETWEEN, BLIND_AUDIT, KEY_FRAME
from autolabel.datasets.in_between import UNLABELLED_KEY, label_between
from autolabel.datasets.joining import carry_tracks
from autolabel.labels.manifest import LabelledBox, LabelledBy, ManifestLine, Origin, PrelabelTracks
from tests.fakes.lines import LABELS, Boxed, line, parsed

SHOWN = LabelledBy.MODEL_AND_PERSON
# A car that moves to the right, and a person who stands.
CAR, PERSON = ("car", 100.0, 50.0, 200.0, 150.0), ("person", 400.0, 50.0, 440.0, 150.0)


def at(index: int) -> list[Boxed]:
    name, left, top, right, bottom = CAR
    return [(name, left + 10 * index, top, right + 10 * index, bottom), PERSON]


def moved(box: Boxed, pixels: float, name: str = "") -> Boxed:
    was, left, top, right, bottom = box
    return (name or was, left + pixels, top, right + pixels, bottom)


def frame(index: int, left: Sequence[Boxed] | None = None, by: LabelledBy = SHOWN, kind: str = "") -> ManifestLine:
    """A frame of a strip of tracks `a` and `b`. `left`: what reviewers left in it."""
    body: dict[str, Any] = json.loads(line(index, at(index)))
    body["provenance"] |= {"timestamp": str(index), "triage": kind or BETWEEN}
    if left is not None:
        label = json.loads(line(index, left))
        body |= {"verified": label["prelabel"], "verified-metadata": label["prelabel-metadata"]}
        body["provenance"] |= {"labelled-by": by, "triage": kind or KEY_FRAME}
    one = parsed(body)
    one.prelabel_tracks = PrelabelTracks(("a", "b"), (Origin.MODEL, Origin.INTERPOLATED))
    one.tracks, one.origins = carry_tracks(one, one.prelabel_tracks)
    return one


def between(before: ManifestLine, after: ManifestLine, index: int = 1) -> ManifestLine:
    lines = [before, frame(index), after]
    assert list(label_between(lines, LABELS)) == [None] * 3
    return lines[1]


def labelled(one: ManifestLine) -> list[tuple[str, float, float]]:
    return [(box.name, box.left, box.left + box.width) for box in one.verified_boxes]


def test_corrections_are_interpolated_and_added_to_the_models_boxes() -> None:
    one = between(frame(0, [moved(CAR, 8), PERSON]), frame(4, [moved(at(4)[0], -8), PERSON]), index=1)
    assert labelled(one) == [("car", 114, 214), ("person", 400, 440)]
    assert (one.tracks, one.origins) == (("a", "b"), (Origin.INTERPOLATED, Origin.INTERPOLATED))
    assert one.origin.labelled_by == LabelledBy.MODEL
    assert one.verified_metadata is not UNSET
    assert json.loads(bytes(one.verified_metadata))["human-annotated"] == "no"


@pytest.mark.parametrize(
    ("before", "after", "expected", "origins"),
    [
        ([PERSON], [PERSON], [("person", 400, 440)], ["interpolated"]),
        ([PERSON], [at(4)[0], PERSON], [("car", 110, 210), ("person", 400, 440)], ["model", "interpolated"]),
        ([CAR], [at(4)[0], PERSON], [("car", 110, 210), ("person", 400, 440)], ["interpolated", "interpolated"]),
        (
            [moved(CAR, 0, "traffic light"), PERSON],
            [moved(at(4)[0], 0, "traffic light"), PERSON],
            [("traffic light", 110, 210), ("person", 400, 440)],
            ["interpolated", "interpolated"],
        ),
        (
            [moved(CAR, 0, "traffic light"), PERSON],
            at(4),
            [("car", 110, 210), ("person", 400, 440)],
            ["model", "interpolated"],
        ),
        ([], [], [], []),
    ],
    ids=["deleted", "deleted once", "a filled box deleted once", "renamed", "renamed once", "all deleted"],
)
def test_a_change_counts_between_if_both_key_frames_have_it(
    before: list[Boxed], after: list[Boxed], expected: list[tuple[str, int, int]], origins: list[str]
) -> None:
    one = between(frame(0, before), frame(4, after))
    assert labelled(one) == expected
    assert one.origins == tuple(map(Origin, origins))


def test_a_track_that_reviewers_of_an_earlier_run_made_corrects_none_of_the_models() -> None:
    kept = frame(0, [moved(CAR, 8), PERSON])
    kept.tracks = ("made by a reviewer", "b")
    one = between(kept, frame(4, [moved(at(4)[0], -8), PERSON]))
    assert labelled(one) == [("car", 110, 210), ("person", 400, 440)]


def test_a_frame_beside_a_key_frame_without_a_label_has_none() -> None:
    key = frame(4)
    key.origin.triage, key.origin.labelled_by = KEY_FRAME, LabelledBy.NOBODY
    one = between(frame(0, at(0)), key)
    assert (one.origin.labelled_by, one.origin.verification) == (LabelledBy.NOBODY, UNLABELLED_KEY)
    with pytest.raises(ValueError, match="verified"):
        assert one.verified_boxes


def test_a_frame_beside_a_scripts_label_is_a_scripts() -> None:
    one = between(frame(0, at(0)), frame(4, at(4), LabelledBy.SCRIPT))
    assert one.origin.labelled_by == LabelledBy.SCRIPT


def test_a_blind_frame_keeps_its_label_and_is_told_to_what_the_key_frames_lead() -> None:
    def lead(by: LabelledBy) -> list[LabelledBox] | None:
        blind = frame(1, [PERSON], LabelledBy.PERSON, BLIND_AUDIT)
        lines = [frame(0, [moved(CAR, 8), PERSON], by), blind, frame(2), frame(4, at(4))]
        expected = list(label_between(lines, LABELS))
        assert labelled(blind) == [("person", 400, 440)]
        # The blind frame is not a key frame: its neighbour is labelled as without it.
        assert labelled(lines[2])[0] == ("car", 124, 224)
        assert expected[0] is expected[2] is expected[3] is None
        return expected[1]

    assert [box.left for box in lead(SHOWN) or ()] == [116, 400]
    # A script's labels do not count as evidence.
    assert lead(LabelledBy.SCRIPT) is None


@given(st.lists(st.integers(-20, 20), min_size=8, max_size=8), st.integers(1, 3))
def test_a_box_between_is_inside_the_picture(shifts: list[int], index: int) -> None:
    def corrected(number: int, by: list[int]) -> ManifestLine:
        # At the left edge of the picture, and over it.
        (name, *sides), person = at(number)
        left, top, right, bottom = (side + shift for side, shift in zip(sides, by, strict=True))
        return frame(number, [(name, max(0.0, left), top, right, bottom), person])

    one = between(corrected(0, shifts[:4]), corrected(4, shifts[4:]), index)
    for box in one.verified_boxes:
        assert 0 <= box.left < box.left + box.width <= one.size.width
        assert 0 <= box.top < box.top + box.height <= one.size.height
