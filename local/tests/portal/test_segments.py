"""Segments at the portal, which has no brush: reviewers accept them, or mark the frame as impossible to label."""

from __future__ import annotations

from typing import Any

import pytest

from local.tests.portal.browser import IMAGE, Answer, Browser
from local.tests.sagemaker.jobs import ended_job, output_lines, place_job
from local.tests.sagemaker.stand_in import StandIn, eventually
from local.tests.sagemaker.test_segmentation_jobs import PICTURE, TEMPLATE, request, segmented

TASK = "/jobs/Drive-1/tasks/0"


@pytest.fixture
def job(stand_in: StandIn) -> StandIn:
    """A job of one frame that waits for reviewers."""
    place_job(stand_in, segmented(), template=TEMPLATE)
    stand_in.objects.put("s3://labels/pre.png", PICTURE, "image/png")
    stand_in.sagemaker.create_labeling_job(**request())
    described = stand_in.sagemaker.describe_labeling_job
    eventually(lambda: described(LabelingJobName="Drive-1")["LabelingJobStatus"] == "InProgress")
    return stand_in


def answer(browser: Browser, **content: Any) -> Answer:
    segments = {"initialValueModified": False, "inputImageProperties": IMAGE}
    return browser.write(
        "POST", f"{TASK}/answer", {"answerContent": {"crowd-semantic-segmentation": segments, **content}}
    )


def test_the_page_shows_the_models_segments_over_the_frame(job: StandIn, browser: Browser) -> None:
    page = browser.get(browser.next_task() or "").text
    assert "<crowd-semantic-segmentation" in page
    (address,) = (part.partition("'")[0] for part in page.split("'src': '")[1:])
    overlay = browser.get(address)
    assert (overlay.status, overlay.headers["Content-Type"], overlay.body) == (200, "image/png", PICTURE)


def test_accepted_segments_are_copied_unchanged(job: StandIn, browser: Browser) -> None:
    assert browser.next_task() == TASK
    first = answer(browser)
    assert (first.status, first.document) == (200, {"next": None})
    (line,) = output_lines(job, ended_job(job))
    assert job.objects.contents[line["verified-ref"]][0] == PICTURE
    assert line["verified-ref-metadata"]["adjustment-status"] == "unadjusted"


def test_a_frame_that_cannot_be_labelled_ends_as_a_failure(job: StandIn, browser: Browser) -> None:
    assert browser.next_task() == TASK
    assert answer(browser, failure="a person says so").status == 200
    ended = ended_job(job)
    assert ended["LabelCounters"]["FailedNonRetryableError"] == 1
    (line,) = output_lines(job, ended)
    assert "verified-ref" not in line
    assert line["verified-ref-metadata"]["failure-reason"] == "a person says so"


def test_boxes_are_refused_as_an_answer_about_segments(job: StandIn, browser: Browser) -> None:
    assert browser.submit(browser.next_task() or "", ("car", 1, 2, 3, 4)).status == 422


def test_missing_segments_are_reported_and_the_frame_stays_open(job: StandIn, browser: Browser) -> None:
    assert browser.next_task() == TASK
    del job.objects.contents["s3://labels/pre.png"]
    assert answer(browser).status == 500
    job.objects.put("s3://labels/pre.png", PICTURE, "image/png")
    assert answer(browser).status == 200
