"""A drive is labelled again: reviewers are not asked twice for the same work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import OtherReview, VerificationRefused
from autolabel.contracts.verification import AGAIN, AUDIT, BLIND_AUDIT, EVERYTHING, KEPT, UNREVIEWED
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.earlier_runs import read_collected, take_over_earlier_runs
from autolabel.datasets.joining import NO_REVIEWERS
from autolabel.datasets.publication import Publication
from autolabel.labelling.earlier_labels import CONTRADICTED, NOT_OFFERED, UNSURE
from autolabel.labels.exclusions import Exclusion
from autolabel.labels.manifest import LabelledBy, ManifestLine, Unsure, read_line
from autolabel.reporting.summary import Summary
from autolabel.triage.audits import Evidence
from autolabel.verification.jobs import GROUND_TRUTH, LABEL_STUDIO, BackEnds, ReviewersOf, VerificationJob
from autolabel.verification.label_studio.projects import Job, Results, StorageImages, close_project, open_project
from autolabel.verification.label_studio.results import Annotation
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.pipeline import DRIVE, WORKTEAM, Pipeline, drive_document, frame_key

FRAMES = 8
LEFT = (0.1, 0.2, 0.4, 0.6)
RIGHT = (0.6, 0.2, 0.9, 0.6)
CAR_LEFT = {"label": "car", "left": 6, "top": 10, "width": 20, "height": 19}
PERSON_RIGHT = {"label": "person", "left": 40, "top": 10, "width": 8, "height": 20}


def labelled(pipeline: Pipeline, frames: int = FRAMES, **document: Any) -> Assembly:
    """Assemble the first run of a drive, whose frames show one car at the left."""
    for index in range(frames):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close(drive_document(**document))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([LEFT])))
    pipeline.reconcile()
    pipeline.plan(3)
    pipeline.label()
    return pipeline.assemble()


def changed_answer(pipeline: Pipeline, index: int, boxes: list[tuple[float, float, float, float]], **more: Any) -> None:
    """Replace the model's answer to a frame: a stand-in for the answer of a new revision."""
    name = frame_key(index).rpartition("/")[2].partition(".")[0]
    (invocation,) = (one for one in pipeline.endpoints.taken if name in one.input_location)
    pipeline.labels.write(invocation.output_key, answer(boxes, **more))


def dataset(pipeline: Pipeline) -> list[ManifestLine]:
    return [read_line(body) for body in pipeline.labels.lines(pipeline.run.folder.dataset)]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)


def asked(pipeline: Pipeline, assembly: Assembly) -> dict[str, dict[str, Any]]:
    """The lines that reviewers get, by the number of the frame."""
    lines = (json.loads(body) for job in assembly.jobs for body in pipeline.labels.lines(pipeline.key_of(job.manifest)))
    return {line["source-ref"].rpartition("/")[2][-6:-4].lstrip("0") or "0": line for line in lines}


def published(pipeline: Pipeline, assembly: Assembly) -> Publication:
    return pipeline.publish(pipeline.verify(assembly))


def kinds(pipeline: Pipeline) -> list[str]:
    return [line.origin.triage for line in dataset(pipeline)]


def test_labels_of_a_published_run_are_kept_and_reviewers_get_nothing() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    before = [line.verified for line in dataset(pipeline)]
    assert pipeline.relabel().labels == FRAMES
    assembly = pipeline.assemble()
    assert assembly.jobs == ()
    publication = published(pipeline, assembly)
    lines = dataset(pipeline)
    assert (publication.kept, publication.verified) == (FRAMES, FRAMES)
    assert [line.verified for line in lines] == before
    assert {line.origin.labelled_by for line in lines} == {LabelledBy.MODEL_AND_PERSON}
    assert {line.origin.triage for line in lines} == {KEPT}
    assert {line.origin.kept.run for line in lines if line.origin.kept} == {"0001"}
    assert summary(pipeline).earlier.kept == {"0001": FRAMES}


