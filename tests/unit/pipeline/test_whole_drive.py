"""A drive from its first upload to its dataset, with one of each fault."""

from __future__ import annotations

import json

from autolabel.reporting.summary import FrameCounts
from tests.fakes.answers import answer
from tests.fakes.endpoints import failure, success
from tests.fakes.images import jpeg, png, png_header
from tests.fakes.pipeline import DRIVE, MAX_ERRORS, Pipeline, drive_document, frame_key, read_one, s3_message
from tests.unit.datasets.test_assembly import PREFIX, issues, manifest, summary

GOOD, GARBAGE, NO_IMAGE, ROTATED, EMPTY, HUGE, FAILING = range(7)
FRAMES = {
    GOOD: png(),
    GARBAGE: png(color=(1, 0, 0)),
    NO_IMAGE: b"not an image",
    ROTATED: jpeg(orientation=8),
    EMPTY: b"",
    HUGE: png_header(20_000, 10_000),
    FAILING: png(color=(2, 0, 0)),
}


def answer_everything(pipeline: Pipeline) -> None:
    """Have the endpoint answer all that it has taken, also retried requests."""
    done = 0
    while done < len(pipeline.endpoints.taken):
        invocation = pipeline.endpoints.taken[done]
        done += 1
        picture = pipeline.ingest.objects[invocation.input_location.removeprefix("s3://ingest/")]
        if picture == FRAMES[FAILING]:
            pipeline.collect(failure(invocation, reason="the model has no memory left"))
        else:
            pipeline.labels.write(invocation.output_key, b"<html>" if picture == FRAMES[GARBAGE] else answer())
            pipeline.collect(success(invocation))
        pipeline.submit_asked()


def test_a_drive_of_seven_frames_with_one_of_each_fault_adds_up(pipeline: Pipeline) -> None:
    for index, body in FRAMES.items():
        extension = "jpg" if index == ROTATED else "png"
        event = pipeline.upload(frame_key(index, extension=extension), body)
        pipeline.submit(read_one(s3_message(event)))
    pipeline.close(drive_document("front", cameras={"front": {"expected_frames": 7}}))
    assert pipeline.reconcile().pending == 6
    assert not pipeline.wait("token")
    answer_everything(pipeline)
    assert pipeline.executions.woken == ["token"]
    report = pipeline.reconcile()
    assert (report.frames, report.refused, report.answered, report.failed, report.pending) == (6, 1, 5, 1, 0)

    plan = pipeline.plan(shard_frames=2)
    assert (plan.shards, plan.frames) == (3, 6)
    pipeline.label()
    assembly = pipeline.assemble()
    assert assembly.frames == FrameCounts(uploaded=7, labelled=1, failed=2, rejected=4)
    assert summary(pipeline).reasons == {
        "rejected": {"not-an-image": 1, "rotated": 1, "too-many-pixels": 1, "empty-object": 1},
        "failed": {"answer-unreadable": 1, "inference-failed": 1},
    }
    assert [line["source-ref"] for line in manifest(pipeline, assembly)] == [
        f"s3://ingest/{frame_key(index)}" for index in (GOOD, GARBAGE, FAILING)
    ]
    assert any("no memory left" in issue["detail"] for issue in issues(pipeline, "failed"))

    publication = pipeline.publish(pipeline.verify(assembly))
    counts = publication.frames
    assert counts["uploaded"] == counts["labelled"] + counts["failed"] + counts["rejected"] == 7
    assert publication.verified == 3
    lines = [json.loads(line) for line in pipeline.labels.lines(PREFIX + "dataset.manifest")]
    assert [line["provenance"]["labelled-by"] for line in lines] == ["model and person", "person", "person"]
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    for reason in ("not-an-image", "rotated", "too-many-pixels", "empty-object", "answer-unreadable"):
        assert reason in page
    assert "6 of 7 expected frames" in page
    assert len(pipeline.endpoints.taken) == 6 + MAX_ERRORS - 1


def test_a_drive_whose_upload_events_were_lost_is_labelled(pipeline: Pipeline) -> None:
    for index in range(5):
        pipeline.upload(frame_key(index), png())
    pipeline.close()
    assert pipeline.reconcile().submitted == 5
    pipeline.submit_asked()
    answer_everything(pipeline)
    assert pipeline.reconcile().pending == 0
    pipeline.plan()
    pipeline.label()
    assert pipeline.assemble().frames == FrameCounts(5, 5, 0, 0)


def test_frames_of_two_cameras_are_labelled_in_key_order(pipeline: Pipeline) -> None:
    keys = [frame_key(index, camera=camera) for camera in ("front", "front-left") for index in range(4)]
    for key in keys:
        pipeline.submit(pipeline.upload(key, png()))
    pipeline.close(drive_document("front", "front-left"))
    answer_everything(pipeline)
    pipeline.reconcile()
    pipeline.plan(shard_frames=3)
    pipeline.label()
    assembly = pipeline.assemble()
    assert [line["source-ref"] for line in manifest(pipeline, assembly)] == [f"s3://ingest/{k}" for k in sorted(keys)]


def test_an_endpoint_that_ignores_output_names_labels_a_drive() -> None:
    pipeline = Pipeline(honours_names=False)
    for index in range(5):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close()
    answer_everything(pipeline)
    assert pipeline.reconcile().answered == 5
    pipeline.plan()
    pipeline.label()
    assert pipeline.assemble().frames == FrameCounts(5, 5, 0, 0)


def test_a_drive_without_frames_gives_an_empty_dataset(pipeline: Pipeline) -> None:
    pipeline.close()
    assert pipeline.reconcile().pending == 0
    assert pipeline.plan().shards == 0
    pipeline.label()
    publication = pipeline.publish(pipeline.verify(pipeline.assemble()))
    assert publication.frames == {"uploaded": 0, "labelled": 0, "failed": 0, "rejected": 0}
    assert pipeline.labels.objects[PREFIX + "dataset.manifest"] == b""
    assert publication.drive == DRIVE
