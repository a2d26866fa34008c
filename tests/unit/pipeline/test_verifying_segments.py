"""A run whose reviewers correct segments, from drive.json to the dataset. Its boxes stay as the models made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.verification import AGAIN, EVERYTHING, KEPT, REVIEW_ALL, REVIEW_CHANGED, ReviewChoice
from autolabel.datasets.assembly import Assembly
from autolabel.reporting.summary import Summary
from autolabel.verification.jobs import LABEL_STUDIO, MAX_SEGMENTED, BackEnds
from autolabel.verification.settlement import Settled
from autolabel_cli.datasets.staging import chosen_label, read_line
from tests.fakes.answers import DETECTOR, answer
from tests.fakes.bodies import HEIGHT, WIDTH
from tests.fakes.endpoints import failure, success
from tests.fakes.images import jpeg, png, png_header
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key
from tests.unit.labelling.test_segmentation_map import BODY, SEGMENTER

PREFIX = f"labels/{DRIVE}/0001/"
SEGMENTS = {"policy": "all", "task": "segments"}
FRAMES = 3


def assembled(
    *, failing: int | None = None, models: tuple[Any, ...] = (SEGMENTER,), **limits: int
) -> tuple[Pipeline, Assembly]:
    """Assemble a run of FRAMES frames for reviewers of segments; the model with masks fails on frame `failing`."""
    pipeline = Pipeline(*models)
    for index in range(FRAMES):
        pipeline.upload(frame_key(index), png(WIDTH, HEIGHT, (index, 0, 0)))
    pipeline.close(drive_document(models=[model.name for model in models], verification=SEGMENTS))
    pipeline.reconcile()
    pipeline.submit_asked()
    done = 0
    while done < len(pipeline.endpoints.taken):
        invocation = pipeline.endpoints.taken[done]
        done += 1
        masks = invocation.endpoint == SEGMENTER.endpoint
        if masks and failing is not None and invocation.input_location.endswith(frame_key(failing)):
            pipeline.collect(failure(invocation, reason="out of memory"))
        else:
            pipeline.labels.write(invocation.output_key, BODY if masks else answer([(0.25, 0.25, 0.75, 0.75)]))
            pipeline.collect(success(invocation))
        pipeline.submit_asked()
    assert pipeline.reconcile().pending == 0
    pipeline.plan(1)
    pipeline.label()
    return pipeline, pipeline.assemble(**limits)


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(PREFIX + "dataset.manifest")]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[PREFIX + "summary.json"], type=Summary)


def settled(change: Callable[[Pipeline, dict[str, Any]], object]) -> Settled:
    """Settle the first round, after a back-end changed the first frame's line with `change`."""
    return settled_in(assembled(), change)


def settled_in(run: tuple[Pipeline, Assembly], change: Callable[[Pipeline, dict[str, Any]], object]) -> Settled:
    pipeline, assembly = run
    (job,) = assembly.jobs

    def left(lines: list[bytes]) -> list[bytes]:
        line = json.loads(lines[0])
        change(pipeline, line)
        return [json.dumps(line).encode(), *lines[1:]]

    return pipeline.finish(job, left).rounds[0]


# Jobs


def test_a_job_of_segments_has_its_own_page_and_label_reference() -> None:
    pipeline, assembly = assembled()
    (job,) = assembly.jobs
    assert (job.task, job.attribute, job.back_end, job.frames) == ("segments", "verified-ref", "ground-truth", FRAMES)
    assert b"<crowd-semantic-segmentation" in pipeline.labels.objects[pipeline.key_of(job.template)]


def test_jobs_of_segments_are_split_at_ground_truths_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SEGMENTED == 20_000
    monkeypatch.setattr("autolabel.datasets.assembly.MAX_SEGMENTED", 2)
    _, assembly = assembled(max_objects=100_000)
    assert [job.frames for job in assembly.jobs] == [2, 1]


def test_a_smaller_limit_of_the_stack_also_limits_segments() -> None:
    _, assembly = assembled(max_objects=1)
    assert [job.frames for job in assembly.jobs] == [1] * FRAMES


def test_a_stack_without_ground_truth_verifies_no_segments() -> None:
    pipeline, _ = assembled()
    pipeline.back_ends = BackEnds(LABEL_STUDIO, "", "eu-central-1", label_studio=True)
    with pytest.raises(VerificationRefused, match="WorkteamName"):
        pipeline.assemble()


