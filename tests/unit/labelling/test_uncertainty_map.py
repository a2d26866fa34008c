"""An uncertainty map turns levels into shares, and a run keeps the one that it was planned with."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.recipe import planned_recipe
from autolabel.labelling.uncertainty_map import UncertaintyMap, calibrated, keep_map, map_key, read_map
from tests.fakes.bucket import FakeBucket

RUN = Run("d", "0001", DriveDocument("v", {"front": Camera()}), "e", ("m.0001",), "2026.1", ("car",))
RECIPE = planned_recipe(RUN)
HALF = UncertaintyMap(RECIPE, "0001", (0.0, 0.9), (0.1, 0.5), 1_000, 100)

shares = st.lists(st.tuples(st.floats(0, 0.9999), st.floats(0, 1)), min_size=1, max_size=20, unique_by=lambda p: p[0])


@given(shares, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_greater_level_never_has_a_smaller_share(points: list[tuple[float, float]], levels: list[float]) -> None:
    of = UncertaintyMap(
        "r", "0001", tuple(sorted(x for x, _ in points)), tuple(sorted(y for _, y in points)), frames=1, stretches=1
    )
    found = [of.share(level) for level in sorted(levels)]
    assert found == sorted(found)
    assert all(0 <= share <= 1 for share in found)


def test_shares_are_on_straight_lines_between_the_points_and_1_stays_1() -> None:
    assert [HALF.share(level) for level in (0.0, 0.45, 0.9, 0.95, 1.0)] == [0.1, 0.3, 0.5, 0.5, 1.0]
    assert calibrated(0.45, None) == 0.45


def test_a_run_keeps_its_map_when_the_catalogue_has_another_one() -> None:
    labels = FakeBucket("labels")
    keep_map(RUN, labels)
    assert read_map(RUN, labels) is None
    labels.write(map_key(RECIPE), msgspec.json.encode(HALF))
    keep_map(RUN, labels)
    labels.write(map_key(RECIPE), msgspec.json.encode(msgspec.structs.replace(HALF, revision="0002")))
    keep_map(RUN, labels)
    assert read_map(RUN, labels) == HALF


@pytest.mark.parametrize("version", ["FUSION", "UNCERTAINTY", "LINK"])
def test_a_map_of_levels_that_are_made_otherwise_now_is_not_used(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = FakeBucket("labels")
    labels.write(map_key(RECIPE), msgspec.json.encode(HALF))
    keep_map(RUN, labels)
    monkeypatch.setattr(f"autolabel.contracts.recipe.{version}", "2030.1")
    assert read_map(RUN, labels) is None
