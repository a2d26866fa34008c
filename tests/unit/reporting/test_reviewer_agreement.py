"""Krippendorff's alpha, and what is counted for it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from autolabel.reporting.pace import worker_name
from autolabel.reporting.reviewer_agreement import Coincidences, ReviewerTally, alpha, count_unit
from autolabel.verification.consolidation import Consensus


def counted(observers: Iterable[str]) -> Coincidences:
    """The coincidences of observers, each a row of values by unit; a dot is a missing value."""
    coincidences: Coincidences = {}
    for unit in zip(*observers, strict=True):
        if len(values := [value for value in unit if value != "."]) > 1:
            count_unit(coincidences, values)
    return coincidences


# Krippendorff 2011, sections A, B and C.
@pytest.mark.parametrize(
    ("observers", "published"),
    [
        (("0100000010", "1110010000"), 0.095),
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
)
def test_alpha_is_as_in_the_published_examples(observers: tuple[str, ...], published: float) -> None:
    assert alpha(counted(observers)) == pytest.approx(published, abs=0.0006)


def test_alpha_of_a_class_takes_the_others_as_one() -> None:
    several = counted(("aabbc", "aabcb"))
    renamed = counted(("aaxxx", "aaxxx"))
    assert (alpha(several, "a"), alpha(renamed)) == (1.0, 1.0)
    assert alpha(several, "b") == alpha(counted(("xxbbx", "xxbxb")))


def test_alpha_is_unknown_without_values_that_differ() -> None:
    assert alpha(counted(("aaa", "aaa"))) is None
    assert alpha({}) is None


FRAMES = (
    Consensus(3, ("ann", "bob", "cy"), (("car", "car", "car"), ("person", "person", ""))),
    Consensus(3, ("ann", "cy"), (("car", "person"),)),
    Consensus(3, ("ann",)),
)


def test_frames_count_the_same_in_any_part() -> None:
    whole, parts = ReviewerTally(), ReviewerTally()
    for frame in FRAMES:
        whole.take(frame)
        part = ReviewerTally()
        part.take(frame)
        parts.add(msgspec.json.decode(msgspec.json.encode(part), type=ReviewerTally))
    assert parts.agreement() == whole.agreement()
    found = whole.agreement()
    assert found
    assert (found.frames, found.objects, list(found.classes)) == (2, 3, ["car", "person"])
    assert [(one.worker, one.frames) for one in found.reviewers[:2]] == sorted(
        (worker_name(name), 2) for name in ("ann", "cy")
    )
    # Bob agrees with ann in all and with cy in half of what they drew.
    assert found.reviewers[2].worker == worker_name("bob")
    assert ReviewerTally().agreement() is None
