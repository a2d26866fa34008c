"""Tests of reconcile passes: listing, answers and ledger are compared, and differences are repaired."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import ModelFailing
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.ports import FailedUnit, PendingUnit
from autolabel.contracts.units import Unit
from autolabel.inference.reconcile_pass import Cursor, PassProgress, PassReport, Verdict, Worst, retry_failed_units
from autolabel.inference.reconciliation import SAMPLE, SampledFrame, draw_sample
from autolabel.models.catalogue import model_key
from tests.fakes.answers import DETECTOR, add_to_catalogue, answer
from tests.fakes.faults import Crash, Fuse
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, FRAMES_PATIENCE, LIMITS, Pipeline, drive_document, frame_key

MODEL = DETECTOR.id
DEADLINE = 5_000.0


@pytest.fixture
def closed(pipeline: Pipeline) -> Pipeline:
    pipeline.close()
    return pipeline


def add_frame(pipeline: Pipeline, index: int = 0, **where: str) -> Unit:
    """Put a frame into the ingest bucket, without its event."""
    event = pipeline.upload(frame_key(index, **where), png())
    return Unit.of(parse_frame_key(event.key), event.etag, MODEL)


def pending(unit: Unit, **fields: object) -> PendingUnit:
    known = PendingUnit(unit, f"drives/{unit.drive}/{unit.position}.png", "e", attempt=1, errors=0, since=1_000.0)
    return msgspec.structs.replace(known, **fields)


def put(pipeline: Pipeline, **fields: object) -> Unit:
    """Put a frame whose unit is pending with these fields."""
    unit = add_frame(pipeline)
    pipeline.ledger.pending_units[unit] = pending(unit, **fields)
    return unit


def test_a_drive_without_frames_has_nothing_pending(closed: Pipeline) -> None:
    report = closed.reconcile()
    assert report == PassReport(DRIVE, "0001", 1, False, *[0] * 9, verdict=Verdict.PLAN_SHARDS)
    assert not closed.queue.asked


def test_a_lost_frame_is_recorded_and_then_asked_for(closed: Pipeline) -> None:
    unit = add_frame(closed)
    report = closed.reconcile()
    assert (report.pending, report.submitted) == (1, 1)
    assert [one.unit for one in closed.queue.asked] == [unit]
    assert closed.submit_asked() == ["submitted"]
    report = closed.reconcile()
    assert (report.pending, report.submitted, report.resubmitted) == (1, 0, 0)
    assert not closed.queue.asked


def test_a_request_may_expire_any_number_of_times(closed: Pipeline) -> None:
    unit = put(closed, attempt=LIMITS.max_unanswered + 5, invoked=1_000.0, deadline=closed.now - 1)
    report = closed.reconcile()
    assert (report.resubmitted, report.failed) == (1, 0)
    assert closed.ledger.pending_units[unit].unanswered == 1
    # Any notification, also of an expired request, resets the count of unanswered attempts.
    closed.ledger.next_attempt(closed.ledger.pending_units[unit], errors=0, since=closed.now)
    assert closed.ledger.pending_units[unit].unanswered == 0


def test_a_pending_frame_is_left_alone(closed: Pipeline) -> None:
    closed.submit(closed.upload(frame_key(0), png()))
    report = closed.reconcile()
    assert (report.units, report.pending, report.submitted) == (1, 1, 0)
    assert not closed.queue.asked


def test_more_lost_frames_than_a_batch_holds_are_all_asked_for(closed: Pipeline) -> None:
    units = [add_frame(closed, i) for i in range(23)]
    assert closed.reconcile().submitted == 23
    assert [one.unit for one in closed.queue.asked] == units


def test_an_answer_settles_a_unit_whose_notification_was_lost(closed: Pipeline) -> None:
    unit = put(closed, invoked=1_000.0, deadline=DEADLINE)
    closed.labels.write(unit.answer_key(1), answer())
    report = closed.reconcile()
    assert (report.answered, report.pending) == (1, 0)
    assert not closed.ledger.pending_units


def test_a_wait_that_was_not_ended_is_forgotten_when_the_run_goes_on(closed: Pipeline) -> None:
    unit = put(closed, invoked=1_000.0, deadline=DEADLINE)
    closed.wait("token")
    # While the run waits, its token stays
    closed.reconcile()
    assert len(closed.ledger.waiting_runs(DRIVE)) == 1
    closed.labels.write(unit.answer_key(1), answer())
    assert closed.reconcile().pending == 0
    # A pass that outlives its call must not delete the token of a later wait.
    assert len(closed.ledger.waiting_runs(DRIVE)) == 1
    closed.plan()
    assert closed.ledger.waiting_runs(DRIVE) == []


def test_an_answer_at_the_endpoints_key_settles_its_unit(closed: Pipeline) -> None:
    unit = put(closed, invoked=1_000.0, deadline=DEADLINE, location="inference/elsewhere.out")
    assert closed.reconcile().pending == 1
    closed.labels.write("inference/elsewhere.out", answer())
    report = closed.reconcile()
    assert (report.answered, report.pending) == (1, 0)
    assert closed.ledger.locations == {unit: "inference/elsewhere.out"}
    assert closed.reconcile().answered == 1


def test_a_unit_of_another_content_of_the_frame_is_another_unit(closed: Pipeline) -> None:
    old = add_frame(closed)
    closed.labels.write(old.answer_key(1), answer())
    closed.ledger.failed_units[old] = FailedUnit(old, "no")
    event = closed.upload(frame_key(0), png(color=(9, 9, 9)))
    report = closed.reconcile()
    assert (report.units, report.answered, report.failed, report.submitted) == (1, 0, 0, 1)
    assert [one.etag for one in closed.queue.asked] == [event.etag]


def test_the_answer_of_another_revision_does_not_count(closed: Pipeline) -> None:
    unit = add_frame(closed)
    closed.labels.write(msgspec.structs.replace(unit, model="detector.0002").answer_key(1), answer())
    assert closed.reconcile().submitted == 1


def test_other_objects_among_the_answers_are_ignored(closed: Pipeline) -> None:
    unit = add_frame(closed)
    for key in (
        "0",
        "front",
        "front/x",
        f"front/{unit.timestamp}/readme",
        f"front/{unit.timestamp}/{unit.token}-1.tmp",
    ):
        closed.labels.write(f"inference/{DRIVE}/{MODEL}/{key}", b"")
    assert closed.reconcile().submitted == 1


def test_a_queued_unit_is_asked_for_again_only_after_its_time(closed: Pipeline) -> None:
    put(closed)
    closed.now = 1_000.0 + LIMITS.unsubmitted_after
    assert closed.reconcile().resubmitted == 0
    closed.now += 1.0
    assert closed.reconcile().resubmitted == 1
    assert closed.reconcile().resubmitted == 0
    assert len(closed.queue.asked) == 1


def test_an_invoked_unit_is_asked_for_again_only_after_its_deadline(closed: Pipeline) -> None:
    unit = put(closed, invoked=1_000.0, deadline=DEADLINE, location="inference/elsewhere.out")
    closed.now = DEADLINE
    assert closed.reconcile().resubmitted == 0
    closed.now += 1.0
    report = closed.reconcile()
    assert (report.pending, report.resubmitted) == (1, 1)
    assert closed.ledger.pending_units[unit] == pending(unit, attempt=2, since=closed.now, unanswered=1)
    assert closed.submit_asked() == ["submitted"]
    assert closed.endpoints.taken[-1].filename == unit.filename(2)


def test_a_unit_with_too_many_unanswered_attempts_is_failed(closed: Pipeline) -> None:
    unit = put(closed, unanswered=LIMITS.max_unanswered - 1, invoked=1_000.0, deadline=DEADLINE)
    closed.now = DEADLINE + 1.0
    report = closed.reconcile()
    assert (report.failed, report.pending) == (1, 0)
    (failed,) = closed.ledger.failed_units.values()
    assert (failed.unit, failed.reason) == (unit, f"{LIMITS.max_unanswered} consecutive invocations were not answered")
    assert failed.at == closed.now
    assert not closed.queue.asked


def test_a_missed_deadline_keeps_the_count_of_the_models_errors(closed: Pipeline) -> None:
    unit = put(closed, errors=1, invoked=1_000.0, deadline=DEADLINE)
    closed.now = DEADLINE + 1.0
    closed.reconcile()
    assert closed.ledger.pending_units[unit].errors == 1


def test_a_failed_unit_is_counted_and_not_asked_for_again(closed: Pipeline) -> None:
    unit = add_frame(closed)
    closed.ledger.failed_units[unit] = FailedUnit(unit, "no")
    report = closed.reconcile()
    assert (report.failed, report.pending, report.submitted) == (1, 0, 0)


STATES = list(
    itertools.product(
        (False, True),  # an answer
        (False, True),  # an answer elsewhere
        (False, True),  # a failure
        (None, "queued", "invoked", "overdue", "exhausted"),
    )
)


@pytest.mark.parametrize(("answered", "elsewhere", "failed", "state"), STATES, ids=str)
def test_every_combination_of_records_has_one_result(
    closed: Pipeline, answered: bool, elsewhere: bool, failed: bool, state: str | None
) -> None:
    unit = add_frame(closed)
    neighbours = [add_frame(closed, 1, camera=camera) for camera in ("back", "front", "side")]
    closed.ledger.runs[DRIVE, "0001"] = msgspec.structs.replace(
        closed.run,
        document=msgspec.json.decode(drive_document("back", "front", "side"), type=type(closed.run.document)),
    )
    for neighbour in neighbours:
        closed.labels.write(neighbour.answer_key(1), answer())
    if answered:
        closed.labels.write(unit.answer_key(1), answer())
    if elsewhere:
        closed.labels.write("inference/x.out", answer())
        closed.ledger.locations[unit] = "inference/x.out"
    if failed:
        closed.ledger.failed_units[unit] = FailedUnit(unit, "no")
    if state is not None:
        closed.ledger.pending_units[unit] = pending(
            unit,
            unanswered=LIMITS.max_unanswered - 1 if state == "exhausted" else 0,
            invoked=0.0 if state == "queued" else 1_000.0,
            deadline=1.0 if state in ("overdue", "exhausted") else DEADLINE,
        )
    report = closed.reconcile()
    assert report.units == 4
    assert report.answered + report.failed + report.pending == 4
    if answered or elsewhere:
        assert report.answered == 4
        assert not closed.ledger.pending_units
        assert not closed.queue.asked
    elif state == "exhausted":
        assert (report.failed, len(closed.queue.asked)) == (1, 0)
        assert not closed.ledger.pending_units
    elif state is None and failed:
        assert (report.failed, len(closed.queue.asked)) == (1, 0)
    else:
        assert report.pending == 1
        assert list(closed.ledger.pending_units) == [unit]
        assert len(closed.queue.asked) == (state in (None, "overdue"))
    assert closed.reconcile().units == 4


def test_a_pass_survives_a_crash_before_each_operation() -> None:
    for operations in itertools.count():
        pipeline = Pipeline()
        lost = [add_frame(pipeline, i) for i in range(3)]
        pipeline.close()
        pipeline.labels.write(lost[0].answer_key(1), answer())
        pipeline.ledger.pending_units[lost[0]] = pending(lost[0])
        pipeline.ledger.pending_units[lost[1]] = pending(lost[1], invoked=1_000.0, deadline=1.0)
        try:
            pipeline.reconcile(Fuse(operations))
        except Crash:
            pipeline.now += LIMITS.unsubmitted_after + 1.0
            report = pipeline.reconcile()
            assert (report.units, report.answered, report.pending) == (3, 1, 2)
            pipeline.now += LIMITS.unsubmitted_after + 1.0
            pipeline.reconcile()
            assert {one.unit for one in pipeline.queue.asked} == set(lost[1:])
        else:
            break
    assert operations > 8


def test_a_queue_that_takes_nothing_fails_the_pass(closed: Pipeline) -> None:
    unit = add_frame(closed)
    closed.queue.full = True
    with pytest.raises(Exception, match="did not take"):
        closed.reconcile()
    assert list(closed.ledger.pending_units) == [unit]


def test_two_models_are_reconciled_separately() -> None:
    other = msgspec.structs.replace(DETECTOR, name="other")
    pipeline = Pipeline(DETECTOR, other)
    pipeline.close(drive_document(models=("detector", "other")))
    unit = add_frame(pipeline)
    pipeline.labels.write(unit.answer_key(1), answer())
    report = pipeline.reconcile()
    assert (report.frames, report.units, report.answered, report.pending) == (1, 2, 1, 1)
    assert [one.unit.model for one in pipeline.queue.asked] == ["other.0001"]


def test_the_worst_model_is_named_wherever_the_pass_stops() -> None:
    others = [msgspec.structs.replace(DETECTOR, name=name) for name in ("other", "third")]
    for calls in (1, 2, 3, 100):
        pipeline = Pipeline(DETECTOR, *others)
        pipeline.close(drive_document(models=("detector", "other", "third")))
        for index in range(4):
            unit = add_frame(pipeline, index)
            for name, fails in (("detector", index < 1), ("other", index < 3), ("third", index < 2)):
                asked = msgspec.structs.replace(unit, model=f"{name}.0001")
                if fails:
                    pipeline.ledger.failed_units[asked] = FailedUnit(asked, "no")
                else:
                    pipeline.labels.write(asked.answer_key(1), answer())
        progress = PassProgress()
        for _ in range(40):
            left = iter(range(calls))
            report = pipeline.reconcile(progress=progress, enough=lambda left=left: next(left, None) is None)
            progress = msgspec.json.decode(msgspec.json.encode(report), type=PassProgress)
            if report.cursor is None:
                break
        assert (report.worst, report.failed, report.answered) == (Worst("other.0001", 3), 6, 6)


# Passes that stop early, pause, or find stray units


def test_a_pass_that_stops_anywhere_counts_like_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autolabel.inference.reconciliation._GROUP", 1)

    def drive() -> Pipeline:
        pipeline = Pipeline()
        units = [add_frame(pipeline, index, camera=camera) for camera in ("front", "rear") for index in range(3)]
        pipeline.close(drive_document("front", "rear"))
        pipeline.labels.write(units[0].answer_key(1), answer())
        pipeline.ledger.pending_units[units[1]] = pending(units[1], invoked=1.0, deadline=DEADLINE)
        pipeline.ledger.failed_units[units[2]] = FailedUnit(units[2], "no")
        return pipeline

    whole = drive().reconcile()
    for calls in range(1, 8):
        pipeline = drive()
        progress, report = PassProgress(turn=4), None
        for _ in range(20):
            left = iter(range(calls))
            report = pipeline.reconcile(progress=progress, enough=lambda left=left: next(left, None) is None)
            # The state machine carries JSON.
            progress = msgspec.json.decode(msgspec.json.encode(report), type=PassProgress)
            if report.cursor is None:
                break
        assert report == msgspec.structs.replace(whole, turn=5)
        assert len(pipeline.queue.asked) == 3
        assert len({one.unit for one in pipeline.queue.asked}) == 3


def test_many_workers_count_and_repair_like_one() -> None:
    reports = []
    for workers in (1, 8):
        pipeline = Pipeline()
        units = [add_frame(pipeline, index) for index in range(95)]
        pipeline.close()
        for unit in units[::3]:
            pipeline.ledger.pending_units[unit] = pending(unit, invoked=1.0, deadline=2.0)
        pipeline.workers = workers
        reports.append(pipeline.reconcile())
        assert len({one.unit for one in pipeline.queue.asked}) == len(pipeline.queue.asked) == 95
    assert reports[0] == reports[1]


def test_an_endpoint_that_is_gone_gets_no_requests(closed: Pipeline) -> None:
    units = [add_frame(closed, index) for index in range(3)]
    closed.ledger.pending_units[units[1]] = pending(units[1], invoked=1.0, deadline=2.0)
    closed.ledger.pending_units[units[2]] = pending(units[2], since=0.0)
    closed.now += LIMITS.unsubmitted_after + 1
    closed.endpoints.gone = True
    report = closed.reconcile()
    assert (report.pending, report.submitted, report.resubmitted) == (3, 0, 0)
    assert report.paused == (f"{MODEL}: endpoint {DETECTOR.endpoint} is missing",)
    assert not closed.queue.asked
    closed.endpoints.gone = False
    report = closed.reconcile()
    assert (report.submitted, report.resubmitted, report.paused) == (0, 3, ())
    assert len(closed.queue.asked) == 3


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_whose_endpoint_is_gone_waits_for_unsubmitted_units(closed: Pipeline, failed: bool) -> None:
    unit = add_frame(closed)
    closed.now = 1_800_000_000.0
    if failed:
        closed.ledger.failed_units[unit] = FailedUnit(unit, "out of memory", attempt=2, at=closed.now - 1.0)
        closed.ledger.retry_failed(closed.run, before=closed.now)
    closed.endpoints.gone = True
    assert closed.reconcile().pending == 1
    # A run that woke itself at once would make pass after pass, until its execution reaches its limit of events.
    assert not closed.wait("token")
    closed.endpoints.gone = False
    assert closed.reconcile().resubmitted == 1
    assert closed.submit_asked() == ["submitted"]


def test_a_removed_model_keeps_no_run_waiting(closed: Pipeline) -> None:
    units = [add_frame(closed, index) for index in range(3)]
    closed.now = 1_800_000_000.0
    closed.ledger.pending_units[units[1]] = pending(units[1], invoked=1.0, deadline=2.0)
    closed.labels.write(units[2].answer_key(1), answer())
    closed.endpoints.gone = True
    assert closed.reconcile().pending == 2
    other = msgspec.structs.replace(DETECTOR, name="other")
    add_to_catalogue(closed.labels, other)
    closed.now += 60.0
    closed.reconcile()
    report = closed.reconcile()
    assert (report.answered, report.failed, report.pending) == (1, 2, 0)
    assert {one.reason for one in closed.ledger.failed_units.values()} == {"its model was removed"}
    # An operator may ask to try failed units once more, with the same result.
    closed.ledger.retry_failed(closed.run, before=closed.now + 1.0)
    closed.now += 1.0
    closed.reconcile()
    assert closed.reconcile().pending == 0


def test_a_missing_endpoint_of_a_current_revision_is_waited_for(closed: Pipeline) -> None:
    add_frame(closed)
    closed.endpoints.gone = True
    newer = msgspec.structs.replace(DETECTOR, revision="0002", answers_of="0001")
    add_to_catalogue(closed.labels, newer)
    for _ in range(3):
        closed.now += LIMITS.unsubmitted_after + 60.0
        assert closed.reconcile().pending == 1


def test_what_a_deleted_endpoint_took_is_asked_for_again_at_once(closed: Pipeline) -> None:
    unit = put(closed, unanswered=LIMITS.max_unanswered - 1, invoked=1_000.0, deadline=DEADLINE)
    closed.now = 2_000.0
    closed.endpoints.gone = True
    assert closed.reconcile().resubmitted == 0
    closed.endpoints.gone = False
    closed.endpoints.created_at = 1_500.0
    assert closed.reconcile().resubmitted == 1
    # The attempt is not the frame's fault, so it does not count as unanswered.
    again = pending(unit, attempt=2, since=closed.now, unanswered=LIMITS.max_unanswered - 1)
    assert closed.ledger.pending_units[unit] == again
    assert closed.submit_asked() == ["submitted"]
    # The new endpoint has it.
    closed.now = 2_100.0
    assert closed.reconcile().resubmitted == 0


def test_answers_are_settled_while_the_endpoint_is_gone(closed: Pipeline) -> None:
    unit = put(closed, invoked=1.0, deadline=2.0)
    closed.labels.write(unit.answer_key(1), answer())
    closed.endpoints.gone = True
    assert (closed.reconcile().answered, closed.reconcile().pending) == (1, 0)


def test_a_broken_catalogue_pauses_the_run(closed: Pipeline) -> None:
    add_frame(closed)
    closed.labels.objects[model_key(MODEL)] = b"no JSON"
    report = closed.reconcile()
    assert report.pending == 1
    (paused,) = report.paused
    assert MODEL in paused


def test_a_parked_unit_is_asked_for_once_its_endpoint_is_back(pipeline: Pipeline) -> None:
    pipeline.now = 1_800_000_000.0
    event = pipeline.upload(frame_key(0), png())
    pipeline.endpoints.gone = True
    assert pipeline.submit(event, park=True) == ["parked"]
    pipeline.close()
    pipeline.now += 1.0
    assert pipeline.reconcile().pending == 1
    assert not pipeline.queue.asked
    pipeline.endpoints.gone = False
    assert pipeline.reconcile().resubmitted == 1
    assert pipeline.submit_asked() == ["submitted"]


def test_an_overdue_stray_unit_is_dropped(closed: Pipeline) -> None:
    listed = add_frame(closed, 5)
    closed.labels.write(listed.answer_key(1), answer())
    strays = [
        Unit.of(parse_frame_key(frame_key(index)), etag, MODEL) for index, etag in ((1, "x"), (5, "old"), (9, "x"))
    ]
    fresh = strays[0]
    for unit in strays:
        closed.ledger.pending_units[unit] = pending(unit, invoked=1.0, deadline=2.0)
    closed.ledger.pending_units[fresh] = pending(fresh, invoked=1.0, deadline=DEADLINE)
    report = closed.reconcile()
    assert (report.units, report.answered, report.pending, report.dropped) == (1, 1, 0, 2)
    assert list(closed.ledger.pending_units) == [fresh]


def test_any_number_of_stray_units_is_dropped_call_by_call(closed: Pipeline) -> None:
    for index in range(35):
        unit = Unit.of(parse_frame_key(frame_key(index, camera="rear")), "x", MODEL)
        closed.ledger.pending_units[unit] = pending(unit, invoked=1.0, deadline=2.0)
    progress, dropped = PassProgress(), []
    while True:
        report = closed.reconcile(progress=progress, enough=lambda: True)
        dropped.append(report.dropped)
        if report.cursor is None:
            break
        progress = PassProgress(report.turn, report.retried, report.cursor)
    assert dropped == [10, 20, 30, 35]
    assert not closed.ledger.pending_units


def test_an_earlier_run_drops_no_stray_units(closed: Pipeline) -> None:
    first = closed.run
    closed.reconcile()
    closed.ledger.finish_run(first, "published", 1.0)
    unit = add_frame(closed, 7)
    closed.ledger.pending_units[unit] = pending(unit, invoked=1.0, deadline=2.0)
    closed.closing().relabel(DRIVE)
    assert closed.turns().reconcile(first, PassProgress(), closed.now).dropped == 0
    assert closed.ledger.pending(unit)


def test_expected_frames_get_some_time_to_arrive(pipeline: Pipeline) -> None:
    add_frame(pipeline, 0)
    pipeline.close(drive_document(cameras={"front": {"expected_frames": 3}}))
    report = pipeline.reconcile()
    assert (report.missing, report.frames) == (2, 0)
    add_frame(pipeline, 1)
    assert pipeline.reconcile().missing == 1
    add_frame(pipeline, 2)
    report = pipeline.reconcile()
    assert (report.missing, report.frames, report.submitted) == (0, 3, 3)


def test_expected_frames_that_never_arrive_do_not_block_the_drive(pipeline: Pipeline) -> None:
    pipeline.close(drive_document(cameras={"front": {"expected_frames": 3}}))
    assert pipeline.reconcile().missing == 3
    pipeline.now += FRAMES_PATIENCE
    report = pipeline.reconcile()
    assert (report.missing, report.frames, report.pending) == (0, 0, 0)


def test_a_model_that_fails_most_frames_stops_the_run_for_an_operator(closed: Pipeline) -> None:
    unit = add_frame(closed)
    closed.ledger.failed_units[unit] = FailedUnit(unit, "out of memory", attempt=2, at=closed.now)
    worst = closed.reconcile().worst
    assert worst == Worst("detector.0001", 1)
    with pytest.raises(ModelFailing, match=r"detector\.0001 failed 1 of 1 frame of"):
        retry_failed_units(
            closed.run, Worst("detector.0001", 1), 1, redriven=False, ledger=closed.ledger, now=closed.now
        )
    assert closed.reconcile().failed == 1
    closed.now += 1.0
    retry_failed_units(closed.run, worst, 1, redriven=True, ledger=closed.ledger, now=closed.now)
    report = closed.reconcile()
    assert (report.failed, report.resubmitted) == (0, 1)
    known = closed.ledger.pending(unit)
    assert known is not None
    assert known.attempt == 3


# Broken frames do not count against the model


CUT = png()[:-20]


def fail(pipeline: Pipeline, index: int, body: bytes, model: str = MODEL) -> None:
    """Put a frame that a model failed; the other models answered it."""
    event = pipeline.upload(frame_key(index), body)
    for other in pipeline.run.asked:
        unit = Unit.of(parse_frame_key(event.key), event.etag, other)
        if other == model:
            pipeline.ledger.failed_units[unit] = FailedUnit(unit, "no")
        else:
            pipeline.labels.write(unit.answer_key(1), answer())


def succeed(pipeline: Pipeline, count: int) -> None:
    for index in range(count):
        event = pipeline.upload(frame_key(900_000 + index), png())
        for model in pipeline.run.asked:
            pipeline.labels.write(Unit.of(parse_frame_key(event.key), event.etag, model).answer_key(1), answer())


@pytest.mark.parametrize(
    ("broken", "whole", "answered", "verdict"),
    [
        (24, 0, 6, Verdict.PLAN_SHARDS),
        (0, 24, 6, Verdict.MODEL_FAILING),
        (1, 24, 6, Verdict.MODEL_FAILING),
        (24, 19, 1, Verdict.PLAN_SHARDS),
        # Of the whole frames, the model failed most.
        (30, 25, 10, Verdict.MODEL_FAILING),
        (30, 25, 30, Verdict.PLAN_SHARDS),
    ],
)
def test_broken_frames_do_not_count_against_the_model(
    closed: Pipeline, broken: int, whole: int, answered: int, verdict: Verdict
) -> None:
    for index in range(broken + whole):
        fail(closed, index, CUT if index < broken else png())
    succeed(closed, answered)
    report = closed.reconcile()
    assert report.verdict == verdict
    assert report.failed == broken + whole
    assert (report.worst.failed, report.worst.broken or 0) == (whole, broken)
    # State machines of older versions compare these numbers.
    assert verdict == Verdict.MODEL_FAILING or report.worst.failed < 20 or 2 * report.worst.failed <= report.frames


def test_a_large_drive_is_judged_by_a_sample(closed: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(600):
        fail(closed, index, CUT if index % 4 else png())
    read, reads = closed.ingest.read_range, []
    monkeypatch.setattr(closed.ingest, "read_range", lambda *what: (reads.append(what), read(*what))[1])
    report = closed.reconcile()
    assert len(reads) == SAMPLE
    assert 50 <= report.worst.failed <= 250
    assert report.worst.failed + (report.worst.broken or 0) == 600
    assert closed.reconcile() == msgspec.structs.replace(report, turn=1)


def test_a_sample_is_the_same_wherever_the_pass_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autolabel.inference.reconcile_pass._MANY", 0)
    reports = []
    for calls in (1, 2, 5, 1_000):
        pipeline = Pipeline(DETECTOR, msgspec.structs.replace(DETECTOR, name="other"))
        pipeline.close(drive_document(models=("detector", "other")))
        for index in range(200):
            fail(pipeline, index, CUT if index % 3 else png(), MODEL if index < 120 else "other.0001")
        # Repairs are made, so that the pass can stop.
        for index in range(50):
            add_frame(pipeline, 500 + index)
        pipeline.reconcile()
        for unit in list(pipeline.ledger.pending_units):
            pipeline.labels.write(unit.answer_key(1), answer())
        progress, made = PassProgress(turn=1), 0
        while True:
            left = iter(range(calls))
            report = pipeline.reconcile(progress=progress, enough=lambda left=left: next(left, None) is None)
            progress = msgspec.json.decode(msgspec.json.encode(report), type=PassProgress)
            made += 1
            if report.cursor is None:
                break
            # A state's output, and an event of the execution, hold 256 KB.
            assert len(msgspec.json.encode(report)) < 30_000
        assert made > 1 or calls == 1_000
        reports.append(report)
    assert reports == [reports[0]] * 4


def test_each_model_is_judged_by_its_own_frames() -> None:
    pipeline = Pipeline(DETECTOR, msgspec.structs.replace(DETECTOR, name="other"))
    pipeline.close(drive_document(models=("detector", "other")))
    for index in range(120):
        # One model fails whole frames, the other one twice as many broken ones.
        fail(pipeline, index, CUT if index % 3 else png(), MODEL if index % 3 else "other.0001")
    assert pipeline.reconcile().worst == Worst("other.0001", 40)


@pytest.mark.parametrize("why", ["pending", "retried"])
def test_no_frame_is_read_while_the_verdict_does_not_need_it(closed: Pipeline, why: str) -> None:
    for index in range(30):
        fail(closed, index, CUT)
    if why == "pending":
        add_frame(closed, 100)
    closed.ingest.read_range = lambda *_: pytest.fail("a frame was read")  # type: ignore[method-assign]
    report = closed.reconcile(progress=PassProgress(retried=why == "retried"))
    assert report.worst == Worst(MODEL, 30)
    assert report.verdict == (Verdict.AWAIT_ANSWERS if why == "pending" else Verdict.PLAN_SHARDS)


def test_a_failing_model_is_told_apart_from_broken_frames(closed: Pipeline) -> None:
    with pytest.raises(ModelFailing, match=r"failed 25 of 65 frames.*, and about 30 that are not whole pictures"):
        retry_failed_units(closed.run, Worst(MODEL, 25, 30), 65, redriven=False, ledger=closed.ledger, now=closed.now)


def test_cursors_of_older_versions_are_read() -> None:
    old = b'{"model":1,"after":"front/1","counts":{"units":3},"paused":[],"failed":2,"worst":{"model":"m","failed":2}}'
    cursor = msgspec.json.decode(old, type=Cursor)
    assert (cursor.sample, cursor.suspects, cursor.worst) == ((), (), Worst("m", 2))


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=400), st.integers(1, 400))
def test_a_sample_of_samples_is_a_sample_of_the_whole(numbers: list[int], cut: int) -> None:
    frames = [SampledFrame(frame_key(number), "e") for number in numbers]
    parts = draw_sample(frames[:cut]) + draw_sample(frames[cut:])
    assert draw_sample(parts) == draw_sample(frames)
    assert len(draw_sample(frames)) == min(SAMPLE, len(frames))
