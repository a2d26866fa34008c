"""Tests of submission: frames go to their models, drive.json closes its drive."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES
from autolabel.contracts.errors import CatalogueUnavailable, DocumentRefused, EndpointUnavailable
from autolabel.contracts.frames import MAX_FRAME_BYTES, parse_frame_key
from autolabel.contracts.ports import PendingUnit
from autolabel.contracts.units import Unit
from autolabel.inference.submission import ObjectEvent, UnitRequest, read_message
from autolabel.models.catalogue import CATALOGUE_KEY, CatalogueIndex
from tests.fakes.answers import BLUR, DETECTOR, add_to_catalogue, answer
from tests.fakes.endpoints import success
from tests.fakes.faults import Crash, Fuse
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, JOB_LABELS, Pipeline, drive_document, frame_key, read_one, s3_message

KEY = frame_key(0)


def unit_of(event: ObjectEvent, model: str = DETECTOR.id) -> Unit:
    return Unit.of(parse_frame_key(event.key), event.etag, model)


# Frames


def test_a_frame_is_recorded_and_sent_to_the_active_model(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    assert pipeline.submit(event) == ["submitted"]
    (invocation,) = pipeline.endpoints.taken
    unit = unit_of(event)
    assert invocation.endpoint == DETECTOR.endpoint
    assert invocation.input_location == f"s3://ingest/{KEY}"
    assert invocation.output_key == unit.answer_key(1)
    assert invocation.inference_id == unit.inference_id(1)
    assert (invocation.ttl, invocation.timeout) == (DETECTOR.queue_ttl, DETECTOR.invocation_timeout)
    assert (invocation.content_type, invocation.accept) == (DETECTOR.content_type, DETECTOR.accept)
    pending = pipeline.ledger.pending(unit)
    assert pending is not None
    assert (pending.key, pending.etag, pending.attempt, pending.errors) == (KEY, event.etag, 1, 0)
    assert pending.invoked == 1_000.0
    assert pending.deadline == 1_000.0 + DETECTOR.queue_ttl + DETECTOR.invocation_timeout + 60.0
    assert pending.location == ""


def test_every_active_model_gets_the_frame() -> None:
    second = msgspec.structs.replace(DETECTOR, name="second", endpoint="autolabel-second")
    pipeline = Pipeline(DETECTOR, second)
    add_to_catalogue(pipeline.labels, DETECTOR, second, default=["detector", "second"])
    assert pipeline.submit(pipeline.upload(KEY, png())) == ["submitted", "submitted"]
    assert [i.endpoint for i in pipeline.endpoints.taken] == ["autolabel-detector", "autolabel-second"]


def test_a_frame_goes_to_the_endpoint_whose_answers_are_read(pipeline: Pipeline) -> None:
    newer = msgspec.structs.replace(DETECTOR, revision="0002", endpoint="newer", answers_of="0001")
    add_to_catalogue(pipeline.labels, newer)
    event = pipeline.upload(KEY, png())
    assert pipeline.submit(event) == ["submitted"]
    (invocation,) = pipeline.endpoints.taken
    assert (invocation.endpoint, pipeline.ledger.any_pending(DRIVE, (DETECTOR.id,))) == (DETECTOR.endpoint, True)
    assert pipeline.collect(success(invocation)).outcome == "answered"


def test_a_drive_waits_for_the_revision_whose_answers_it_reads(pipeline: Pipeline) -> None:
    newer = msgspec.structs.replace(DETECTOR, revision="0003", answers_of="0002")
    add_to_catalogue(pipeline.labels, newer)
    with pytest.raises(CatalogueUnavailable, match="detector/0002"):
        pipeline.close()
    assert pipeline.ledger.latest_run(DRIVE) is None


def test_a_duplicate_event_of_a_frame_invokes_nothing(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.submit(event)
    assert pipeline.submit(event) == ["already"]
    assert len(pipeline.endpoints.taken) == 1


@pytest.mark.parametrize("frozen", [True, False])
def test_an_answered_frame_is_not_asked_for_when_its_message_comes_again(pipeline: Pipeline, frozen: bool) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.submit(event)
    pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[0], answer()))
    if frozen:
        pipeline.ledger.mark_frozen(DRIVE)
    assert pipeline.submit(event, again=not frozen) == ["answered"]
    assert not pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])
    assert len(pipeline.endpoints.taken) == 1


def test_a_doubled_event_of_an_answered_frame_costs_an_inference_and_changes_nothing(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    for _ in range(2):
        assert pipeline.submit(event) == ["submitted"]
        assert pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])
        pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[-1], answer()))
        assert not pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])
    assert len(list(pipeline.labels.list("inference/"))) == 1


def test_a_batch_looks_at_each_drive_once_after_it_has_arrived(pipeline: Pipeline) -> None:
    events = [pipeline.upload(frame_key(n), png()) for n in range(3)]
    submission = pipeline.submission()
    submission.begin()
    submission.take(events[0])
    pipeline.ledger.mark_frozen(DRIVE)
    # Uploaded before the listing was frozen: it is in the listing, and not late.
    submission.take(events[1])
    assert not list(pipeline.ledger.late_drives())
    submission.begin()
    submission.take(events[2])
    assert [drive for drive, _ in pipeline.ledger.late_drives()] == [DRIVE]


def test_an_overwritten_frame_is_another_unit(pipeline: Pipeline) -> None:
    first, second = pipeline.upload(KEY, png()), pipeline.upload(KEY, png(color=(1, 2, 3)))
    assert pipeline.submit(first) == ["submitted"]
    assert pipeline.submit(second) == ["submitted"]
    assert len(pipeline.ledger.pending_of_frame(parse_frame_key(KEY), DETECTOR.id)) == 2


def test_a_frame_is_pending_until_its_endpoint_is_back(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.endpoints.available = False
    for _ in range(3):
        with pytest.raises(EndpointUnavailable, match="autolabel-detector"):
            pipeline.submit(event)
    pending = pipeline.ledger.pending(unit_of(event))
    assert pending is not None
    assert not pending.invoked
    pipeline.endpoints.available = True
    assert pipeline.submit(event) == ["submitted"]
    assert len(pipeline.endpoints.taken) == 1


def test_a_frame_waits_while_there_is_no_catalogue(pipeline: Pipeline) -> None:
    del pipeline.labels.objects[CATALOGUE_KEY]
    with pytest.raises(CatalogueUnavailable, match=CATALOGUE_KEY):
        pipeline.submit(pipeline.upload(KEY, png()))
    assert not pipeline.ledger.pending_units


def test_the_key_that_an_endpoint_chooses_is_stored() -> None:
    pipeline = Pipeline(honours_names=False)
    event = pipeline.upload(KEY, png())
    (submitted,) = pipeline.take(event)
    pending = pipeline.ledger.pending(unit_of(event))
    assert pending is not None
    assert pending.location == "inference/00000000.out"
    assert "s3://labels/inference/00000000.out" in submitted.detail


@pytest.mark.parametrize("size", [0, MAX_FRAME_BYTES + 1])
def test_an_empty_or_too_large_frame_is_sent_to_no_model(pipeline: Pipeline, size: int) -> None:
    assert pipeline.submit(ObjectEvent("ingest", KEY, "e", size)) == ["refused"]
    assert not pipeline.endpoints.taken
    assert not pipeline.ledger.pending_units


def test_a_frame_of_the_largest_size_is_taken(pipeline: Pipeline) -> None:
    assert pipeline.submit(ObjectEvent("ingest", KEY, "e", MAX_FRAME_BYTES)) == ["submitted"]


def test_an_object_of_another_bucket_is_ignored(pipeline: Pipeline) -> None:
    assert pipeline.submit(ObjectEvent("labels", KEY, "e", 10)) == ["ignored"]
    assert not pipeline.endpoints.taken


@pytest.mark.parametrize(
    ("key", "place"),
    [("drives/drive-7/front/12.png", "drive-7"), ("drives/logs/front/x.png", ""), ("elsewhere.png", "")],
)
def test_a_key_outside_the_contract_is_recorded_with_its_reason(pipeline: Pipeline, key: str, place: str) -> None:
    assert pipeline.submit(ObjectEvent("ingest", key, "e", 10)) == ["refused"]
    ((refused, reason, detail, _),) = pipeline.ledger.refusals(place)
    assert (refused, reason) == (key, "key-outside-contract")
    assert key in detail


# After a crash anywhere, the message comes again


@pytest.mark.parametrize("honours_names", [True, False])
def test_a_frame_survives_a_crash_before_each_operation(honours_names: bool) -> None:
    crashes = 0
    for operations in range(20):
        pipeline = Pipeline(honours_names=honours_names)
        event = pipeline.upload(KEY, png())
        try:
            pipeline.submit(event, Fuse(operations))
        except Crash:
            crashes += 1
            assert pipeline.submit(event, again=True) in (["submitted"], ["already"])
        pending = pipeline.ledger.pending(unit_of(event))
        assert pending is not None
        assert pending.invoked
        # A second invocation of a unit has the same inference id.
        assert len({i.inference_id for i in pipeline.endpoints.taken}) == 1
        assert 1 <= len(pipeline.endpoints.taken) <= 2
    # Only a key that the endpoint chose is recorded after the invocation.
    assert crashes == (3 if honours_names else 4)


@pytest.mark.parametrize("honours_names", [True, False])
def test_a_frame_answered_before_its_message_comes_again_is_settled(honours_names: bool) -> None:
    for operations in range(20):
        pipeline = Pipeline(honours_names=honours_names)
        event = pipeline.upload(KEY, png())
        try:
            pipeline.submit(event, Fuse(operations))
        except Crash:
            for invocation in pipeline.endpoints.taken:
                pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
            pipeline.submit(event, again=True)
        for invocation in pipeline.endpoints.taken:
            pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
        assert not pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])


def test_closing_survives_a_crash_before_each_operation() -> None:
    crashes = 0
    for operations in range(20):
        pipeline = Pipeline()
        event = pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document())
        try:
            pipeline.submit(event, Fuse(operations))
        except Crash:
            crashes += 1
            assert pipeline.submit(event) in (["closed"], ["already"])
        assert pipeline.executions.started == {f"{DRIVE}-0001": (DRIVE, "0001")}
        assert pipeline.labels.exists(f"labels/{DRIVE}/0001/drive.json")
        assert not pipeline.announcements.told
    assert crashes == 7


def test_a_document_after_the_end_of_the_run_starts_nothing() -> None:
    pipeline = Pipeline()
    event = pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document())
    assert pipeline.submit(event) == ["closed"]
    pipeline.ledger.finish_run(pipeline.run, "published", 1.0)
    pipeline.executions.started.clear()
    assert pipeline.submit(event) == ["already"]
    assert not pipeline.executions.started


@pytest.mark.parametrize("spoilt", [b"no JSON", None])
def test_an_unstarted_run_starts_though_its_document_is_bad_now(spoilt: bytes | None) -> None:
    for operations in range(4):
        pipeline = Pipeline()
        key = f"drives/{DRIVE}/drive.json"
        event = pipeline.upload(key, drive_document())
        with pytest.raises(Crash):
            pipeline.submit(event, Fuse(operations))
        if spoilt is None:
            del pipeline.ingest.objects[key]
        else:
            pipeline.upload(key, spoilt)
        pipeline.submit(event)
        assert bool(pipeline.executions.started) == bool(pipeline.ledger.runs)


# The pipeline's own messages


def asked(event: ObjectEvent, **changes: str) -> UnitRequest:
    return UnitRequest(msgspec.structs.replace(unit_of(event), **changes), event.key, event.etag)


def test_a_unit_that_the_pipeline_asks_for_is_submitted(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    message = msgspec.json.encode(asked(event)).decode()
    assert read_one(message) == asked(event)
    pipeline.ledger.add_pending(PendingUnit(unit_of(event), event.key, event.etag, attempt=1, errors=0, since=1.0))
    assert pipeline.submit(read_one(message)) == ["submitted"]


def test_an_old_message_makes_no_unit_pending(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    assert pipeline.submit(asked(event)) == ["answered"]
    assert pipeline.ledger.pending(unit_of(event)) is None
    assert pipeline.endpoints.taken == []


def test_a_unit_goes_to_the_revision_in_its_name(pipeline: Pipeline) -> None:
    newer = msgspec.structs.replace(DETECTOR, revision="0002", endpoint="newer")
    event = pipeline.upload(KEY, png())
    old = asked(event)
    add_to_catalogue(pipeline.labels, newer)
    pipeline.ledger.add_pending(PendingUnit(old.unit, event.key, event.etag, attempt=1, errors=0, since=1.0))
    pipeline.submit(old)
    assert [i.endpoint for i in pipeline.endpoints.taken] == [DETECTOR.endpoint]


def test_a_unit_is_submitted_with_the_ledgers_attempt(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.submit(event)
    pending = pipeline.ledger.pending(unit_of(event))
    assert pending is not None
    pipeline.ledger.next_attempt(pending, errors=1, since=5.0)
    assert pipeline.submit(asked(event)) == ["submitted"]
    assert [i.filename for i in pipeline.endpoints.taken] == [unit_of(event).filename(n) for n in (1, 2)]


@pytest.mark.parametrize("change", [{"token": "0" * 12}, {"drive": "other"}, {"camera": "rear"}])
def test_a_unit_that_is_not_of_its_key_is_refused(pipeline: Pipeline, change: dict[str, str]) -> None:
    event = pipeline.upload(KEY, png())
    assert pipeline.submit(asked(event, **change)) == ["refused"]
    assert not pipeline.endpoints.taken


def test_a_unit_waits_for_a_model_whose_document_is_missing(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    with pytest.raises(CatalogueUnavailable, match=r"catalogue/models/other/0001\.json"):
        pipeline.submit(asked(event, model="other.0001"))


def test_a_unit_of_a_broken_key_is_refused(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    assert pipeline.submit(UnitRequest(unit_of(event), "drives/x", event.etag)) == ["refused"]


def test_a_unit_with_an_answer_is_no_longer_pending(pipeline: Pipeline) -> None:
    # A pass listed the answers before this one came, and read the pending units after it was settled.
    event = pipeline.upload(KEY, png())
    pipeline.submit(event)
    pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[0], answer()))
    pipeline.ledger.add_pending(PendingUnit(unit_of(event), KEY, event.etag, attempt=1, errors=0, since=1.0))
    assert pipeline.submit(asked(event)) == ["answered"]
    assert not pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])


# Closing


def test_a_drive_is_closed_once(pipeline: Pipeline) -> None:
    event = pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document("front", "rear"))
    assert pipeline.submit(event) == ["closed"]
    assert pipeline.submit(event) == ["already"]
    assert pipeline.executions.started == {f"{DRIVE}-0001": (DRIVE, "0001")}
    run = pipeline.run
    assert sorted(run.document.cameras) == ["front", "rear"]
    assert (run.models, run.labels, run.document_etag) == ((DETECTOR.id,), JOB_LABELS, event.etag)
    assert not pipeline.announcements.told


def test_a_drive_without_a_frame_is_closed(pipeline: Pipeline) -> None:
    assert pipeline.close() == ["closed"]


def test_a_drive_keeps_the_revision_that_was_current_at_its_close(pipeline: Pipeline) -> None:
    pipeline.close()
    add_to_catalogue(pipeline.labels, msgspec.structs.replace(DETECTOR, revision="0002"))
    assert pipeline.close() == ["already"]
    assert pipeline.run.models == ("detector.0001",)


def test_a_drive_may_name_its_model() -> None:
    other = msgspec.structs.replace(DETECTOR, name="other")
    pipeline = Pipeline(DETECTOR, other)
    pipeline.close(drive_document(models=["other"]))
    assert pipeline.run.models == ("other.0001",)


def test_a_drive_cannot_be_labelled_by_a_model_of_views() -> None:
    pipeline = Pipeline(DETECTOR, BLUR)
    assert pipeline.close(drive_document(models=["detector", "blur"])) == ["refused"]
    assert [refusal.reason for refusal in pipeline.ledger.refusals(DRIVE)] == ["no-labels"]


def test_a_changed_document_keeps_the_run_and_operators_are_told(pipeline: Pipeline) -> None:
    pipeline.close()
    assert pipeline.close(drive_document("rear")) == ["already"]
    assert list(pipeline.run.document.cameras) == ["front"]
    ((subject, message),) = pipeline.announcements.told
    assert DRIVE in subject
    assert "changed" in message


def test_a_second_document_can_replace_a_refused_one(pipeline: Pipeline) -> None:
    assert pipeline.close(b"{") == ["refused"]
    assert pipeline.close() == ["closed"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "document-not-json"),
        (b"\xff\xfe", "document-not-json"),
        (b"{]", "document-not-json"),
        (b"[" * 100_000, "document"),
        (b"[]", "document-schema"),
        (b"{}", "document-schema"),
        (drive_document(models=["unknown"]), "unknown-model"),
        (drive_document(models=[]), "document-schema"),
        (drive_document(models=["a", "a"]), "document-schema"),
        (drive_document("no/name"), "document-schema"),
        (drive_document(unknown=1), "document-schema"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_document_is_recorded_and_operators_are_told(pipeline: Pipeline, body: bytes, reason: str) -> None:
    assert pipeline.close(body) == ["refused"]
    ((key, recorded, detail, _),) = pipeline.ledger.refusals(DRIVE)
    assert key == f"drives/{DRIVE}/drive.json"
    assert recorded.startswith(reason)
    ((subject, message),) = pipeline.announcements.told
    assert DRIVE in subject
    assert message == detail
    assert not pipeline.executions.started
    assert not pipeline.ledger.runs


@pytest.mark.parametrize("size", [1, MAX_DOCUMENT_BYTES + 1])
def test_a_too_large_document_is_refused_for_any_size_in_its_event(pipeline: Pipeline, size: int) -> None:
    key = f"drives/{DRIVE}/drive.json"
    pipeline.ingest.write(key, drive_document() + b" " * MAX_DOCUMENT_BYTES)
    event = ObjectEvent("ingest", key, "e", size)
    assert pipeline.submit(event) == ["refused"]
    assert [refusal.reason for refusal in pipeline.ledger.refusals(DRIVE)] == ["document-too-large"]


def test_a_document_that_is_gone_is_refused(pipeline: Pipeline) -> None:
    assert pipeline.submit(ObjectEvent("ingest", f"drives/{DRIVE}/drive.json", "e", 10)) == ["refused"]
    assert [refusal.reason for refusal in pipeline.ledger.refusals(DRIVE)] == ["document-gone"]


@pytest.mark.parametrize("index", [None, CatalogueIndex({}, ())])
def test_a_drive_waits_for_a_catalogue_with_an_active_model(pipeline: Pipeline, index: CatalogueIndex | None) -> None:
    event = pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document())
    if index is None:
        del pipeline.labels.objects[CATALOGUE_KEY]
    else:
        pipeline.labels.write(CATALOGUE_KEY, msgspec.json.encode(index))
    with pytest.raises(CatalogueUnavailable):
        pipeline.submit(event)
    add_to_catalogue(pipeline.labels, DETECTOR)
    assert pipeline.submit(event) == ["closed"]


# Messages


def test_a_test_event_asks_for_nothing() -> None:
    message = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "ingest"}
    assert list(read_message(msgspec.json.encode(message).decode())) == []


def test_a_notification_without_records_asks_for_nothing() -> None:
    assert list(read_message('{"Records":[]}')) == []


def test_a_key_is_decoded_exactly_once() -> None:
    for key in ("drives/d/c/a b.png", "drives/d/c/a+b.png", "drives/d/c/a%2Bb.png", "drives/d/c/ü%.png"):
        event = ObjectEvent("ingest", key, "e", 1)
        assert read_one(s3_message(event)) == event


def test_all_records_of_created_objects_are_read() -> None:
    records = [
        {"eventName": name, "s3": {"bucket": {"name": "ingest"}, "object": {"key": name, "eTag": "e", "size": 1}}}
        for name in ("ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectCreated:CompleteMultipartUpload")
    ]
    found = list(read_message(msgspec.json.encode({"Records": records}).decode()))
    assert [event.key for event in found if isinstance(event, ObjectEvent)] == [
        "ObjectCreated:Put",
        "ObjectCreated:CompleteMultipartUpload",
    ]


def record(**changes: object) -> str:
    thing = {"key": "k", "eTag": "e", "size": 1, **changes}
    body = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "ingest"}, "object": thing}}]}
    return msgspec.json.encode(body).decode()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "null",
        "{}",
        "no JSON",
        "[" * 100_000,
        '{"Records":5}',
        '{"Records":[5]}',
        '{"Records":[{}]}',
        '{"kind":"unit"}',
        '{"kind":"unit","unit":{},"key":"k","etag":"e"}',
        '{"kind":"other"}',
        record(key=5),
        record(size="many"),
        record(size=None),
        record(size=1).replace('"size":1', '"size":1e999'),
        record(size=1).replace('"size":1', '"size":NaN'),
        record(key="%ff"),
    ],
    ids=lambda message: message[-60:],
)
def test_an_unknown_message_is_refused(message: str) -> None:
    with pytest.raises(DocumentRefused) as refused:
        list(read_message(message))
    assert refused.value.reason == "message-unreadable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["Records", "eventName", "s3", "bucket", "name", "object", "key", "eTag", "size", "kind", "unit", "Event"]
)
NEARLY = st.recursive(
    JSON | st.sampled_from(["ObjectCreated:Put", "unit", "k", 5]),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(NAMES, children, max_size=5),
    max_leaves=20,
)


@given(st.text() | (JSON | NEARLY).map(json.dumps))
def test_every_message_is_read_or_refused(message: str) -> None:
    with suppress(DocumentRefused):
        assert all(isinstance(one, ObjectEvent | UnitRequest) for one in read_message(message))


@given(
    st.text(min_size=1, max_size=40),
    st.text(alphabet="0123456789abcdef-", min_size=1, max_size=34),
    st.integers(0, 2**50),
)
def test_an_event_is_read_as_s3_wrote_it(key: str, etag: str, size: int) -> None:
    event = ObjectEvent("ingest", key, etag, size)
    assert read_one(s3_message(event)) == event


# Endpoints that take no requests


def test_a_frame_whose_endpoint_is_gone_is_parked_after_some_receives(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.endpoints.gone = True
    with pytest.raises(EndpointUnavailable):
        pipeline.submit(event)
    assert pipeline.submit(event, park=True) == ["parked"]
    known = pipeline.ledger.pending(unit_of(event))
    assert known is not None
    assert not known.invoked


def test_a_frame_whose_endpoint_is_throttled_stays_in_the_queue(pipeline: Pipeline) -> None:
    event = pipeline.upload(KEY, png())
    pipeline.endpoints.available = False
    with pytest.raises(EndpointUnavailable):
        pipeline.submit(event, park=True)


def test_a_missing_endpoint_does_not_keep_a_frame_from_other_models() -> None:
    second = msgspec.structs.replace(DETECTOR, name="second", endpoint="autolabel-second")
    pipeline = Pipeline(DETECTOR, second)
    add_to_catalogue(pipeline.labels, DETECTOR, second, default=["detector", "second"])
    event = pipeline.upload(KEY, png())
    invoke = pipeline.endpoints.invoke

    def away(*, endpoint: str, **asked: Any) -> str:
        if endpoint == DETECTOR.endpoint:
            raise EndpointUnavailable("away", gone=True)
        return invoke(endpoint=endpoint, **asked)

    pipeline.endpoints.invoke = away  # type: ignore[method-assign, assignment]
    with pytest.raises(EndpointUnavailable):
        pipeline.submit(event)
    assert [i.endpoint for i in pipeline.endpoints.taken] == ["autolabel-second"]
    assert pipeline.submit(event, park=True, again=True) == ["parked", "already"]
    assert len(pipeline.endpoints.taken) == 1
