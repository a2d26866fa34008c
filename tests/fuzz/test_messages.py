"""Messages on the two queues: uploads and units on one, notifications on the other."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES, MAX_KEY_BYTES, is_name, parse_frame_key
from autolabel.contracts.units import CloseRequest, model_of_inference_id
from autolabel.inference.completion import parse_notification
from autolabel.inference.submission import MAX_RECORDS, Asked, ObjectEvent, read_message
from tests.fakes.endpoints import failure, success
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key, s3_message
from tests.fuzz.mutations import fuzz, outside
from tests.fuzz.refusals import assert_inert, assert_refusal

EVENTS = Path(__file__).parents[2] / "events"


def bodies(*files: str) -> list[bytes]:
    """The messages of sample events, in the buckets of the fakes."""
    written = [record["body"] for file in files for record in json.loads((EVENTS / file).read_text())["Records"]]
    return [re.sub(r"autolabel-(ingest|labels)-[0-9]{12}-[a-z0-9-]+", r"\1", body).encode() for body in written]


UPLOADS = [
    *bodies(
        "submit-frames.json",
        "submit-drive-document.json",
        "submit-unit.json",
        "submit-close.json",
        "submit-test-event.json",
    ),
    s3_message(ObjectEvent("ingest", frame_key(0), "0" * 32, 100)).encode(),
    s3_message(ObjectEvent("ingest", f"drives/{DRIVE}/drive.json", "0" * 32, 100)).encode(),
]


def text(body: bytes) -> str:
    """A message's body as the runtime delivers it: bytes that are not UTF-8 become lone surrogates."""
    return body.decode("utf-8", "surrogateescape")


@fuzz
@given(outside(UPLOADS))
def test_a_message_on_the_submit_queue_is_taken_or_refused(body: bytes) -> None:
    pipeline = Pipeline()
    pipeline.ingest.write(frame_key(0), png())
    pipeline.ingest.write(f"drives/{DRIVE}/drive.json", drive_document())
    taken = 0
    try:
        for asked in read_message(text(body)):
            taken += 1
            with suppress(CatalogueUnavailable):
                pipeline.submit(asked)
            assert_bounded(asked)
    except DocumentRefused as e:
        assert_refusal(e, "message-unreadable")
    assert taken <= MAX_RECORDS
    # In every case, requests to an endpoint are for frames of the contract, and records fit into the ledger.
    for invocation in pipeline.endpoints.taken:
        assert parse_frame_key(invocation.input_location.removeprefix("s3://ingest/"))
        assert re.fullmatch(r"[A-Za-z0-9/_.-]{1,512}", invocation.output_extension)
    for (place, key), refusal in pipeline.ledger.refused.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{0,63}", place)
        assert len(key.encode()) <= 4 * MAX_KEY_BYTES
        assert_inert(refusal.detail)


def assert_bounded(asked: Asked) -> None:
    if isinstance(asked, CloseRequest):
        assert is_name(asked.drive)
        return
    assert re.fullmatch(r"[!-~]{1,128}", asked.etag)
    if isinstance(asked, ObjectEvent):
        assert len(asked.key) <= MAX_KEY_BYTES
        assert asked.size >= 0


def submitted() -> tuple[Pipeline, list[bytes]]:
    """A pipeline with a submitted frame, and the notifications that may follow."""
    pipeline = Pipeline(honours_names=False)
    pipeline.submit(pipeline.upload(frame_key(0), png()))
    (invocation,) = pipeline.endpoints.taken
    expired = failure(invocation, status="Expired")
    return pipeline, [success(invocation).encode(), failure(invocation).encode(), expired.encode()]


NOTIFICATIONS = [*submitted()[1], *bodies("collect-success.json", "collect-failure.json", "collect-expired.json")]


@fuzz
@given(outside(NOTIFICATIONS))
def test_a_message_on_the_collect_queue_is_taken_or_ignored(body: bytes) -> None:
    pipeline, _ = submitted()
    settled = pipeline.collect(text(body))
    assert settled.drive in ("", DRIVE)
    for key in pipeline.ledger.locations.values():
        assert 0 < len(key.encode()) <= MAX_KEY_BYTES
    for failed in pipeline.ledger.failed_units.values():
        assert len(failed.reason) <= 500
    result = parse_notification(text(body))
    if result is not None:
        model = model_of_inference_id(result.inference_id)
        assert model is None or re.fullmatch(r"[a-z0-9-]{1,24}\.[0-9]{4}", model)


def test_a_frame_of_an_impossible_size_goes_to_no_model() -> None:
    pipeline = Pipeline()
    for size in (0, MAX_FRAME_BYTES + 1, 2**62):
        assert pipeline.submit(ObjectEvent("ingest", frame_key(0), "e", size)) == ["refused"]
    assert pipeline.endpoints.taken == []


def test_a_message_with_thousands_of_records_is_refused_whole() -> None:
    (record,) = json.loads(UPLOADS[-2])["Records"]
    message: dict[str, Any] = {"Records": [record] * 5_000}
    with pytest.raises(DocumentRefused, match="5,000 records"):
        next(read_message(json.dumps(message)))
