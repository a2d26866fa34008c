"""A run whose frames several reviewers label: their answers become one label, and a person decides what differs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from autolabel.contracts.verification import reviewers_of
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.reporting.pace import worker_name
from autolabel.reporting.summary import Summary
from autolabel.verification.attempts import JobAttempt, Taken, take_attempt
from autolabel.verification.ground_truth import read_answers, read_output
from autolabel.verification.jobs import LABEL_STUDIO, EarlierAttempt, JobRound, VerificationJob
from autolabel.verification.label_studio.projects import Job, Results, StorageImages, annotated, open_project
from autolabel.verification.label_studio.results import Annotation
from autolabel.verification.settlement import Settled, settle_round
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.pipeline import Pipeline, drive_document, frame_key

FRAMES = 8
CAR = {"label": "car", "left": 6, "top": 10, "width": 20, "height": 19}
TRUCK = {**CAR, "label": "truck"}
PERSON = {"label": "person", "left": 40, "top": 10, "width": 8, "height": 20}
TEAM = ("ann", "bob", "cy")


def labelled(pipeline: Pipeline, max_objects: int = 100_000, **verification: Any) -> Assembly:
    """Assemble a run whose frames show one car."""
    for index in range(FRAMES):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close(drive_document(verification={"policy": "all", "reviewers": 3, **verification}))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([(0.1, 0.2, 0.4, 0.6)])))
    pipeline.reconcile()
    pipeline.plan(3)
    pipeline.label()
    return pipeline.assemble(max_objects)


def settled(pipeline: Pipeline, job: VerificationJob, name: str, **more: Any) -> Settled:
    """Settle a round of a Ground Truth job that has ended, as the function does."""
    made = pipeline.jobs.jobs[name]
    frames = more.pop("frames", job.frames)
    one = JobRound(
        name, job.back_end, more.pop("round", 1), more.pop("manifest", job.manifest), frames, made.output, **more
    )
    lines = pipeline.labels.lines(pipeline.key_of(made.manifest))
    reviewers = partial(reviewers_of, pipeline.run.document.verification)
    output = read_output(one, lines, pipeline.labels, pipeline.run.labels, reviewers)
    return settle_round(one, output, label_bucket=pipeline.labels, names=frozenset(pipeline.run.labels))


def finished(job: VerificationJob, *rounds: Settled) -> FinishedJob:
    return FinishedJob(job.name, "Completed", job.frames, job.first, job.last, rounds)


def lines_at(pipeline: Pipeline, uri: str) -> list[dict[str, Any]]:
    return [json.loads(body) for body in pipeline.labels.lines(pipeline.key_of(uri))]


def dataset(pipeline: Pipeline) -> list[ManifestLine]:
    return [read_line(body) for body in pipeline.labels.lines(pipeline.run.folder.dataset)]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)


def names(line: ManifestLine) -> list[str]:
    return [box.name for box in line.verified_boxes]


def test_answers_become_one_label_and_a_person_decides_what_differs() -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    assert job.reviewers == 3
    first = f"{job.name}-1"
    pipeline.jobs.create(first, job.manifest)
    # By frame, what each of the team leaves.
    left: dict[int, list[list[dict[str, Any]]]] = {place: [[CAR]] * 3 for place in range(FRAMES)}
    left[1] = [[CAR, PERSON], [CAR, PERSON], [CAR]]
    left[2] = [[CAR], [TRUCK], []]
    left[3] = [[CAR], [CAR, PERSON]]
    left[4] = [[CAR]]
    # A label that does not count is not an answer.
    left[5] = [[CAR], [{**CAR, "label": "elephant"}], [CAR]]
    for place, answers in left.items():
        for worker, boxes in zip(TEAM, answers, strict=False):
            pipeline.jobs.answer(first, place, boxes, worker, seconds=2.0)
    pipeline.jobs.end(first, "Completed")
    one = settled(pipeline, job, first)
    assert (one.verified, one.several, one.short, one.disputed) == (FRAMES, FRAMES, 3, 2)
    assert one.again
    assert one.again.frames == 2

    second = f"{job.name}-again-1"
    pipeline.jobs.create(second, one.again.manifest)
    truck, person = lines_at(pipeline, one.again.manifest)
    assert truck["doubt"]["why"] == ["reviewers differ about some objects"]
    assert [(g["label"], g["new"], g["disputed"]) for g in truck["doubt"]["ghosts"]] == [("car", True, True)]
    assert [g["label"] for g in person["doubt"]["ghosts"]] == ["person"]
    assert person["prelabel-metadata"]["class-map"] == {"0": "car"}
    pipeline.jobs.answer(second, 0, [TRUCK], "dee")
    pipeline.jobs.answer(second, 1, [CAR], "dee")
    pipeline.jobs.end(second, "Completed")
    two = settled(pipeline, job, second, round=2, manifest=one.again.manifest, frames=2)
    assert (two.verified, two.several, two.again) == (2, 0, None)

    pipeline.publish([finished(job, one, two)])
    lines = dataset(pipeline)
    assert [names(line) for line in lines[:4]] == [["car"], ["car", "person"], ["truck"], ["car"]]
    review = lines[0].review
    assert review
    assert (review.worker, review.seconds) == ("", 6.0)
    assert [name.rpartition(".")[2] for name in review.workers] == list(TEAM)
    found = summary(pipeline)
    (outcome,) = found.verification
    assert (outcome.verified, outcome.several, outcome.short, outcome.disputed) == (FRAMES, FRAMES, 3, 2)
    assert any("left 3 of 8 frames for several reviewers with fewer answers" in note for note in found.notes)
    assert found.reviewers
    assert (found.reviewers.frames, found.reviewers.objects) == (FRAMES - 1, FRAMES + 1)
    assert {one.worker for one in found.reviewers.reviewers} == {
        worker_name(f"private.eu-central-1.{name}") for name in TEAM
    }
    assert b"Agreement between reviewers" in pipeline.labels.objects[pipeline.run.folder.report]


@pytest.mark.parametrize("policy", [{}, {"policy": "doubtful"}])
def test_frames_of_a_share_have_a_job_apart(policy: dict[str, Any]) -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline, reviewers_share=0.5, **policy)
    alone, several = assembly.jobs
    assert (alone.reviewers, several.reviewers) == (1, 3)
    assert alone.frames + several.frames == FRAMES
    reviewers = partial(reviewers_of, pipeline.run.document.verification)
    for job in assembly.jobs:
        assert {reviewers(line["source-ref"]) for line in lines_at(pipeline, job.manifest)} == {job.reviewers}
    assert pipeline.assemble().jobs == assembly.jobs
    jobs = pipeline.verify(assembly)
    for given in (jobs, jobs[::-1]):
        pipeline.publish(given)
        assert len(dataset(pipeline)) == FRAMES
        (outcome,) = summary(pipeline).verification
        assert (outcome.frames, outcome.verified) == (FRAMES, FRAMES)


@pytest.mark.parametrize("policy", ["all", "doubtful"])
@pytest.mark.parametrize("share", [0.5, 1])
def test_one_reviewer_leaves_every_object_as_it_was(policy: str, share: float) -> None:
    def objects(**verification: Any) -> dict[str, bytes]:
        pipeline = Pipeline()
        assembly = labelled(pipeline, policy=policy, **verification)
        for job in assembly.jobs:
            pipeline.jobs.create(job.name, job.manifest)
            for place in range(job.frames):
                pipeline.jobs.answer(job.name, place, [CAR], "ann" if place else "bob", seconds=1.5)
            pipeline.jobs.end(job.name, "Completed")
        pipeline.publish([finished(job, settled(pipeline, job, job.name)) for job in assembly.jobs])
        document = pipeline.run.folder.drive_document
        return {key: body for key, body in pipeline.labels.objects.items() if key != document}

    assert objects(reviewers=1, reviewers_share=share) == objects(reviewers=1)


@pytest.mark.parametrize(("share", "frames"), [(1, [3, 3, 2]), (0.5, [6, 2])])
def test_a_job_has_about_as_many_answers_as_with_one_reviewer(share: float, frames: list[int]) -> None:
    jobs = labelled(Pipeline(), max_objects=FRAMES - 2, reviewers=2, reviewers_share=share).jobs
    by_shards: dict[int, int] = {}
    for job in jobs:
        by_shards[job.first] = by_shards.get(job.first, 0) + job.frames
    assert list(by_shards.values()) == frames


def test_a_share_is_drawn_by_the_frame_and_about_as_large_as_asked() -> None:
    pipeline = Pipeline()
    labelled(pipeline, reviewers_share=0.25)
    drawn = [reviewers_of(pipeline.run.document.verification, f"s3://b/{i}.png") == 3 for i in range(4_000)]
    assert 900 < sum(drawn) < 1_100


def stopped(pipeline: Pipeline, job: VerificationJob, name: str) -> Taken:
    """Take in the answers of a stopped job, as the function does."""
    one = JobAttempt(name, job.back_end, 1, job.manifest, job.manifest, 1)
    reviewers = partial(reviewers_of, pipeline.run.document.verification)
    return take_attempt(
        one,
        lambda round_, lines: read_answers(round_, lines, pipeline.labels, pipeline.run.labels, reviewers),
        label_bucket=pipeline.labels,
        names=frozenset(pipeline.run.labels),
    )


@pytest.mark.parametrize("with_manifest", [True, False])
def test_answers_of_a_stopped_job_are_consolidated_too(with_manifest: bool) -> None:
    pipeline = Pipeline()
    pipeline.jobs.with_manifest = with_manifest
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    for worker in TEAM:
        pipeline.jobs.answer(f"{job.name}-1", 0, [CAR, PERSON] if worker == "ann" else [CAR], worker)
    pipeline.jobs.answer(f"{job.name}-1", 1, [TRUCK])
    pipeline.jobs.end(f"{job.name}-1", "Stopped")
    taken = stopped(pipeline, job, f"{job.name}-1")
    assert (taken.answered, taken.open) == (2, FRAMES - 2)
    pipeline.jobs.create(f"{job.name}-2", taken.manifest)
    for place in range(FRAMES - 2):
        for worker in TEAM:
            pipeline.jobs.answer(f"{job.name}-2", place, [CAR], worker)
    pipeline.jobs.end(f"{job.name}-2", "Completed")
    attempts = (EarlierAttempt(taken.results),)
    one = settled(pipeline, job, f"{job.name}-2", attempts=attempts, given=taken.manifest)
    assert (one.verified, one.several, one.short, one.again) == (FRAMES, FRAMES, 1, None)
    pipeline.publish([finished(job, one)])
    assert [names(line) for line in dataset(pipeline)] == [["car"], ["truck"], *[["car"]] * (FRAMES - 2)]


def test_a_later_run_keeps_what_reviewers_agree_about_and_asks_what_they_differ_about() -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    for worker in TEAM:
        pipeline.jobs.answer(f"{job.name}-1", 0, [CAR] if worker == "ann" else [CAR, PERSON], worker)
    for worker, boxes in zip(TEAM, ([CAR], [TRUCK], []), strict=True):
        pipeline.jobs.answer(f"{job.name}-1", 1, boxes, worker)
    assert pipeline.relabel().labels == 2
    assembly = pipeline.assemble()
    (asked,) = assembly.jobs
    again = lines_at(pipeline, asked.manifest)[0]
    assert again["doubt"]["why"] == ["reviewers differ about some objects"]
    assert list(again["prelabel-metadata"]["class-map"].values()) == ["truck"]
    pipeline.publish(pipeline.verify(assembly))
    kept = dataset(pipeline)[0]
    assert kept.origin.kept
    assert names(kept) == ["car", "person"]
    assert kept.review
    assert len(kept.review.workers) == 3


def test_label_studio_gives_the_answers_of_all_reviewers() -> None:
    pipeline, studio = Pipeline(), FakeLabelStudio()
    (job,) = labelled(pipeline).jobs
    reviewers = partial(reviewers_of, pipeline.run.document.verification)
    lines = list(pipeline.labels.lines(pipeline.key_of(job.manifest)))
    opened = open_project(
        Job(job.name, pipeline.run.labels, job.reviewers), lambda: lines, studio, StorageImages(), None, colors={}
    )
    assert studio.projects[opened.project]["maximum_annotations"] == 3

    def submit(task: int, person: int, result: Iterable[dict[str, Any]], *, skipped: bool = False) -> None:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        studio.annotate(task, Annotation(10 * task + person, at, list(result), skipped, person, 1.5))

    for task, row in sorted(studio.rows.items()):
        shown = row["predictions"][0]["result"]
        for person in range(3):
            assert not annotated(opened, studio)
            # One of three deletes the car of the first frame, and two skip that of the second.
            empty, skipped = task == min(studio.rows) and person == 2, task == min(studio.rows) + 1 and person > 0
            submit(task, person, [] if empty else shown, skipped=skipped)
    assert annotated(opened, studio)
    one = JobRound(job.name, LABEL_STUDIO, 1, job.manifest, FRAMES, str(opened.project))
    output = Results(opened, lines, studio, datetime(2026, 1, 3, tzinfo=UTC), reviewers=reviewers)
    found = settle_round(one, output, label_bucket=pipeline.labels, names=frozenset(pipeline.run.labels))
    assert (found.verified, found.several, found.short, found.disputed) == (FRAMES, FRAMES, 1, 0)
    pipeline.publish([finished(job, found)])
    assert {tuple(names(line)) for line in dataset(pipeline)} == {("car",)}
    assert summary(pipeline).reviewers


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("policy", [{}, {"policy": "doubtful"}])
def test_labels_of_a_share_are_found_again_in_the_order_of_the_drive(policy: dict[str, Any], share: float) -> None:
    pipeline = Pipeline()
    for job in labelled(pipeline, reviewers_share=share, **policy).jobs:
        name = f"{job.name}-1"
        pipeline.jobs.create(name, job.manifest)
        for place in range(job.frames):
            for worker in TEAM[: job.reviewers]:
                pipeline.jobs.answer(name, place, [CAR], worker)
    assert pipeline.relabel().labels == FRAMES
