"""Blind frames between key frames prove that interpolation holds, or tighten what chooses the key frames."""

from __future__ import annotations

from autolabel.contracts.verification import VerifyKeyFrames
from autolabel.triage.audits import Evidence
from autolabel.triage.interpolation import MAX_TIGHTENED, InterpolationRecords, at_limits
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


def test_what_no_model_found_tightens_nothing() -> None:
    assert InterpolationRecords([run_with(1, wrong=40)], POLICY).limits().keys() == {"car"}