def test_kept_labels_count_in_no_agreement_pace_or_review_log() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    pipeline.relabel()
    published(pipeline, pipeline.assemble())
    agreement = summary(pipeline).agreement
    assert agreement is not None
    assert agreement.shown.frames == 0
    assert agreement.pace.frames == 0
    log = [json.loads(body) for body in pipeline.labels.lines(pipeline.run.folder.reviewed)]
    assert [(line.get("verified"), line.get("seconds")) for line in log] == [(None, None)] * FRAMES


def test_a_frame_is_asked_again_from_the_persons_boxes_if_models_find_something_new() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    changed_answer(pipeline, 5, [LEFT], classes=[1.0])
    pipeline.relabel()
    assembly = pipeline.assemble()
    again = asked(pipeline, assembly)
    assert set(again) == {"2", "5"}
    assert len(again["2"]["prelabel"]["annotations"]) == 1
    (marked,) = again["2"]["doubt"]["ghosts"]
    assert (marked["label"], marked["new"], marked["left"]) == ("car", True, 38)
    assert [(one["label"], one["new"]) for one in again["5"]["doubt"]["ghosts"]] == [("bicycle", True)]
    assert again["5"]["prelabel-metadata"]["class-map"] == {"0": "car"}
    published(pipeline, assembly)
    assert kinds(pipeline) == [AGAIN if i in (2, 5) else KEPT for i in range(FRAMES)]
    assert summary(pipeline).earlier.again == {CONTRADICTED: 2}


def test_what_a_person_was_shown_and_rejected_is_not_asked_again() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def without_boxes(lines: list[bytes]) -> list[bytes]:
        for line in (parsed := [json.loads(body) for body in lines]):
            line["verified"]["annotations"], line["verified-metadata"]["objects"] = [], []
        return [msgspec.json.encode(line) for line in parsed]

    pipeline.publish(pipeline.verify(assembly, without_boxes))
    pipeline.relabel()
    assert pipeline.assemble().jobs == ()


def test_contradictions_that_were_marked_count_as_shown() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.relabel()
    published(pipeline, pipeline.assemble())
    pipeline.relabel()
    # The reviewer of the second run left the marked box out, and is not asked for it again.
    assert pipeline.assemble().jobs == ()


@pytest.mark.parametrize(("review", "frames"), [("none", 0), ("changed", 1), ("all", FRAMES)])
def test_the_review_chooses_which_labelled_frames_reviewers_get(review: Any, frames: int) -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.relabel(review)
    assembly = pipeline.assemble()
    assert sum(job.frames for job in assembly.jobs) == frames
    if review == "all":
        assert {len(line["prelabel"]["annotations"]) for line in asked(pipeline, assembly).values()} == {1, 2}
        published(pipeline, assembly)
        assert set(kinds(pipeline)) == {EVERYTHING}


def test_a_label_is_kept_through_many_runs_with_its_origin() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    for review in ("changed", "all", "changed"):
        pipeline.relabel(review)  # type: ignore[arg-type]
        # No reviewer answers: the run is stopped before its jobs begin.
    assembly = pipeline.assemble()
    published(pipeline, assembly)
    assert {line.origin.kept.run for line in dataset(pipeline) if line.origin.kept} == {"0001"}
    assert pipeline.run.run == "0004"


def test_an_overwritten_frame_is_asked_again_from_the_models_boxes() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    pipeline.submit(pipeline.upload(frame_key(3), png(200, 104)))
    pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[-1], answer([LEFT])))
    pipeline.relabel()
    again = asked(pipeline, pipeline.assemble())
    assert set(again) == {"3"}
    assert again["3"]["prelabel"]["image_size"][0]["height"] == 104
    assert "new" not in json.dumps(again["3"]["doubt"])


