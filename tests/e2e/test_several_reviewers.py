"""Three reviewers label each frame of a drive; where they differ, one more decides."""

from __future__ import annotations

import json

import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.run_folder import RunFolder
from tests.e2e.pipeline import Pipeline, image, timestamps

pytestmark = pytest.mark.cloud


def test_what_three_reviewers_differ_about_is_decided_in_a_second_round(pipeline: Pipeline) -> None:
    drive = "team"
    frames = {f"{camera}/{time}.png": image() for camera in ("agree", "split") for time in timestamps(2)}
    pipeline.upload(drive, frames, verification={"policy": "all", "reviewers": 3})
    summary = pipeline.succeed(drive)
    jobs = summary["verification"]
    counts = {name: sum(job.get(name, 0) for job in jobs) for name in ("frames", "verified", "several", "disputed")}
    assert counts == {"frames": 4, "verified": 4, "several": 4, "disputed": 2}
    assert max(job.get("rounds", 1) for job in jobs) == 2
    assert not any("short" in job for job in jobs)
    lines = [json.loads(body) for body in pipeline.stack.labels.lines(RunFolder(drive, FIRST_RUN).dataset)]
    boxes = {line["source-ref"].split("/")[-2]: line["verified"]["annotations"] for line in lines}
    # Two of three moved the car by 2 pixels; of the frames that they split over, the last reviewer left the person.
    assert [box["left"] for box in boxes["agree"]] == [66, 448]
    assert [box["left"] for box in boxes["split"]] == [448]
    workers = [len(line["review"].get("workers", ())) for line in lines]
    assert workers == [3, 3, 0, 0]
    assert summary["reviewers"]["frames"] == 4
    assert len(summary["reviewers"]["reviewers"]) == 3
