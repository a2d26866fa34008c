"""Ranking keeps the items with the highest scores of a stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autolabel.reporting.ranking import Foremost, ForemostOfStretches

scores = st.lists(st.integers(0, 5), max_size=30)


@given(scores, st.integers(1, 8))
def test_the_highest_scores_stay_and_of_equals_the_earlier(taken: list[int], count: int) -> None:
    foremost = Foremost[object](count)
    # The items themselves cannot be compared.
    items = [object() for _ in taken]
    for score, item in zip(taken, items, strict=True):
        foremost.take(score, item)
    places = sorted(range(len(taken)), key=lambda place: (-taken[place], place))
    assert foremost.ranked() == [items[place] for place in places[:count]]


@given(scores, st.integers(1, 8))
def test_a_stretch_keeps_only_its_highest_score(taken: list[int], count: int) -> None:
    foremost = ForemostOfStretches[int](count)
    for place, score in enumerate(taken):
        foremost.take(place // 4, score, place)
    stretches = [range(first, min(first + 4, len(taken))) for first in range(0, len(taken), 4)]
    best = [max(stretch, key=lambda place: (taken[place], -place)) for stretch in stretches]
    assert foremost.ranked() == sorted(best, key=lambda place: (-taken[place], place))[:count]
    # A second call gives the same.
    assert foremost.ranked() == sorted(best, key=lambda place: (-taken[place], place))[:count]