def test_a_class_that_the_earlier_job_did_not_offer_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    monkeypatch.setattr("tests.fakes.pipeline.JOB_LABELS", ("rider", "car", "truck", "bicycle", "person"))
    pipeline.relabel()
    assembly = pipeline.assemble()
    again = asked(pipeline, assembly)
    assert len(again) == FRAMES
    # The person's boxes, with the class ids of the new job.
    assert again["0"]["prelabel-metadata"]["class-map"] == {"1": "car"}
    assert again["0"]["prelabel"]["annotations"][0]["class_id"] == 1
    assert summary(pipeline).earlier.again == {NOT_OFFERED: FRAMES}


def test_boxes_of_dropped_classes_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    monkeypatch.setattr("tests.fakes.pipeline.JOB_LABELS", ("person", "truck"))
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert assembly.jobs == ()
    published(pipeline, assembly)
    assert [line.verified_boxes for line in dataset(pipeline)] == [[]] * FRAMES
    assert summary(pipeline).earlier.dropped == FRAMES
    assert {line.origin.kept.dropped for line in dataset(pipeline) if line.origin.kept} == {1}


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("ended", ["InProgress", "Failed", "Stopped"])
def test_answers_of_a_job_that_did_not_complete_are_kept(ended: str, with_manifest: bool) -> None:
    pipeline = Pipeline()
    pipeline.jobs.with_manifest = with_manifest
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    answered = {pipeline.jobs.answer(f"{job.name}-1", at, [CAR_LEFT, PERSON_RIGHT]) for at in (1, 4, 6)}
    if ended != "InProgress":
        pipeline.jobs.end(f"{job.name}-1", ended)
    pipeline.relabel()
    # A job that is open is stopped first.
    assert bool(pipeline.jobs.stopped) == (ended == "InProgress")
    assembly = pipeline.assemble()
    open_frames = {line["source-ref"] for line in asked(pipeline, assembly).values()}
    assert len(open_frames) == FRAMES - 3
    assert not open_frames & answered
    published(pipeline, assembly)
    kept = {line.source_ref: line for line in dataset(pipeline) if line.origin.triage == KEPT}
    assert set(kept) == answered
    for line in kept.values():
        assert [box.name for box in line.verified_boxes] == ["car", "person"]
        assert line.review.worker == "private.eu-central-1.ann"  # type: ignore[union-attr]
        assert line.origin.job == f"{job.name}-1"


def test_answers_that_come_late_are_awaited_and_then_named() -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    for at in (1, 4, 6):
        pipeline.jobs.answer(f"{job.name}-1", at, [CAR_LEFT])
    pipeline.jobs.held_back = 1
    pipeline.jobs.end(f"{job.name}-1", "Stopped")
    pipeline.executions.statuses[f"{DRIVE}-0001"] = "ABORTED"
    pipeline.closing().relabel(DRIVE)
    pipeline.reconcile()
    pipeline.plan()
    assert pipeline.take_over(waited=30.0).waiting == (f"{job.name}-1",)
    assert read_collected(pipeline.labels, pipeline.run) is None
    assert pipeline.take_over(waited=601.0).labels == 2
    pipeline.label()
    pipeline.assemble()
    assert any(
        f"1 label that Ground Truth counted in job {job.name}-1 did not come" in n for n in summary(pipeline).notes
    )


def test_a_run_whose_work_was_taken_over_cannot_go_on() -> None:
    pipeline = Pipeline()
    labelled(pipeline)
    first = pipeline.run
    pipeline.relabel()
    pipeline.ledger.latest_run = lambda drive: first  # type: ignore[method-assign, assignment]
    with pytest.raises(VerificationRefused, match="run 0002 took over the reviewers' work of drive-7 0001"):
        pipeline.assemble()


def test_a_first_round_unsure_label_is_no_label_yet_and_the_next_look_starts_from_it() -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    pipeline.jobs.answer(f"{job.name}-1", 1, [PERSON_RIGHT], unsure=True, comment="a doll?")
    pipeline.jobs.answer(f"{job.name}-1", 2, [CAR_LEFT])
    pipeline.relabel()
    again = asked(pipeline, pipeline.assemble())
    assert len(again) == FRAMES - 1
    assert again["1"]["prelabel-metadata"]["class-map"] == {"0": "person"}
    assert again["1"]["doubt"]["why"] == ["a reviewer was unsure: a doll?"]
    assert summary(pipeline).earlier.again == {UNSURE: 1}


