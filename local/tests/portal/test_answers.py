"""From a reviewer's answer at the portal to the files of the job."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.portal.browser import IMAGE, Browser
from local.tests.portal.conftest import Clock
from local.tests.sagemaker.jobs import ended_job, job_request, manifest_line, output_lines, place_job, start_job
from local.tests.sagemaker.stand_in import StandIn, eventually

KEPT = ("car", 10, 20, 30, 40)
REVIEW = json.dumps({"seconds": 4.5, "keys": 3, "clicks": 1, "boxes": [{"occluded": True}, {}]})


def _responses(stand_in: StandIn, number: int) -> list[Any]:
    prefix = f"s3://labels/gt/Drive-1/annotations/worker-response/iteration-1/{number}/"
    return [json.loads(body) for uri, (body, _) in stand_in.objects.contents.items() if uri.startswith(prefix)]


def _consolidated(stand_in: StandIn, kind: str) -> list[Any]:
    prefix = f"s3://labels/gt/Drive-1/annotations/consolidated-annotation/{kind}/iteration-1/"
    found = [json.loads(body) for uri, (body, _) in stand_in.objects.contents.items() if uri.startswith(prefix)]
    return [entry for file in found for entry in file]


def test_changed_boxes_reach_manifest_and_worker_response_exactly(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, manifest_line())
    task = browser.next_task()
    assert task == "/jobs/Drive-1/tasks/0"
    boxes = [("person", 11, 20, 29, 41), ("car", 0, 0, 640, 272)]
    answer = browser.submit(task, *boxes, review=REVIEW)
    assert (answer.status, answer.document) == (200, {"next": None})

    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Completed"
    (line,) = output_lines(stand_in, job)
    assert line["verified"] == {
        "image_size": [{"width": 640, "height": 272, "depth": 3}],
        "annotations": [
            {"class_id": 0, "left": 11, "top": 20, "width": 29, "height": 41},
            {"class_id": 1, "left": 0, "top": 0, "width": 640, "height": 272},
        ],
    }
    metadata = line["verified-metadata"]
    assert metadata["class-map"] == {"0": "person", "1": "car"}
    assert (metadata["adjustment-status"], metadata["human-annotated"]) == ("adjusted", "yes")

    ((given,),) = [response["answers"] for response in _responses(stand_in, 0)]
    names = ("label", "left", "top", "width", "height")
    content = {
        "boundingBox": {
            "boundingBoxes": [dict(zip(names, box, strict=True)) for box in boxes],
            "inputImageProperties": IMAGE,
        },
        "review": REVIEW,
    }
    assert given["answerContent"] == content
    assert given["timeSpentInSeconds"] == 4.5
    assert given["acceptanceTime"] <= given["submissionTime"]
    assert given["workerId"].startswith("private.us-east-1.")
    assert given["workerMetadata"]["identityData"]["identityProviderType"] == "Cognito"

    (request,) = _consolidated(stand_in, "consolidation-request")
    assert (request["datasetObjectId"], request["dataObject"]) == ("0", {"s3Uri": "s3://drives/1.png"})
    assert json.loads(request["annotations"][0]["annotationData"]["content"]) == content
    (response,) = _consolidated(stand_in, "consolidation-response")
    attributes = {name: line[name] for name in ("verified", "verified-metadata")}
    assert response == {"datasetObjectId": "0", "consolidatedAnnotation": {"content": attributes}}


def test_unchanged_boxes_are_unadjusted(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, manifest_line())
    browser.submit(browser.next_task() or "", KEPT)
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified-metadata"]["adjustment-status"] == "unadjusted"


def test_a_frame_without_a_size_gets_the_browsers_measurement(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, {"source-ref": "s3://drives/1.png"})
    browser.submit(browser.next_task() or "")
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"]["image_size"] == [{"width": 640, "height": 272, "depth": 3}]


def test_the_manifest_keeps_the_inputs_order(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, *(manifest_line(n) for n in range(5)))
    for number in (3, 0, 4, 2, 1):
        assert browser.submit(f"/jobs/Drive-1/tasks/{number}", ("car", number, 0, 5, 5)).status == 200
    lines = output_lines(stand_in, ended_job(stand_in))
    assert [line["source-ref"] for line in lines] == [f"s3://drives/{n}.png" for n in range(5)]
    assert [line["verified"]["annotations"][0]["left"] for line in lines] == list(range(5))


def test_the_first_workers_answer_counts_and_their_last_one(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    start_job(stand_in, manifest_line(0), manifest_line(1))
    first, second = open_browser(), open_browser()
    task = first.next_task() or ""
    assert first.submit(task, ("car", 1, 1, 5, 5), review='{"seconds": 3}').status == 200
    late = second.submit(task, ("car", 2, 2, 5, 5))
    assert late.status == 409
    # The late reviewer can continue.
    assert late.document["next"] is None
    for left in (3, 4):
        assert first.submit(task, ("car", left, 3, 5, 5), review=f'{{"seconds": {left}}}').status == 200
    # A repeated answer changes nothing: the response to it may have been lost.
    assert first.submit(task, ("car", 4, 3, 5, 5), review='{"seconds": 4}').status == 200
    ((given,),) = [response["answers"] for response in _responses(stand_in, 0)]
    assert given["answerContent"]["boundingBox"]["boundingBoxes"][0]["left"] == 4
    assert given["acceptanceTime"] <= given["submissionTime"]
    assert "<b>4.0 s</b> per frame" in first.get("/").text
    second.submit("/jobs/Drive-1/tasks/1")
    job = ended_job(stand_in)
    assert job["LabelCounters"]["HumanLabeled"] == 2
    line, _ = output_lines(stand_in, job)
    assert line["verified"]["annotations"][0]["left"] == 4
    assert first.submit(task, ("car", 5, 5, 5, 5)).status == 410


def test_each_of_several_workers_gets_a_frame_once_and_sees_no_other_answer(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    start_job(
        stand_in,
        manifest_line(0),
        manifest_line(1),
        HumanTaskConfig={"NumberOfHumanWorkersPerDataObject": 2},
    )
    first, second, third = open_browser(), open_browser(), open_browser()
    assert first.submit("/jobs/Drive-1/tasks/0", ("car", 10, 20, 30, 40)).document == {"next": "/jobs/Drive-1/tasks/1"}
    assert first.submit("/jobs/Drive-1/tasks/1", ("car", 10, 20, 30, 40)).document == {"next": None}
    assert first.next_task() is None
    assert second.next_task() == "/jobs/Drive-1/tasks/0"
    context = second.get("/jobs/Drive-1/tasks/0/context").document
    assert (context["done"], context["sent"], context["proposed"]) == (0, None, [])
    second.submit("/jobs/Drive-1/tasks/0", ("car", 14, 20, 30, 40))
    assert third.submit("/jobs/Drive-1/tasks/0", ("car", 1, 1, 9, 9)).status == 409
    # A worker may replace their own answer, while others are still to come and afterwards.
    assert first.submit("/jobs/Drive-1/tasks/1", ("car", 12, 20, 30, 40)).status == 200
    assert first.submit("/jobs/Drive-1/tasks/0", ("car", 12, 20, 30, 40)).status == 200
    second.submit("/jobs/Drive-1/tasks/1", ("car", 12, 20, 30, 40))
    job = ended_job(stand_in)
    assert job["LabelCounters"]["HumanLabeled"] == 2
    lines = output_lines(stand_in, job)
    assert [line["verified"]["annotations"][0]["left"] for line in lines] == [13, 12]
    assert [len(_responses(stand_in, number)) for number in (0, 1)] == [2, 2]


def test_a_job_waits_for_a_reviewer_at_a_sent_frame(
    stand_in: StandIn, open_browser: Callable[[], Browser], clock: Clock
) -> None:
    start_job(stand_in, manifest_line(0), manifest_line(1))
    first, second = open_browser(), open_browser()
    task = first.next_task() or ""
    first.submit(task, KEPT)
    assert first.get(task).status == 200
    assert first.get(f"{task}/context").document["sent"]["boundingBox"]["boundingBoxes"][0]["left"] == 10
    assert second.submit("/jobs/Drive-1/tasks/1", KEPT).document == {"next": None}
    desk = stand_in.service.jobs.find("Drive-1").desk  # type: ignore[union-attr]
    assert desk is not None
    # Each change of the draft shows that the reviewer is there.
    for _ in range(3):
        clock.now += 100
        assert not desk.tasks.close_when_done()
        assert first.write("PUT", f"{task}/draft", {}).status == 204
    assert first.submit(task, ("car", 3, 3, 5, 5)).status == 200
    line, _ = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"]["annotations"][0]["left"] == 3


@pytest.mark.parametrize("leaves", [True, False], ids=["for-the-jobs-page", "for-good"])
def test_a_reviewer_who_leaves_a_sent_frame_does_not_hold_up_the_job(
    stand_in: StandIn, open_browser: Callable[[], Browser], clock: Clock, leaves: bool
) -> None:
    start_job(stand_in, manifest_line(0), manifest_line(1))
    first, second = open_browser(), open_browser()
    first.submit(first.next_task() or "", KEPT)
    first.get("/jobs/Drive-1/tasks/0")
    second.submit("/jobs/Drive-1/tasks/1", KEPT)
    if leaves:
        first.get("/jobs/Drive-1/")
    else:
        clock.now += 121
    assert ended_job(stand_in)["LabelingJobStatus"] == "Completed"
    assert first.get("/jobs/Drive-1/tasks/0").status == 410


def test_the_list_of_frames_says_what_each_reviewer_did(stand_in: StandIn, open_browser: Callable[[], Browser]) -> None:
    start_job(stand_in, *(manifest_line(n) for n in range(3)))
    first, second = open_browser(), open_browser()
    first.submit(first.next_task() or "", KEPT)
    first.submit("/jobs/Drive-1/tasks/1", KEPT, review='{"unsure": true}')

    def states(browser: Browser) -> list[str]:
        return [frame["state"] for frame in browser.get("/jobs/Drive-1/frames").document["frames"]]

    assert states(first) == ["sent", "unsure", "open"]
    # The first reviewer's page holds the last frame already.
    assert states(second) == ["taken", "taken", "taken"]
    assert first.get("/jobs/Drive-1/frames").document["frames"][1] == {
        "url": "/jobs/Drive-1/tasks/1",
        "name": "drives/1.png",
        "state": "unsure",
    }
    assert second.get("/jobs/Drive-1/tasks/0").status == 409


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"boundingBox": {}},
        {"boundingBox": {"boundingBoxes": []}},
        {"boundingBox": {"boundingBoxes": [], "inputImageProperties": {"width": 640}}},
        {"boundingBox": {"boundingBoxes": [], "inputImageProperties": {"width": 0, "height": 272}}},
        {"boundingBox": {"boundingBoxes": [], "inputImageProperties": {"width": 10**30, "height": 272}}},
        {"boundingBox": {"boundingBoxes": "none", "inputImageProperties": IMAGE}},
        {"boundingBox": {"boundingBoxes": [], "inputImageProperties": IMAGE}, "review": {"seconds": 1}},
    ],
)
def test_a_malformed_answer_is_refused_and_the_task_stays_open(
    stand_in: StandIn, browser: Browser, content: Any
) -> None:
    start_job(stand_in, manifest_line())
    task = browser.next_task() or ""
    refused = browser.write("POST", f"{task}/answer", {"answerContent": content})
    assert refused.status == 422
    assert refused.document["error"]
    assert browser.submit(task, KEPT).status == 200


@pytest.mark.parametrize(
    "box",
    [
        ("tram", 1, 1, 5, 5),
        ("car", -1, 1, 5, 5),
        ("car", 1, 1, 640, 5),
        ("car", 1, 268, 5, 5),
        ("car", 1, 1, 0, 5),
        ("car", 1.5, 1, 5, 5),
        ("car", True, 1, 5, 5),
        ("car", 10**30, 1, 5, 5),
        (None, 1, 1, 5, 5),
    ],
)
def test_a_box_of_another_class_or_outside_the_image_is_refused(stand_in: StandIn, browser: Browser, box: Any) -> None:
    start_job(stand_in, manifest_line())
    assert browser.submit("/jobs/Drive-1/tasks/0", box).status == 422


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"answerContent": NaN}', b'"\\ud800"', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(stand_in: StandIn, browser: Browser, body: bytes) -> None:
    start_job(stand_in, manifest_line())
    origin = {"Origin": f"http://{browser.host}"}
    assert browser.send("POST", "/jobs/Drive-1/tasks/0/answer", body, origin).status == 422


def test_an_invalid_review_field_never_costs_an_answer(stand_in: StandIn, browser: Browser) -> None:
    reviews = (
        '{"seconds": "x"}',
        "not JSON",
        '{"seconds": -1}',
        '{"seconds": true}',
        '{"seconds": 1' + "0" * 400 + "}",
    )
    start_job(stand_in, *(manifest_line(n) for n in range(len(reviews))))
    for number, review in enumerate(reviews):
        assert browser.submit(f"/jobs/Drive-1/tasks/{number}", KEPT, review=review).status == 200
    ended_job(stand_in)
    for number in range(len(reviews)):
        assert 0 <= _responses(stand_in, number)[0]["answers"][0]["timeSpentInSeconds"] < 60


def test_a_frame_with_an_unknown_class_fails_alone(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, manifest_line(0, label="tram"), manifest_line(1))
    eventually(lambda: browser.next_task() == "/jobs/Drive-1/tasks/1")
    browser.submit("/jobs/Drive-1/tasks/1", KEPT)
    job = ended_job(stand_in)
    assert (job["LabelCounters"]["HumanLabeled"], job["LabelCounters"]["FailedNonRetryableError"]) == (1, 1)
    failed, _ = output_lines(stand_in, job)
    assert "'tram'" in failed["verified-metadata"]["failure-reason"]


def test_unanswered_frames_fail_in_the_end_and_the_job_completes(
    stand_in: StandIn, browser: Browser, clock: Clock
) -> None:
    lifetime = {"TaskAvailabilityLifetimeInSeconds": 3600}
    start_job(stand_in, manifest_line(0), manifest_line(1), HumanTaskConfig=lifetime)
    browser.submit(browser.next_task() or "", KEPT)
    clock.now += 3600
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Completed"
    answered, expired = output_lines(stand_in, job)
    assert "verified" in answered
    assert "verified" not in expired
    assert "3600 s" in expired["verified-metadata"]["failure-reason"]
    assert browser.get("/jobs/Drive-1/tasks/1").status == 410


def test_a_stopped_job_keeps_its_answers(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, *(manifest_line(n) for n in range(3)))
    following = browser.submit(browser.next_task() or "", KEPT).document["next"]
    stand_in.sagemaker.stop_labeling_job(LabelingJobName="Drive-1")
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Stopped"
    answered, *others = output_lines(stand_in, job)
    assert answered["verified-metadata"]["human-annotated"] == "yes"
    assert others == [manifest_line(1), manifest_line(2)]
    late = browser.submit(following, KEPT)
    assert late.status == 410
    assert "Stopped" in late.document["error"]
    assert browser.get(following).status == 410


def test_stopping_the_cloud_does_not_wait_for_reviewers(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, manifest_line())
    browser.next_task()
    stand_in.service.stop()
    assert browser.submit("/jobs/Drive-1/tasks/0", KEPT).status in (409, 410)
    assert stand_in.events.sent == []


def test_a_role_without_write_permission_fails_the_job(
    stand_in: StandIn, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from local.sagemaker.ports import StorageError

    def refuse(*_: Any) -> None:
        raise StorageError("AccessDenied: s3:PutObject")

    start_job(stand_in, manifest_line())
    monkeypatch.setattr(stand_in.objects, "write", refuse)
    answer = browser.submit("/jobs/Drive-1/tasks/0", KEPT)
    assert answer.status == 500
    assert "AccessDenied" in answer.document["error"]
    assert "AccessDenied" in ended_job(stand_in)["FailureReason"]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("{% for box in %}", "line 3"),
        ("{{ task.input.labels | to_jsn }}", "line 3 ({{ task.input.labels | to_jsn }}): unknown filter 'to_jsn'"),
        ("{{ task.input.labels", "line 3"),
        ("{% if task %}", "line 3"),
        ("{{ 1 | divided_by: 0 }}", "line 3"),
        ('{% include "other" %}', "line 3"),
    ],
)
def test_invalid_liquid_fails_the_job_and_names_the_line(stand_in: StandIn, broken: str, line: str) -> None:
    template = (
        "<crowd-form>{% if task %}{% endif %}\n"
        '<crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}"></crowd-bounding-box>\n'
        f"{broken}\n</crowd-form>"
    )
    place_job(stand_in, manifest_line(), template=template)
    stand_in.sagemaker.create_labeling_job(**job_request())
    reason = ended_job(stand_in)["FailureReason"]
    assert "breaks Liquid" in reason
    assert line in reason


def test_a_page_that_cannot_be_rendered_fails_its_frame(stand_in: StandIn, browser: Browser) -> None:
    template = (
        '<crowd-form><crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}">'
        "{{ 1 | divided_by: task.input.manifestLine.divisor }}</crowd-bounding-box></crowd-form>"
    )
    lines = [manifest_line(n, changes={"divisor": 1 - n}) for n in range(2)]
    start_job(stand_in, *lines, template=template)
    browser.submit("/jobs/Drive-1/tasks/0", KEPT)
    shown = browser.get("/jobs/Drive-1/tasks/1")
    assert shown.status == 500
    assert "line 1" in shown.text
    _, failed = output_lines(stand_in, ended_job(stand_in))
    assert "line 1" in failed["verified-metadata"]["failure-reason"]
