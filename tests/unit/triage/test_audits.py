"""Audits: the frames of an audit stretch become evidence of a recipe."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.recipe import recipe
from autolabel.contracts.verification import VerifyUncertain
from autolabel.labels.agreement import Pair, pair_boxes
from autolabel.labels.exclusions import Exclusion
from autolabel.labels.manifest import LabelledBox
from autolabel.triage.audits import (
    ClassErrors,
    Count,
    Evidence,
    count_old_evidence,
    evidence_key,
    evidence_prefix,
    judge_stretch,
    read_evidence,
)
from autolabel.triage.policy import ANY_CLASS
from tests.fakes.bucket import FakeBucket
from tests.fakes.evidence import evidence_of

RUN = Run(
    "drive-1", "0001", DriveDocument("car", {"front": Camera()}), "e", ("m.0001", "n.0002"), "2026.1", ("car", "bus")
)
POLICY = VerifyUncertain()


def box(name: str = "car", left: float = 0) -> LabelledBox:
    return LabelledBox(name, left, 0, 100, 100, 1.0)


def frame(predicted: list[LabelledBox], verified: list[LabelledBox]) -> list[Pair]:
    return pair_boxes(predicted, verified)


def judged(*frames: list[Pair]) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """Judge a stretch: objects and wrong ones of each class, by precision and by recall."""
    return {
        name: ((of.precision.objects, of.precision.wrong), (of.recall.objects, of.recall.wrong))
        for name, of in judge_stretch(frames).items()
    }


NONE = (0, 0)


def test_a_stretch_without_an_object_says_nothing() -> None:
    assert judged() == judged(frame([], [])) == {}


def test_an_object_over_neighbouring_frames_counts_once() -> None:
    moving = [frame([box(left=10 * n)], [box(left=10 * n)]) for n in range(10)]
    assert judged(*moving) == {"car": ((1, 0), (1, 0)), ANY_CLASS: (NONE, (1, 0))}


def test_one_wrong_box_makes_the_whole_object_wrong() -> None:
    frames = [
        frame([box()], [box()]),
        frame([box(), box(left=500)], [box()]),
        frame([box(left=500)], [box(), box(left=500)]),
    ]
    # The second car is first a false alarm; the first car is missed at the end.
    assert judged(*frames) == {"car": ((2, 1), (2, 1)), ANY_CLASS: (NONE, (2, 1))}


def test_a_wrong_class_is_an_error_of_both_but_not_of_any_class() -> None:
    assert judged(frame([box("car")], [box("bus")])) == {
        "car": ((1, 1), NONE), "bus": (NONE, (1, 1)), ANY_CLASS: (NONE, (1, 0)),
    }  # fmt: skip


def test_a_badly_placed_box_is_wrong_but_finds_its_object() -> None:
    assert judged(frame([box()], [box(left=25)])) == {"car": ((1, 1), (1, 0)), ANY_CLASS: (NONE, (1, 0))}


def test_an_object_without_a_box_is_missed_in_any_class() -> None:
    assert judged(frame([], [box()])) == {"car": (NONE, (1, 1)), ANY_CLASS: (NONE, (1, 1))}


@pytest.mark.parametrize("changed", [{"target": 0.9}, {"max_uncertainty": 0.2}, {"stretch": 20}])
def test_evidence_counts_under_the_settings_that_it_was_gathered_by(changed: dict[str, float]) -> None:
    evidence = evidence_of("r", "drive-1", POLICY)
    others = msgspec.structs.replace(POLICY, **changed)
    assert evidence.counts_under(msgspec.structs.replace(POLICY, audit=0.5, blind=1.0))
    assert not evidence.counts_under(others)
    assert evidence_of("r", "drive-1", others).counts_under(others)


@pytest.mark.parametrize("version", ["FUSION", "UNCERTAINTY"])
def test_another_fusion_or_uncertainty_version_is_another_recipe(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe(RUN)
    monkeypatch.setattr(f"autolabel.contracts.recipe.{version}", "2030.1")
    assert recipe(RUN) != before


def test_a_recipe_depends_on_revisions_but_not_on_their_order() -> None:
    assert recipe(RUN, "2") != recipe(RUN) != recipe(RUN, "3")
    assert recipe(RUN) == recipe(msgspec.structs.replace(RUN, drive="drive-2", models=RUN.models[::-1]))
    for changes in ({"models": ("m.0001", "n.0003")}, {"taxonomy": "2026.2"}, {"labels": ("car",)}):
        assert recipe(msgspec.structs.replace(RUN, **changes)) != recipe(RUN)  # type: ignore[arg-type]  # of any field


def test_evidence_is_read_as_written_and_old_evidence_is_only_counted() -> None:
    labels, evidence = FakeBucket("labels"), evidence_of(recipe(RUN), "drive-1", POLICY, wrong=2)
    key = evidence_key(recipe(RUN), "drive-1", "0001")
    assert key == f"audits/2/{recipe(RUN)}/drive-1-0001.json"
    assert key.startswith(evidence_prefix(recipe(RUN)))
    labels.write(key, msgspec.json.encode(evidence))
    old = {"recipe": "r", "drive": "d", "run": "0001", "published": "2026-01-01T00:00:00+00:00", "max_doubt": 0.15}
    body = msgspec.json.encode(old | {"trials": [["car", "precision", True, 0.05, 60, 0]]})
    labels.write(f"audits/{recipe(RUN)}/drive-0-0001.json", body)
    assert list(read_evidence(labels, recipe(RUN))) == [evidence]
    exclusion = Exclusion("model", "m", "me", "2026-01-01T00:00:00+00:00", runs=("drive-1-0001",))
    labels.write(exclusion.key, msgspec.json.encode(exclusion))
    assert list(read_evidence(labels, recipe(RUN))) == []
    labels.write(exclusion.key, msgspec.json.encode(msgspec.structs.replace(exclusion, excluded=False)))
    assert list(read_evidence(labels, recipe(RUN))) == [evidence]
    assert count_old_evidence(labels, recipe(RUN)) == 1
    # audit.json of an old run has the same content.
    assert (msgspec.json.decode(body, type=Evidence).version, evidence.version) == (1, 2)


names = st.sampled_from(["car", "bus"])
placed = st.builds(box, names, st.integers(0, 300))
frames_ = st.lists(st.builds(frame, st.lists(placed, max_size=4), st.lists(placed, max_size=4)), max_size=4)


@given(frames_)
def test_each_object_is_counted_once(frames: list[list[Pair]]) -> None:
    for name, errors in judge_stretch(frames).items():
        for place, count in enumerate((errors.precision, errors.recall)):
            boxes = [[b for pair in f if (b := pair[place]) and name in (b.name, ANY_CLASS)] for f in frames]
            if count.objects:
                assert max(map(len, boxes)) <= count.objects <= sum(map(len, boxes))
            assert 0 <= count.wrong <= count.objects
        assert errors != ClassErrors(Count(), Count())
