"""How a count is written."""

from __future__ import annotations

import pytest

from autolabel.contracts.wording import counted


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (counted(0, "frame"), "0 frames"),
        (counted(1, "frame"), "1 frame"),
        (counted(1_200, "frame"), "1,200 frames"),
        (counted(1, "box", "boxes"), "1 box"),
        (counted(2, "box", "boxes"), "2 boxes"),
        (counted(1, "unit is", "units are"), "1 unit is"),
        (counted(1.0, "hour"), "1 hour"),
        (counted(0.5, "hour"), "0.5 hours"),
    ],
)
def test_a_count_agrees_with_its_noun(said: str, expected: str) -> None:
    assert said == expected
