"""Reviewers answer a part of a job before an operator acts: no answer is lost, and no answered frame is asked again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.run_folder import RunFolder
from autolabel.verification.jobs import job_name
from autolabel_cli.drives.run_progress import RunView
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps
from tests.e2e.terminal import Terminal, documented_permissions, terminal_of_user

pytestmark = pytest.mark.cloud
RUN_2 = "0002"
ANSWERED, OPEN = 3, 2


@pytest.fixture(scope="module")
def operator(pipeline: Pipeline) -> Terminal:
    return terminal_of_user(pipeline, "relabeller", documented_permissions("For operators"))


def partly_answered(pipeline: Pipeline, drive: str) -> str:
    """Upload a drive whose camera `front` reviewers answer; return the stem of its job's name."""
    frames = {f"front/{time}.png": image() for time in timestamps(ANSWERED)}
    frames |= {f"slow/{time}.png": image() for time in timestamps(OPEN)}
    pipeline.upload(drive, frames)
    return job_name(pipeline.stack.labels.name, drive, FIRST_RUN, 0)


def await_answers(pipeline: Pipeline, job: str) -> None:
    sagemaker = pipeline.cloud.client("sagemaker")

    def answered() -> bool:
        names = {one["LabelingJobName"] for one in sagemaker.list_labeling_jobs()["LabelingJobSummaryList"]}
        if job not in names:
            return False
        return bool(sagemaker.describe_labeling_job(LabelingJobName=job)["LabelCounters"]["TotalLabeled"] == ANSWERED)

    eventually(answered, "the answers", 90)


def asked(pipeline: Pipeline, job: str) -> list[str]:
    """The frames that a job asked for."""
    described = pipeline.cloud.client("sagemaker").describe_labeling_job(LabelingJobName=job)
    manifest = described["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
    labels = pipeline.stack.labels
    return [json.loads(body)["source-ref"] for body in labels.lines(manifest.removeprefix(labels.uri("")))]


def dataset(pipeline: Pipeline, drive: str, run: str) -> list[dict[str, Any]]:
    return [json.loads(body) for body in pipeline.stack.labels.lines(RunFolder(drive, run).dataset)]


def test_a_stopped_and_redriven_run_asks_only_for_open_frames(pipeline: Pipeline, operator: Terminal) -> None:
    drive = "partly-stopped"
    stem = partly_answered(pipeline, drive)
    await_answers(pipeline, f"{stem}-1")
    assert "reviewers have answered 3 of 5 frames, and the rest is open" in operator.say("stop", drive)
    operator.say("redrive", drive)
    summary = pipeline.succeed(drive)
    assert all("/slow/" in frame for frame in asked(pipeline, f"{stem}-2"))
    assert len(asked(pipeline, f"{stem}-2")) == OPEN
    assert [job["verified"] for job in summary["verification"]] == [ANSWERED + OPEN]
    jobs = {
        line["source-ref"].split("/")[-2]: line["provenance"]["job"] for line in dataset(pipeline, drive, FIRST_RUN)
    }
    assert jobs == {"front": f"{stem}-1", "slow": f"{stem}-2"}
    (job,) = operator.ask("status", drive)["run"]["jobs"]
    assert (job["job"], job["labelled"]) == (f"{stem}-2", ANSWERED + OPEN)
    states = list(RunView(pipeline.stack, drive, FIRST_RUN).states())
    assert (states[-1].name, states[-1].exited is not None) == ("Publish", True)


def test_a_job_that_failed_half_way_without_a_manifest_loses_no_answer(pipeline: Pipeline, operator: Terminal) -> None:
    drive = "partly-failed"
    stem = partly_answered(pipeline, drive)
    assert pipeline.end(drive).status == "FAILED"
    operator.say("redrive", drive)
    summary = pipeline.succeed(drive)
    assert all("/slow/" in frame for frame in asked(pipeline, f"{stem}-2"))
    assert summary["verification"][0]["verified"] == ANSWERED + OPEN


def test_relabelling_a_stopped_run_keeps_its_answers(pipeline: Pipeline, operator: Terminal) -> None:
    drive = "partly-relabelled"
    stem = partly_answered(pipeline, drive)
    await_answers(pipeline, f"{stem}-1")
    operator.say("stop", drive)
    told = operator.say("relabel", drive)
    assert "it keeps the 3 labels of run 0001 that the new pre-labels do not contradict" in told
    assert "SUCCEEDED" in operator.say("watch", drive, "--run", RUN_2)
    second = job_name(pipeline.stack.labels.name, drive, RUN_2, 0)
    assert len(asked(pipeline, f"{second}-1")) == OPEN
    kept = [line for line in dataset(pipeline, drive, RUN_2) if line["provenance"]["triage"] == "kept"]
    assert {line["provenance"]["kept"]["run"] for line in kept} == {FIRST_RUN}
    assert len(kept) == ANSWERED
    status = operator.ask("status", drive)["run"]
    assert status["earlier"] == {"collected": {FIRST_RUN: 3}, "missing": {}, "kept": {FIRST_RUN: 3}, "again": {}}
    assert "labels of reviewers: 3 of run 0001; kept 3 of run 0001" in operator.say("status", drive)
    refused = operator.refused("redrive", drive, "--run", FIRST_RUN, "--force")
    assert "because run 0002 took over the work of its reviewers" in refused


def test_relabelling_a_published_drive_asks_for_nothing(pipeline: Pipeline, operator: Terminal) -> None:
    drive = "kept-whole"
    pipeline.upload(drive, {f"front/{time}.png": image() for time in timestamps(ANSWERED)})
    pipeline.succeed(drive)
    operator.say("relabel", drive)
    assert "SUCCEEDED" in operator.say("watch", drive, "--run", RUN_2)
    assert operator.ask("status", drive)["run"]["jobs"] == []
    lines = dataset(pipeline, drive, RUN_2)
    assert [line["provenance"]["labelled-by"] for line in lines] == ["model and person"] * ANSWERED
    # Labels of an excluded reviewer are not kept. Other tests' labels are the same reviewer's.
    (worker,) = {line["review"]["worker"] for line in lines}
    found = operator.ask("forget", "--reviewer", worker, "--exclude", "--yes")
    try:
        touched = [(one["run"], one["frames"]) for one in found["touched"]["runs"] if one["drive"] == drive]
        assert touched == [(FIRST_RUN, ANSWERED), (RUN_2, ANSWERED)]
        operator.say("relabel", drive)
        assert "SUCCEEDED" in operator.say("watch", drive, "--run", "0003")
        third = job_name(pipeline.stack.labels.name, drive, "0003", 0)
        assert len(asked(pipeline, f"{third}-1")) == ANSWERED
    finally:
        operator.say("forget", "--reviewer", worker, "--include", "--yes")