def test_an_unsure_label_of_the_second_round_stands() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def unsure(lines: list[bytes]) -> list[bytes]:
        first, *rest = [json.loads(body) for body in lines]
        return [msgspec.json.encode(line) for line in ({**first, "review": {"worker": "ann", "unsure": True}}, *rest)]

    pipeline.publish(pipeline.verify(assembly, unsure, unsure))
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert assembly.jobs == ()
    published(pipeline, assembly)
    line = dataset(pipeline)[0]
    assert line.origin.unsure is not None
    assert line.origin.unsure.worker == "ann"


def test_skipped_and_failed_frames_are_asked_again() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def failed(lines: list[bytes]) -> list[bytes]:
        first, *rest = lines
        line = json.loads(first)
        del line["verified"]
        line["verified-metadata"] = {"failure-reason": "a reviewer skipped it"}
        return [msgspec.json.encode(line), *rest]

    pipeline.publish(pipeline.verify(assembly, failed, failed))
    pipeline.relabel()
    assert set(asked(pipeline, pipeline.assemble())) == {"0"}


def test_a_label_of_a_script_is_not_kept() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def scripted(lines: list[bytes]) -> list[bytes]:
        return [body.replace(b'"human-annotated":"yes"', b'"human-annotated":"no"') for body in lines]

    pipeline.publish(pipeline.verify(assembly, scripted))
    pipeline.relabel()
    assert len(asked(pipeline, pipeline.assemble())) == FRAMES


def test_without_reviewers_a_run_ends_and_keeps_what_persons_labelled() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline, verification={"policy": "none"})
    assert (assembly.jobs, assembly.dollars < 0.001) == ((), True)
    publication = published(pipeline, assembly)
    assert (publication.verified, publication.accepted, publication.frames["labelled"]) == (0, 0, FRAMES)
    lines = dataset(pipeline)
    assert {(line.origin.triage, line.origin.labelled_by, line.verified) for line in lines} == {
        (UNREVIEWED, LabelledBy.NOBODY, msgspec.UNSET)
    }
    assert summary(pipeline).unverified == {NO_REVIEWERS: FRAMES}
    # Later reviewers get every frame, and a run without reviewers keeps their labels.
    pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document())
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert len(asked(pipeline, assembly)) == FRAMES
    published(pipeline, assembly)
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document(verification={"policy": "none"}))
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert assembly.jobs == ()
    assert published(pipeline, assembly).kept == FRAMES
    assert kinds(pipeline) == [KEPT] * FRAMES


@pytest.mark.parametrize("excluded", [True, False])
def test_labels_of_an_excluded_reviewer_do_not_count_until_they_do_again(excluded: bool) -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def by_two(lines: list[bytes]) -> list[bytes]:
        found = [json.loads(body) for body in lines]
        return [msgspec.json.encode({**one, "review": {"worker": "ab"[i % 2]}}) for i, one in enumerate(found)]

    pipeline.publish(pipeline.verify(assembly, by_two))
    decision = Exclusion("reviewer", "a", "me", "2026-01-01T00:00:00+00:00")
    pipeline.labels.write(decision.key, msgspec.json.encode(decision))
    if not excluded:
        # Reviewers did not answer in the run with the exclusion; the next one takes over what that one had collected.
        pipeline.relabel()
        withdrawn = msgspec.structs.replace(decision, excluded=False)
        pipeline.labels.write(decision.key, msgspec.json.encode(withdrawn))
    pipeline.relabel()
    assert set(asked(pipeline, pipeline.assemble())) == ({"0", "2", "4", "6"} if excluded else set())