def test_a_drive_without_a_model_that_gives_masks_is_not_closed() -> None:
    pipeline = Pipeline(DETECTOR, SEGMENTER)
    pipeline.upload(frame_key(0), png())
    assert pipeline.close(drive_document(models=["detector"], verification=SEGMENTS)) == ["refused"]
    ((_, told),) = pipeline.announcements.told
    assert "none of its models returns masks: detector.0001" in told
    # A corrected document can still close the drive.
    assert pipeline.close(drive_document(models=["segmenter"], verification=SEGMENTS)) != ["refused"]


# The dataset


def test_the_dataset_has_reviewed_segments_and_the_models_boxes() -> None:
    pipeline, assembly = assembled()
    jobs = pipeline.verify(assembly)
    publication = pipeline.publish(jobs)
    lines = dataset(pipeline)
    assert len(lines) == FRAMES
    for line in lines:
        assert line["verified-ref"].startswith(f"s3://labels/{PREFIX}verification/{jobs[0].job}/")
        assert line["verified-ref-metadata"]["type"] == "groundtruth/semantic-segmentation"
        assert "verified" not in line
        assert line["provenance"]["labelled-by"] == "model and person"
        assert line["provenance"]["job"] == jobs[0].job
    assert (publication.verified, publication.boxes) == (FRAMES, 2 * FRAMES)
    found = summary(pipeline)
    assert (found.task, found.agreement) == ("segments", None)
    assert [(one.verified, one.unadjusted, one.failed) for one in found.verification] == [(FRAMES, FRAMES, 0)]
    report = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "segments verified; the boxes are the models'" in report


def test_segments_prove_nothing_of_boxes() -> None:
    pipeline, assembly = assembled()
    pipeline.publish(pipeline.verify(assembly))
    reviewed = [json.loads(line) for line in pipeline.labels.lines(PREFIX + "reviewed.jsonl")]
    assert len(reviewed) == FRAMES
    assert not any(one.get("verified") or one.get("classes") for one in reviewed)
    assert json.loads(pipeline.labels.objects[PREFIX + "audit.json"])["stretches"] == []


def test_a_frame_without_a_picture_is_labelled_by_a_person_alone() -> None:
    pipeline, assembly = assembled(failing=1, models=(DETECTOR, SEGMENTER))
    pipeline.publish(pipeline.verify(assembly))
    lines = dataset(pipeline)
    assert ["autolabel-segmentation-ref" in line for line in lines] == [True, False, True]
    assert [line["provenance"]["labelled-by"] for line in lines] == ["model and person", "person", "model and person"]
    assert all("verified-ref" in line for line in lines)


def test_unverified_boxes_are_exported_only_on_request() -> None:
    pipeline, assembly = assembled(failing=1)
    pipeline.publish(pipeline.verify(assembly))
    lines = [read_line(body, "here") for body in pipeline.labels.lines(PREFIX + "dataset.manifest")]
    assert [chosen_label(line, "verified")[0] for line in lines] == [None] * FRAMES
    # The model failed on the second frame: its empty pre-label does not mean a frame without objects.
    assert [chosen_label(line, "all")[0] for line in lines] == ["prelabel", None, "prelabel"]


def test_a_scripts_segments_are_told_apart() -> None:
    pipeline, assembly = assembled(failing=1)

    def keep(lines: list[bytes]) -> list[bytes]:
        made = [json.loads(line) for line in lines]
        for line in made:
            line["verified-ref-metadata"]["human-annotated"] = "no"
        return [json.dumps(line).encode() for line in made]

    publication = pipeline.publish(pipeline.verify(assembly, keep))
    assert (publication.verified, publication.scripted) == (0, FRAMES)
    lines = dataset(pipeline)
    assert {line["provenance"]["labelled-by"] for line in lines} == {"script"}
    assert all("verified-ref" in line for line in lines)
    exported = [read_line(body, "here") for body in pipeline.labels.lines(PREFIX + "dataset.manifest")]
    # The model failed on the second frame: its empty pre-label does not mean a frame without objects.
    assert [chosen_label(line, "all")[0] for line in exported] == ["prelabel", None, "prelabel"]
    assert "labelled by a script, not verified by people" in pipeline.labels.objects[PREFIX + "report.html"].decode()


