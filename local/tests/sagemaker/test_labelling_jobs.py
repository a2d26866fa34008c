"""Labelling jobs through boto3: errors at once, failures of the job, failures of one object."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from local.sagemaker.errors import ValidationFailed
from local.sagemaker.ground_truth.annotators import (
    Annotation,
    Box,
    Boxes,
    Failure,
    JobFails,
    JobStops,
    JobView,
    Verdict,
    keep_every_box,
    load_annotator,
)
from local.sagemaker.names import S3Uri
from local.settings import CloudSettings
from local.tests.sagemaker.jobs import (
    BUILT_IN,
    TEAM,
    TEMPLATE,
    VERDICTS,
    answered_places,
    ended_job,
    job_request,
    manifest_line,
    output_lines,
    place_job,
)
from local.tests.sagemaker.stand_in import ROLE, StandIn, eventually


def _refusal(stand_in: StandIn, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        stand_in.sagemaker.create_labeling_job(**job_request(**changes))
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def move_every_box(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    return Boxes(tuple(Box(b.label, b.left + 1, b.top, b.width, b.height) for b in job.prelabels(line)))


def give_up(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    return Failure("The image does not load")


def break_down(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    raise RuntimeError("coffee")


def wait_for_the_end(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    job.stopping.wait(10)
    return Verdict("never")


def answer_two_frames(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Answer frames 1 and 3; frame 2 fails, and all others wait for the end."""
    if line["source-ref"] == "s3://drives/2.png":
        return Failure("The image does not load")
    if line["source-ref"] not in ("s3://drives/1.png", "s3://drives/3.png"):
        job.stopping.wait(10)
    return keep_every_box(line, job)


