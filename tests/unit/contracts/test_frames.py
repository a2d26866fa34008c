"""Tests of object keys, the contract between fleets and the pipeline."""

from __future__ import annotations

import os
import re
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import (
    MAX_SOURCE,
    DriveDocumentKey,
    FrameKey,
    PointCloudKey,
    decode_event_key,
    decode_source,
    drive_of,
    encode_source,
    is_name,
    is_point_cloud,
    list_frame,
    parse_frame_key,
    parse_key,
)

STAMP = "1700000000000000000"
GOOD = f"drives/d1/front/{STAMP}.png"


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(KeyRefused):
        parse_key("")


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg"])
def test_a_frame_is_named_by_drive_camera_and_timestamp(extension: str) -> None:
    key = f"drives/d1/front-left/{STAMP}.{extension}"
    frame = parse_key(key)
    assert frame == FrameKey("d1", "front-left", STAMP, extension)
    assert frame.key == key
    assert frame.position == f"front-left/{STAMP}"


def test_a_point_cloud_is_no_frame_and_no_error() -> None:
    key = f"drives/d1/top/{STAMP}.bin"
    parsed = parse_key(key)
    assert parsed == PointCloudKey("d1", "top", STAMP)
    assert parsed.key == key
    assert is_point_cloud(key)
    with pytest.raises(KeyRefused, match="point cloud"):
        parse_frame_key(key)
    for other in (key.replace("top", "logs"), key.replace("d1", "logs"), key + "x", key.replace(STAMP, "1")):
        assert not is_point_cloud(other)


def test_a_drive_document_is_distinguished_from_frames() -> None:
    assert parse_key("drives/d1/drive.json") == DriveDocumentKey("d1")
    with pytest.raises(KeyRefused, match="document"):
        parse_frame_key("drives/d1/drive.json")


@pytest.mark.parametrize("name", ["a", "Z", "0", "a" * 63, "a_-b", "DRIVE", "Logs", "logs1"])
def test_a_good_name_may_name_a_drive_or_camera(name: str) -> None:
    assert is_name(name)
    assert parse_frame_key(f"drives/{name}/{name}/{STAMP}.png").drive == name