def test_a_frame_without_a_label_after_two_rounds_is_unlabelled() -> None:
    pipeline, assembly = assembled()

    def give_up(lines: list[bytes]) -> list[bytes]:
        failed = json.loads(lines[0])
        del failed["verified-ref"]
        failed["verified-ref-metadata"] = {"failure-reason": "too dark"}
        return [json.dumps(failed).encode(), *lines[1:]]

    (job,) = pipeline.verify(assembly, give_up, give_up)
    assert [(one.frames, one.failed) for one in job.rounds] == [(FRAMES, 1), (1, 1)]
    pipeline.publish([job])
    lines = dataset(pipeline)
    assert [line["provenance"]["labelled-by"] for line in lines] == ["nobody", *["model and person"] * (FRAMES - 1)]
    assert "verified-ref" not in lines[0]


def test_the_second_round_begins_with_the_models_segments() -> None:
    pipeline, assembly = assembled()
    (job,) = assembly.jobs
    finished = pipeline.finish(job, lambda lines: lines[1:])
    assert finished.rounds[0].again is not None
    (line,) = map(json.loads, pipeline.labels.lines(pipeline.key_of(finished.rounds[0].again.manifest)))
    assert line["autolabel-segmentation-ref"].startswith(f"s3://labels/{PREFIX}segmentation/")
    assert finished.rounds[1].verified == 1


# Which labels are accepted from a back-end


def referred(uri: str) -> Callable[[Pipeline, dict[str, Any]], object]:
    """Refer a label to another place that has a good picture."""

    def change(pipeline: Pipeline, line: dict[str, Any]) -> None:
        line["verified-ref"] = uri
        pipeline.labels.write(uri.removeprefix("s3://labels/"), png(WIDTH, HEIGHT))

    return change


def holding(body: bytes) -> Callable[[Pipeline, dict[str, Any]], object]:
    """Replace the picture of a label."""
    return lambda pipeline, line: pipeline.labels.write(pipeline.key_of(line["verified-ref"]), body)


def meaning(colors: Any) -> Callable[[Pipeline, dict[str, Any]], object]:
    """Give other meanings to the colours of a label."""
    return lambda pipeline, line: line["verified-ref-metadata"].update({"internal-color-map": colors})


def class_of(name: Any, color: Any = "#ff0000") -> dict[str, Any]:
    return {"1": {"class-name": name, "hex-color": color}}


BELOW = f"s3://labels/{PREFIX}verification/"


@pytest.mark.parametrize(
    "change",
    [
        referred(f"{BELOW}job/annotations/consolidated-annotation/output/0_2026-01-02T03:04:05.678901.png"),
        meaning(class_of("car")),
        meaning({**class_of("car"), "0": {"class-name": "BACKGROUND", "hex-color": "#FFFFFF", "confidence": 0.9}}),
        holding(png_header(WIDTH, HEIGHT)),
    ],
    ids=["another name", "fewer classes", "a confidence", "only a header"],
)
def test_a_possible_answer_of_ground_truth_is_taken(change: Callable[[Pipeline, dict[str, Any]], object]) -> None:
    assert (settled(change).verified, settled(change).failed) == (FRAMES, 0)


HOSTILE: dict[str, Callable[[Pipeline, dict[str, Any]], object]] = {
    "another bucket": referred(f"s3://elsewhere/{PREFIX}verification/job/0.png"),
    "the ingest bucket": referred(f"s3://ingest/{frame_key(0)}"),
    "outside of the run's verification": referred(f"s3://labels/{PREFIX}segmentation/front/0.png"),
    "another run's": referred(f"s3://labels/labels/{DRIVE}/0002/verification/job/0.png"),
    "a path upwards": referred(f"{BELOW}../segmentation/0.png"),
    "a long path": referred(f"{BELOW}{'a' * 900}.png"),
    "a line feed": referred(f"{BELOW}job/0.png\n"),
    "a name that is not a picture's": referred(f"{BELOW}job/0.json"),
    "a missing picture": lambda _, line: line.update({"verified-ref": f"{BELOW}job/none.png"}),
    "no text": lambda _, line: line.update({"verified-ref": {"s3": "uri"}}),
    "no label": lambda _, line: line.pop("verified-ref"),
    "no metadata": lambda _, line: line.pop("verified-ref-metadata"),
    "a failure beside a label": lambda _, line: line["verified-ref-metadata"].update({"failure-reason": "too dark"}),
    "content that is not a picture": holding(b"<html>"),
    "another type": holding(jpeg(WIDTH, HEIGHT)),
    "another size": holding(png(WIDTH, HEIGHT - 1)),
    "a picture of absurd size": holding(png_header(100_000, 100_000)),
    "nothing": holding(b""),
    "no colours": meaning({}),
    "an unknown class": meaning(class_of("zebra")),
    "a class without a name": meaning(class_of(None)),
    "an invalid colour": meaning(class_of("car", "red;}")),
    "an invalid index": meaning({"one": class_of("car")["1"]}),
    "deep nesting": meaning({"1": json.loads("[" * 100 + "]" * 100)}),
    "boxes": lambda _, line: line.update({"verified-ref": {"image_size": [], "annotations": []}}),
}