def end_without_a_manifest(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Answer as above, but the job leaves no output manifest."""
    annotation = answer_two_frames(line, job)
    if job.stopping.is_set():
        raise JobStops(manifest_delay=None)
    return annotation


def stop_at_once(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    raise JobStops(manifest_delay=0.0)


def fail_from_the_fourth_frame(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    if line["source-ref"] >= "s3://drives/3.png":
        raise JobFails("The workforce is gone")
    return keep_every_box(line, job)


def test_a_new_account_has_no_jobs(stand_in: StandIn) -> None:
    assert stand_in.sagemaker.list_labeling_jobs()["LabelingJobSummaryList"] == []
    with pytest.raises(stand_in.sagemaker.exceptions.ResourceNotFound, match="does not exist"):
        stand_in.sagemaker.describe_labeling_job(LabelingJobName="none")


def test_kept_boxes_come_back_unadjusted_in_ground_truths_shape(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line())
    arn = stand_in.sagemaker.create_labeling_job(**job_request())["LabelingJobArn"]
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Completed"
    assert job["LabelCounters"] == {
        "TotalLabeled": 1,
        "HumanLabeled": 1,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 0,
        "Unlabeled": 0,
    }
    assert job["LabelingJobOutput"]["OutputDatasetS3Uri"] == "s3://labels/gt/Drive-1/manifests/output/output.manifest"
    (line,) = output_lines(stand_in, job)
    metadata = line.pop("verified-metadata")
    assert line.pop("verified") == {
        "image_size": [{"width": 640, "height": 272, "depth": 3}],
        "annotations": [{"class_id": 1, "left": 10, "top": 20, "width": 30, "height": 40}],
    }
    assert line == manifest_line()
    assert len(metadata.pop("creation-date")) == len("2018-10-18T22:18:13.527256")
    assert metadata == {
        "objects": [{"confidence": 0.0}],
        "class-map": {"1": "car"},
        "type": "groundtruth/object-detection",
        "human-annotated": "yes",
        "job-name": "labeling-job/drive-1",
        "adjustment-status": "unadjusted",
    }
    assert eventually(lambda: stand_in.events.sent) == [
        ("SageMaker Ground Truth Labeling Job State Change", {"LabelingJobStatus": "Completed"}, [arn])
    ]


def test_a_script_writes_the_same_files_as_reviewers(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:move_every_box")
    place_job(stand_in, *(manifest_line(n) for n in range(120)))
    stand_in.sagemaker.create_labeling_job(**job_request())
    lines = output_lines(stand_in, ended_job(stand_in))
    folder = "s3://labels/gt/Drive-1/annotations/"

    def files(kind: str) -> dict[str, Any]:
        contents = stand_in.objects.contents
        return {uri: json.loads(contents[uri][0]) for uri in sorted(contents) if uri.startswith(folder + kind)}

    responses = files("worker-response/iteration-1/")
    assert {uri.removeprefix(folder).split("/")[2] for uri in responses} == {str(n) for n in range(120)}
    (answer,) = responses[next(uri for uri in responses if "/iteration-1/7/" in uri)]["answers"]
    assert answer["answerContent"]["boundingBox"] == {
        "boundingBoxes": [{"label": "car", "left": 11, "top": 20, "width": 30, "height": 40}],
        "inputImageProperties": {"width": 640, "height": 272},
    }
    requests = [entry for batch in files("consolidated-annotation/consolidation-request/").values() for entry in batch]
    given = [entry for batch in files("consolidated-annotation/consolidation-response/").values() for entry in batch]
    assert [entry["datasetObjectId"] for entry in requests] == [str(n) for n in range(120)]
    assert [entry["consolidatedAnnotation"]["content"]["verified"] for entry in given] == [
        line["verified"] for line in lines
    ]


def move_a_box_by_worker(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    (box,) = job.prelabels(line)
    by = {"scripted-1": 0, "scripted-2": 3, "scripted-3": 6}[job.worker]
    more = (Box("person", 200, 20, 30, 40),) if by == 3 else ()
    return Boxes((Box(box.label, box.left + by, box.top, box.width, box.height), *more))


def test_similar_boxes_of_several_workers_are_averaged(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:move_a_box_by_worker")
    place_job(stand_in, *(manifest_line(n) for n in range(4)))
    stand_in.sagemaker.create_labeling_job(**job_request(HumanTaskConfig={"NumberOfHumanWorkersPerDataObject": 3}))
    job = ended_job(stand_in)
    assert job["LabelCounters"]["HumanLabeled"] == 4
    for line in output_lines(stand_in, job):
        assert [box["left"] for box in line["verified"]["annotations"]] == [13, 200]
        assert [one["confidence"] for one in line["verified-metadata"]["objects"]] == [1.0, 0.33]
    # A file for each answer, also if two were begun in one second.
    assert answered_places(stand_in) == sorted(str(n) for n in range(4) for _ in range(3))
    contents = stand_in.objects.contents
    responses = [json.loads(body) for uri, (body, _) in contents.items() if "/iteration-1/2/" in uri]
    assert {answer["workerId"] for file in responses for answer in file["answers"]} == {
        f"private.us-east-1.scripted-{n}" for n in (1, 2, 3)
    }
    (request,) = (json.loads(body) for uri, (body, _) in contents.items() if "/consolidation-request/" in uri)
    assert [len(entry["annotations"]) for entry in request] == [3] * 4


def test_a_frame_that_states_no_size_is_measured(stand_in: StandIn) -> None:
    place_job(stand_in, {"source-ref": "s3://drives/1.png"})
    image = io.BytesIO()
    Image.new("L", (1280, 720)).save(image, "PNG")
    stand_in.objects.put("s3://drives/1.png", image.getvalue())
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"]["image_size"] == [{"width": 1280, "height": 720, "depth": 3}]


@pytest.mark.parametrize(("is_person", "said"), [(CloudSettings().annotator_is_person, "no"), (True, "yes")])
def test_a_script_is_not_human_unless_it_acts_as_a_person(
    make_stand_in: Callable[..., StandIn], is_person: bool, said: str
) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_two_frames", is_person=is_person)
    place_job(stand_in, *(manifest_line(n) for n in (1, 2, 3)))
    stand_in.sagemaker.create_labeling_job(**job_request())
    lines = output_lines(stand_in, ended_job(stand_in))
    assert [line["verified-metadata"]["human-annotated"] for line in lines] == [said, said, said]


def test_invalid_liquid_fails_a_scripted_job_too(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line(), template=TEMPLATE + "\n{{ task.input.labels | to_jsn }}")
    stand_in.sagemaker.create_labeling_job(**job_request())
    assert "unknown filter 'to_jsn'" in ended_job(stand_in)["FailureReason"]


def test_other_attributes_in_a_template_are_not_prelabels(stand_in: StandIn) -> None:
    remarks = "{{ task.input.manifestLine.doubt | to_json }}{{ task.input.manifestLine.drive }}"
    place_job(stand_in, manifest_line(), template=TEMPLATE + remarks)
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified-metadata"]["adjustment-status"] == "unadjusted"


def test_a_frame_without_boxes_stays_without_boxes(stand_in: StandIn) -> None:
    empty = manifest_line()
    empty["pre"]["annotations"] = []
    place_job(stand_in, empty)
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"]["annotations"] == []
    assert line["verified-metadata"]["class-map"] == {}
    assert line["verified-metadata"]["adjustment-status"] == "unadjusted"


def test_a_moved_box_is_adjusted(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:move_every_box")
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"]["annotations"][0]["left"] == 11
    assert line["verified-metadata"]["adjustment-status"] == "adjusted"


def test_lines_keep_the_order_of_the_input(stand_in: StandIn) -> None:
    place_job(stand_in, *(manifest_line(n) for n in range(25)))
    stand_in.sagemaker.create_labeling_job(**job_request())
    refs = [line["source-ref"] for line in output_lines(stand_in, ended_job(stand_in))]
    assert refs == [f"s3://drives/{n}.png" for n in range(25)]


def test_a_verification_job_writes_verdicts(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line(), template=VERDICTS)
    human = {
        "PreHumanTaskLambdaArn": BUILT_IN + "PRE-VerificationBoundingBox",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": BUILT_IN + "ACS-VerificationBoundingBox"},
    }
    stand_in.sagemaker.create_labeling_job(**job_request(HumanTaskConfig=human))
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert line["verified"] == 0
    assert line["verified-metadata"]["class-name"] == "person"
    assert line["verified-metadata"]["type"] == "groundtruth/label-verification"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([manifest_line(label="tram")], "'tram' is not in the label category file"),
        ([manifest_line(changes={"source-ref": "s3://drives/1.gif"})], "is not an image of type"),
        ([{"source-ref": "s3://drives/1.png"}], "neither a JPEG nor a PNG"),
        ([manifest_line(changes={"pre-metadata": {}})], "malformed"),
    ],
)
def test_an_object_that_cannot_be_labelled_fails_alone(
    stand_in: StandIn, lines: list[dict[str, Any]], reason: str
) -> None:
    place_job(stand_in, *lines, manifest_line(2))
    stand_in.sagemaker.create_labeling_job(**job_request())
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Completed"
    assert (job["LabelCounters"]["TotalLabeled"], job["LabelCounters"]["FailedNonRetryableError"]) == (1, 1)
    failed, labelled = output_lines(stand_in, job)
    assert "verified" not in failed
    assert reason in failed["verified-metadata"]["failure-reason"]
    assert "verified" in labelled


def test_a_missing_image_fails_its_object(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line())
    del stand_in.objects.contents["s3://drives/1.png"]
    stand_in.sagemaker.create_labeling_job(**job_request())
    assert ended_job(stand_in)["LabelCounters"]["FailedNonRetryableError"] == 1


def test_a_bucket_without_cors_fails_every_object(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line(1), manifest_line(2))
    stand_in.objects.cors["drives"] = frozenset()
    stand_in.sagemaker.create_labeling_job(**job_request())
    job = ended_job(stand_in)
    assert job["LabelCounters"]["FailedNonRetryableError"] == 2
    assert all("CORS" in line["verified-metadata"]["failure-reason"] for line in output_lines(stand_in, job))


@pytest.mark.parametrize(
    ("annotator", "reason"), [("give_up", "The image does not load"), ("break_down", "RuntimeError: coffee")]
)
def test_an_annotator_that_fails_fails_the_object(
    make_stand_in: Callable[..., StandIn], annotator: str, reason: str
) -> None:
    stand_in = make_stand_in(f"{__name__}:{annotator}")
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert reason in line["verified-metadata"]["failure-reason"]


def test_a_stopped_job_keeps_its_results(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:wait_for_the_end")
    place_job(stand_in, *(manifest_line(n) for n in range(20)))
    stand_in.sagemaker.create_labeling_job(**job_request())
    stand_in.sagemaker.stop_labeling_job(LabelingJobName="drive-1")
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Stopped"
    assert job["LabelCounters"]["TotalLabeled"] == 0
    assert output_lines(stand_in, job) == [manifest_line(n) for n in range(20)]
    assert eventually(lambda: stand_in.events.sent)[0][1] == {"LabelingJobStatus": "Stopped"}


def _stopped_after_two_answers(stand_in: StandIn) -> dict[str, Any]:
    """Stop a job of five frames: 1 and 3 are answered, 2 failed, 0 and 4 are still at work."""
    place_job(stand_in, *(manifest_line(n) for n in range(5)))
    stand_in.sagemaker.create_labeling_job(**job_request())

    def ended_objects() -> int:
        counters = stand_in.sagemaker.describe_labeling_job(LabelingJobName="Drive-1")["LabelCounters"]
        return int(counters["TotalLabeled"] + counters["FailedNonRetryableError"])

    eventually(lambda: ended_objects() == 3)
    stand_in.sagemaker.stop_labeling_job(LabelingJobName="Drive-1")
    return ended_job(stand_in)


def test_a_stopped_jobs_manifest_has_every_line_of_the_input(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_two_frames")
    job = _stopped_after_two_answers(stand_in)
    assert job["LabelCounters"] == {
        "TotalLabeled": 2,
        "HumanLabeled": 2,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 1,
        "Unlabeled": 2,
    }
    lines = output_lines(stand_in, job)
    assert [lines[0], lines[4]] == [manifest_line(0), manifest_line(4)]
    assert [lines[n]["source-ref"] for n in (1, 2, 3)] == [manifest_line(n)["source-ref"] for n in (1, 2, 3)]
    assert [lines[n]["verified-metadata"]["adjustment-status"] for n in (1, 3)] == ["unadjusted", "unadjusted"]
    assert "verified" not in lines[2]
    assert lines[2]["verified-metadata"]["failure-reason"] == "The image does not load"
    assert answered_places(stand_in) == ["1", "3"]


def test_a_stopped_jobs_manifest_can_come_late(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_two_frames", stopped_manifest_delay=2.0)
    job = _stopped_after_two_answers(stand_in)
    assert job["LabelingJobStatus"] == "Stopped"
    assert job["LabelCounters"]["TotalLabeled"] == 2
    assert answered_places(stand_in) == ["1", "3"]
    assert "LabelingJobOutput" not in job
    assert eventually(lambda: stand_in.events.sent)[0][1] == {"LabelingJobStatus": "Stopped"}
    assert not [uri for uri in stand_in.objects.contents if "/manifests/" in uri]

    def described() -> dict[str, Any]:
        later: dict[str, Any] = stand_in.sagemaker.describe_labeling_job(LabelingJobName="Drive-1")
        return later if "LabelingJobOutput" in later else {}

    later = eventually(described)
    assert later["LabelingJobStatus"] == "Stopped"
    assert ["verified" in line for line in output_lines(stand_in, later)] == [False, True, False, True, False]
    assert len(stand_in.events.sent) == 1


def test_a_stopped_jobs_manifest_can_stay_away(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_two_frames", stopped_manifest_delay=None)
    job = _stopped_after_two_answers(stand_in)
    assert job["LabelCounters"]["TotalLabeled"] == 2
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "job-Drive-1"])
    assert "LabelingJobOutput" not in stand_in.sagemaker.describe_labeling_job(LabelingJobName="Drive-1")
    assert not [uri for uri in stand_in.objects.contents if "/manifests/" in uri]
    assert answered_places(stand_in) == ["1", "3"]


def test_an_annotator_can_keep_the_manifest_of_a_stopped_job_away(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:end_without_a_manifest")
    job = _stopped_after_two_answers(stand_in)
    assert (job["LabelingJobStatus"], job["LabelCounters"]["TotalLabeled"]) == ("Stopped", 2)
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "job-Drive-1"])
    assert not [uri for uri in stand_in.objects.contents if "/manifests/" in uri]


def test_an_annotator_can_stop_its_job(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:stop_at_once", stopped_manifest_delay=None)
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Stopped"
    assert output_lines(stand_in, job) == [manifest_line()]


@pytest.mark.parametrize("delay", [60.0, None])
def test_the_manifest_of_a_completed_job_never_waits(
    make_stand_in: Callable[..., StandIn], delay: float | None
) -> None:
    stand_in = make_stand_in(stopped_manifest_delay=delay)
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    (line,) = output_lines(stand_in, ended_job(stand_in))
    assert "verified" in line


def test_the_cloud_goes_down_without_waiting_for_a_late_manifest(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_two_frames", stopped_manifest_delay=60.0)
    _stopped_after_two_answers(stand_in)
    began = time.monotonic()
    stand_in.service.stop()
    assert time.monotonic() - began < 5
    assert not [uri for uri in stand_in.objects.contents if "/manifests/" in uri]


def test_a_job_that_fails_half_way_leaves_responses_but_no_manifest(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:fail_from_the_fourth_frame")
    place_job(stand_in, *(manifest_line(n) for n in range(5)))
    stand_in.sagemaker.create_labeling_job(**job_request())
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Failed"
    assert job["LabelCounters"] == {
        "TotalLabeled": 3,
        "HumanLabeled": 3,
        "MachineLabeled": 0,
        "FailedNonRetryableError": 0,
        "Unlabeled": 2,
    }
    assert answered_places(stand_in) == ["0", "1", "2"]
    assert "LabelingJobOutput" not in job
    assert not [uri for uri in stand_in.objects.contents if "/manifests/" in uri]


def test_an_answer_counts_once_its_response_is_there(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    place_job(stand_in, *(manifest_line(n) for n in range(3)))
    write = stand_in.objects.write
    counted: list[int] = []

    def look_and_write(uri: S3Uri, *content: Any) -> None:
        if "worker-response" in str(uri):
            job = stand_in.service.call("DescribeLabelingJob", {"LabelingJobName": "Drive-1"})
            counted.append(job["LabelCounters"]["TotalLabeled"])
        write(uri, *content)

    monkeypatch.setattr(stand_in.objects, "write", look_and_write)
    stand_in.sagemaker.create_labeling_job(**job_request(HumanTaskConfig={"MaxConcurrentTaskCount": 1}))
    assert ended_job(stand_in)["LabelCounters"]["TotalLabeled"] == 3
    assert counted == [0, 1, 2]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"", "no objects"),
        (b"{", "Line 1 is not JSON"),
        (b"[]\n", "Line 1 is not a JSON object"),
        (b'{"source-ref": "s3://d/1.png"}\n\n', "Line 2 is not JSON"),
        (b'{"source-ref": "file:///1.png"}', "Line 1 has no source-ref"),
        (b'{"source-ref": "s3://d/1.png", "$x": 1}', "'$x'"),
        (b'{"source-ref": "s3://d/1.png", "verified": 1}', "already has the attribute 'verified'"),
        (b'{"source-ref": "s3://d/1.png", "x": "' + b"y" * 20_001 + b'"}', "more than 20000"),
        (b'{"source-ref": "s3://d/1.png", "x": 1' + b" " * 100_000 + b"}", "more than 100000"),
        (b'{"source-ref": "s3://d/1.png"}\xff', "UTF-8"),
        (b'{"source-ref": "s3://d/1.png", "x": "\\ud800"}', "not Unicode text"),
    ],
)
def test_a_bad_line_fails_the_job_and_is_named(stand_in: StandIn, manifest: bytes, reason: str) -> None:
    place_job(stand_in, manifest_line())
    stand_in.objects.put("s3://labels/in.manifest", manifest)
    stand_in.sagemaker.create_labeling_job(**job_request())
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]
    assert "LabelingJobOutput" not in job


@pytest.mark.parametrize(
    ("uri", "content", "reason"),
    [
        ("s3://labels/template.liquid", b"<p>", "<crowd-form>"),
        ("s3://labels/template.liquid", b"<crowd-form><crowd-bounding-box></crowd-form>", "shows no image"),
        ("s3://labels/template.liquid", b"<crowd-form></crowd-form>", "<crowd-bounding-box>"),
        ("s3://labels/template.liquid", TEMPLATE.replace(".pre", ".verified").encode(), "must differ"),
        ("s3://labels/categories.json", b"{}", "document-version"),
        ("s3://labels/categories.json", b'{"document-version": "2018-11-28", "labels": []}', "0 labels"),
        (
            "s3://labels/categories.json",
            b'{"document-version": "2018-11-28", "labels": [{"label": "a"}, {"label": "a"}]}',
            "twice",
        ),
    ],
)
def test_a_bad_template_or_category_file_fails_the_job(
    stand_in: StandIn, uri: str, content: bytes, reason: str
) -> None:
    place_job(stand_in, manifest_line())
    stand_in.objects.put(uri, content)
    stand_in.sagemaker.create_labeling_job(**job_request())
    assert reason in ended_job(stand_in)["FailureReason"]


@pytest.mark.parametrize("missing", ["in.manifest", "template.liquid", "categories.json"])
def test_a_missing_file_fails_the_job_and_is_named(stand_in: StandIn, missing: str) -> None:
    place_job(stand_in, manifest_line())
    del stand_in.objects.contents[f"s3://labels/{missing}"]
    stand_in.sagemaker.create_labeling_job(**job_request())
    assert missing in ended_job(stand_in)["FailureReason"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"LabelAttributeName": "source-ref"}, "reserved"),
        ({"LabelAttributeName": "verified-metadata"}, "-metadata"),
        ({"LabelAttributeName": "verified-ref"}, "-ref"),
        ({"LabelAttributeName": "under_score"}, "labelAttributeName"),
        ({"LabelingJobName": "under_score"}, "labelingJobName"),
        ({"HumanTaskConfig": {"WorkteamArn": TEAM + "x"}}, "does not exist"),
        ({"HumanTaskConfig": {"WorkteamArn": TEAM.replace("us-east-1", "eu-west-1")}}, "Region"),
        (
            {
                "HumanTaskConfig": {
                    "WorkteamArn": "arn:aws:sagemaker:us-east-1:394669845002:workteam/public-crowd/default"
                }
            },
            "public workforce",
        ),
        ({"HumanTaskConfig": {"NumberOfHumanWorkersPerDataObject": 10}}, "numberOfHumanWorkersPerDataObject"),
        (
            {
                "HumanTaskConfig": {
                    "NumberOfHumanWorkersPerDataObject": 3,
                    "PreHumanTaskLambdaArn": BUILT_IN + "PRE-VerificationBoundingBox",
                    "AnnotationConsolidationConfig": {
                        "AnnotationConsolidationLambdaArn": BUILT_IN + "ACS-VerificationBoundingBox"
                    },
                }
            },
            "NumberOfHumanWorkersPerDataObject",
        ),
        (
            {
                "HumanTaskConfig": {
                    "PreHumanTaskLambdaArn": "arn:aws:lambda:eu-west-1:568282634449:function:PRE-AdjustmentBoundingBox"
                }
            },
            "built-in function of us-east-1",
        ),
        (
            {"HumanTaskConfig": {"PreHumanTaskLambdaArn": BUILT_IN + "PRE-VerificationBoundingBox"}},
            "different task types",
        ),
        ({"StoppingConditions": {"MaxHumanLabeledObjectCount": 1}}, "StoppingConditions"),
        ({"OutputConfig": {"S3OutputPath": "https://labels/gt"}}, "S3OutputPath"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_by_name(
    stand_in: StandIn, changes: dict[str, Any], named: str
) -> None:
    code, message = _refusal(stand_in, **changes)
    assert code == "ValidationException"
    assert named in message


def test_a_member_that_does_not_exist_is_refused(stand_in: StandIn) -> None:
    # boto3 itself would drop the unknown member.
    with pytest.raises(ValidationFailed, match="surprise"):
        stand_in.service.call("CreateLabelingJob", job_request(Surprise=1))


def test_a_role_that_does_not_exist_is_refused(stand_in: StandIn) -> None:
    stand_in.roles.missing.add(ROLE)
    assert ROLE in _refusal(stand_in)[1]


def test_a_job_name_is_used_once_in_any_case(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    assert _refusal(stand_in, LabelingJobName="dRIVE-1")[0] == "ResourceInUse"


def test_jobs_are_listed_with_their_counters(stand_in: StandIn) -> None:
    place_job(stand_in, manifest_line())
    stand_in.sagemaker.create_labeling_job(**job_request())
    ended_job(stand_in)
    (summary,) = stand_in.sagemaker.list_labeling_jobs(StatusEquals="Completed")["LabelingJobSummaryList"]
    assert (summary["LabelingJobName"], summary["LabelCounters"]["TotalLabeled"]) == ("Drive-1", 1)
    assert stand_in.sagemaker.list_labeling_jobs(StatusEquals="Failed")["LabelingJobSummaryList"] == []


@pytest.mark.parametrize(
    "name", ["nowhere:f", "local.sagemaker.ground_truth.annotators:nothing", "json", "json:__name__"]
)
def test_a_missing_annotator_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="annotator"):
        load_annotator(name)
