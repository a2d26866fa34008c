"""Blind frames between key frames prove that interpolation holds, or tighten what chooses the key frames."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import VerifyKeyFrames
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import LabelledBox
from autolabel.triage.audits import Evidence
from autolabel.triage.interpolation import MAX_TIGHTENED, InterpolationRecords, at_limits
from autolabel.triage.redrawn import RedrawnBoxes, RedrawnTally
from tests.fakes.evidence import ENOUGH, evidence_of

POLICY = VerifyKeyFrames()


def run_with(number: int, right: int = 0, wrong: int = 0, limits: dict[str, float] | None = None) -> Evidence:
    published = f"2026-01-01T{number:06d}"
    found = evidence_of("r", f"drive-{number}", POLICY, right=right, wrong=wrong, published=published)
    return at_limits(found, limits or {})


def car(*evidence: Evidence) -> str:
    (said,) = (one for one in InterpolationRecords(evidence, POLICY).sentences() if one.startswith("car"))
    return said


def test_without_audits_nothing_is_proven() -> None:
    assert InterpolationRecords([], POLICY).sentences() == (
        "interpolation is not proven yet: no person has labelled a frame between key frames blind",
    )


def test_enough_blind_frames_without_an_error_prove_that_it_holds() -> None:
    assert "at an IoU of 0.8 holds since run drive-1 0001" in car(run_with(1, ENOUGH))
    assert "at an IoU of 0.8 is not proven yet (precision 50 audit stretches" in car(run_with(1, 50))
    assert InterpolationRecords([run_with(1, 50, wrong=3)], POLICY).limits() == {}


def test_a_class_that_does_not_hold_gets_nearer_key_frames_and_a_proof_of_these() -> None:
    wrong = run_with(1, wrong=40)
    assert InterpolationRecords([wrong], POLICY).limits() == {"car": 0.9}
    assert car(wrong).endswith("; the next run asks for key frames at an IoU of 0.9")
    # What was proven between other key frames does not count.
    assert "at an IoU of 0.9 is not proven yet (precision 20" in car(wrong, run_with(2, 20, limits={"car": 0.9}))
    assert "at an IoU of 0.9 holds since run drive-2" in car(wrong, run_with(2, 130, limits={"car": 0.9}))
    # Not even more evidence at the first limit takes it back.
    assert InterpolationRecords([wrong, run_with(2, 500)], POLICY).limits() == {"car": 0.9}


def test_key_frames_are_tightened_a_few_times_only() -> None:
    evidence, limits = list[Evidence](), dict[str, float]()
    for number in range(MAX_TIGHTENED + 2):
        evidence.append(run_with(number, wrong=40, limits=limits))
        limits = InterpolationRecords(evidence, POLICY).limits()
    assert limits == {"car": 0.975}
    assert "at an IoU of 0.975 does not hold" in car(*evidence)


@pytest.mark.parametrize(
    ("agreed", "target", "cannot"),
    [(97, 0.95, False), (96, 0.95, True), (94, 0.9, False), (93, 0.9, True)],
)
def test_a_target_that_two_persons_miss_cannot_be_proven(agreed: int, target: float, cannot: bool) -> None:
    policy = msgspec.structs.replace(POLICY, target=target)
    redrawn = msgspec.structs.replace(
        run_with(1), redrawn={"car": RedrawnBoxes(50, 60, 60), "van": RedrawnBoxes(1, 1, 0)}
    )
    more = msgspec.structs.replace(run_with(2, 1), redrawn={"car": RedrawnBoxes(50, 40, agreed - 60)})
    (said,) = (
        one for one in InterpolationRecords([redrawn, more], policy).sentences() if "redrawn" in one and "car" in one
    )
    assert f"agrees on {agreed}.0% of 100 redrawn key boxes in 100 frames (95 % interval " in said
    assert said.endswith(f"a target of {target:g} cannot be proven") == cannot


def test_more_key_frames_are_asked_for_only_where_persons_could_agree_with_them() -> None:
    wrong = run_with(1, wrong=40)
    for agreed, limits in ((0, {}), (80, {}), (92, {"car": 0.9}), (100, {"car": 0.9})):
        redrawn = msgspec.structs.replace(wrong, redrawn={"car": RedrawnBoxes(100, 100, agreed)})
        assert InterpolationRecords([redrawn], POLICY).limits() == limits


@given(st.lists(st.tuples(st.sampled_from(["car", "van"]), st.sampled_from(["", "car", "van"]), st.integers(0, 8))))
def test_a_redrawn_box_agrees_if_class_and_place_do(drawn: list[tuple[str, str, int]]) -> None:
    first = [LabelledBox(name, 100 * at, 0, 10, 10, 0) for at, (name, _, _) in enumerate(drawn)]
    second = [LabelledBox(name, 100 * at + dx, 0, 10, 10, 0) for at, (_, name, dx) in enumerate(drawn) if name]
    tally = RedrawnTally()
    tally.take(pair_boxes(first, second))
    for name in ("car", "van"):
        of = [(other, dx) for one, other, dx in drawn if one == name]
        # Boxes of 10 pixels have an IoU of 0.7 or more up to a shift of one pixel.
        agreed = sum(other == name and dx <= 1 for other, dx in of)
        expected = RedrawnBoxes(1, len(of), agreed) if of else None
        assert tally.classes.get(name) == expected


def test_what_no_model_found_tightens_nothing() -> None:
    assert InterpolationRecords([run_with(1, wrong=40)], POLICY).limits().keys() == {"car"}