def test_an_earlier_label_stands_in_for_one_that_did_not_come() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.relabel()
    publication = pipeline.publish(pipeline.verify(pipeline.assemble(), lambda lines: [], lambda lines: []))
    line = dataset(pipeline)[2]
    assert publication.kept == FRAMES
    assert line.origin.verification == "not in the job's output"
    assert line.origin.kept is not None
    assert len(line.verified_boxes) == 1
    assert summary(pipeline).unverified == {}
    (note,) = summary(pipeline).notes
    assert note.endswith("1 of 1 frame without a verified label; 1 of them keep a person's label of an earlier run")
    # The label is of the earlier run, and says nothing of the time that this run's took.
    log = [json.loads(body) for body in pipeline.labels.lines(pipeline.run.folder.reviewed)]
    assert [one.get("seconds") for one in log] == [None] * FRAMES


def test_audits_are_drawn_first_and_show_no_earlier_boxes() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline, 16))
    policy = {"policy": "doubtful", "segment": 2, "audit": 0.5, "blind": 0.5, "max_doubt": 0.5}
    pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document(verification=policy))
    pipeline.relabel()
    assembly = pipeline.assemble()
    lines = asked(pipeline, assembly)
    published(pipeline, assembly)
    found = kinds(pipeline)
    assert found.count(AUDIT) + found.count(BLIND_AUDIT) == 8
    assert found.count(KEPT) == 8
    for at, kind in enumerate(found):
        if kind == BLIND_AUDIT:
            assert lines[str(at)]["prelabel"]["annotations"] == []
        elif kind == AUDIT:
            assert "new" not in json.dumps(lines[str(at)]["doubt"])
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    # The kept frames are not evidence: each of the four audited stretches has one car.
    assert sum(one.classes["car"].precision.objects for one in evidence.stretches) == 4


def test_an_audit_without_an_answer_gives_no_evidence_but_keeps_the_label() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline, 16))
    policy = {"policy": "doubtful", "segment": 2, "audit": 0.5, "blind": 0.5, "max_doubt": 0.5}
    pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document(verification=policy))
    pipeline.relabel()
    pipeline.publish(pipeline.verify(pipeline.assemble(), lambda lines: [], lambda lines: []))
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert evidence.stretches == ()
    assert all(line.verified_by_person for line in dataset(pipeline))


def test_a_run_that_never_started_is_not_reused_for_another_review() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    pipeline.executions.statuses[f"{DRIVE}-0001"] = "SUCCEEDED"
    pipeline.closing().relabel(DRIVE, "none")
    del pipeline.executions.started[f"{DRIVE}-0002"]
    with pytest.raises(OtherReview, match="run 0002 of drive 'drive-7' was allocated with the review 'none'"):
        pipeline.closing().relabel(DRIVE)
    assert pipeline.closing().relabel(DRIVE, "none").run == "0002"


def test_taking_over_twice_changes_nothing() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    pipeline.relabel()
    before = dict(pipeline.labels.objects)
    pipeline.take_over()
    assert pipeline.labels.objects == before


def test_labels_of_a_camera_that_was_away_in_a_run_come_back() -> None:
    pipeline = Pipeline()
    for camera in ("front", "rear"):
        for index in range(4):
            pipeline.submit(pipeline.upload(frame_key(index, camera=camera), png()))
    pipeline.close(drive_document("front", "rear"))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([LEFT])))
    pipeline.reconcile()
    pipeline.plan(3)
    pipeline.label()
    published(pipeline, pipeline.assemble())
    for cameras, labels in ((("front",), 4), (("front", "rear"), 8)):
        pipeline.upload(f"drives/{DRIVE}/drive.json", drive_document(*cameras))
        assert pipeline.relabel().labels == labels
        assembly = pipeline.assemble()
        assert assembly.jobs == ()
        published(pipeline, assembly)


