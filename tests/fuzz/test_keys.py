"""Object keys of uploads and answers, and the records of refused ones."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.aws.announcements import AwsAnnouncements
from autolabel.aws.ledger import DynamoLedger
from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import (
    MAX_KEY_BYTES,
    DriveDocumentKey,
    FrameKey,
    decode_event_key,
    drive_of,
    list_frame,
    parse_frame_key,
    parse_key,
)
from autolabel.contracts.units import Unit, bytes_token, parse_answer_key
from tests.fakes.pipeline import frame_key
from tests.fuzz.mutations import HOSTILE_TEXT, fuzz, mutated
from tests.fuzz.refusals import assert_inert, assert_refusal

GOOD = [frame_key(0), frame_key(1, camera="a" * 63, drive="B" * 63, extension="jpeg"), "drives/d/drive.json"]
ANSWER = Unit("d", "front", "1" * 19, bytes_token("e"), "m.0001").answer_key(1)
KEYS = mutated([key.encode() for key in (*GOOD, ANSWER)]).map(lambda key: key.decode("utf-8", "replace"))
KEYS |= st.text(max_size=60) | st.text(min_size=1_000, max_size=MAX_KEY_BYTES)

FRAME = r"drives/[A-Za-z0-9][A-Za-z0-9_-]{0,62}/[A-Za-z0-9][A-Za-z0-9_-]{0,62}/[0-9]{19}\.(png|jpg|jpeg)"
DOCUMENT = r"drives/[A-Za-z0-9][A-Za-z0-9_-]{0,62}/drive\.json"
STRANGE = [
    *(f"drives/{text}/front/{'1' * 19}.png" for text in HOSTILE_TEXT),
    *(f"drives/d/front/{'1' * 19}.png{text}" for text in ("\n", "\x00", " ", "/", ".html", "?x", "#", "\u202e")),
    f"drives/d/../front/{'1' * 19}.png",
    f"drives/./front/{'1' * 19}.png",
    f"drives//front/{'1' * 19}.png",
    f"/drives/d/front/{'1' * 19}.png",
    f"Drives/d/front/{'1' * 19}.png",
    f"drives/d/front/{'1' * 19}.PNG",
    f"drives/d/front/{'1' * 19}.svg",
    f"drives/d/front/{'１' * 19}.png",
    f"drives/d/front/{'٣' * 19}.png",
    f"drives/ｄ/front/{'1' * 19}.png",
    f"drives/d/frоnt/{'1' * 19}.png",
    f"drives/d/logs/{'1' * 19}.png",
    f"drives/logs/front/{'1' * 19}.png",
    "drives/d/drive.json\n",
    "drives/d/drive.json/",
    "drives/logs/drive.json",
    "x" * MAX_KEY_BYTES,
    "😀" * 256,
]


@pytest.mark.parametrize("key", STRANGE, ids=lambda key: ascii(key)[:50])
def test_a_strange_key_is_refused_also_when_it_is_encoded_twice(key: str) -> None:
    # Encoded once, as by S3, and twice, which decodes to a key full of percent signs.
    for written in (quote_plus(key, safe="/"), quote_plus(quote_plus(key))):
        with pytest.raises(KeyRefused) as refused:
            parse_key(decode_event_key(written))
        assert_refusal(refused.value, "key-outside-contract")


@pytest.mark.parametrize("key", [*GOOD, frame_key(0).replace("front", "f%2e"), frame_key(0).replace("/", "%2F")])
def test_a_key_is_decoded_exactly_once(key: str) -> None:
    assert decode_event_key(quote_plus(key)) == key


@fuzz
@given(KEYS)
def test_a_key_follows_the_contract_or_is_refused(key: str) -> None:
    try:
        parsed = parse_key(key)
    except KeyRefused as e:
        assert not re.fullmatch(f"{FRAME}|{DOCUMENT}", key) or "/logs/" in key
        assert_refusal(e, "key-outside-contract")
    else:
        if isinstance(parsed, FrameKey):
            assert parsed.key == key
            assert re.fullmatch(FRAME, key)
        else:
            assert isinstance(parsed, DriveDocumentKey)
            assert re.fullmatch(DOCUMENT, key)
    drive = drive_of(key)
    assert drive is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", drive)
    line, frame = list_frame(key, "e", 5, previous=None, cameras=frozenset({"front"}))
    assert (frame is None) == bool(line.refused)
    assert frame is None or parse_frame_key(line.key) == frame


@fuzz
@given(st.binary(max_size=60) | mutated([quote_plus(key).encode() for key in GOOD]))
def test_an_encoded_key_is_unicode_or_a_decoding_error(written: bytes) -> None:
    with suppress(UnicodeDecodeError):
        decode_event_key(written.decode("latin-1")).encode()


@fuzz
@given(KEYS)
def test_the_key_of_an_answer_names_a_unit_or_is_ignored(key: str) -> None:
    named = parse_answer_key(key)
    if named is not None:
        unit, attempt = named
        assert unit.drive in key
        assert int(unit.answer_key(attempt).rsplit("-", 1)[1].removesuffix(".out")) == attempt


class Recorder:
    """A client that records the arguments of its calls."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, call: str) -> Any:
        return lambda **arguments: self.asked.append(arguments)


@fuzz
@given(KEYS, st.text(max_size=3_000))
def test_a_refused_key_fits_into_the_ledger(key: str, detail: str) -> None:
    client: Any = Recorder()
    DynamoLedger(client, "ledger").record_refusal(drive_of(key) or "", key, "key-outside-contract", detail, 0.0)
    (item,) = (asked["Item"] for asked in client.asked)
    assert 1 <= len(item["sk"]["S"].encode()) <= 1_024
    assert len(item["pk"]["S"].encode()) <= 2_048
    assert len(item["detail"]["S"]) <= 2_000


@fuzz
@given(st.text(max_size=200) | st.sampled_from(HOSTILE_TEXT), st.text(max_size=3_000) | st.sampled_from(HOSTILE_TEXT))
def test_a_message_to_operators_is_valid_for_sns(subject: str, message: str) -> None:
    client: Any = Recorder()
    AwsAnnouncements(sns=client, topic="arn").tell_ops(f"drive {subject}", f"refused: {message}")
    (sent,) = client.asked
    assert re.fullmatch(r"[ -~]{1,100}", sent["Subject"])
    assert sent["Message"]
    assert_inert(sent["Message"])