# Look-alikes: Cyrillic a, full-width 1, Arabic-Indic 1.
LOOK_ALIKES = ["\u0430", "\uff11", "\u0661"]
BAD_NAMES = [
    "",
    "logs",
    "-a",
    "_a",
    "a" * 64,
    "a.b",
    "a b",
    "a/b",
    "..",
    "é",
    "a\n",
    "a\x00",
    "a+b",
    "a%",
    *LOOK_ALIKES,
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_bad_name_may_not_name_a_drive_or_camera(name: str) -> None:
    assert not is_name(name)
    for key in (f"drives/{name}/front/{STAMP}.png", f"drives/d1/{name}/{STAMP}.png", f"drives/{name}/drive.json"):
        if key in (f"drives/a/b/front/{STAMP}.png", "drives/d1/drive.json"):
            continue
        with pytest.raises(KeyRefused):
            parse_key(key)


@pytest.mark.parametrize(
    "key",
    [
        GOOD + "\n",
        "\n" + GOOD,
        GOOD + "\r\n",
        GOOD + " ",
        " " + GOOD,
        "/" + GOOD,
        GOOD + "/",
        GOOD.replace("drives/", "Drives/"),
        GOOD.replace("drives/", "drives//"),
        GOOD.replace("drives/", "drives/../"),
        GOOD.replace("front/", "front/./"),
        GOOD.replace(".png", ".PNG"),
        GOOD.replace(".png", ".gif"),
        GOOD.replace(".png", ""),
        GOOD.replace(".png", ".png.png"),
        GOOD.replace(".png", ".png.bin"),
        GOOD.replace("front", "logs").replace("png", "bin") + "/",
        GOOD.replace(STAMP, STAMP[1:]),
        GOOD.replace(STAMP, STAMP + "0"),
        GOOD.replace(STAMP, "-" + STAMP[1:]),
        GOOD.replace(STAMP, "".join(chr(0x0660 + int(digit)) for digit in STAMP)),
        GOOD.replace(STAMP, "".join(chr(0xFF10 + int(digit)) for digit in STAMP)),
        GOOD.replace("/", "\\"),
        GOOD.replace("/", "\u2215"),
        GOOD.replace("png", "\uff50ng"),
        "drives/d1/drive.json\n",
        "drives/d1/Drive.json",
        "drives/d1/front/drive.json",
        "drives/drive.json",
        "drives/d1/",
        "d" * 1024,
    ],
    ids=ascii,
)
def test_a_key_that_is_almost_right_is_refused_by_name(key: str) -> None:
    with pytest.raises(KeyRefused) as refused:
        parse_key(key)
    assert refused.value.reason == "key-outside-contract"
    assert repr(key)[1:30] in str(refused.value)


def test_a_refusal_shows_the_beginning_of_a_long_key() -> None:
    with pytest.raises(KeyRefused) as refused:
        parse_key("x" * 100_000)
    assert len(str(refused.value)) < 400


NEAR_KEYS = st.lists(
    st.sampled_from(
        ["drives", "/", "d1", "front", STAMP, ".png", ".jpg", ".bin", "drive.json", "logs", "..", "\n", "\x00", "é"]
    )
    | st.text(max_size=3),
    max_size=10,
).map("".join)


@given(st.text(max_size=1100) | NEAR_KEYS)
@example("drives/d1/front/" + "0" * 1008)
@example("é" * 512)
def test_every_key_is_read_or_refused(key: str) -> None:
    try:
        parsed = parse_key(key)
    except KeyRefused:
        assert not re.fullmatch(r"drives/[a-z0-9]{1,9}/[a-km-z0-9]{1,9}/[0-9]{19}\.png", key) or "/logs/" in key
    else:
        drive = parsed.drive
        assert drive_of(key) == drive
        assert key.isascii()
        assert key == (parsed.key if isinstance(parsed, FrameKey | PointCloudKey) else f"drives/{drive}/drive.json")


@given(st.text(max_size=60) | NEAR_KEYS, st.integers(0, 50_000_000))
def test_every_object_is_listed_as_a_frame_or_with_a_reason(key: str, size: int) -> None:
    line, frame = list_frame(key, "e", size, previous=None, cameras=frozenset({"front"}))
    assert line.key == key
    assert (frame is None) == bool(line.refused) == bool(line.detail)


@given(st.text(max_size=80))
@example("a+b%2Bc%252Bd é")
def test_an_events_key_is_decoded_once(key: str) -> None:
    assert decode_event_key(quote_plus(key, safe="/*")) == key


def test_a_key_encoded_twice_stays_encoded_once() -> None:
    assert decode_event_key("drives/d1/front/a%2520b.png") == "drives/d1/front/a%20b.png"


@pytest.mark.parametrize(
    ("key", "drive"),
    [
        ("drives/d1/whatever/é.txt", "d1"),
        ("drives/d1/", "d1"),
        ("drives/d1", None),
        ("drives/logs/x", None),
        ("drives//x", None),
        ("elsewhere/d1/x", None),
        ("", None),
    ],
)
def test_the_drive_of_a_bad_key_in_its_folder_is_known(key: str, drive: str | None) -> None:
    assert drive_of(key) == drive


@given(st.text(max_size=150))
@example("IMG 0007 (1).jpg")
@example("Straße %41+電.png")
@example("clip.mp4, frame 12")
def test_the_name_of_a_source_file_comes_back_from_ascii(name: str) -> None:
    encoded = encode_source(name)
    assert re.fullmatch(r"[!-~]*", encoded)
    if name.isprintable():
        assert decode_source(encoded) == name


@given(st.text(max_size=2_000) | st.binary(max_size=255).map(os.fsdecode))
@example("x" * 1_000 + "1.png")
def test_any_name_of_a_source_file_fits_into_s3_and_a_line(name: str) -> None:
    encoded = encode_source(name)
    # S3's limit of the user metadata, with the key.
    assert len("source") + len(encoded) <= 2_048
    for written in (encoded, name):
        read = decode_source(written)
        assert len(read) <= MAX_SOURCE
        assert read.isprintable()
    assert decode_source("x" * 1_000 + "1.png").endswith("1.png")
