"""Tests of the check of failed frames: which are looked at, and when it stops."""

from __future__ import annotations

import pytest

from autolabel.labels import failed_frames
from autolabel.labels.failed_frames import MAX_WHOLE, FrameCheck
from autolabel.labels.frame_reader import FrameReader
from tests.fakes.bucket import FakeBucket
from tests.fakes.images import encoded, jpeg, png

WHOLE, CUT = png(), png()[:-20]


def refusals(bodies: list[bytes]) -> tuple[list[str], int]:
    """Check these frames in turn; return the reasons, empty for whole pictures, and the number of reads."""
    check, reasons, reads = FrameCheck(), [], list[int]()
    for index, body in enumerate(bodies):
        refused = check.refusal(lambda start, count, body=body: (reads.append(start), body)[1], str(index))
        reasons.append(refused.reason if refused else "")
    return reasons, len(reads)


def test_a_frame_that_is_no_whole_picture_is_refused_by_name() -> None:
    bodies = [WHOLE, CUT, jpeg(orientation=6), encoded("GIF"), jpeg() + b"more", jpeg()[:-2]]
    assert refusals(bodies)[0] == ["", "image-truncated", "rotated", "not-an-image", "", "image-truncated"]


def test_a_frame_that_changed_is_refused() -> None:
    refused = FrameCheck().refusal(FrameReader(FakeBucket("ingest"), "drives/x", "e"), "drives/x")
    assert refused
    assert refused.reason == "frame-changed"


def test_after_many_whole_pictures_in_a_row_no_more_are_read() -> None:
    assert refusals([WHOLE] * 1_000) == ([""] * 1_000, MAX_WHOLE)
    # A picture that was lost now and then is found.
    mixed = ([WHOLE] * (MAX_WHOLE - 1) + [CUT]) * 5
    reasons, reads = refusals(mixed)
    assert reads == len(mixed)
    assert reasons.count("image-truncated") == 5


def test_a_check_ends_with_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_frames, "MAX_WORK", 10 * len(CUT))
    assert refusals([CUT] * 100) == (["image-truncated"] * 10 + [""] * 90, 10)
