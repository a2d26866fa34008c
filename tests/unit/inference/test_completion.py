"""Tests of completion: units are settled, retried or failed, and runs are woken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import CatalogueUnavailable
from autolabel.contracts.ports import PendingUnit
from autolabel.contracts.units import Unit, parse_answer_key
from autolabel.inference.completion import Completion, parse_notification, wake_if_done
from tests.fakes.answers import DETECTOR
from tests.fakes.endpoints import Invocation, failure, success
from tests.fakes.faults import Crash, Fuse, fused
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, MAX_ERRORS, Pipeline, frame_key


def submitted(pipeline: Pipeline, index: int = 0) -> Invocation:
    """Upload a frame, which its endpoint takes."""
    pipeline.submit(pipeline.upload(frame_key(index), png()))
    return pipeline.endpoints.taken[-1]


def unit_of(invocation: Invocation) -> Unit:
    parsed = parse_answer_key(invocation.output_key)
    assert parsed is not None
    return parsed[0]


def changed(message: str, **changes: Any) -> str:
    """Change fields of a notification; a dict changes fields inside a field."""
    fields = json.loads(message)
    for name, value in changes.items():
        fields[name] = {**fields[name], **value} if isinstance(value, dict) else value
    return json.dumps(fields)


def pending(pipeline: Pipeline) -> bool:
    return pipeline.ledger.any_pending(DRIVE, [DETECTOR.id])


# Answers


def test_an_answer_settles_its_unit(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    settled = pipeline.collect(success(invocation))
    assert (settled.outcome, settled.drive) == ("answered", DRIVE)
    assert not pending(pipeline)
    assert not pipeline.ledger.locations


def test_a_duplicate_answer_changes_nothing(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    pipeline.collect(success(invocation))
    settled = pipeline.collect(success(invocation))
    assert (settled.outcome, settled.drive) == ("answered", DRIVE)
    assert not pending(pipeline)


def test_an_answer_leaves_other_units_pending(pipeline: Pipeline) -> None:
    first, second = submitted(pipeline, 0), submitted(pipeline, 1)
    pipeline.collect(success(first))
    assert list(pipeline.ledger.pending_units) == [unit_of(second)]


def test_the_key_of_an_answer_at_another_place_is_stored() -> None:
    pipeline = Pipeline(honours_names=False)
    invocation = submitted(pipeline)
    (unit,) = pipeline.ledger.pending_units
    assert pipeline.collect(success(invocation)).outcome == "answered"
    assert not pending(pipeline)
    assert pipeline.ledger.locations == {unit: "inference/00000000.out"}
    assert pipeline.collect(success(invocation)).outcome == "late"
    assert pipeline.ledger.locations == {unit: "inference/00000000.out"}


def test_an_answer_at_another_place_of_an_older_attempt_is_late() -> None:
    pipeline = Pipeline(honours_names=False)
    invocation = submitted(pipeline)
    pipeline.collect(failure(invocation))
    assert pipeline.collect(success(invocation)).outcome == "late"
    assert pending(pipeline)


def test_an_answer_to_an_older_attempt_counts_during_a_newer_one(pipeline: Pipeline) -> None:
    first = submitted(pipeline)
    pipeline.collect(failure(first))
    pipeline.submit_asked()
    assert pipeline.collect(success(first)).outcome == "answered"
    assert not pending(pipeline)
    assert pipeline.collect(failure(pipeline.endpoints.taken[1])).outcome == "late"
    assert not pipeline.ledger.failed_units


# Failures


def test_a_failure_asks_for_the_next_attempt(pipeline: Pipeline) -> None:
    first = submitted(pipeline)
    pipeline.now = 2_000.0
    settled = pipeline.collect(failure(first))
    assert (settled.outcome, settled.drive) == ("retried", DRIVE)
    (unit,) = pipeline.ledger.pending_units.values()
    assert (unit.attempt, unit.errors, unit.since, unit.invoked) == (2, 1, 2_000.0, 0.0)
    assert pipeline.submit_asked() == ["submitted"]
    assert len({i.inference_id for i in pipeline.endpoints.taken}) == 2


def test_a_unit_that_fails_too_often_is_failed_with_the_reason(pipeline: Pipeline) -> None:
    submitted(pipeline)
    outcomes = []
    for attempt in range(MAX_ERRORS):
        outcomes.append(pipeline.collect(failure(pipeline.endpoints.taken[attempt], reason="out of memory")).outcome)
        pipeline.submit_asked()
    assert outcomes == ["retried"] * (MAX_ERRORS - 1) + ["failed"]
    assert [f.reason for f in pipeline.ledger.failed_units.values()] == ["out of memory"]
    assert not pending(pipeline)


def test_a_duplicate_failure_is_counted_once(pipeline: Pipeline) -> None:
    first = submitted(pipeline)
    assert pipeline.collect(failure(first)).outcome == "retried"
    # The first call may have crashed before it queued the retry: it is queued again, and counted once.
    assert pipeline.collect(failure(first)).outcome == "retried"
    (unit,) = pipeline.ledger.pending_units.values()
    assert (unit.attempt, unit.errors) == (2, 1)
    assert pipeline.submit_asked() == ["submitted", "already"]
    assert pipeline.collect(failure(first)).outcome == "late"
    assert not pipeline.queue.asked


def test_a_late_failure_of_an_older_attempt_does_not_fail_the_newer_one(pipeline: Pipeline) -> None:
    first = submitted(pipeline)
    pipeline.collect(failure(first))
    pipeline.submit_asked()
    for _ in range(MAX_ERRORS + 1):
        assert pipeline.collect(failure(first)).outcome == "late"
    assert not pipeline.ledger.failed_units
    assert pending(pipeline)


def test_a_failure_that_comes_after_the_answer_is_late(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    pipeline.collect(success(invocation))
    settled = pipeline.collect(failure(invocation))
    # The drive is still named, so that a duplicate also looks for a run to wake.
    assert (settled.outcome, settled.drive) == ("late", DRIVE)
    assert not pipeline.ledger.failed_units


def test_an_expired_request_does_not_count_as_an_error(pipeline: Pipeline) -> None:
    submitted(pipeline)
    for attempt in range(MAX_ERRORS + 3):
        assert pipeline.collect(failure(pipeline.endpoints.taken[attempt], status="Expired")).outcome == "retried"
        pipeline.submit_asked()
    (unit,) = pipeline.ledger.pending_units.values()
    assert (unit.attempt, unit.errors) == (MAX_ERRORS + 4, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"invocationStatus": "SomethingNew"},
        {"failureLocation": "s3://labels/inference-failures/x.out"},
        {"responseParameters": {}, "failureReason": ""},
    ],
    ids=["observed", "unknown status", "location at the top", "bare"],
)
def test_a_failure_of_any_shape_is_read(pipeline: Pipeline, changes: dict[str, Any]) -> None:
    invocation = submitted(pipeline)
    assert pipeline.collect(changed(failure(invocation), **changes)).outcome == "retried"


def test_a_failure_without_its_optional_parts_is_read(pipeline: Pipeline) -> None:
    fields = json.loads(failure(submitted(pipeline)))
    for name in ("responseParameters", "failureReason", "awsRegion", "eventTime", "receivedTime", "eventVersion"):
        del fields[name]
    del fields["requestParameters"]["contentType"]
    assert pipeline.collect(json.dumps(fields)).outcome == "retried"


def test_a_failed_unit_always_has_a_reason(pipeline: Pipeline) -> None:
    submitted(pipeline)
    for attempt in range(MAX_ERRORS):
        pipeline.collect(failure(pipeline.endpoints.taken[attempt], reason=""))
        pipeline.submit_asked()
    assert [f.reason for f in pipeline.ledger.failed_units.values()] == ["the endpoint reported 'Failed'"]


def test_the_reason_of_a_failed_unit_is_shortened(pipeline: Pipeline) -> None:
    submitted(pipeline)
    for attempt in range(MAX_ERRORS):
        pipeline.collect(failure(pipeline.endpoints.taken[attempt], reason="x" * 5_000))
        pipeline.submit_asked()
    assert [f.reason for f in pipeline.ledger.failed_units.values()] == ["x" * 500]


def test_a_retry_survives_a_crash_before_each_operation() -> None:
    for operations in range(10):
        pipeline = Pipeline()
        pipeline.close()
        message = failure(submitted(pipeline))
        try:
            pipeline.collect(message, Fuse(operations))
        except Crash:
            pipeline.collect(message)
        # A reconcile pass asks for the unit that the crash kept from the queue.
        pipeline.now += 10_000.0
        pipeline.reconcile()
        assert pipeline.queue.asked
        (unit,) = pipeline.ledger.pending_units.values()
        assert (unit.attempt, unit.errors) == (2, 1)


# Strangers


def test_a_test_notification_is_recognised_and_ignored(pipeline: Pipeline) -> None:
    message = '{"eventVersion":"1.0","eventSource":"aws:sagemaker","eventName":"TestNotification"}'
    settled = pipeline.collect(message)
    assert (settled.outcome, settled.drive) == ("test", "")


def test_an_inference_sent_by_hand_is_ignored(pipeline: Pipeline) -> None:
    message = changed(success(submitted(pipeline)), inferenceId="trial-0123456789abcdef")
    settled = pipeline.collect(message)
    assert (settled.outcome, settled.drive) == ("test", "")
    assert pending(pipeline)


@pytest.mark.parametrize(
    "changes",
    [
        {"eventName": "SomethingElse"},
        {"inferenceId": "11111111-2222-3333-4444-555555555555"},
        {"inferenceId": ""},
        {"inferenceId": "detector.0001-" + "g" * 32},
        {"requestParameters": {"inputLocation": "s3://elsewhere/" + frame_key(0)}},
        {"requestParameters": {"inputLocation": "https://ingest/" + frame_key(0)}},
        {"requestParameters": {"inputLocation": "s3://ingest/drives/x"}},
        {"requestParameters": {"inputLocation": "s3://ingest/drives/drive-7/drive.json"}},
        {"requestParameters": {"inputLocation": ""}},
        {"responseParameters": {"outputLocation": "s3://ingest/" + frame_key(0)}},
        {"responseParameters": {"outputLocation": ""}},
        {"requestParameters": {"endpointName": "another"}},
        {"inferenceId": 5},
        {"requestParameters": None},
        {"requestParameters": []},
    ],
    ids=str,
)
def test_a_stranger_is_ignored_with_a_reason(pipeline: Pipeline, changes: dict[str, Any]) -> None:
    message = success(submitted(pipeline))
    settled = pipeline.collect(changed(message, **changes))
    assert (settled.outcome, settled.drive) == ("stranger", "")
    assert settled.detail
    assert pending(pipeline)


@pytest.mark.parametrize(
    "body", ["", "no JSON", "[]", "null", "{}", '"x"', "[" * 100_000, "\x00", '{"eventName":null}']
)
def test_a_message_that_is_not_a_notification_is_a_stranger(pipeline: Pipeline, body: str) -> None:
    assert pipeline.collect(body).outcome == "stranger"


def test_an_answer_with_the_key_of_another_frame_is_a_stranger(pipeline: Pipeline) -> None:
    first, second = submitted(pipeline, 0), submitted(pipeline, 1)
    forged = changed(success(first), responseParameters={"outputLocation": second.output_location})
    assert pipeline.collect(forged).outcome == "stranger"
    assert len(pipeline.ledger.pending_units) == 2


def test_an_answer_with_the_id_of_another_attempt_is_a_stranger(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    unit = unit_of(invocation)
    forged = changed(success(invocation), inferenceId=unit.inference_id(2))
    assert pipeline.collect(forged).outcome == "stranger"
    assert pending(pipeline)


def test_an_answer_of_another_model_is_a_stranger(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    other = Unit(unit_of(invocation).drive, "front", unit_of(invocation).timestamp, unit_of(invocation).token, "b.0001")
    assert pipeline.collect(changed(success(invocation), inferenceId=other.inference_id(1))).outcome == "stranger"


def test_a_failure_of_an_unknown_inference_is_late(pipeline: Pipeline) -> None:
    invocation = submitted(pipeline)
    forged = changed(failure(invocation), inferenceId="detector.0001-" + "0" * 32)
    assert pipeline.collect(forged).outcome == "late"
    (unit,) = pipeline.ledger.pending_units.values()
    assert unit.attempt == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"eventName": st.sampled_from(["InferenceResult", "TestNotification", "x"]) | JSON},
    optional={
        "invocationStatus": st.sampled_from(["Completed", "Failed", "Expired"]) | JSON,
        "inferenceId": st.just("detector.0001-" + "0" * 32) | JSON,
        "failureReason": JSON,
        "requestParameters": st.fixed_dictionaries(
            {}, optional={"inputLocation": st.just("s3://ingest/" + frame_key(0)) | JSON, "endpointName": JSON}
        )
        | JSON,
        "responseParameters": st.fixed_dictionaries(
            {}, optional={"outputLocation": st.sampled_from(["s3://labels/x", "s3://labels/"]) | JSON}
        )
        | JSON,
    },
)


@given(st.text() | JSON.map(json.dumps) | FIELDS.map(json.dumps))
def test_a_forged_notification_settles_nothing(body: str) -> None:
    pipeline = Pipeline()
    submitted(pipeline)
    before = dict(pipeline.ledger.pending_units)
    pipeline.collect(body)
    assert pipeline.ledger.pending_units == before
    parse_notification(body)


# Waking


def test_without_a_waiting_run_no_run_is_woken(pipeline: Pipeline) -> None:
    assert wake_if_done(DRIVE, pipeline.ledger, pipeline.executions) == 0


def test_the_last_answer_wakes_the_run(pipeline: Pipeline) -> None:
    pipeline.close()
    first, second = submitted(pipeline, 0), submitted(pipeline, 1)
    assert not pipeline.wait("token")
    pipeline.collect(success(first))
    assert pipeline.executions.woken == []
    pipeline.collect(success(second))
    assert pipeline.executions.woken == ["token"]
    assert pipeline.ledger.waiting_runs(DRIVE) == []


def test_a_final_failure_wakes_the_run(pipeline: Pipeline) -> None:
    pipeline.close()
    submitted(pipeline)
    pipeline.wait("token")
    for attempt in range(MAX_ERRORS):
        assert pipeline.executions.woken == []
        pipeline.collect(failure(pipeline.endpoints.taken[attempt]))
        pipeline.submit_asked()
    assert pipeline.executions.woken == ["token"]


def test_an_answer_before_the_token_is_stored_wakes_the_run(pipeline: Pipeline) -> None:
    pipeline.close()
    pipeline.collect(success(submitted(pipeline)))
    assert pipeline.wait("token")
    assert pipeline.executions.woken == ["token"]
    assert pipeline.ledger.waiting_runs(DRIVE) == []


def test_duplicate_completion_wakes_the_drive_once(pipeline: Pipeline) -> None:
    pipeline.close()
    message = success(submitted(pipeline))
    pipeline.wait("token")
    for _ in range(3):
        pipeline.collect(message)
    assert pipeline.executions.woken == ["token"]


def test_a_duplicate_wakes_a_run_whose_wake_a_crash_lost() -> None:
    crashes = 0
    for operations in range(10):
        pipeline = Pipeline()
        pipeline.close()
        message = success(submitted(pipeline))
        pipeline.wait("token")
        try:
            pipeline.collect(message, Fuse(operations))
        except Crash:
            crashes += 1
            pipeline.collect(message)
        assert pipeline.executions.woken == ["token"]
        assert pipeline.ledger.waiting_runs(DRIVE) == []
    assert crashes == 5


def test_an_execution_that_has_timed_out_is_forgotten(pipeline: Pipeline) -> None:
    pipeline.close()
    message = success(submitted(pipeline))
    pipeline.wait("token")
    pipeline.executions.tokens.clear()
    pipeline.collect(message)
    assert pipeline.executions.woken == []
    assert pipeline.ledger.waiting_runs(DRIVE) == []


def test_a_run_waits_for_the_units_of_its_own_models_only(pipeline: Pipeline) -> None:
    pipeline.close()
    message = success(submitted(pipeline))
    other = Unit(DRIVE, "front", "0" * 19, "0" * 12, "other.0001")
    pipeline.ledger.add_pending(PendingUnit(other, "k", "e", attempt=1, errors=0, since=1.0))
    pipeline.wait("token")
    pipeline.collect(message)
    assert pipeline.executions.woken == ["token"]


def test_settling_comes_before_tokens_and_tokens_before_pending_units(pipeline: Pipeline) -> None:
    pipeline.close()
    message = success(submitted(pipeline))
    pipeline.wait("token")
    fuse = Fuse(100)
    ledger, queue, executions = (fused(p, fuse) for p in (pipeline.ledger, pipeline.queue, pipeline.executions))
    known = json.loads(message)["requestParameters"]["endpointName"]
    Completion(ledger, queue, ingest="ingest", labels="labels", endpoint_of=lambda _: known, max_errors=2).take(
        message, 1.0
    )
    wake_if_done(DRIVE, ledger, executions)  # type: ignore[arg-type]
    assert fuse.log == [
        "FakeLedger.settle",
        "FakeLedger.waiting_runs",
        "FakeLedger.any_pending",
        "FakeExecutions.wake",
        "FakeLedger.stop_waiting",
    ]


# Batches


def broken(message: str, kind: str) -> str:
    """Spoil a notification: no JSON, of an unknown endpoint, or with the answer of another frame."""
    if kind == "garbage":
        return message[:-1]
    if kind == "endpoint":
        return changed(message, requestParameters={"endpointName": "another"})
    return changed(message, requestParameters={"inputLocation": f"s3://ingest/{frame_key(99)}"})


@given(
    told=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["success", "failure", "garbage", "endpoint", "frame"])),
        max_size=12,
    )
)
def test_a_batch_ends_as_its_messages_one_by_one(told: list[tuple[int, str]]) -> None:
    ends = []
    for together in (True, False):
        pipeline = Pipeline()
        taken = [submitted(pipeline, index) for index in range(5)]
        bodies = [
            failure(taken[index])
            if kind == "failure"
            else success(taken[index])
            if kind == "success"
            else broken(success(taken[index]), kind)
            for index, kind in told
        ]
        completion = pipeline.completion()
        if together:
            completion.begin(bodies)
        else:
            # A batch settles answers first.
            bodies.sort(key=lambda body: body not in [success(one) for one in taken])
        outcomes = sorted(completion.take(body, 1.0).outcome for body in bodies)
        ends.append((outcomes, pipeline.ledger.pending_units, sorted(pipeline.queue.asked, key=repr)))
    assert ends[0] == ends[1]


def test_a_broken_catalogue_fails_its_messages_only(pipeline: Pipeline) -> None:
    first, second = success(submitted(pipeline, 0)), success(submitted(pipeline, 1))

    def endpoint_of(model: str) -> str | None:
        raise CatalogueUnavailable("broken")

    completion = Completion(
        pipeline.ledger, pipeline.queue, ingest="ingest", labels="labels", endpoint_of=endpoint_of, max_errors=2
    )
    completion.begin([first, second])
    with pytest.raises(CatalogueUnavailable):
        completion.take(first, 1.0)
    assert len(pipeline.ledger.pending_units) == 2
