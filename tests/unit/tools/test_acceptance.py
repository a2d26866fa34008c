"""The simulation of fleets: it sees that the rule of acceptance holds, and would see if it did not."""

from __future__ import annotations

import pytest

from autolabel.triage.capital import FallDetector
from tools.acceptance.fleets import Scenario, objections, scenarios, simulate

SEED = 20_261_130
FLEETS, STRETCHES = 60, 400


def found(precision: list[float], correlation: float, turn: int = 0) -> list[str]:
    scenario = Scenario("", precision, correlation, turn)
    return objections(scenario, simulate(scenario, FLEETS, SEED))


@pytest.mark.parametrize("correlation", [0.0, 0.3])
@pytest.mark.parametrize("precision", [0.94, 0.95, 0.99])
def test_the_rule_keeps_its_promise(precision: float, correlation: float) -> None:
    assert found([precision] * STRETCHES, correlation) == []


def test_the_rule_keeps_its_promise_with_easy_drives_first() -> None:
    assert found(([0.98] * 20 + [0.9] * 20) * (STRETCHES // 40), 0.1) == []


def test_a_rule_without_its_confidence_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # One look at exact bounds accepted a class of 0.95 in 27 % of fleets.
    monkeypatch.setattr("autolabel.triage.capital.ALPHA", 1.0)
    assert "accepted wrongly" in found([0.95] * STRETCHES, 0.1)[0]


def test_a_rule_that_notices_no_fall_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fallen = [0.99] * 300 + [0.8] * 100
    assert found(fallen, 0.1, 300) == []
    monkeypatch.setattr(FallDetector, "take", lambda *_: False)
    assert found(fallen, 0.1, 300) == ["the fall is not noticed in most fleets"]


def test_every_kind_of_fleet_is_simulated() -> None:
    named = scenarios(80)
    assert len({(one.name, one.correlation) for one in named}) == len(named)
    assert {one.correlation for one in named} == {0.0, 0.1, 0.3}
    assert {len(one.precision) for one in named} == {80}
