"""Assembly turns shards into the manifests of a run's jobs, its summary and its report."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from autolabel.contracts.errors import CountMismatch, FramesUnreadable, ShardMissing, VerificationRefused
from autolabel.contracts.run_folder import RunFolder
from autolabel.datasets.assembly import Assembly
from autolabel.labelling.shards import ShardResult
from autolabel.reporting.summary import FrameCounts, Summary
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, FRAMES_PATIENCE, JOB_LABELS, Pipeline, drive_document, frame_key

PREFIX = f"labels/{DRIVE}/0001/"


def labelled(pipeline: Pipeline, frames: int, *, shard_frames: int = 3, document: bytes | None = None) -> Pipeline:
    """A run whose shards are all labelled."""
    for index in range(frames):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close(document)
    # The run does not wait longer for the frames that drive.json promises.
    pipeline.now += FRAMES_PATIENCE
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
    pipeline.reconcile()
    pipeline.plan(shard_frames)
    pipeline.label()
    return pipeline


def manifest(pipeline: Pipeline, assembly: Assembly, job: int = 0) -> list[dict[str, Any]]:
    key = assembly.jobs[job].manifest.removeprefix("s3://labels/")
    return [json.loads(line) for line in pipeline.labels.lines(key)]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[PREFIX + "summary.json"], type=Summary)


def issues(pipeline: Pipeline, outcome: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in pipeline.labels.lines(f"{PREFIX}{outcome}.jsonl")]


def test_a_drive_without_frames_is_assembled_into_no_job(pipeline: Pipeline) -> None:
    assembly = labelled(pipeline, 0).assemble()
    assert (assembly.frames, assembly.boxes, assembly.jobs) == (FrameCounts(0, 0, 0, 0), 0, ())
    assert pipeline.labels.exists(PREFIX + "report.html")
    assert summary(pipeline).classes == {}


def test_shards_are_joined_in_order(pipeline: Pipeline) -> None:
    assembly = labelled(pipeline, 8).assemble()
    (job,) = assembly.jobs
    assert job.frames == 8
    assert [line["source-ref"] for line in manifest(pipeline, assembly)] == [
        f"s3://ingest/{frame_key(index)}" for index in range(8)
    ]
    assert assembly.frames == FrameCounts(8, 8, 0, 0)
    assert assembly.boxes == 8


def test_a_run_is_split_into_jobs_of_the_largest_size(pipeline: Pipeline) -> None:
    assembly = labelled(pipeline, 8, shard_frames=2).assemble(max_objects=5)
    assert [job.frames for job in assembly.jobs] == [4, 4]
    assert len({job.name for job in assembly.jobs}) == 2
    found = [line["source-ref"] for job in range(2) for line in manifest(pipeline, assembly, job)]
    assert found == [f"s3://ingest/{frame_key(index)}" for index in range(8)]


def test_too_many_jobs_are_refused_until_jobs_are_larger(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autolabel.verification.jobs.MAX_JOBS", 3)
    labelled(pipeline, 8, shard_frames=2)
    with pytest.raises(VerificationRefused, match=r"needs 4 verification jobs of at most 3 frames.* MaxJobObjects"):
        pipeline.assemble(max_objects=3)
    assert not pipeline.labels.exists(PREFIX + "terms.json")
    assert [job.frames for job in pipeline.assemble(max_objects=4).jobs] == [4, 4]


def test_a_run_whose_jobs_were_made_keeps_them_all(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    made = labelled(pipeline, 8, shard_frames=2).assemble(max_objects=2)
    monkeypatch.setattr("autolabel.verification.jobs.MAX_JOBS", 3)
    assert pipeline.assemble(max_objects=4) == made


def test_a_run_whose_assembly_failed_takes_jobs_of_another_size(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled(pipeline, 8, shard_frames=2)
    with monkeypatch.context() as patch:
        patch.setattr("autolabel.datasets.assembly.write_report", Mock(side_effect=OSError("broken")))
        with pytest.raises(OSError, match="broken"):
            pipeline.assemble(max_objects=2)
    assert [job.frames for job in pipeline.assemble(max_objects=4).jobs] == [4, 4]


def test_each_job_has_label_categories_and_a_worker_page(pipeline: Pipeline) -> None:
    (job,) = labelled(pipeline, 1).assemble().jobs
    categories = json.loads(pipeline.labels.objects[job.categories.removeprefix("s3://labels/")])
    assert [label["label"] for label in categories["labels"]] == list(JOB_LABELS)
    assert b"crowd-bounding-box" in pipeline.labels.objects[job.template.removeprefix("s3://labels/")]


def test_a_repeated_call_writes_the_same(pipeline: Pipeline) -> None:
    first = labelled(pipeline, 4).assemble()
    before = dict(pipeline.labels.objects)
    assert pipeline.assemble() == first
    assert pipeline.labels.objects == before


def test_a_planned_shard_without_its_result_stops_the_run(pipeline: Pipeline) -> None:
    labelled(pipeline, 8)
    del pipeline.labels.objects[RunFolder(DRIVE, "0001").shard(1, "result.json")]
    with pytest.raises(ShardMissing, match="shard 1"):
        pipeline.assemble()
    assert not pipeline.labels.exists(PREFIX + "summary.json")


@pytest.mark.parametrize("lost", [1, -1])
def test_a_shard_with_more_or_fewer_frames_than_planned_stops_the_run(pipeline: Pipeline, lost: int) -> None:
    labelled(pipeline, 8)
    key = RunFolder(DRIVE, "0001").shard(1, "result.json")
    result = msgspec.json.decode(pipeline.labels.objects[key], type=ShardResult)
    result.tally.labelled -= lost
    pipeline.labels.write(key, msgspec.json.encode(result))
    with pytest.raises(CountMismatch, match="shard 1"):
        pipeline.assemble()


def test_shards_without_the_whole_listing_stop_the_run(pipeline: Pipeline) -> None:
    labelled(pipeline, 8)
    key = PREFIX + "shards.jsonl"
    pipeline.labels.write(key, b"".join(line + b"\n" for line in list(pipeline.labels.lines(key))[:-1]))
    with pytest.raises(CountMismatch, match="does not add up"):
        pipeline.assemble()


def test_a_lost_shard_manifest_stops_the_run(pipeline: Pipeline) -> None:
    labelled(pipeline, 8)
    parts = [RunFolder(DRIVE, "0001").shard(1, f"linked.{part}") for part in ("manifest.jsonl", "result.json")]
    del pipeline.labels.objects[parts[0]]
    with pytest.raises(KeyError):
        pipeline.assemble()
    del pipeline.labels.objects[parts[1]]
    with pytest.raises(ShardMissing, match="shard 1 of drive-7 0001 was not linked"):
        pipeline.assemble()


def test_objects_that_the_listing_refused_are_rejected_with_a_reason(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(50), b"")
    pipeline.upload(frame_key(0, camera="rear"), png())
    assembly = labelled(pipeline, 2).assemble()
    assert assembly.frames == FrameCounts(4, 2, 0, 2)
    assert summary(pipeline).reasons == {"rejected": {"empty-object": 1, "unknown-camera": 1}}
    assert sorted((one["key"], one["reason"]) for one in issues(pipeline, "rejected")) == [
        (frame_key(50), "empty-object"),
        (frame_key(0, camera="rear"), "unknown-camera"),
    ]


def test_rejected_and_failed_frames_of_all_shards_are_gathered(pipeline: Pipeline) -> None:
    for index in range(20, 26):
        pipeline.submit(pipeline.upload(frame_key(index), b"no image" if index % 2 else png()))
    labelled(pipeline, 0)
    for place in pipeline.endpoints.taken[::2]:
        pipeline.labels.write(place.output_key, b"garbage")
    pipeline.label()
    assembly = pipeline.assemble()
    assert assembly.frames == FrameCounts(6, 0, 3, 3)
    assert [one["key"] for one in issues(pipeline, "rejected")] == [frame_key(index) for index in (21, 23, 25)]
    assert [one["key"] for one in issues(pipeline, "failed")] == [frame_key(index) for index in (20, 22, 24)]


def test_frames_that_s3_does_not_give_out_are_rejected_with_its_code(pipeline: Pipeline) -> None:
    for index in (1, 2, 5):
        pipeline.ingest.withheld[frame_key(index)] = "InvalidObjectState"
    assembly = labelled(pipeline, 6).assemble()
    assert assembly.frames == FrameCounts(6, 3, 0, 3)
    assert summary(pipeline).reasons == {"rejected": {"s3-InvalidObjectState": 3}}
    assert {one["reason"] for one in issues(pipeline, "rejected")} == {"s3-InvalidObjectState"}


def test_a_run_most_of_whose_frames_s3_does_not_give_out_fails_until_it_does(pipeline: Pipeline) -> None:
    for index in (1, 2, 3, 5):
        pipeline.ingest.withheld[frame_key(index)] = "AccessDenied" if index > 1 else "InvalidObjectState"
    labelled(pipeline, 6)
    with pytest.raises(FramesUnreadable) as failed:
        pipeline.assemble()
    assert "4 of 6 frames (3 AccessDenied, 1 InvalidObjectState)" in str(failed.value)
    assert f"{frame_key(2)}: AccessDenied" in str(failed.value)
    # A redrive plans and labels the shards again.
    pipeline.ingest.withheld.clear()
    pipeline.plan()
    pipeline.label()
    assert pipeline.assemble().frames == FrameCounts(6, 6, 0, 0)


def test_operators_are_told_once_when_more_than_a_tenth_of_the_objects_is_rejected(pipeline: Pipeline) -> None:
    pipeline.submit(pipeline.upload(frame_key(8), b"no picture"))
    pipeline.upload(frame_key(9), b"")
    labelled(pipeline, 8)
    for _ in range(2):
        assembly = pipeline.assemble()
        assert assembly.rejected == {"not-an-image": 1, "empty-object": 1}
    ((subject, message),) = pipeline.announcements.told
    assert subject == f"Many frames of {DRIVE} 0001 are rejected"
    assert "2 of 10 objects" in message
    assert "(1 not-an-image, 1 empty-object)" in message
    assert f"s3://labels/{PREFIX}rejected.jsonl" in message


def test_operators_are_not_told_of_a_few_rejected_frames(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(9), b"")
    assert labelled(pipeline, 9).assemble().frames == FrameCounts(10, 9, 0, 1)
    assert pipeline.announcements.told == []


def test_the_summary_has_notes_of_the_fleet_and_of_the_pipeline(pipeline: Pipeline) -> None:
    cameras = {"front": {"expected_frames": 5}}
    pipeline.submit(pipeline.upload(f"drives/{DRIVE}/odd.txt", b"?"))
    pipeline.close(b"no JSON")
    labelled(pipeline, 2, document=drive_document(cameras=cameras, notes=["rain from noon"]))
    pipeline.assemble()
    fleet, missing, refused = summary(pipeline).notes
    assert fleet == "rain from noon"
    assert missing == "camera front: 2 of 5 expected frames arrived"
    # Rejected frames have their reasons in the listing. Only the refusal of the drive document is a note.
    assert "drive.json is not JSON" in refused


@pytest.mark.parametrize("counts", [(1, 0, 0, 0), (0, 1, 0, 0), (5, 2, 2, 2)])
def test_counts_that_do_not_add_up_raise_an_error_with_the_run(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(CountMismatch, match="d1 0001"):
        FrameCounts(*counts).check("d1 0001")


def test_counts_that_add_up_pass() -> None:
    FrameCounts(6, 1, 2, 3).check("d1 0001")
