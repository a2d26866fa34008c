"""The guarantees of every ledger: the one in memory and the one on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from autolabel.aws.ledger import DynamoLedger
from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.errors import RunMissing
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.logs import LogRecord
from autolabel.contracts.ports import JobTokens, Ledger, PendingUnit, WaitingJob, WaitingRun
from autolabel.contracts.units import Unit
from tests.contract.conftest import create_table

MODEL = "detector.0001"


def unit(index: int = 0, *, camera: str = "front", drive: str = "d1", etag: str = "e", model: str = MODEL) -> Unit:
    return Unit.of(FrameKey(drive, camera, f"{index:019d}", "png"), etag, model)


def pending(of: Unit, *, attempt: int = 1, errors: int = 0, since: float = 10.5, unanswered: int = 0) -> PendingUnit:
    key = f"drives/{of.drive}/{of.position}.png"
    return PendingUnit(of, key, "e", attempt=attempt, errors=errors, since=since, unanswered=unanswered)


def run(drive: str = "d1", etag: str = "first") -> Run:
    document = DriveDocument("car", {"front": Camera(ego_mask=((0.0, 0.5), (1.0, 1.0), (0.0, 2.0)))}, notes=("é",))
    return Run(drive, "0001", document, etag, (MODEL,), "2026.1", ("car", "person"))


def test_an_empty_ledger_finds_nothing(ledger: Ledger) -> None:
    assert ledger.pending(unit()) is None
    assert not ledger.any_pending("d1", [MODEL])
    assert list(ledger.pending_of_model("d1", MODEL)) == []
    assert ledger.pending_of_frame(FrameKey("d1", "front", "0" * 19, "png"), MODEL) == []
    assert list(ledger.failed_of_model("d1", MODEL)) == []
    assert list(ledger.locations_of_model("d1", MODEL)) == []
    assert ledger.waiting_runs("d1") == []
    assert list(ledger.refusals("d1")) == []
    assert ledger.find_run("d1", "0001") is None
    with pytest.raises(RunMissing, match="d1"):
        ledger.run("d1", "0001")


def test_a_unit_is_recorded_once_and_the_first_record_stays(ledger: Ledger) -> None:
    assert ledger.add_pending(pending(unit(), since=1.25))
    assert not ledger.add_pending(pending(unit(), attempt=7, since=99.0))
    assert ledger.pending(unit()) == pending(unit(), since=1.25)


def test_every_field_of_a_pending_unit_is_kept(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit(), attempt=3, errors=2, since=1_764_000_000.123456))
    recorded = pending(unit(), attempt=3, since=1_764_000_000.123456)
    ledger.mark_invoked(recorded, invoked=12.5, deadline=1_764_000_000.987654, location="x/y.out")
    assert ledger.pending(unit()) == msgspec.structs.replace(
        pending(unit(), attempt=3, errors=2, since=1_764_000_000.123456),
        invoked=12.5,
        deadline=1_764_000_000.987654,
        location="x/y.out",
    )


def test_an_invocation_of_an_older_attempt_is_not_noted(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit(), attempt=2))
    ledger.mark_invoked(pending(unit(), attempt=1), invoked=5.0, deadline=6.0, location="elsewhere")
    assert ledger.pending(unit()) == pending(unit(), attempt=2)


def test_an_invocation_of_an_answered_unit_leaves_nothing_behind(ledger: Ledger) -> None:
    ledger.mark_invoked(pending(unit()), invoked=5.0, deadline=6.0, location="elsewhere")
    assert ledger.pending(unit()) is None
    assert not ledger.any_pending("d1", [MODEL])


def test_the_next_attempt_clears_the_earlier_invocation(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit()))
    ledger.mark_invoked(pending(unit()), invoked=5.0, deadline=6.0, location="elsewhere")
    assert ledger.next_attempt(pending(unit()), errors=1, since=20.0)
    assert ledger.pending(unit()) == pending(unit(), attempt=2, errors=1, since=20.0)
    assert ledger.next_attempt(pending(unit(), attempt=2), errors=1, since=30.0, unanswered=3)
    assert ledger.pending(unit()) == pending(unit(), attempt=3, errors=1, since=30.0, unanswered=3)


def test_of_two_next_attempts_from_one_attempt_only_one_counts(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit()))
    assert ledger.next_attempt(pending(unit()), errors=1, since=20.0)
    assert not ledger.next_attempt(pending(unit()), errors=1, since=30.0)
    assert ledger.pending(unit()) == pending(unit(), attempt=2, errors=1, since=20.0)


def test_the_next_attempt_of_an_answered_unit_changes_nothing(ledger: Ledger) -> None:
    assert not ledger.next_attempt(pending(unit()), errors=1, since=20.0)
    assert ledger.pending(unit()) is None


def test_only_a_queued_unit_is_touched(ledger: Ledger) -> None:
    assert not ledger.touch(pending(unit()), since=50.0)
    assert ledger.pending(unit()) is None
    ledger.add_pending(pending(unit()))
    assert ledger.touch(pending(unit()), since=50.0)
    assert ledger.pending(unit()) == pending(unit(), since=50.0)
    assert not ledger.touch(pending(unit(), attempt=2), since=60.0)
    # An invocation for the earlier message is not recorded, since the unit has been queued again.
    ledger.mark_invoked(pending(unit()), invoked=4.0, deadline=6.0, location="")
    assert ledger.pending(unit()) == pending(unit(), since=50.0)
    ledger.mark_invoked(pending(unit(), since=50.0), invoked=5.0, deadline=6.0, location="")
    assert not ledger.touch(pending(unit()), since=60.0)
    found = ledger.pending(unit())
    assert found is not None
    assert found.since == 50.0


def test_only_the_invocation_that_was_read_is_put_back(ledger: Ledger) -> None:
    ledger.put_back(pending(unit()), since=5.0)
    assert ledger.pending(unit()) is None
    taken = msgspec.structs.replace(pending(unit()), invoked=4.0, deadline=6.0, unconfirmed=True)
    assert ledger.add_pending(taken)
    assert ledger.pending(unit()) == taken
    ledger.put_back(pending(unit()), since=5.0)
    ledger.put_back(msgspec.structs.replace(taken, invoked=3.0), since=5.0)
    ledger.put_back(msgspec.structs.replace(taken, attempt=2), since=5.0)
    assert ledger.pending(unit()) == taken
    ledger.put_back(taken, since=5.0)
    assert ledger.pending(unit()) == pending(unit(), since=5.0)
    ledger.put_back(pending(unit(), since=5.0), since=0.0)
    assert ledger.pending(unit()) == pending(unit(), since=0.0)


def test_an_invocation_and_the_next_attempt_leave_nothing_unconfirmed(ledger: Ledger) -> None:
    taken = msgspec.structs.replace(pending(unit()), invoked=4.0, deadline=6.0, unconfirmed=True)
    for change in (
        lambda: ledger.mark_invoked(taken, invoked=5.0, deadline=7.0, location=""),
        lambda: ledger.next_attempt(taken, errors=0, since=9.0),
    ):
        assert ledger.add_pending(taken)
        change()
        found = ledger.pending(unit())
        assert found is not None
        assert not found.unconfirmed
        ledger.settle(unit(), None)


def test_a_failure_moves_a_unit_from_pending_to_failed_at_once(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit()))
    assert ledger.fail(pending(unit()), "the model said no", 5.0)
    assert ledger.pending(unit()) is None
    assert [(f.unit, f.reason) for f in ledger.failed_of_model("d1", MODEL)] == [(unit(), "the model said no")]


def test_a_failure_of_another_attempt_changes_nothing(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit(), attempt=2))
    assert not ledger.fail(pending(unit(), attempt=1), "late", 5.0)
    assert ledger.pending(unit()) == pending(unit(), attempt=2)
    assert list(ledger.failed_of_model("d1", MODEL)) == []


def test_a_failure_of_an_answered_unit_changes_nothing(ledger: Ledger) -> None:
    assert not ledger.fail(pending(unit()), "late", 5.0)
    assert list(ledger.failed_of_model("d1", MODEL)) == []


def test_a_second_failure_after_a_new_start_replaces_the_reason(ledger: Ledger) -> None:
    for reason in ("first", "second"):
        ledger.add_pending(pending(unit()))
        assert ledger.fail(pending(unit()), reason, 5.0)
    assert [f.reason for f in ledger.failed_of_model("d1", MODEL)] == ["second"]


def test_settling_is_final_and_may_happen_twice(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit()))
    ledger.settle(unit(), None)
    ledger.settle(unit(), None)
    assert ledger.pending(unit()) is None
    assert list(ledger.locations_of_model("d1", MODEL)) == []


def test_units_that_are_settled_together_are_the_returned_ones(ledger: Ledger) -> None:
    units = [unit(index, drive=drive) for index in range(30) for drive in ("d1", "d2")]
    for one in units:
        ledger.add_pending(pending(one))
    asked = [*units[:55], units[0]]
    settled = ledger.settle_all(asked)
    assert settled
    assert settled <= set(asked)
    assert {one for one in units if ledger.pending(one) is None} == settled
    assert ledger.settle_all([]) == frozenset()


@pytest.mark.usefixtures("aws")
def test_a_unit_that_the_table_did_not_take_is_not_settled() -> None:
    client = create_table("ledger")
    one, other = unit(1), unit(2)
    left = {"DeleteRequest": {"Key": {"pk": {"S": f"pending#d1#{other.partition}"}, "sk": {"S": other.place}}}}
    with Stubber(client) as stubber:
        stubber.add_response("batch_write_item", {"UnprocessedItems": {"ledger": [left]}})
        stubber.add_client_error("batch_write_item", "ProvisionedThroughputExceededException")
        # The second request, which fails, has the 25 others.
        units = [one, other, *(unit(index) for index in range(10, 58))]
        assert DynamoLedger(client, "ledger").settle_all(units) == {one, *units[2:25]}


def test_the_key_of_an_answer_elsewhere_is_kept(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit()))
    ledger.settle(unit(), "inference/elsewhere.out")
    assert ledger.pending(unit()) is None
    assert list(ledger.locations_of_model("d1", MODEL)) == [(unit(), "inference/elsewhere.out")]


def test_units_of_all_partitions_come_in_the_byte_order_of_places(ledger: Ledger) -> None:
    # "-" sorts before "/" and "_" after it, so a camera's name alone does not give the order of keys.
    units = [
        unit(i, camera=camera, etag=etag) for camera in ("a", "a-b", "a_b", "B") for i in range(6) for etag in "xy"
    ]
    expected = sorted(units, key=lambda u: u.place.encode())
    assert len({u.partition for u in units}) > 1
    for one in reversed(units):
        ledger.add_pending(pending(one))
    assert [p.unit for p in ledger.pending_of_model("d1", MODEL)] == expected
    for one in units[::2]:
        ledger.fail(pending(one), "no", 5.0)
    for one in units[1::2]:
        ledger.settle(one, "elsewhere")
    assert [f.unit for f in ledger.failed_of_model("d1", MODEL)] == [u for u in expected if u in units[::2]]
    assert [u for u, _ in ledger.locations_of_model("d1", MODEL)] == [u for u in expected if u in units[1::2]]


def test_other_drives_models_and_frames_are_left_out(ledger: Ledger) -> None:
    here = unit(1)
    for one in (here, unit(1, drive="d10"), unit(1, drive="d"), unit(1, model="detector-b.0001"), unit(11)):
        ledger.add_pending(pending(one))
    ledger.add_pending(pending(unit(1, model="detector.0002")))
    assert [p.unit for p in ledger.pending_of_frame(FrameKey("d1", "front", f"{1:019d}", "png"), MODEL)] == [here]
    assert [p.unit for p in ledger.pending_of_model("d1", MODEL)] == [here, unit(11)]
    assert ledger.any_pending("d1", ["detector.0002"])
    assert not ledger.any_pending("d1", ["detector.0003"])
    assert not ledger.any_pending("d1", ["detector"])
    assert not ledger.any_pending("d1", [])
    assert not ledger.any_pending("d2", [MODEL])


def test_a_frame_finds_the_pending_units_of_all_its_contents(ledger: Ledger) -> None:
    units = [unit(etag=etag) for etag in ("one", "two")]
    for one in units:
        ledger.add_pending(pending(one))
    found = ledger.pending_of_frame(FrameKey("d1", "front", f"{0:019d}", "jpg"), MODEL)
    assert {p.unit for p in found} == set(units)


def test_any_pending_looks_into_every_partition(ledger: Ledger) -> None:
    for index in range(12):
        ledger.add_pending(pending(unit(index)))
        assert ledger.any_pending("d1", ["other.0001", MODEL])
        ledger.settle(unit(index), None)
        assert not ledger.any_pending("d1", ["other.0001", MODEL])


def test_the_first_allocation_of_a_run_wins(ledger: Ledger) -> None:
    assert ledger.allocate_run(run()) == run()
    assert ledger.allocate_run(run(etag="second")) == run()
    assert ledger.run("d1", "0001") == run()
    assert ledger.find_run("d1", "0001") == run()
    assert ledger.find_run("d1", "0002") is None
    with pytest.raises(RunMissing, match="0002"):
        ledger.run("d1", "0002")


def test_runs_follow_one_another(ledger: Ledger) -> None:
    assert ledger.latest_run("d1") is None
    second = msgspec.structs.replace(run(), run="0002", since=5.5)
    for one in (second, run(), run(drive="d10")):
        assert ledger.allocate_run(one) == one
    assert ledger.latest_run("d1") == second
    assert ledger.latest_run("d10") == run(drive="d10")


def test_a_run_may_try_failed_units_again(ledger: Ledger) -> None:
    ledger.allocate_run(run())
    ledger.finish_run(run(), "published", 99.0)
    ledger.retry_failed(run(), before=7.25)
    assert ledger.run("d1", "0001") == msgspec.structs.replace(run(), retry_failed_before=7.25)
    assert ledger.outcome("d1", "0001") == "published"


def test_a_failed_unit_is_revived_once_at_its_next_attempt(ledger: Ledger) -> None:
    ledger.add_pending(pending(unit(), attempt=2))
    assert ledger.fail(pending(unit(), attempt=2), "no", 5.5)
    (failed,) = ledger.failed_of_model("d1", MODEL)
    assert (failed.attempt, failed.at) == (2, 5.5)
    assert not ledger.revive(pending(unit(), attempt=4))
    assert ledger.pending(unit()) is None
    assert ledger.revive(pending(unit(), attempt=3, since=6.0))
    assert ledger.pending(unit()) == pending(unit(), attempt=3, since=6.0)
    assert list(ledger.failed_of_model("d1", MODEL)) == []
    assert not ledger.revive(pending(unit(), attempt=3))


def test_a_pending_unit_is_dropped_only_as_it_was_read(ledger: Ledger) -> None:
    queued = pending(unit())
    assert not ledger.drop(queued)
    ledger.add_pending(queued)
    assert not ledger.drop(pending(unit(), attempt=2))
    assert not ledger.drop(pending(unit(), since=11.0))
    ledger.mark_invoked(queued, invoked=12.0, deadline=13.0, location="")
    assert not ledger.drop(queued)
    known = ledger.pending(unit())
    assert known is not None
    assert ledger.drop(known)
    assert ledger.pending(unit()) is None
    ledger.add_pending(queued)
    assert not ledger.drop(known)
    assert ledger.drop(queued)


def test_reading_can_start_behind_a_position(ledger: Ledger) -> None:
    units = [unit(index, camera=camera) for camera in ("front", "front-2", "rear") for index in range(3)]
    other = unit(1, model="detector.0002")
    for one in (*units, other):
        ledger.add_pending(pending(one))
    for number, one in enumerate(units):
        expected = sorted((u for u in units if u.position > one.position), key=lambda u: u.place.encode())
        assert [p.unit for p in ledger.pending_of_model("d1", MODEL, one.position)] == expected, number
    for one in units:
        ledger.settle(one, "elsewhere.out")
        ledger.add_pending(pending(one))
        ledger.fail(pending(one), "no", 1.0)
    middle = unit(1, camera="front-2").position
    assert [u.position > middle for u, _ in ledger.locations_of_model("d1", MODEL, middle)] == [True] * 7
    assert [f.unit.position > middle for f in ledger.failed_of_model("d1", MODEL, middle)] == [True] * 7


def test_closed_drives_come_in_the_order_of_their_folders(ledger: Ledger) -> None:
    assert list(ledger.closed_drives()) == []
    for drive in ("a0", "a-b", "a", "Z", "a"):
        ledger.mark_closed(drive)
    assert list(ledger.closed_drives()) == ["Z", "a-b", "a", "a0"]


def test_freezing_a_drive_leaves_other_drives_open(ledger: Ledger) -> None:
    assert not ledger.is_frozen("d1")
    ledger.mark_frozen("d1")
    ledger.mark_frozen("d1")
    assert ledger.is_frozen("d1")
    assert not ledger.is_frozen("d10")
    assert ledger.latest_run("d1") is None


def test_a_late_mark_is_deleted_unless_it_was_renewed(ledger: Ledger) -> None:
    ledger.forget_late("d1", 1.5)
    ledger.mark_late("d1", 1.5)
    ledger.mark_late("d1", 2.5)
    ledger.mark_late("d0", 1.0)
    assert list(ledger.late_drives()) == [("d0", 1.0), ("d1", 2.5)]
    ledger.forget_late("d1", 1.5)
    ledger.forget_late("d0", 1.0)
    assert list(ledger.late_drives()) == [("d1", 2.5)]


def test_a_finished_run_is_still_the_run(ledger: Ledger) -> None:
    ledger.allocate_run(run())
    assert ledger.outcome("d1", "0001") == ""
    ledger.finish_run(run(), "published", 99.0)
    assert ledger.run("d1", "0001") == run()
    assert ledger.outcome("d1", "0001") == "published"
    assert ledger.outcome("d1", "0002") == ""


def test_a_newer_token_replaces_an_older_one(ledger: Ledger) -> None:
    ledger.wait(WaitingRun("d1", "0001", "old", (MODEL,)))
    ledger.wait(WaitingRun("d1", "0001", "new", (MODEL, "b.0001")))
    assert ledger.waiting_runs("d1") == [WaitingRun("d1", "0001", "new", (MODEL, "b.0001"))]


def test_an_outdated_wait_does_not_replace_a_later_token(ledger: Ledger) -> None:
    first, second = (WaitingRun("d1", "0001", f"token {n}", (MODEL,), f"{n:04d}") for n in (1, 2))
    assert ledger.wait(second)
    assert not ledger.wait(first)
    assert ledger.waiting_runs("d1") == [second]
    assert ledger.wait(second)


def test_only_the_same_token_is_deleted(ledger: Ledger) -> None:
    ledger.wait(WaitingRun("d1", "0001", "new", (MODEL,)))
    ledger.stop_waiting(WaitingRun("d1", "0001", "old", (MODEL,)))
    assert [w.token for w in ledger.waiting_runs("d1")] == ["new"]
    ledger.stop_waiting(WaitingRun("d1", "0001", "new", (MODEL,)))
    ledger.stop_waiting(WaitingRun("d1", "0001", "new", (MODEL,)))
    assert ledger.waiting_runs("d1") == []


def test_a_job_has_the_token_of_its_latest_wait(ledger: JobTokens) -> None:
    assert ledger.held("job") is None
    first, second = (WaitingJob("job", f"token {n}", f"{n:04d}") for n in (1, 2))
    assert ledger.hold(first)
    assert ledger.hold(second)
    # A call that ends after a later wait has begun.
    assert not ledger.hold(first)
    assert ledger.held("job") == second
    # A repeated call.
    assert ledger.hold(second)
    assert ledger.held("jo") is None
    assert ledger.held("job-again") is None


def test_only_the_same_token_of_a_job_is_released(ledger: JobTokens) -> None:
    first, second = (WaitingJob("job", f"token {n}", f"{n:04d}") for n in (1, 2))
    ledger.hold(second)
    ledger.release(first)
    assert ledger.held("job") == second
    ledger.release(second)
    ledger.release(second)
    assert ledger.held("job") is None
    # A released token does not block an earlier order.
    assert ledger.hold(first)


def test_waiting_runs_exclude_other_items_and_other_drives(ledger: Ledger) -> None:
    ledger.allocate_run(run())
    for drive, name in (("d1", "0002"), ("d1", "0001"), ("d10", "0001")):
        ledger.wait(WaitingRun(drive, name, f"{drive} {name}", (MODEL,)))
    assert [w.token for w in ledger.waiting_runs("d1")] == ["d1 0001", "d1 0002"]


def test_a_token_of_the_greatest_length_is_kept(ledger: Ledger) -> None:
    ledger.wait(WaitingRun("d1", "0001", "A" * 2048, (MODEL,)))
    assert ledger.waiting_runs("d1")[0].token == "A" * 2048


def test_a_log_is_left_out_only_as_it_is_known(ledger: Ledger) -> None:
    begun = LogRecord("d1", "a.mcap", "e", "extracting", 1.0)
    out = LogRecord("d1", "a.mcap", "e", "refused", 2.0, detail="left out by Ann", by="Ann")
    assert not ledger.leave_out_log(out, begun)
    ledger.begin_log(begun)
    assert not ledger.leave_out_log(out, None)
    extracted = LogRecord("d1", "a.mcap", "e", "extracted", 1.5, cameras={"front": 2})
    ledger.end_log(extracted)
    assert not ledger.leave_out_log(out, begun)
    ledger.end_log(begun)
    assert ledger.leave_out_log(out, begun)
    absent = LogRecord("d1", "b.mcap", "", "refused", 2.0, by="Ann")
    assert ledger.leave_out_log(absent, None)
    assert ledger.logs("d1") == [out, absent]


def test_a_refusal_is_kept_once_for_each_key(ledger: Ledger) -> None:
    for detail in ("first", "second"):
        ledger.record_refusal("d1", "drives/d1/ü", "key-outside-contract", detail, 1.0)
    ledger.record_refusal("", "elsewhere", "key-outside-contract", "x", 1.0)
    assert list(ledger.refusals("d1")) == [("drives/d1/ü", "key-outside-contract", "second", 1.0)]
    assert list(ledger.refusals("")) == [("elsewhere", "key-outside-contract", "x", 1.0)]


def test_a_refusal_with_the_longest_key_and_detail_is_kept(ledger: Ledger) -> None:
    key = "drives/d1/" + "ü" * 507
    assert len(key.encode()) == 1024
    ledger.record_refusal("d1", key, "reason", "é" * 10_000, 1.0)
    ((kept, _, detail, _),) = ledger.refusals("d1")
    assert kept == key
    assert detail == "é" * 2_000


def test_a_refusal_without_a_key_is_kept(ledger: Ledger) -> None:
    ledger.record_refusal("", "", "key-outside-contract", "the key is empty", 1.0)
    assert [refusal.detail for refusal in ledger.refusals("")] == ["the key is empty"]


@pytest.mark.usefixtures("aws")
def test_a_partition_of_more_than_one_page_is_read_to_its_end() -> None:
    # A page of a query ends at 1 MB.
    ledger = DynamoLedger(create_table("ledger"), "ledger")
    for index in range(600):
        ledger.record_refusal("d1", f"{index:04d}", "reason", "x" * 2_000, 1.0)
    assert [refusal.key for refusal in ledger.refusals("d1")] == [f"{index:04d}" for index in range(600)]


@pytest.mark.usefixtures("aws")
def test_a_transaction_that_fails_for_another_reason_is_raised() -> None:
    client = create_table("ledger")
    with Stubber(client) as stubber:
        stubber.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]},
        )
        with pytest.raises(ClientError, match="TransactionCanceled"):
            DynamoLedger(client, "ledger").fail(pending(unit()), "no", 5.0)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("operation", "write"),
    [
        ("put_item", lambda ledger: ledger.add_pending(pending(unit()))),
        ("update_item", lambda ledger: ledger.next_attempt(pending(unit()), errors=0, since=0.0)),
    ],
)
def test_a_throttled_write_is_raised(operation: str, write: Callable[[Ledger], object]) -> None:
    client = create_table("ledger")
    with Stubber(client) as stubber:
        stubber.add_client_error(operation, "ProvisionedThroughputExceededException")
        with pytest.raises(ClientError, match="Throughput"):
            write(DynamoLedger(client, "ledger"))


@pytest.mark.usefixtures("aws")
def test_every_read_is_strongly_consistent(monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_table("ledger")
    asked: list[dict[str, object]] = []
    client.meta.events.register("provide-client-params.dynamodb.*", lambda params, **_: asked.append(params))
    ledger = DynamoLedger(client, "ledger")
    ledger.pending(unit())
    ledger.any_pending("d1", [MODEL])
    for read in (ledger.pending_of_model, ledger.failed_of_model, ledger.locations_of_model):
        list(read("d1", MODEL))
    ledger.pending_of_frame(FrameKey("d1", "front", "0" * 19, "png"), MODEL)
    ledger.waiting_runs("d1")
    ledger.allocate_run(run())
    reads = [params for params in asked if "Item" not in params]
    assert len(reads) >= 20
    assert all(params["ConsistentRead"] is True for params in reads)
