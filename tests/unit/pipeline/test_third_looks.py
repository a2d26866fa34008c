"""Two strips that give one track different classes: the frames at their border get a third look."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.contracts.verification import EVERYTHING, KEPT
from autolabel.labels.manifest import ManifestLine
from autolabel.verification.jobs import MAX_SEQUENCES
from tests.fakes.pipeline import JOB_LABELS
from tests.fakes.track_jobs import Boxes, Review
from tests.unit.pipeline import test_verifying_strips as strips
from tests.unit.pipeline.test_verifying_tracks import Reviewing, assembled, published

STRIP = 4
CAR, TRUCK, BICYCLE = (JOB_LABELS.index(name) for name in ("car", "truck", "bicycle"))


def named(*classes: int) -> Review:
    """Give all boxes of each frame a class; `classes`: of the frames, the last one of all others."""

    def review(shown: Boxes) -> Boxes:
        given = itertools.chain(classes, itertools.repeat(classes[-1]))
        return {
            name: [{**box, "class-id": str(id)} for box in boxes]
            for (name, boxes), id in zip(shown.items(), given, strict=False)
        }

    return review


def split(shown: Boxes) -> Boxes:
    """End the track at the border: the object behind it is another one."""
    return {
        name: [{**box, "object-id": "other"} for box in boxes] if at else boxes
        for at, (name, boxes) in enumerate(shown.items())
    }


def classes_of(lines: list[ManifestLine]) -> list[int]:
    return [JOB_LABELS.index(line.verified_boxes[0].name) for line in lines]


@pytest.mark.parametrize(
    ("look", "left"),
    [
        (named(TRUCK), [TRUCK] * 8),
        (named(CAR), [CAR] * 8),
        (named(BICYCLE), [BICYCLE] * 8),
        (named(CAR, TRUCK), [CAR] * 4 + [TRUCK] * 4),
        (split, [CAR] * 4 + [TRUCK] * 4),
        (lambda _: "too dark", [CAR] * 4 + [TRUCK] * 4),
    ],
    ids=["the second strip is right", "the first", "neither", "both", "two objects", "no answer"],
)
def test_a_third_look_decides_about_the_whole_track(look: Review, left: list[int]) -> None:
    pipeline, assembly = assembled(strip_frames=STRIP)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    settled = reviewing.review(named(CAR), named(TRUCK))
    assert (settled.verified, reviewing.frames) == (8, 2)
    name = reviewing.create()
    (sequence,) = pipeline.jobs.jobs[name].sequences
    shown = [box for boxes in sequence.shown.values() for box in boxes]
    assert [box["class-id"] for box in shown] == [str(CAR), str(TRUCK)]
    assert len({box["object-id"] for box in shown}) == 1
    assert {box["label-category-attributes"]["uncertainty"] for box in shown} == {"1.00"}
    pipeline.jobs.answer(name, 0, look)
    assert reviewing.settle(name).again is None
    assert classes_of(published(pipeline, reviewing)) == left


def test_a_border_without_its_third_look_is_asked_again_by_a_new_run() -> None:
    pipeline, assembly = assembled(strip_frames=STRIP)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    reviewing.review(named(CAR), named(TRUCK))
    reviewing.create()
    pipeline.relabel()
    (job,) = pipeline.assemble(strip_frames=STRIP).jobs
    again = Reviewing(pipeline, job)
    again.review(named(CAR))
    kinds = [line.origin.triage for line in published(pipeline, again)]
    assert [kind == KEPT for kind in kinds] == [True] * 3 + [False] * 2 + [True] * 3
    assert EVERYTHING not in kinds


def test_a_new_run_keeps_what_a_third_look_decided() -> None:
    pipeline, assembly = assembled(strip_frames=STRIP)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    reviewing.review(named(TRUCK), named(CAR))
    reviewing.review(named(TRUCK))
    before = published(pipeline, reviewing)
    pipeline.relabel(review="none")
    assert pipeline.assemble(strip_frames=STRIP).jobs == ()
    assert classes_of(published(pipeline)) == classes_of(before) == [TRUCK] * 8


@settings(max_examples=30)
@given(st.lists(st.sampled_from([CAR, TRUCK, BICYCLE]), min_size=1, max_size=12), st.booleans())
def test_the_frames_at_each_contested_border_and_no_others_get_a_third_look(classes: list[int], by_names: bool) -> None:
    if by_names:
        pipeline, assembly = strips.assembled([True] * STRIP * len(classes), STRIP, strip_frames=STRIP)
    else:
        pipeline, assembly = assembled(frames=STRIP * len(classes), shard_frames=STRIP, strip_frames=STRIP)
    finished, ahead, left = list[Reviewing](), list(classes), list[int]()
    for job in assembly.jobs:
        reviewing = Reviewing(pipeline, job)
        given, ahead = ahead[: job.frames // STRIP], ahead[job.frames // STRIP :]
        settled = reviewing.review(*map(named, given))
        contested = sum(one != other for one, other in itertools.pairwise(given))
        assert (settled.again.frames if settled.again else 0) == 2 * contested
        if contested:
            reviewing.review(*[named(TRUCK)] * MAX_SEQUENCES)
            sequences = pipeline.jobs.jobs[f"{job.name}-again-1"].sequences
            assert len(sequences) <= MAX_SEQUENCES
            # Both sides of a border are in one strip.
            assert not any(len(sequence.names) % 2 for sequence in sequences)
        finished.append(reviewing)
        left += [TRUCK if contested else given[0]] * job.frames
    assert classes_of(published(pipeline, *finished)) == left
