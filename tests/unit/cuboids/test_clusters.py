"""Points are of one cluster when a chain of near points joins them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autolabel.cuboids.clusters import LEAST, clusters


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=LEAST, max_size=60), st.integers(1, 4))
def test_clusters_are_the_parts_that_chains_of_neighbours_join(cells: list[tuple[int, int]], most: int) -> None:
    # Nearer than 29 m a cell is 0.35 m, and a point in the middle of each is in no doubt.
    places = (np.array(cells) + 0.5) * 0.35
    found = clusters(places, most)
    parts: list[set[tuple[int, int]]] = []
    for cell in set(cells):
        near = [part for part in parts if any(max(abs(cell[0] - a), abs(cell[1] - b)) <= 1 for a, b in part)]
        parts = [part for part in parts if part not in near] + [{cell}.union(*near)]
    sizes = sorted((sum(cell in part for cell in cells) for part in parts), reverse=True)
    assert [len(one) for one in found] == [size for size in sizes[:most] if size >= LEAST]
    for one in found:
        (part,) = [part for part in parts if cells[one[0]] in part]
        assert {cells[index] for index in one} == part
