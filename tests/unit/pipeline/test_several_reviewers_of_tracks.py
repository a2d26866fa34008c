"""A run whose strips several reviewers verify: each has a job of their own, and their tracks become one label."""

from __future__ import annotations

from typing import Any

import pytest

from autolabel.contracts.verification import reviewers_of
from autolabel.labels.manifest import ManifestLine
from autolabel.reporting.pace import worker_name
from autolabel.triage.corrections import OTHER_CLASS, Correction
from autolabel.triage.sowing import read_seeds
from autolabel.verification.settlement import Settled
from tests.fakes.pipeline import JOB_LABELS
from tests.fakes.track_jobs import Boxes, Review
from tests.unit.pipeline.test_verifying_tracks import FRAMES, Reviewing, assembled, published, summary

TEAM = ("ann", "bob", "cy")
# Of the frames of a strip, those with the object that reviewers draw.
DRAWN = range(2, 7)
PERSON = {"class-id": str(JOB_LABELS.index("person")), "left": 40, "top": 10, "width": 8, "height": 20}


def kept(shown: Boxes) -> Boxes:
    return shown


def drawing(id: str, frames: range = DRAWN) -> Review:
    """A reviewer who draws a person that the models did not find."""

    def draws(shown: Boxes) -> Boxes:
        person = PERSON | {"object-id": id, "object-name": "person:1"}
        return {
            name: [*boxes, person] if place in frames else boxes for place, (name, boxes) in enumerate(shown.items())
        }

    return draws


def splitting(id: str, first: int) -> Review:
    """A reviewer who says that the car is another one from a frame on."""

    def splits(shown: Boxes) -> Boxes:
        return {
            name: [box | {"object-id": id} if place >= first else box for box in boxes]
            for place, (name, boxes) in enumerate(shown.items())
        }

    return splits


def renaming(name: str) -> Review:
    truck = {"class-id": str(JOB_LABELS.index(name))}
    return lambda shown: {frame: [box | truck for box in boxes] for frame, boxes in shown.items()}


def reviewed(*reviews: Review, workers: tuple[str, ...] = TEAM) -> tuple[Reviewing, Settled]:
    """Let each of several reviewers answer the strip in a job of their own."""
    pipeline, assembly = assembled(policy={"reviewers": len(reviews)}, strip_frames=FRAMES)
    (job,) = assembly.jobs
    reviewing = Reviewing(pipeline, job)
    for number, (review, worker) in enumerate(zip(reviews, workers, strict=False), 1):
        name = reviewing.create()
        assert name == f"{job.name}-{number}"
        pipeline.jobs.answer(name, 0, review, worker)
        assert reviewing.take(name, "Completed").open == (FRAMES if number < len(reviews) else 0)
    return reviewing, reviewing.settle()


def dataset(reviewing: Reviewing) -> list[ManifestLine]:
    return published(reviewing.pipeline, reviewing)


def objects(lines: list[ManifestLine]) -> list[dict[str, str]]:
    """The class of each track, by frame."""
    return [dict(zip(line.tracks or (), (box.name for box in line.verified_boxes), strict=True)) for line in lines]


def test_three_reviewers_who_agree_leave_the_strip_as_one_would() -> None:
    reviewing, settled = reviewed(kept, kept, kept)
    assert (settled.several, settled.short, settled.disputed, settled.unadjusted) == (FRAMES, 0, 0, FRAMES)
    assert settled.again is None
    lines = dataset(reviewing)
    pipeline, assembly = assembled(strip_frames=FRAMES)
    alone = Reviewing(pipeline, assembly.jobs[0])
    alone.review()
    assert objects(lines) == objects(published(pipeline, alone))
    assert lines[0].review
    assert lines[0].review.workers == TEAM


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_new_object_has_one_track_whoever_drew_it(order: tuple[int, ...]) -> None:
    # In each of its frames, two of three have drawn it.
    reviews = [drawing("480dc450"), drawing("a", range(2, 5)), drawing("b", range(4, 7))]
    reviewing, settled = reviewed(*(reviews[at] for at in order), workers=tuple(TEAM[at] for at in order))
    assert (settled.disputed, settled.again) == (0, None)
    frames = objects(dataset(reviewing))
    persons = {id for frame in frames for id, name in frame.items() if name == "person"}
    assert len(persons) == 1
    assert [place for place, frame in enumerate(frames) if persons & frame.keys()] == list(DRAWN)
    found = summary(reviewing.pipeline).reviewers
    assert found
    assert (found.frames, found.objects) == (FRAMES, FRAMES + len(DRAWN))
    assert {one.worker for one in found.reviewers} == set(map(worker_name, TEAM))
    assert found.alpha
    assert found.alpha < 1
    assert found.classes.keys() == {"car", "person"}


@pytest.mark.parametrize(("splits", "tracks"), [(2, 2), (1, 1)])
def test_most_reviewers_decide_about_a_track(splits: int, tracks: int) -> None:
    reviews = [splitting(f"new-{number}", 4) if number < splits else kept for number in range(3)]
    reviewing, settled = reviewed(*reviews)
    assert (settled.disputed, settled.unadjusted) == (0, 4 if splits == 2 else FRAMES)
    assert [
        len({id for frame in objects(dataset(reviewing))[part] for id in frame}) for part in (slice(4), slice(8))
    ] == [
        1,
        tracks,
    ]


