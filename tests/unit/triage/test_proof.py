"""Proof: the audit stretches of a recipe decide which classes are accepted, and when that ends."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import VerifyUncertain
from autolabel.triage.audits import AuditedStretch, ClassErrors, Count, Evidence
from autolabel.triage.policy import ANY_CLASS
from autolabel.triage.proof import (
    Certificate,
    ClassRecord,
    acceptance_sentences,
    accepted_classes,
    class_records,
)
from tests.fakes.evidence import evidence_of

POLICY = VerifyUncertain(target=0.95)
# Stretches without an error that prove a class in its first attempt, and in its second.
FIRST, SECOND = 104, 120


def run_with(number: int, right: int, wrong: int = 0, *, blind: bool = True, name: str = "car") -> Evidence:
    """Make the evidence of a run; each number is a drive, and later than those before it."""
    published = f"2026-01-01T{number:06d}"
    return evidence_of(
        "r", f"drive-{number}", POLICY, right=right, wrong=wrong, published=published, blind=blind, name=name
    )


def accepted(*evidence: Evidence) -> frozenset[str]:
    return accepted_classes(class_records(evidence, POLICY))


def said(*evidence: Evidence) -> str:
    return str(class_records(evidence, POLICY)["car"])


def test_no_audits_prove_nothing() -> None:
    assert class_records([], POLICY) == {}


def test_104_stretches_without_an_error_prove_a_class_and_103_do_not() -> None:
    assert accepted(run_with(1, FIRST)) == {"car", ANY_CLASS}
    assert accepted(run_with(1, FIRST - 1)) == frozenset()
    assert accepted(run_with(1, 50), run_with(2, FIRST - 50)) == {"car", ANY_CLASS}


def test_objects_of_a_stretch_count_together() -> None:
    def of(objects: int, wrong: int) -> str:
        record = ClassRecord("car", 0.95)
        for _ in range(30):
            record.take("d 0001", ClassErrors(Count(objects, wrong), Count(objects, wrong)), blind=True)
        return str(record).partition("at least ")[2].partition(" more")[0]

    assert of(1, 0) == of(40, 0) == str(FIRST - 30)
    assert int(of(40, 2)) > FIRST - 30
    assert of(20, 1) == of(40, 2)


def test_both_sides_must_be_proven() -> None:
    record = ClassRecord("car", 0.95)
    for _ in range(1_000):
        record.take("d 0001", ClassErrors(recall=Count(1, 0)), blind=True)
    assert not record.is_accepted
    for _ in range(FIRST):
        record.take("d 0001", ClassErrors(precision=Count(1, 0)), blind=True)
    assert record.is_accepted


def test_shown_audits_earn_nothing_but_contradict() -> None:
    assert not accepted(run_with(1, 1_000, blind=False))
    assert not accepted(run_with(1, 0, 3, blind=False), run_with(2, FIRST))
    assert accepted(run_with(1, 50, blind=False), run_with(2, FIRST))


def test_a_class_missed_where_it_is_not_shown_is_not_accepted() -> None:
    # A stretch that does not show the class is audited blind only by lot. It is there that the class is missed.
    draw, target = random.Random(1), 0.95
    for _ in range(20):
        record = ClassRecord(ANY_CLASS, target)
        for _ in range(2_000):
            missed = draw.random() < 0.06
            record.take("d 0001", ClassErrors(recall=Count(1, missed)), blind=not missed or draw.random() < 0.5)
        assert record.attempts == 1
        assert not record.is_accepted


def test_a_stretch_counts_once_in_its_first_run() -> None:
    again = [msgspec.structs.replace(run_with(1, 60), run=f"{n:04d}") for n in range(1, 6)]
    assert not accepted(*again)
    # The run that was published first counts, also with a higher number.
    first = msgspec.structs.replace(run_with(1, 60, 3), run="0009", published="2025")
    assert "objects wrong" not in said(*again)
    assert class_records([*again, first], POLICY)["car"].certificate().recall.wrong == 3


def test_nothing_leaves_the_sequence() -> None:
    assert not accepted(run_with(1, 0, 20), run_with(2, FIRST), run_with(3, FIRST))
    assert accepted(run_with(1, 0, 20), *(run_with(n, FIRST) for n in range(2, 20)))


def test_a_class_that_fell_enters_anew_with_less_chance_of_error() -> None:
    fallen = [run_with(1, FIRST), run_with(2, 0, 4)]
    assert not accepted(*fallen)
    assert not accepted(*fallen, run_with(3, SECOND - 1))
    assert {"car", ANY_CLASS} == accepted(*fallen, run_with(3, SECOND))


def test_shown_audits_end_acceptance() -> None:
    assert not accepted(run_with(1, FIRST), run_with(2, 0, 5, blind=False))
    assert accepted(run_with(1, FIRST), run_with(2, 40, 1, blind=False))


def test_the_status_says_how_far_each_class_is() -> None:
    so_far = [run_with(1, FIRST), run_with(2, 1, name="bus"), run_with(3, 20, 1, name="person")]
    others = [evidence_of("r", "drive-9", VerifyUncertain(target=0.9))]
    every = [*so_far, *others]
    records = class_records(every, POLICY)
    missing = records["person"].certificate()
    assert missing.recall.stretches == 21
    needed = str(records["person"]).partition("at least ")[2].partition(" more")[0]
    assert acceptance_sentences(records, every, POLICY, old=2) == (
        "any class: accepted since run drive-1 0001 (recall with 0 of 104 objects wrong in 104 audit stretches)",
        "bus: precision 1 audit stretch so far, at least 103 more, recall 1 audit stretch so far, at least 103 more",
        "car: accepted since run drive-1 0001 (precision with 0 of 104 objects wrong in 104 audit stretches, "
        "recall with 0 of 104 objects wrong in 104 audit stretches)",
        f"person: precision 21 audit stretches so far, at least {needed} more, "
        f"recall 21 audit stretches so far, at least {needed} more",
        "1 run has audits under another target, max_doubt, segment or task, which do not count here",
        "2 runs have audits from before they were kept by stretch, which do not count any more",
    )


def test_the_status_says_when_acceptance_ended_and_why() -> None:
    found = said(run_with(1, FIRST), run_with(2, 10), run_with(3, 20, 9), run_with(4, 1))
    assert found.startswith(
        "car was accepted until run drive-3 0001: its newer audits show a precision below 0.95; acceptance is off "
        "(attempt 2: precision "
    )


def test_a_certificate_has_the_promise_and_what_proves_it() -> None:
    records = class_records([run_with(1, FIRST), run_with(2, 0, 4), run_with(3, SECOND)], POLICY)
    car, any_class = records["car"].certificate(), records[ANY_CLASS].certificate()
    assert (car.accepted, car.attempts, car.since, car.target) == (True, 2, "drive-3 0001", 0.95)
    assert car.precision is not None
    assert (car.precision.wrong, car.recall.wrong) == (0, 0)
    assert min(car.precision.capital, car.recall.capital) >= 1 / car.alpha == 80
    assert "acceptance never begins while the expected share of wrong objects (precision or recall)" in car.promise
    assert "is above 0.05;" in car.promise
    assert any_class.precision is None
    assert msgspec.json.decode(msgspec.json.encode(car), type=Certificate) == car


history = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 8), st.booleans()), max_size=6)


@given(history, st.randoms())
def test_evidence_may_be_listed_in_any_order(runs: list[tuple[int, int, bool]], order: random.Random) -> None:
    evidence = [run_with(n, right, wrong, blind=blind) for n, (right, wrong, blind) in enumerate(runs)]
    before = [record.certificate() for record in class_records(evidence, POLICY).values()]
    order.shuffle(evidence)
    evidence = [
        msgspec.structs.replace(one, stretches=tuple(order.sample(one.stretches, len(one.stretches))))
        for one in evidence
    ]
    assert [record.certificate() for record in class_records(evidence, POLICY).values()] == before


@given(history)
def test_a_run_that_is_read_twice_changes_nothing(runs: list[tuple[int, int, bool]]) -> None:
    evidence = [run_with(n, right, wrong, blind=blind) for n, (right, wrong, blind) in enumerate(runs)]
    once, twice = (
        [record.certificate() for record in class_records(of, POLICY).values()] for of in (evidence, evidence * 2)
    )
    assert once == twice


@pytest.mark.parametrize("target", [0.5, 0.8, 0.99])
def test_any_target_can_be_proven_and_lost(target: float) -> None:
    def taken(record: ClassRecord, errors: Sequence[int]) -> bool:
        for wrong in errors:
            record.take("d 0001", ClassErrors(Count(1, wrong), Count(1, wrong)), blind=True)
        return record.is_accepted

    record = ClassRecord("car", target)
    assert taken(record, [0] * 600)
    assert not taken(record, [1] * 100)
    assert record.attempts == 2


def test_stretches_of_other_cameras_are_others() -> None:
    evidence = run_with(1, 60)
    rear = tuple(AuditedStretch("rear", one.position, True, one.classes) for one in evidence.stretches)
    assert accepted(msgspec.structs.replace(evidence, stretches=(*evidence.stretches, *rear)))
