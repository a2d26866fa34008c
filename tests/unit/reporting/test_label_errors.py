"""Label issues: verified labels that confident models contradict."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import LabelledBox
from autolabel.reporting.label_errors import (
    BADLY_LOCATED,
    OVERLOOKED,
    SWAPPED,
    Candidate,
    Candidates,
    LabelIssue,
    Opinion,
    find_label_issues,
)

LABELS = frozenset({"car", "van", "truck", "person", "rider"})


def box(name: str, left: float = 0, width: float = 100) -> LabelledBox:
    return LabelledBox(name, left, 0, width, 100, 0.0)


def candidate(name: str, left: float = 0, confidence: float = 0.9, *votes: Opinion) -> Candidate:
    return Candidate(name, (left, 0, left + 100, 100), confidence, votes)


def issues(
    candidates: list[Candidate], verified: list[LabelledBox], shown: list[LabelledBox] | None = None
) -> list[LabelIssue]:
    ordered = tuple(sorted(candidates, key=lambda one: -one.confidence))
    return find_label_issues(Candidates(1_000, 100, ordered), shown or [], verified, LABELS)


@pytest.mark.parametrize(
    ("candidates", "verified"),
    [
        ([], []),
        ([], [box("car")]),
        ([candidate("car")], [box("car")]),
        ([candidate("car", 300, 0.1)], [box("car")]),
        ([candidate("traffic light", 300)], []),
        ([candidate("car")], [box("ignore", 0, 150)]),
        ([candidate("person")], [box("rider")]),
        ([candidate("car"), candidate("person", 300)], [box("person", 300), box("car")]),
    ],
    ids=[
        "nothing",
        "an object that no model saw",
        "models and people agree",
        "models that are not confident",
        "a class that people were not asked for",
        "a region where nothing counts",
        "a rider, whom models call a person",
        "two objects in another order",
    ],
)
def test_candidates_that_do_not_contradict_are_no_issue(
    candidates: list[Candidate], verified: list[LabelledBox]
) -> None:
    assert issues(candidates, verified) == []


def test_an_object_without_a_verified_box_was_overlooked() -> None:
    (one,) = issues([candidate("car", 300), candidate("car")], [box("car")])
    assert (one.kind, one.models.left, one.verified, one.decided) == (OVERLOOKED, 300, None, False)
    assert one.suspicion == pytest.approx(0.9)


def test_a_class_that_left_the_taxonomy_is_a_group_of_its_own() -> None:
    found = Candidates(1_000, 100, (candidate("tricycle", 300), candidate("tricycle")))
    (one,) = find_label_issues(found, [], [box("car"), box("tricycle")], LABELS | {"tricycle"})
    assert (one.kind, one.models.left) == (OVERLOOKED, 300)


def test_a_deleted_box_is_less_suspicious_than_one_never_shown() -> None:
    (never_shown,) = issues([candidate("car")], [])
    (deleted,) = issues([candidate("car")], [], [box("car")])
    assert deleted.decided
    assert 0 < deleted.suspicion < never_shown.suspicion


def test_a_shown_box_that_the_reviewer_left_was_not_decided_against() -> None:
    # The box that was shown is not quite the models': Link smooths sides.
    (left,) = issues([candidate("car")], [box("car", 15)], [box("car", 15)])
    (moved,) = issues([candidate("car")], [box("car", 15)], [box("car")])
    assert (left.decided, moved.decided) == (False, True)


def test_a_box_away_from_the_models_box_is_badly_located() -> None:
    (near,) = issues([candidate("car")], [box("car", 20)])
    (far,) = issues([candidate("car")], [box("car", 45)])
    assert near.kind == far.kind == BADLY_LOCATED
    assert 0 < near.suspicion < far.suspicion
    assert far.verified is not None
    assert (far.verified.left, far.models.left) == (45, 0)


def test_models_that_disagree_on_location_lower_the_suspicion() -> None:
    apart = candidate("car", 0, 0.9, Opinion("car", 0.9, 0.6), Opinion("car", 0.9, 0.6))
    (one,) = issues([apart], [box("car", 40)])
    (other,) = issues([candidate("car")], [box("car", 40)])
    assert one.suspicion < other.suspicion


def test_a_class_that_the_models_contradict_was_swapped() -> None:
    (one,) = issues([candidate("van")], [box("car")])
    assert (one.kind, one.models.label) == (SWAPPED, "van")
    assert one.verified is not None
    assert one.verified.label == "car"


def test_a_minority_for_another_class_is_less_suspicious() -> None:
    few = candidate("car", 0, 0.9, Opinion("car", 0.9, 1.0), Opinion("car", 0.9, 1.0), Opinion("van", 0.9, 1.0))
    many = candidate("van", 0, 0.9, Opinion("car", 0.9, 1.0), Opinion("van", 0.9, 1.0), Opinion("van", 0.9, 1.0))
    ((minor,), (major,)) = issues([few], [box("car")]), issues([many], [box("car")])
    assert minor.kind == major.kind == SWAPPED
    assert minor.suspicion < major.suspicion


def test_injected_errors_are_ranked_before_correct_labels() -> None:
    draw = random.Random(5)
    found, errors = list[tuple[float, bool]](), 0
    for _ in range(200):
        # Detectors find most objects, not all, a little off, and sometimes an object that does not exist.
        objects = [box("car", 150.0 * place) for place in range(5) if draw.random() < 0.6]
        detected = [candidate("car", b.left + draw.uniform(-5, 5), draw.uniform(0.5, 1)) for b in objects]
        detected = [one for one in detected if draw.random() < 0.9]
        if draw.random() < 0.2:
            detected.append(candidate("car", 850, draw.uniform(0.3, 0.6)))
        left, wrong = list[LabelledBox](), set[float]()
        for b in objects:
            lot = draw.random()
            if lot < 0.15:
                wrong.add(b.left)
            left += (
                [] if lot < 0.05 else [box("van" if lot < 0.1 else "car", b.left + (35 if 0.1 <= lot < 0.15 else 0))]
            )
        errors += len(wrong)
        for one in issues(detected, left):
            found.append((one.suspicion, any(abs(one.models.left - place) <= 6 for place in wrong)))
    found.sort(reverse=True)
    assert sum(right for _, right in found[: errors // 2]) / (errors // 2) > 0.9


names = st.sampled_from(sorted(LABELS | {"ignore", "bicycle", "traffic sign"}))


@given(
    st.lists(st.builds(candidate, names, st.integers(0, 900), st.floats(0, 1)), max_size=12),
    st.lists(st.builds(box, names, st.integers(0, 900), st.integers(1, 100)), max_size=12),
)
def test_suspicions_are_from_0_to_1_and_in_order(candidates: list[Candidate], verified: list[LabelledBox]) -> None:
    found = issues(candidates, verified)
    values = [one.suspicion for one in found]
    assert values == sorted(values, reverse=True)
    assert all(0 < value <= 1 for value in values)
    assert all(one.models.label in LABELS for one in found)
