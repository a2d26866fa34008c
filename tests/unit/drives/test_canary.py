"""The canary: a small drive that must end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.frames import is_name, parse_frame_key
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import VerifyNone
from autolabel.drives.canary import FRAMES, draw_frame, hours_of_canary, is_canary, start_canary
from autolabel.labels.image_pixels import as_rgb, open_pixels
from tests.fakes.bucket import FakeBucket

HOUR = 3_600
NOW = 1_800_000_000.0


def test_a_canary_is_a_whole_drive_and_a_doubled_schedule_puts_the_same_bytes() -> None:
    ingest = FakeBucket("ingest")
    drive = start_canary(ingest, NOW)
    before = dict(ingest.objects)
    assert start_canary(ingest, NOW + 5) == drive
    assert dict(ingest.objects) == before
    assert is_name(drive)
    assert is_canary(drive)
    key = f"drives/{drive}/drive.json"
    document = parse_drive_document(before.pop(key), key)
    assert (document.verification, document.cameras["front"].expected_frames) == (VerifyNone(), FRAMES)
    assert {parse_frame_key(frame).drive for frame in before} == {drive}
    # No frame has an answer from another night.
    start_canary(ingest, NOW + 24 * HOUR)
    assert len({body for name, body in ingest.objects.items() if name.endswith(".png")}) == 2 * FRAMES


def test_canaries_count_until_one_has_a_dataset() -> None:
    ingest, labels = FakeBucket("ingest"), FakeBucket("labels")
    assert hours_of_canary(ingest, labels, NOW) == 0
    drives = [start_canary(ingest, NOW + day * 24 * HOUR) for day in range(2)]
    labels.write(RunFolder(drives[1], "0001").prefix + "verification/dataset.manifest", b"")
    assert hours_of_canary(ingest, labels, NOW + 27 * HOUR) == pytest.approx(27, abs=1)
    labels.write(RunFolder(drives[0], "0001").dataset, b"")
    assert hours_of_canary(ingest, labels, NOW + 27 * HOUR) == pytest.approx(3, abs=1)
    # Another drive under the canaries' name is not one.
    ingest.write("drives/autolabel-canary_x/front/1.png", b"")
    assert hours_of_canary(ingest, labels, NOW + 27 * HOUR) > 0
    # A run that was labelled again counts as well.
    labels.write(RunFolder(drives[1], "0002").dataset, b"")
    assert hours_of_canary(ingest, labels, NOW + 27 * HOUR) == 0
    assert hours_of_canary(ingest, labels, NOW + 99 * HOUR) == 0


def test_canaries_of_every_hour_do_not_hide_that_none_ends() -> None:
    ingest, labels = FakeBucket("ingest"), FakeBucket("labels")
    drives = [start_canary(ingest, NOW + hour * HOUR) for hour in range(6)]
    labels.write(RunFolder(drives[0], "0001").dataset, b"")
    assert hours_of_canary(ingest, labels, NOW + 5 * HOUR) == pytest.approx(4, abs=1)


@given(st.integers(0, 2**40), st.integers(0, FRAMES - 1))
def test_a_frame_is_a_whole_picture(seed: int, index: int) -> None:
    with open_pixels(draw_frame(seed, index), "a canary") as picture:
        assert as_rgb(picture).size == (640, 360)