def test_a_person_decides_about_tracks_and_objects_without_a_majority() -> None:
    reviewing, settled = reviewed(drawing("p"), splitting("q", 6))
    # The person is in frames 2 to 6, and the car's track differs from frame 6 on.
    assert (settled.disputed, settled.again and settled.again.frames) == (6, 6)
    name = reviewing.create()
    (sequence,) = reviewing.pipeline.jobs.jobs[name].sequences
    shown = [[box["object-name"] for box in boxes] for boxes in sequence.shown.values()]
    # The doubtful object is shown as one track; nothing is drawn twice.
    assert shown == [["car:1", "person:1"]] * 4 + [["car:1", "person:1"], ["car:1"]]
    ids = [{box["object-id"] for box in boxes if box["object-name"] == "person:1"} for boxes in sequence.shown.values()]
    assert len(set.union(*ids)) == 1
    reviewing.pipeline.jobs.answer(
        name,
        0,
        lambda boxes: {frame: [box for box in of if box["object-name"] == "car:1"] for frame, of in boxes.items()},
    )
    final = reviewing.settle(name)
    assert (final.verified, final.several, final.again) == (6, 0, None)
    assert all(len(frame) == 1 for frame in objects(dataset(reviewing)))


def test_a_person_who_answers_twice_is_one_reviewer() -> None:
    reviewing, settled = reviewed(kept, renaming("truck"), renaming("truck"), workers=("ann", "ann", "ann"))
    assert (settled.several, settled.short, settled.again) == (FRAMES, FRAMES, None)
    assert {name for frame in objects(dataset(reviewing)) for name in frame.values()} == {"truck"}
    assert summary(reviewing.pipeline).reviewers is None


@pytest.mark.parametrize("status", ["Stopped", "Failed"])
def test_a_strip_that_a_stopped_job_left_open_is_asked_once_more_and_no_other(status: str) -> None:
    pipeline, assembly = assembled(policy={"reviewers": 2}, strip_frames=4)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    strips: list[list[int]] = []
    for answered, status_ in (([0], status), ([0, 1], "Completed"), ([0], "Completed")):
        name = reviewing.create()
        strips.append([len(sequence.names) for sequence in pipeline.jobs.jobs[name].sequences])
        for place in answered:
            pipeline.jobs.answer(name, place, kept, f"worker-{len(strips)}")
        left = reviewing.take(name, status_).open
    # The first strip has two answers after the second job, the other one after the third.
    assert strips == [[4, 4], [4, 4], [4]]
    assert left == 0
    settled = reviewing.settle()
    assert (settled.verified, settled.several, settled.short, settled.again) == (FRAMES, FRAMES, 0, None)


def test_a_strip_that_nobody_answered_ends_in_the_second_round_and_is_not_asked_for_ever() -> None:
    pipeline, assembly = assembled(policy={"reviewers": 2}, strip_frames=4)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    for left in (FRAMES, 0):
        name = reviewing.create()
        pipeline.jobs.answer(name, 0, kept)
        pipeline.jobs.answer(name, 1, (lambda _: "too dark") if left else (lambda _: None))
        assert reviewing.take(name, "Completed").open == left
    settled = reviewing.settle()
    assert (settled.verified, settled.failed, settled.again and settled.again.frames) == (4, 4, 4)


def test_a_relabelled_drive_keeps_what_several_reviewers_agree_about() -> None:
    pipeline, assembly = assembled(policy={"reviewers": 2}, strip_frames=4)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    for place in range(2):
        pipeline.jobs.answer(name, place, kept, "ann")
    reviewing.take(name, "Completed")
    name = reviewing.create()
    # They differ about the second strip, and no person has decided.
    pipeline.jobs.answer(name, 0, drawing("p", range(1)), "bob")
    pipeline.jobs.answer(name, 1, renaming("truck"), "bob")
    assert pipeline.relabel().labels == FRAMES
    (job,) = pipeline.assemble(strip_frames=4).jobs
    # The person of the first frame, and the class of the second strip.
    assert job.frames == 1 + 4


@pytest.mark.parametrize("share", [0.3, 0.75])
def test_strips_of_a_share_stay_whole_and_have_no_seeds(share: float) -> None:
    policy: dict[str, Any] = {"reviewers": 3, "reviewers_share": share}
    correction = Correction(OTHER_CLASS, "truck", "car")
    pipeline, assembly = assembled(
        frames=36, shard_frames=12, seeded=correction, policy=policy | {"vigilance": True}, strip_frames=6
    )
    alone, several = assembly.jobs
    assert (alone.reviewers, several.reviewers) == (1, 3)
    assert alone.frames + several.frames == 36
    for job in assembly.jobs:
        reviewing = Reviewing(pipeline, job)
        for sequence in pipeline.jobs.jobs[reviewing.create()].sequences:
            first = f"{sequence.prefix}{sequence.names[0]}"
            assert reviewers_of(pipeline.run.document.verification, first) == job.reviewers
            assert len(sequence.names) == 6
    seeds = read_seeds(pipeline.run.folder, pipeline.labels)
    shared = list(pipeline.labels.lines(pipeline.key_of(several.manifest)))
    assert seeds
    assert not any(source.encode() in body for body in shared for source in seeds)
    assert pipeline.assemble(strip_frames=6).jobs == assembly.jobs
