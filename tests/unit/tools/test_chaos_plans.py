"""The plans of the chaos test are repeatable and cover every kind of fault."""

from __future__ import annotations

import pytest

from local import FAULT_KINDS
from tools.chaos.__main__ import choose_plans, regression_seeds
from tools.chaos.plans import named_plans, random_plan


def test_a_seed_is_always_the_same_plan() -> None:
    assert random_plan(7) == random_plan(7)
    assert random_plan(7) != random_plan(8)


def test_every_kind_of_fault_has_a_plan_of_its_own() -> None:
    planned = {(fault.point, fault.kind) for plan in named_plans() for fault in plan.faults}
    assert planned == {(point, kind) for point, kinds in FAULT_KINDS.items() for kind in kinds}
    names = [plan.name for plan in named_plans()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("short", "seed", "count", "seeds"),
    [(False, 5, None, [5]), (False, 5, 3, [5, 6, 7]), (False, None, 2, [1, 2])],
)
def test_random_plans_are_chosen_by_their_seeds(
    short: bool, seed: int | None, count: int | None, seeds: list[int]
) -> None:
    assert list(choose_plans(short, seed, count, "")) == [random_plan(seed) for seed in seeds]


def test_the_short_form_runs_every_second_named_plan_and_the_regression_seeds() -> None:
    plans = list(choose_plans(True, None, None, ""))
    assert plans == [*named_plans()[::2], *map(random_plan, regression_seeds())]


def test_reviewers_and_operators_are_in_half_of_the_random_plans() -> None:
    plans = [random_plan(seed) for seed in range(200)]
    with_operator = [plan for plan in plans if plan.has_operator]
    assert 60 < len(with_operator) < 140
    assert {act for plan in with_operator for event in plan.events for act in event.acts} == {
        "redrive",
        "relabel",
        "relabel at once",
    }
    # Its drives are closed by the sweep, after the faults.
    assert not any(drive.closing == "never" for plan in with_operator for drive in plan.drives)


def test_the_short_form_stops_redrives_and_relabels_reviewers_of_tracks() -> None:
    short = [plan for plan in named_plans()[::2] if any(drive.tracks for drive in plan.drives)]
    faults = {fault.kind for plan in short for fault in plan.faults if fault.point == "job"}
    assert faults >= {"late-manifest", "half-answered", "unlabelled", "half-failed"}
    assert {act for plan in short for event in plan.events for act in event.acts} == {"redrive", "relabel"}


def test_tracks_have_frames_enough_to_be_linked_and_to_have_a_seeded_error() -> None:
    drives = [drive for plan in (*named_plans(), *map(random_plan, range(200))) for drive in plan.drives]
    tracked = [drive for drive in drives if drive.tracks]
    assert tracked
    assert any(drive.audits for drive in tracked)
    assert any(drive.vigilance for plan in named_plans() for drive in plan.drives if drive.tracks)
    assert not any(drive.vigilance and drive.audits for drive in tracked)
    for camera in ("front", "rear"):
        assert min(sum(name.startswith(camera) for name, _ in drive.frames) for drive in tracked) >= 8