SAID = {
    "another bucket": f"the label is not a PNG below {BELOW}: s3://elsewhere/",
    "a failure beside a label": "too dark",
    "content that is not a picture": "the picture of the segments cannot be read: ",
    "another type": "the picture of the segments is a jpeg, not a png: ",
    "another size": f"the label was drawn on an image of {WIDTH} x {HEIGHT - 1}, the frame has {WIDTH} x {HEIGHT}",
    "an unknown class": "class 'zebra' is not a class of the job",
    "an invalid colour": "the label cannot be read: ",
    "no label": "the job left no label",
}


@pytest.mark.parametrize("name", SAID)
def test_a_frame_keeps_the_rule_that_its_segments_break(name: str) -> None:
    pipeline, assembly = assembled()
    found = settled_in((pipeline, assembly), HOSTILE[name])
    results = pipeline.labels.lines(pipeline.key_of(found.results))
    assert json.loads(next(results))["failure"].startswith(SAID[name])


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_impossible_answer_of_a_job_fails_the_frame(
    change: Callable[[Pipeline, dict[str, Any]], object],
) -> None:
    found = settled(change)
    assert (found.verified, found.failed) == (FRAMES - 1, 1)
    assert found.again is not None
    assert found.again.frames == 1


def test_segments_are_kept_in_a_new_run_and_an_unsure_look_goes_on() -> None:
    pipeline, assembly = assembled()

    def unsure(lines: list[bytes]) -> list[bytes]:
        first, *rest = [json.loads(body) for body in lines]
        return [msgspec.json.encode(line) for line in ({**first, "review": {"unsure": True, "comment": "?"}}, *rest)]

    (job,) = assembly.jobs
    pipeline.finish(job, unsure)
    # The run was stopped before its second round.
    for key in [key for key in pipeline.labels.objects if "-again" in key]:
        del pipeline.labels.objects[key]
    pipeline.relabel(shard_frames=1)
    (job,) = pipeline.assemble().jobs
    (line,) = (json.loads(body) for body in pipeline.labels.lines(pipeline.key_of(job.manifest)))
    assert line["source-ref"].endswith(frame_key(0))
    assert "/0001/verification/" in line["autolabel-segmentation-ref"]
    assert line["doubt"]["why"] == ["a reviewer was unsure: ?"]
    pipeline.publish([pipeline.finish(job)])
    lines = [json.loads(body) for body in pipeline.labels.lines(pipeline.run.folder.dataset)]
    kept = [one["verified-ref"] for one in lines if one["provenance"]["triage"] == "kept"]
    assert len(kept) == FRAMES - 1
    # A dataset refers to objects of its own run.
    assert all(uri.startswith(f"s3://labels/labels/{DRIVE}/0002/verification/kept/front/") for uri in kept)
    assert all(pipeline.labels.exists(pipeline.key_of(uri)) for uri in kept)


@pytest.mark.parametrize(("review", "kind"), [(REVIEW_CHANGED, AGAIN), (REVIEW_ALL, EVERYTHING)])
def test_a_frame_whose_kept_picture_is_gone_is_given_to_reviewers(review: ReviewChoice, kind: str) -> None:
    pipeline, assembly = assembled()
    pipeline.publish([pipeline.finish(job) for job in assembly.jobs])
    lines = [json.loads(body) for body in pipeline.labels.lines(pipeline.run.folder.dataset)]
    del pipeline.labels.objects[pipeline.key_of(lines[0]["verified-ref"])]
    pipeline.relabel(review)
    (job,) = pipeline.assemble().jobs
    pipeline.publish([pipeline.finish(job)])
    found = [json.loads(body)["provenance"]["triage"] for body in pipeline.labels.lines(pipeline.run.folder.dataset)]
    assert found[0] == kind
    assert set(found[1:]) == ({KEPT} if review == REVIEW_CHANGED else {EVERYTHING})
