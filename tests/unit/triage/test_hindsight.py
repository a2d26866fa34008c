"""Hindsight: which reviewed frames a policy would have accepted."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import ACCEPTED, BLIND_AUDIT, UNCERTAIN, VerifyUncertain
from autolabel.labelling.uncertainty_map import UncertaintyMap
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.capital import alpha_of, lower_bound
from autolabel.triage.hindsight import Hindsight, Outcome, Reviewed, best_setting
from autolabel.triage.policy import ANY_CLASS

FLOOR = 0.15
GOOD = {"car": ClassAgreement(kept=1)}
MISSED = {"car": ClassAgreement(kept=1, added=1)}


def reviewed(position: int, *, uncertainty: float = 0.1, kind: str = UNCERTAIN, **changes: object) -> Reviewed:
    frame = Reviewed(
        f"f{position}",
        "front",
        position,
        kind,
        uncertainty,
        (uncertainty,),
        claims=("car",),
        verified=True,
        classes=GOOD,
    )
    return msgspec.structs.replace(frame, **changes)


def look_back(
    frames: list[Reviewed],
    max_uncertainty: float = 0.15,
    floor: float = FLOOR,
    stretch: int = 10,
    uncertainty_map: UncertaintyMap | None = None,
) -> Outcome:
    hindsight = Hindsight(max_uncertainty, floor, VerifyUncertain(stretch=stretch), uncertainty_map)
    for frame in frames:
        hindsight.take("drive-1", frame)
    return hindsight.outcome()


def test_without_frames_nothing_is_accepted() -> None:
    found = look_back([])
    assert (found.frames, found.accepted, found.bounds, found.proven) == (0, 0, {}, ())
    assert best_setting([found], FLOOR) is None


def test_only_faults_of_acceptable_frames_are_counted() -> None:
    found = look_back(
        [
            reviewed(0),
            reviewed(1, classes=MISSED),
            reviewed(
                2, classes={"car": ClassAgreement(moved=1, relabelled=1, deleted=2), "bus": ClassAgreement(gained=1)}
            ),
            reviewed(3, uncertainty=0.2, classes=MISSED),
            reviewed(4, level=None, classes=MISSED),
            reviewed(5, kind=ACCEPTED, verified=False, classes={}),
        ]
    )
    assert (found.frames, found.acceptable, found.seen, found.faulty) == (6, 4, 3, 2)
    assert (found.missed, found.false_alarms, found.misnamed, found.misplaced) == (1, 2, 1, 1)


def test_the_floor_decides_which_candidates_add_uncertainty() -> None:
    frames = [reviewed(0, uncertainty=0.0, candidates=(0.2,)), reviewed(1, uncertainty=0.0, candidates=(0.1,))]
    assert [look_back(frames, 0.05, floor).acceptable for floor in (0.05, 0.15, 0.25)] == [0, 1, 2]


def test_a_failed_model_makes_a_frame_unacceptable() -> None:
    assert look_back([reviewed(0, failed=0.5)]).acceptable == 0


def test_an_object_counts_once_a_stretch_and_any_error_makes_it_wrong() -> None:
    found = look_back(
        [reviewed(0), reviewed(1, classes=MISSED), reviewed(8, classes=MISSED), reviewed(9), reviewed(10)]
    )
    recall = found.bounds["car"]["recall"]
    # At most two cars in the first stretch, and perhaps both were missed; one car in the second.
    assert (recall.trials, recall.errors, recall.stretches) == (3, 2, 2)
    precision = found.bounds["car"]["precision"]
    assert (precision.trials, precision.errors, precision.stretches) == (2, 0, 2)
    assert precision.bound == pytest.approx(lower_bound({(0, 1): 2}, alpha_of(1)), abs=1e-6)


def test_only_frames_of_proven_classes_are_accepted() -> None:
    cars = [reviewed(10 * n) for n in range(110)]
    bus = {"bus": ClassAgreement(kept=1)}
    found = look_back([*cars, reviewed(1100, claims=("bus",), classes=bus), reviewed(1101, claims=(), classes={})])
    assert found.proven == (ANY_CLASS, "car")
    # The empty frame is accepted too, because nothing was missed; the bus is not.
    assert (found.acceptable, found.accepted) == (112, 111)


def test_a_class_without_claims_is_not_proven() -> None:
    gained = {"van": ClassAgreement(gained=1)}
    found = look_back([reviewed(10 * n, classes=gained) for n in range(400)])
    assert found.bounds["van"]["precision"].bound == 0.0
    assert "van" not in found.proven


def test_only_frames_with_their_prelabel_in_sight_are_timed() -> None:
    found = look_back([reviewed(0, seconds=3.5), reviewed(1), reviewed(2, seconds=60.0, kind=BLIND_AUDIT)])
    assert (found.seconds, found.timed, found.blind) == (3.5, 1, 1)


def test_the_best_setting_is_the_strictest_that_accepts_most() -> None:
    frames = [reviewed(10 * n, uncertainty=0.05 if n % 2 else 0.2) for n in range(220)]
    frames += [reviewed(10 * n, uncertainty=0.6, classes=MISSED) for n in range(220, 280)]
    outcomes = [look_back(frames, max_uncertainty) for max_uncertainty in (0.1, 0.2, 0.3, 0.7)]
    assert [one.accepted for one in outcomes] == [110, 220, 220, 0]
    assert best_setting(outcomes, FLOOR) == outcomes[1]
    assert best_setting(outcomes, 0.3) is None


frames_ = st.lists(
    st.builds(
        reviewed,
        st.integers(0, 100),
        uncertainty=st.floats(0, 1).map(lambda level: round(level, 2)),
        kind=st.sampled_from([UNCERTAIN, BLIND_AUDIT]),
        verified=st.booleans(),
        candidates=st.lists(st.floats(0.05, 0.35), max_size=2).map(tuple),
        classes=st.dictionaries(
            st.sampled_from(["car", "bus"]), st.builds(ClassAgreement, *[st.integers(0, 2)] * 6), max_size=2
        ),
    ),
    max_size=12,
)


@given(frames_)
def test_a_higher_limit_or_floor_never_accepts_fewer_frames(frames: list[Reviewed]) -> None:
    for floor in (0.05, 0.15, 0.25):
        outcomes = [look_back(frames, uncertainty, floor) for uncertainty in (0.0, 0.1, 0.3, 0.9)]
        for strict, lax in itertools.pairwise(outcomes):
            assert strict.acceptable <= lax.acceptable
            assert strict.seen <= lax.seen
            assert strict.faulty <= lax.faulty
        assert all(one.faulty <= one.seen <= one.acceptable <= one.frames for one in outcomes)
    floors = [look_back(frames, 0.3, floor).acceptable for floor in (0.05, 0.15, 0.25)]
    assert floors == sorted(floors)


@given(frames_)
def test_a_record_is_read_as_written(frames: list[Reviewed]) -> None:
    for frame in frames:
        assert msgspec.json.decode(msgspec.json.encode(frame), type=Reviewed) == frame


def test_the_time_that_is_saved_counts_accepted_frames_without_their_audits() -> None:
    frames = [
        *(reviewed(n, seconds=2.0) for n in range(4)),
        *(reviewed(n, uncertainty=0.5, seconds=6.0) for n in range(4, 8)),
        reviewed(8, kind=ACCEPTED, verified=False, classes={}),
        # Blind audits take longer, and would not be drawn if all were shown.
        reviewed(9, kind=BLIND_AUDIT, seconds=60.0),
    ]
    found = look_back(frames)
    # Six frames of 2 seconds within the limit, four of 6 seconds above it, and a tenth is audited.
    assert (found.saved, found.most_saved) == (0.0, 0.3)
    assert look_back(frames, 0.6).most_saved == 0.9
    assert look_back([reviewed(0)]).most_saved is None
    assert look_back([reviewed(0, uncertainty=0.5, seconds=1.0)]).most_saved == 0.0


def test_a_map_gives_the_uncertainty_that_limits_are_compared_with() -> None:
    of = UncertaintyMap("r", "0001", (0.1, 0.4), (0.3, 0.35), 1, 1)
    frames = [reviewed(0), reviewed(1, uncertainty=0.4)]
    assert [look_back(frames, limit, uncertainty_map=of).acceptable for limit in (0.15, 0.3, 0.35)] == [0, 1, 2]
