"""A drive whose reviewers verify tracks, in strips of six frames."""

from __future__ import annotations

import json

import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.verification.jobs import job_name
from tests.e2e.pipeline import Pipeline, image, timestamps

pytestmark = pytest.mark.cloud
TRACKS = {"policy": "all", "task": "tracks"}


def test_verified_tracks_are_in_the_dataset(pipeline: Pipeline) -> None:
    frames = {f"{camera}/{time}.png": image() for camera in ("front", "unlabelled") for time in timestamps(8)}
    pipeline.upload("tracked", frames, verification=TRACKS)
    summary = pipeline.succeed("tracked")
    assert summary["task"] == "tracks"
    assert summary["labelled_by"] == {"model and person": 8, "nobody": 8}
    assert summary["unverified"] == {"the strip is too dark": 8}
    lines = pipeline.lines("tracked", "dataset.manifest")
    front, dark = lines[:8], lines[8:]
    changes = [
        [after["width"] - before["width"] for before, after in zip(*boxes, strict=True)]
        for boxes in ((line["prelabel"]["annotations"], line["verified"]["annotations"]) for line in front)
    ]
    # The second frame of each of the two strips.
    assert changes == [[6, 6] if at in (1, 7) else [0, 0] for at in range(8)]
    by_person, left = ["person"] * 2, ["model and person"] * 2
    assert [line["origins"] for line in front] == [by_person if at in (1, 7) else left for at in range(8)]
    cars, persons = ([line["tracks"][at] for line in front] for at in (0, 1))
    assert len(set(persons)) == 1
    assert [car == cars[0] for car in cars] == [at != 2 for at in range(8)]
    statuses = [line["verified-metadata"]["adjustment-status"] for line in front]
    assert statuses == ["adjusted" if at in (1, 2, 7) else "unadjusted" for at in range(8)]
    assert all("verified" not in line for line in dark)


def test_a_seed_that_a_reviewer_left_in_a_strip_is_counted_and_not_published(pipeline: Pipeline) -> None:
    drive = "seeded-tracks"
    frames = {f"front/{time}.png": image() for time in timestamps(8)}
    pipeline.upload(drive, frames, verification=TRACKS | {"vigilance": True})
    summary = pipeline.succeed(drive)
    counts = summary["vigilance"]["all"]
    assert (counts["seeds"], counts.get("caught", 0)) == (1, 0)
    assert [job.get("rounds", 1) for job in summary["verification"]] == [2]
    lines = pipeline.lines(drive, "dataset.manifest")
    assert [line["verified"]["annotations"] for line in lines] == [line["prelabel"]["annotations"] for line in lines]
    assert len({tuple(line["tracks"]) for line in lines}) == 1


def test_three_reviewers_of_strips_have_a_job_each_and_their_tracks_become_one_label(pipeline: Pipeline) -> None:
    drive = "team-tracks"
    frames = {f"{camera}/{time}.png": image() for camera in ("agree", "split") for time in timestamps(4)}
    pipeline.upload(drive, frames, verification=TRACKS | {"reviewers": 3})
    summary = pipeline.succeed(drive)
    counts = {
        name: sum(job.get(name, 0) for job in summary["verification"])
        for name in ("frames", "verified", "several", "short", "disputed")
    }
    assert counts == {"frames": 8, "verified": 8, "several": 8, "short": 0, "disputed": 4}
    found = summary["reviewers"]
    assert (found["frames"], len(found["reviewers"])) == (8, 3)
    assert found["classes"].keys() == {"car", "person", "truck", "bicycle"}
    agreed, split = (job_name(pipeline.stack.labels.name, drive, FIRST_RUN, at) for at in (0, 1))
    jobs = pipeline.cloud.client("sagemaker").list_labeling_jobs(NameContains=drive)["LabelingJobSummaryList"]
    each = [f"{stem}-{number}" for stem in (agreed, split) for number in (1, 2, 3)]
    assert {job["LabelingJobName"] for job in jobs} == {*each, f"{split}-again-1"}
    agree = pipeline.lines(drive, "dataset.manifest")[:4]
    drawn = [dict(zip(line["tracks"], line["verified"]["annotations"], strict=True)) for line in agree]
    ids = set.union(*map(set, drawn)) - drawn[0].keys()
    assert len(ids) == 1
    assert [ids <= frame.keys() for frame in drawn] == [False, True, True, True]
    # Half of two pixels.
    assert {frame[next(iter(ids))]["left"] for frame in drawn[1:]} == {342}
    assert all(len(line["review"]["workers"]) == 3 for line in agree)


def test_strips_of_a_job_that_failed_half_way_are_not_asked_again(pipeline: Pipeline) -> None:
    drive = "tracked-failed"
    frames = {f"{camera}/{time}.png": image() for camera in ("front", "slow") for time in timestamps(3)}
    pipeline.upload(drive, frames, verification=TRACKS)
    assert "fails half way" in pipeline.end(drive).failure
    pipeline.redrive(drive)
    pipeline.succeed(drive)
    stem = job_name(pipeline.stack.labels.name, drive, FIRST_RUN, 0)
    jobs = [line["provenance"]["job"] for line in pipeline.lines(drive, "dataset.manifest")]
    assert jobs == [f"{stem}-1"] * 3 + [f"{stem}-2"] * 3
    (sequence,) = pipeline.lines(drive, "manifests/verify-000.attempt-2.sequences.manifest")
    asked = json.loads(
        pipeline.stack.labels.read(sequence["source-ref"].removeprefix(pipeline.stack.labels.uri(""))) or b""
    )
    assert asked["prefix"].endswith(f"/{drive}/slow/")


def test_tracks_of_boxes_that_are_not_linked_are_refused(pipeline: Pipeline) -> None:
    pipeline.upload("untracked", {f"front/{timestamps(1)[0]}.png": image()}, verification=TRACKS, tracks=False)
    pipeline.told_ops("the task `tracks` needs linked boxes")
