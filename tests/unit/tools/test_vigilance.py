"""The simulation of vigilance: the bound holds, and the simulation sees where it does not."""

from __future__ import annotations

import pytest

from tools.vigilance.__main__ import MOST_WRONG, Scenario, simulate


@pytest.mark.parametrize(
    ("harder", "least", "most"), [(0.0, 0.0, MOST_WRONG), (0.2, 0.9, 1.0)], ids=["as seeds", "harder"]
)
def test_the_bound_holds_if_errors_are_as_easy_to_see_as_seeds(harder: float, least: float, most: float) -> None:
    found = simulate(Scenario("", 100, (0.9,), harder), 400, 7)
    assert least <= found.wrong <= most
    assert found.estimated <= found.bound
