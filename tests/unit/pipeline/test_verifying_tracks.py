"""A run whose reviewers verify tracks, from drive.json to the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.verification import BOXES, EVERYTHING, KEPT, TRACKS, Task
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labels.manifest import LabelledBy, ManifestLine, Origin, read_line, with_values
from autolabel.reporting.summary import Summary
from autolabel.triage.audits import read_recipe
from autolabel.triage.corrections import (
    INVENTED,
    OTHER_CLASS,
    REMOVED,
    SHIFTED,
    Correction,
    RunCorrections,
    write_corrections,
)
from autolabel.triage.sowing import read_seeds
from autolabel.verification.attempts import JobAttempt, Taken, take_attempt
from autolabel.verification.ground_truth import read_answers, read_output
from autolabel.verification.jobs import LABEL_STUDIO, BackEnds, EarlierAttempt, JobRound, VerificationJob
from autolabel.verification.sequences import write_sequences
from autolabel.verification.settlement import Settled, settle_round
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.labeling_jobs import FakeLabelingJobs
from tests.fakes.pipeline import DRIVE, JOB_LABELS, Pipeline, drive_document
from tests.fakes.track_jobs import Boxes, FakeTrackJobs, Review

VERIFICATION = {"policy": "all", "task": "tracks"}
FRAMES = 8
SECOND = 1_000_000_000
# A car that stands still.
CAR = (0.1, 0.2, 0.4, 0.6)


def assembled(
    rate: int = 10,
    frames: int = FRAMES,
    shard_frames: int = 3,
    seeded: Correction | None = None,
    task: Task = TRACKS,
    policy: Mapping[str, Any] = {},
    **limits: int,
) -> tuple[Pipeline, Assembly]:
    """Assemble a run of a camera with `rate` frames a second. Each frame shows the same car.

    `seeded`: what reviewers of other drives have corrected; vigilance makes its seed from it. `policy`: more of the
    drive's `verification`.
    """
    pipeline = Pipeline()
    pipeline.jobs = FakeTrackJobs(pipeline.labels, JOB_LABELS)
    for index in range(frames):
        key = f"drives/{DRIVE}/front/{1_700_000_000 * SECOND + index * SECOND // rate}.png"
        pipeline.submit(pipeline.upload(key, png()))
    verification = {**VERIFICATION, "task": task, "vigilance": seeded is not None, **policy}
    pipeline.close(drive_document(verification=verification))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([CAR])))
    pipeline.reconcile()
    pipeline.plan(shard_frames)
    pipeline.label()
    if seeded:
        others = RunCorrections("other", "0001", (seeded,) * 50)
        write_corrections(pipeline.labels, read_recipe(pipeline.run, pipeline.labels).base, others)
    return pipeline, pipeline.assemble(**limits)


class Reviewing:
    """The rounds and attempts of one verification job, as the state machine makes them."""

    def __init__(self, pipeline: Pipeline, job: VerificationJob) -> None:
        self.pipeline, self.job = pipeline, job
        self.name, self.manifest, self.frames = job.name, job.manifest, job.frames
        self.rounds: list[Settled] = []
        self._begin_round()

    def _begin_round(self) -> None:
        self.given, self.attempt, self.attempts = self.manifest, 1, list[EarlierAttempt]()

    def create(self) -> str:
        """Create the labelling job of this attempt."""
        labels = self.pipeline.run.labels
        written = write_sequences(self.given, self.job.strip_frames, labels, self.pipeline.labels)
        name = f"{self.name}-{self.attempt}"
        self.pipeline.jobs.create(name, written.manifest)
        return name

    def take(self, name: str, status: str) -> Taken:
        """Let the job end, early or as one of several reviewers, and take in its answers."""
        jobs = self.pipeline.jobs
        output = jobs.end(name, status)
        one = JobAttempt(
            name,
            "ground-truth",
            1,
            self.manifest,
            self.given,
            self.attempt,
            jobs.jobs[name].labelled,
            0,
            output,
            TRACKS,
            self.job.reviewers,
            completed=status == "Completed",
        )
        taken = take_attempt(
            one,
            lambda job, lines: read_answers(job, lines, self.pipeline.labels, self.pipeline.run.labels),
            label_bucket=self.pipeline.labels,
            names=frozenset(self.pipeline.run.labels),
        )
        assert not taken.waiting
        self.attempts.append(EarlierAttempt(taken.results, taken.missing))
        self.given, self.attempt = taken.manifest, self.attempt + 1
        return taken

    def settle(self, name: str = "") -> Settled:
        """Settle the round. `name`: its last job; without one, its attempts have left no frame open."""
        one = JobRound(
            name or f"{self.name}-{self.attempt - 1}",
            "ground-truth",
            len(self.rounds) + 1,
            self.manifest,
            self.frames,
            self.pipeline.jobs.end(name) if name else "",
            TRACKS,
            tuple(self.attempts),
            self.given,
            self.job.reviewers if not self.rounds else 1,
        )
        labels = self.pipeline.labels
        output = read_output(one, labels.lines(self.pipeline.key_of(self.given)), labels)
        settled = settle_round(one, output, label_bucket=labels, names=frozenset(self.pipeline.run.labels))
        self.rounds.append(settled)
        if settled.again:
            self.name, self.manifest, self.frames = f"{self.name}-again", settled.again.manifest, settled.again.frames
            self._begin_round()
        return settled

    def review(self, *reviews: Review) -> Settled:
        """Finish a round: the first sequences by these reviews, and the others as they are shown."""
        name = self.create()
        for place in range(len(self.pipeline.jobs.jobs[name].sequences)):
            self.pipeline.jobs.answer(name, place, reviews[place] if place < len(reviews) else lambda shown: shown)
        return self.settle(name)

    @property
    def finished(self) -> FinishedJob:
        job = self.job
        return FinishedJob(job.name, "Completed", job.frames, job.first, job.last, tuple(self.rounds))


def published(pipeline: Pipeline, *reviewing: Reviewing) -> list[ManifestLine]:
    pipeline.publish([one.finished for one in reviewing])
    return [read_line(body) for body in pipeline.labels.lines(pipeline.run.folder.dataset)]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)


def wider(shown: Boxes) -> Boxes:
    """Make the boxes of the second frame wider, and split the track from the third frame on."""
    return {
        name: [
            {**box, "width": box["width"] + 3 * (at == 1), "object-id": "new" if at > 1 else box["object-id"]}
            for box in boxes
        ]
        for at, (name, boxes) in enumerate(shown.items())
    }


def test_verified_tracks_are_in_the_dataset() -> None:
    pipeline, assembly = assembled(strip_frames=4)
    (job,) = assembly.jobs
    assert (job.task, job.attribute, job.template, job.strip_frames) == (TRACKS, "verified-tracks-ref", "", 4)
    reviewing = Reviewing(pipeline, job)
    settled = reviewing.review(wider)
    # Frames with another track are adjusted too.
    assert (settled.verified, settled.unadjusted, settled.again) == (FRAMES, FRAMES - 3, None)
    lines = published(pipeline, reviewing)
    assert {line.origin.labelled_by for line in lines} == {LabelledBy.MODEL_AND_PERSON}
    left = Origin.MODEL_AND_PERSON
    assert [line.origins for line in lines] == [(left,), (Origin.PERSON,), *[(left,)] * 6]
    ids = [line.tracks[0] for line in lines if line.tracks]
    assert ids[0] == ids[1] == ids[4] == ids[7]
    assert ids[2] == ids[3] != ids[0]
    shown = [line.prelabel_boxes[0].width for line in lines]
    assert [line.verified_boxes[0].width - width for line, width in zip(lines, shown, strict=True)] == [0, 3, *[0] * 6]
    told = summary(pipeline)
    assert told.task == TRACKS
    assert told.agreement is not None
    assert (told.agreement.shown.frames, told.agreement.shown.untouched) == (FRAMES, FRAMES - 1)
    assert told.verification[0].verified == FRAMES


def test_the_frames_of_a_failed_strip_get_a_second_round_and_then_stand() -> None:
    pipeline, assembly = assembled(strip_frames=4)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    first = reviewing.review(lambda _: "too dark", lambda shown: shown)
    assert (first.verified, first.failed, first.again and first.again.frames) == (4, 4, 4)
    second = reviewing.review(lambda _: "still too dark")
    assert (second.verified, second.failed, second.again) == (0, 4, None)
    lines = published(pipeline, reviewing)
    assert [line.origin.verification for line in lines] == ["still too dark"] * 4 + [""] * 4
    assert [line.origin.labelled_by.value for line in lines] == ["nobody"] * 4 + ["model and person"] * 4


def test_boxes_of_a_camera_that_is_not_linked_are_objects_of_one_frame() -> None:
    pipeline, assembly = assembled(rate=2)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    (sequence,) = pipeline.jobs.jobs[name].sequences
    shown = [box["object-id"] for boxes in sequence.shown.values() for box in boxes]
    assert len(set(shown)) == FRAMES

    def merged(shown: Boxes) -> Boxes:
        return {name: [{**box, "object-id": "one"} for box in boxes] for name, boxes in shown.items()}

    pipeline.jobs.answer(name, 0, merged)
    reviewing.settle(name)
    assert len({line.tracks for line in published(pipeline, reviewing)}) == 1


@pytest.mark.parametrize("status", ["Stopped", "Failed"])
def test_strips_that_were_answered_before_a_job_ended_are_not_asked_again(status: str) -> None:
    pipeline, assembly = assembled(strip_frames=3)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    pipeline.jobs.answer(name, 1, wider)
    reviewing.take(name, status)
    following = reviewing.create()
    job = pipeline.jobs.jobs[following]
    assert [len(sequence.names) for sequence in job.sequences] == [3, 2]
    for place in range(2):
        pipeline.jobs.answer(following, place)
    settled = reviewing.settle(following)
    assert (settled.verified, settled.missing) == (FRAMES, 0)
    assert [Origin.PERSON in (line.origins or ()) for line in published(pipeline, reviewing)].index(True) == 4


@pytest.mark.parametrize("body", ["not JSON", '{"tracking-annotations": []}', "another strip's"])
def test_a_label_that_may_be_of_another_strip_is_no_answer(body: str) -> None:
    pipeline, assembly = assembled(strip_frames=3)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    pipeline.jobs.answer(name, 1)
    pipeline.jobs.end(name, "Failed")
    folder = pipeline.jobs.jobs[name].labels
    other = pipeline.labels.objects[f"{folder}1/SeqLabel.json"]
    pipeline.labels.write(f"{folder}0/SeqLabel.json", other if body == "another strip's" else body.encode())
    reviewing.take(name, "Failed")
    reviewing.create()
    job = pipeline.jobs.jobs[f"{reviewing.name}-2"]
    assert [len(sequence.names) for sequence in job.sequences] == [3, 2]


def test_answers_of_strips_that_do_not_come_are_counted_in_strips() -> None:
    pipeline, assembly = assembled(strip_frames=3)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    for place in range(3):
        pipeline.jobs.answer(name, place)
    output = pipeline.jobs.end(name, "Stopped")
    # The output manifest came, and lacks one of the three strips that are counted; so does the bucket.
    del pipeline.labels.objects[
        f"{pipeline.jobs.jobs[name].place}annotations/consolidated-annotation/output/2/SeqLabel.json"
    ]
    first, second, third = pipeline.labels.lines(pipeline.key_of(output))
    bare = {k: v for k, v in msgspec.json.decode(third).items() if "verified" not in k}
    pipeline.labels.write(pipeline.key_of(output), b"\n".join([first, second, msgspec.json.encode(bare)]))
    for waited, missing in ((0.0, None), (600.0, 1)):
        one = JobAttempt(name, "ground-truth", 1, reviewing.manifest, reviewing.given, 1, 3, waited, output, TRACKS)
        taken = take_attempt(
            one,
            lambda job, lines: read_answers(job, lines, pipeline.labels, pipeline.run.labels),
            label_bucket=pipeline.labels,
            names=frozenset(pipeline.run.labels),
        )
        assert (None if taken.waiting else taken.missing) == missing
    assert (taken.answered, taken.open) == (6, 2)


def test_a_new_run_keeps_verified_tracks_and_asks_for_the_open_strips() -> None:
    pipeline, assembly = assembled(strip_frames=3)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    name = reviewing.create()
    pipeline.jobs.answer(name, 1, wider)
    # The operator relabels the drive while the job is open.
    pipeline.relabel()
    assert pipeline.jobs.jobs[name].status == "Stopped"
    assembly = pipeline.assemble(strip_frames=3)
    (job,) = assembly.jobs
    again = Reviewing(pipeline, job)
    again.review()
    lines = published(pipeline, again)
    assert [line.origin.triage for line in lines] == [EVERYTHING] * 3 + [KEPT] * 3 + [EVERYTHING] * 2
    ids = [line.tracks[0] for line in lines if line.tracks]
    # The reviewer's split is kept.
    assert ids[5] not in (*ids[:5], *ids[6:])
    assert len(set(ids)) == 2


def without_jobs(lines: list[ManifestLine]) -> list[ManifestLine]:
    """The lines without the names of jobs: a second round has another."""
    for line in lines:
        line.origin.job = ""
        line.verified_metadata = with_values(line.verified_metadata, {"job-name": ""})
    return lines


@pytest.mark.parametrize("task", [TRACKS, BOXES])
@pytest.mark.parametrize(
    "correction",
    [Correction(SHIFTED, place=(0.3, 0, 1, 1)), Correction(OTHER_CLASS), Correction(INVENTED), Correction(REMOVED)],
    ids=lambda one: one.kind,
)
def test_a_missed_seed_is_one_seed_in_many_frames_and_never_published(correction: Correction, task: Task) -> None:
    kind = correction.kind
    found: list[list[ManifestLine]] = []
    for seeded in (None, correction):
        pipeline, assembly = assembled(seeded=seeded, task=task)
        if task == TRACKS:
            (job,) = assembly.jobs
            reviewing = Reviewing(pipeline, job)
            first = reviewing.review()
            if first.again:
                reviewing.review()
            found.append(without_jobs(published(pipeline, reviewing)))
        else:
            pipeline.jobs = FakeLabelingJobs(pipeline.labels)
            jobs = pipeline.verify(assembly)
            (first, *_) = jobs[0].rounds
            pipeline.publish(jobs)
            lines = pipeline.labels.lines(pipeline.run.folder.dataset)
            found.append(without_jobs([read_line(body) for body in lines]))
        seeds = read_seeds(pipeline.run.folder, pipeline.labels)
        assert {seed.kind for seed in seeds.values()} == ({kind} if seeded else set())
        assert (first.again.frames if first.again else 0) == len(seeds)
        # An invented box of a single frame flickers, as the models' own do.
        assert len(seeds) > 1 or not seeded or (kind, task) == (INVENTED, BOXES)
        told = summary(pipeline).vigilance
        assert (told and (told.all.seeds, told.all.caught)) == ((1, 0) if seeded else None)
    plain, seeded_lines = found
    assert seeded_lines == plain


def test_a_caught_seed_of_tracks_asks_nobody_again() -> None:
    pipeline, assembly = assembled(seeded=Correction(OTHER_CLASS, "truck", "car"))
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    truck = str(JOB_LABELS.index("truck"))

    def fixed(shown: Boxes) -> Boxes:
        assert {box["class-id"] for boxes in shown.values() for box in boxes} == {truck}
        car = {"class-id": str(JOB_LABELS.index("car"))}
        return {name: [box | car for box in boxes] for name, boxes in shown.items()}

    settled = reviewing.review(fixed)
    assert (settled.unadjusted, settled.again) == (FRAMES, None)
    published(pipeline, reviewing)
    told = summary(pipeline)
    assert told.vigilance
    assert (told.vigilance.all.seeds, told.vigilance.all.caught, told.vigilance.corrections) == (1, 1, 0)


def test_a_shard_with_more_strips_than_a_job_takes_is_refused_with_the_way_out() -> None:
    with pytest.raises(VerificationRefused, match="raise the stack's parameter StripFrames"):
        assembled(frames=12, shard_frames=12, strip_frames=1)


def test_tracks_are_verified_in_ground_truth_whatever_the_stacks_back_end_is() -> None:
    pipeline, _ = assembled()
    pipeline.back_ends = BackEnds(LABEL_STUDIO, "", "eu-central-1", label_studio=True)
    with pytest.raises(VerificationRefused, match="is not the ARN of a work team"):
        pipeline.assemble()


def test_a_class_that_is_too_long_for_jobs_of_tracks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fakes.pipeline.JOB_LABELS", ("car", "construction vehicle"))
    pipeline = Pipeline()
    assert pipeline.close(drive_document(verification=VERIFICATION)) == ["refused"]
    ((_, told),) = pipeline.announcements.told
    assert "construction vehicle: change the stack's parameter JobLabels" in told