def test_a_box_that_a_person_rejected_once_is_never_new_again() -> None:
    pipeline = Pipeline()
    assembly = labelled(pipeline)

    def without_boxes(lines: list[bytes]) -> list[bytes]:
        parsed = [json.loads(body) for body in lines]
        for line in parsed:
            line["verified"]["annotations"], line["verified-metadata"]["objects"] = [], []
        return [msgspec.json.encode(line) for line in parsed]

    pipeline.publish(pipeline.verify(assembly, without_boxes))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert [box["left"] for box in asked(pipeline, assembly)["2"]["doubt"]["ghosts"] if box["new"]] == [38]
    # The reviewer leaves the marked box out, so both boxes of the models have been rejected now.
    published(pipeline, assembly)
    pipeline.relabel()
    assert pipeline.assemble().jobs == ()


def test_a_script_does_not_replace_a_persons_label() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    changed_answer(pipeline, 2, [LEFT, RIGHT])
    pipeline.relabel()

    def scripted(lines: list[bytes]) -> list[bytes]:
        return [body.replace(b'"human-annotated":"yes"', b'"human-annotated":"no"') for body in lines]

    publication = pipeline.publish(pipeline.verify(pipeline.assemble(), scripted))
    assert (publication.scripted, publication.kept) == (0, FRAMES)
    assert dataset(pipeline)[2].origin.labelled_by == LabelledBy.MODEL_AND_PERSON


def test_a_plan_that_is_made_again_keeps_its_shards() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    pipeline.relabel(shard_frames=3)
    assert [pipeline.plan(size).shards for size in (2, 3, 100)] == [3, 3, 3]
    pipeline.take_over()
    pipeline.label()
    published(pipeline, pipeline.assemble())
    assert kinds(pipeline) == [KEPT] * FRAMES


def test_a_job_that_is_long_in_stopping_does_not_use_up_the_patience() -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    pipeline.jobs.answer(f"{job.name}-1", 1, [CAR_LEFT])
    pipeline.executions.statuses[f"{DRIVE}-0001"] = "ABORTED"
    pipeline.closing().relabel(DRIVE)
    pipeline.reconcile()
    pipeline.plan()
    taking = {"label_bucket": pipeline.labels, "ledger": pipeline.ledger, "jobs": pipeline.jobs, "projects": None}
    # The state machine counts from the last call that finds a job which has not ended.
    verdicts = [take_over_earlier_runs(pipeline.run, **taking, waited=0.0).verdict for _ in range(3)]  # type: ignore[arg-type]
    assert verdicts == ["end", "end", "collected"]


@pytest.mark.parametrize("review", ["changed", "all"])
def test_without_an_answer_an_earlier_label_counts_also_for_all_and_unsure(review: Any) -> None:
    pipeline = Pipeline()
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    pipeline.jobs.answer(f"{job.name}-1", 1, [PERSON_RIGHT], unsure=True, comment="a doll?")
    pipeline.relabel(review)
    publication = pipeline.publish(pipeline.verify(pipeline.assemble(), lambda lines: [], lambda lines: []))
    line = dataset(pipeline)[1]
    assert publication.kept == 1
    assert [box.name for box in line.verified_boxes] == ["person"]
    assert line.origin.unsure == Unsure("private.eu-central-1.ann", "a doll?")


@pytest.mark.parametrize(
    "content", [{}, {"boundingBox": {}}, {"boundingBox": {"boundingBoxes": [{"label": "car", "left": float("nan")}]}}]
)
def test_a_response_without_boxes_is_no_answer(content: Any) -> None:
    pipeline = Pipeline()
    pipeline.jobs.with_manifest = False
    (job,) = labelled(pipeline).jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    pipeline.jobs.answer(f"{job.name}-1", 1, [CAR_LEFT])
    pipeline.jobs.jobs[f"{job.name}-1"].answers[1]["answerContent"] = content
    pipeline.jobs.end(f"{job.name}-1", "Stopped")
    pipeline.relabel()
    assert len(asked(pipeline, pipeline.assemble())) == FRAMES


