"""Triage decides which frames of a run reviewers get, and why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import (
    ACCEPTED,
    AUDIT,
    BLIND_AUDIT,
    EVERYTHING,
    KINDS,
    UNCERTAIN,
    UNPROVEN,
    Policy,
    VerifyAll,
    VerifyUncertain,
)
from autolabel.triage.policy import ANY_CLASS, AuditStretch, Draw, claims, draw_audits, stretch_of, triage_frame

POLICY = VerifyUncertain()
HERE = AuditStretch("front", 3)
PROVEN = frozenset({ANY_CLASS, "car"})
shares = st.floats(0.01, 1.0)
drives = st.sampled_from(["drive-1", "drive-2", "a", "b"])


def read(document: str) -> Policy:
    return msgspec.json.decode(document, type=Policy)


def stretches(count: int, *cameras: str) -> list[tuple[AuditStretch, frozenset[str]]]:
    """Make acceptable frames of proven classes, one for each stretch."""
    return [(AuditStretch(camera, number), PROVEN) for camera in cameras or ("front",) for number in range(count)]


def draw_from(
    frames: Iterable[tuple[AuditStretch, frozenset[str]]], policy: VerifyUncertain = POLICY, drive: str = "drive-1"
) -> Draw:
    return draw_audits(policy, drive, "0001", frames, PROVEN)


def kind(level: float | None = 0.0, *shown: str, proven: frozenset[str] = PROVEN, draw: Draw | None = None) -> str:
    return triage_frame(POLICY, level, claims(shown), proven, HERE, draw or Draw())


def test_a_policy_is_read_with_its_defaults() -> None:
    assert read('{"policy": "all"}') == VerifyAll()
    assert read('{"policy": "doubtful", "audit": 0.2}') == VerifyUncertain(max_uncertainty=0.15, audit=0.2, blind=0.5)


@pytest.mark.parametrize(
    "document",
    [
        '{"policy": "never"}',
        '{"policy": "all", "max_doubt": 0.5}',
        '{"policy": "doubtful", "max_doubt": 1}',
        '{"policy": "doubtful", "max_doubt": -0.1}',
        '{"policy": "doubtful", "audit": 0}',
        '{"policy": "doubtful", "blind": 0}',
        '{"policy": "doubtful", "target": 1}',
        '{"policy": "doubtful", "segment": 0}',
        '{"policy": "doubtful", "most_doubt": 0.1}',
    ],
)
def test_an_invalid_policy_or_one_that_can_prove_nothing_is_refused(document: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(document)


def test_every_frame_goes_to_reviewers_by_default() -> None:
    assert triage_frame(VerifyAll(), 0.0, (), PROVEN, HERE, Draw()) == EVERYTHING


def test_an_uncertain_frame_or_one_without_prelabel_goes_to_reviewers() -> None:
    assert [kind(0.1501, "car"), kind(None)] == [UNCERTAIN, UNCERTAIN]
    assert kind(0.15, "car") == ACCEPTED


def test_a_frame_with_an_unproven_class_is_not_accepted() -> None:
    assert kind(0.0, "car", "bus") == UNPROVEN
    assert kind(0.0, "car", proven=frozenset({"car"})) == UNPROVEN


def test_an_empty_frame_claims_that_it_shows_no_object() -> None:
    assert kind(0.0) == ACCEPTED
    assert kind(0.0, proven=frozenset({"car"})) == UNPROVEN


def test_a_candidate_is_a_claim_about_its_class() -> None:
    assert triage_frame(POLICY, 0.1, claims(["car", "bus"]), PROVEN, HERE, Draw()) == UNPROVEN


def test_only_acceptable_frames_are_audited() -> None:
    shown, blind = Draw(frozenset({HERE})), Draw(frozenset({HERE}), frozenset({HERE}))
    assert [kind(0.1, "car", draw=shown), kind(0.1, "car", draw=blind)] == [AUDIT, BLIND_AUDIT]
    assert kind(0.1, "bus", draw=blind) == BLIND_AUDIT
    assert kind(0.9, "car", draw=blind) == UNCERTAIN


def test_an_audited_stretch_is_blind_until_all_its_claims_are_proven() -> None:
    policy = VerifyUncertain(audit=1.0, blind=0.01)
    proven, unproven = frozenset({ANY_CLASS, "car"}), frozenset({ANY_CLASS, "car", "bus"})
    frames = [
        (AuditStretch("front", n), claimed) for n in range(100) for claimed in (proven, unproven if n < 50 else proven)
    ]
    draw = draw_from(frames, policy)
    assert draw_from(frames[::-1], policy) == draw
    assert {AuditStretch("front", n) for n in range(50)} <= draw.blind
    # And the share that is drawn from all audited stretches.
    assert len(draw.blind) - 50 in (0, 1)
    assert len(draw_audits(policy, "drive-1", "0001", frames, ()).blind) == 100


def test_even_a_short_drive_has_a_blind_audit() -> None:
    assert draw_from([]) == Draw()
    for count in (1, 2, 5):
        assert len(draw_from(stretches(count)).blind) == 1


def test_seven_percent_of_a_hundred_stretches_is_seven() -> None:
    # In floats, 0.07 * 100 is a little more than 7.
    assert len(draw_from(stretches(100), VerifyUncertain(audit=0.07)).audited) == 7


def test_each_drive_and_run_has_its_own_draw() -> None:
    frames = stretches(1_000)
    assert len({draw_audits(POLICY, drive, run, frames, PROVEN) for drive in "ab" for run in ("0001", "0002")}) == 4


def test_audits_are_spread_over_the_drive_and_its_cameras() -> None:
    audited = draw_from(stretches(5_000, "front", "rear")).audited
    for camera in ("front", "rear"):
        for third in range(3):
            found = sum(one.camera == camera and one.number * 3 // 5_000 == third for one in audited)
            # Within five standard deviations of drawing a tenth of 1,667.
            assert found == pytest.approx(167, abs=61)


@given(drives, shares, shares, st.integers(0, 300), st.randoms())
def test_a_repeated_draw_is_the_same_and_has_the_right_shares(
    drive: str, audit: float, blind: float, count: int, order: random.Random
) -> None:
    policy = VerifyUncertain(audit=audit, blind=blind)
    frames = stretches(count)
    draw = draw_from(frames, policy, drive)
    order.shuffle(frames)
    assert draw_from([*frames, *frames], policy, drive) == draw
    assert draw.blind <= draw.audited <= {stretch for stretch, _ in frames}
    assert audit * count - 1e-6 <= len(draw.audited) < audit * count + 1
    assert blind * len(draw.audited) - 1e-6 <= len(draw.blind) < blind * len(draw.audited) + 1


@given(st.integers(1, 50), st.integers(1, 300))
def test_a_stretch_is_consecutive_frames_of_one_camera(length: int, frames: int) -> None:
    policy = VerifyUncertain(stretch=length)
    found = [stretch_of(policy, "front", position) for position in range(frames)]
    assert found == sorted(found)
    sizes = list(Counter(found).values())
    assert sizes[:-1] == [length] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= length
    assert stretch_of(policy, "rear", 0) not in found


@given(
    st.one_of(st.just(VerifyAll()), st.builds(VerifyUncertain, max_uncertainty=st.floats(0, 0.99))),
    st.one_of(st.none(), st.floats(0, 1)),
    st.sets(st.sampled_from(["car", "bus"])),
    st.sets(st.sampled_from(["car", "bus", ANY_CLASS])),
    st.booleans(),
    st.booleans(),
)
def test_a_frame_is_accepted_only_if_certain_proven_and_not_audited(
    policy: Policy, level: float | None, shown: set[str], proven: set[str], audited: bool, blind: bool
) -> None:
    drawn = Draw(frozenset({HERE} if audited else ()), frozenset({HERE} if audited and blind else ()))
    found = triage_frame(policy, level, claims(shown), proven, HERE, drawn)
    assert found in KINDS
    if found == ACCEPTED:
        assert isinstance(policy, VerifyUncertain)
        assert level is not None
        assert level <= policy.max_uncertainty
        assert {*shown, ANY_CLASS} <= proven
        assert not audited
