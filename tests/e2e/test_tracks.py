"""A drive whose reviewers verify tracks, in strips of four frames."""

from __future__ import annotations

import json

import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.verification.jobs import job_name
from tests.e2e.pipeline import Pipeline, image, timestamps

pytestmark = pytest.mark.cloud
TRACKS = {"policy": "all", "task": "tracks"}


def test_verified_tracks_are_in_the_dataset(pipeline: Pipeline) -> None:
    frames = {f"{camera}/{time}.png": image() for camera in ("front", "unlabelled") for time in timestamps(6)}
    pipeline.upload("tracked", frames, verification=TRACKS)
    summary = pipeline.succeed("tracked")
    assert summary["task"] == "tracks"
    assert summary["labelled_by"] == {"model and person": 6, "nobody": 6}
    assert summary["unverified"] == {"the strip is too dark": 6}
    lines = pipeline.lines("tracked", "dataset.manifest")
    front, dark = lines[:6], lines[6:]
    changes = [
        [after["width"] - before["width"] for before, after in zip(*boxes, strict=True)]
        for boxes in ((line["prelabel"]["annotations"], line["verified"]["annotations"]) for line in front)
    ]
    # The second frame of each of the two strips.
    assert changes == [[6, 6] if at in (1, 5) else [0, 0] for at in range(6)]
    by_person, left = ["person"] * 2, ["model and person"] * 2
    assert [line["origins"] for line in front] == [by_person if at in (1, 5) else left for at in range(6)]
    cars, persons = ([line["tracks"][at] for line in front] for at in (0, 1))
    assert len(set(persons)) == 1
    assert [car == cars[0] for car in cars] == [True, True, False, True, True, True]
    statuses = [line["verified-metadata"]["adjustment-status"] for line in front]
    assert statuses == ["unadjusted", "adjusted", "adjusted", "unadjusted", "unadjusted", "adjusted"]
    assert all("verified" not in line for line in dark)


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