def test_frames_that_are_asked_again_count_in_no_agreement() -> None:
    pipeline = Pipeline()
    published(pipeline, labelled(pipeline))
    for index in range(FRAMES):
        changed_answer(pipeline, index, [RIGHT])
    pipeline.relabel()
    assembly = pipeline.assemble()
    assert assembly.jobs[0].frames == FRAMES
    published(pipeline, assembly)
    agreement = summary(pipeline).agreement
    assert agreement is not None
    assert (agreement.shown.frames, agreement.pace.frames) == (0, 0)


class Studio:
    """The projects of jobs in a Label Studio in memory, as the function verify closes and reads them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.server = FakeLabelStudio()
        self._pipeline = pipeline
        pipeline.projects = self
        pipeline.back_ends = BackEnds(GROUND_TRUTH, WORKTEAM, "eu-central-1", label_studio=True)

    def answers(
        self, job: str, labels: tuple[str, ...], lines: Callable[[], Iterable[bytes]], reviewers: ReviewersOf
    ) -> Iterable[bytes] | None:
        project = close_project(Job(job, labels), self.server)
        if project is None:
            return None
        return Results(project, lines(), self.server, datetime.now(UTC), only_answered=True, reviewers=reviewers)

    def open(self, job: VerificationJob) -> dict[str, int]:
        """Open the project of a job; return its tasks by frame."""
        pipeline = self._pipeline
        assert job.back_end == LABEL_STUDIO
        lines = list(pipeline.labels.lines(pipeline.key_of(job.manifest)))
        named = Job(job.name, pipeline.run.labels)
        project = open_project(named, lambda: lines, self.server, StorageImages(), None, colors={}).project
        return {task.source: task.id for task in self.server.tasks(project)}

    def answer(self, task: int, minute: int, *, skipped: bool = False) -> None:
        """A reviewer leaves one person at the left, or skips the frame."""
        value = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["person"]}
        region = {"id": "new", "type": "rectanglelabels", "from_name": "boxes", "value": value}
        when = datetime(2026, 1, 2, 0, minute, tzinfo=UTC)
        self.server.annotate(task, Annotation(task, when, [] if skipped else [region], skipped, 7, 3.0))


def test_a_run_in_label_studio_is_relabelled_when_a_part_is_answered() -> None:
    pipeline = Pipeline()
    studio = Studio(pipeline)
    (first,) = labelled(pipeline, verification={"policy": "all", "back_end": "label-studio"}).jobs
    asked_so_far = studio.open(first)
    *given, skipped = sorted(asked_so_far)[:4]
    for minute, source in enumerate(given):
        studio.answer(asked_so_far[source], minute)
    studio.answer(asked_so_far[skipped], 9, skipped=True)
    answered = dict.fromkeys(given, first.name)

    def relabelled() -> tuple[Assembly, str, dict[str, int]]:
        pipeline.relabel()
        # The tasks of open frames are gone, so that no reviewer works on them in vain.
        assert all(row["annotations"] for row in studio.server.rows.values())
        assembly = pipeline.assemble()
        (job,) = assembly.jobs
        tasks = studio.open(job)
        assert len(tasks) == FRAMES - len(answered)
        assert not tasks.keys() & answered.keys()
        return assembly, job.name, tasks

    _, second, tasks = relabelled()
    # A reviewer who skips a frame leaves no label.
    assert skipped in tasks
    for minute, source in enumerate(sorted(tasks)[:2]):
        studio.answer(tasks[source], minute)
        answered[source] = second
    assembly, _, _ = relabelled()
    published(pipeline, assembly)
    kept = {line.source_ref: line for line in dataset(pipeline) if line.origin.triage == KEPT}
    assert {source: line.origin.job for source, line in kept.items()} == answered
    for line in kept.values():
        (box,) = line.verified_boxes
        assert (box.name, box.left, box.width) == ("person", 6, 20)
        assert line.review.worker == "7"  # type: ignore[union-attr]
        assert line.verified_by_person
    assert summary(pipeline).earlier.kept == {"0001": 3, "0002": 2}
