"""Two runs of `make cloud`, one after the other: the second goes on with the drive, answers and models of the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from autolabel_cli.models.catalogue import read_index
from local import PEOPLE, EmbeddedCloud
from local.tests.portal.browser import Browser
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps
from tools.demo.__main__ import DEFAULT_MODELS, set_up_stack
from tools.demo.cloud_session import CLOUD_SETTINGS, go_on

pytestmark = pytest.mark.cloud
DRIVE = "kept"


@contextmanager
def session(folder: Path) -> Iterator[tuple[Pipeline, Browser]]:
    console = Console(quiet=True)
    settings = dataclasses.replace(CLOUD_SETTINGS, annotator=PEOPLE)
    with EmbeddedCloud(folder, settings=settings) as cloud:
        stack = set_up_stack(console, cloud, folder)
        go_on(console, cloud, stack)
        pipeline = Pipeline(cloud, stack, "")
        yield pipeline, Browser(cloud.portal_url)
        assert pipeline.refusals() == []


def open_job(pipeline: Pipeline, answered: int) -> str | None:
    """The name of the drive's job once it is at work with this number of answers."""
    jobs = pipeline.cloud.client("sagemaker").list_labeling_jobs(NameContains=DRIVE)["LabelingJobSummaryList"]
    found = [job for job in jobs if job["LabelingJobStatus"] == "InProgress"]
    counted = [job["LabelingJobName"] for job in found if job["LabelCounters"]["HumanLabeled"] == answered]
    return counted[0] if counted else None


def test_a_stopped_cloud_goes_on_with_drives_answers_and_models(tmp_path: Path) -> None:
    with session(tmp_path) as (pipeline, browser):
        pipeline.upload(DRIVE, {f"front/{time}.png": image(640, 272) for time in timestamps(3)})
        job = eventually(lambda: open_job(pipeline, 0), "the job", 60)
        task = browser.next_task(job)
        assert task
        following = browser.submit(task, ("car", 1, 2, 30, 40)).document["next"]

    with session(tmp_path) as (pipeline, _):
        assert read_index(pipeline.stack).models == dict.fromkeys(DEFAULT_MODELS, "0001")
        assert eventually(lambda: open_job(pipeline, 1), "the job's return", 60) == job
        # The reviewer's own later answer replaces the kept one.
        assert browser.submit(task, ("car", 9, 9, 30, 40)).status == 200
        last = browser.submit(following, ("car", 3, 2, 30, 40)).document["next"]
        assert browser.submit(last, ("car", 5, 2, 30, 40)).document == {"next": None}
        summary = pipeline.succeed(DRIVE)
        assert [(one["job"], one["verified"]) for one in summary["verification"]] == [(job, 3)]
        dataset = pipeline.lines(DRIVE, "dataset.manifest")
        assert [line["verified"]["annotations"][0]["left"] for line in dataset] == [9, 3, 5]
