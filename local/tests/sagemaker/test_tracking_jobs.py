"""Labelling jobs of tracks: refused requests, sequences that fail, and the resulting SeqLabel files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.ground_truth.annotators import (
    Annotation,
    AnsweredBy,
    Failure,
    JobFails,
    JobStops,
    JobView,
    keep_every_box,
)
from local.sagemaker.ground_truth.sequences import Tracks
from local.tests.sagemaker.jobs import BUILT_IN, answered_places, ended_job, output_lines
from local.tests.sagemaker.sequences import (
    CAR,
    PERSON,
    UI,
    frame_name,
    place_sequences,
    seq_label,
    sequence_file,
    sequence_line,
    tracking_request,
)
from local.tests.sagemaker.stand_in import StandIn

Make = Callable[..., StandIn]
OUTPUT = "s3://labels/gt/Drive-1/annotations/consolidated-annotation/output/"


def labelled(stand_in: StandIn, *lines: Mapping[str, Any], **changes: Any) -> list[dict[str, Any]]:
    """Run a job of these sequences to its end; return its output lines."""
    place_sequences(stand_in.objects.put, *lines, **changes)
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    return output_lines(stand_in, ended_job(stand_in))


def written(stand_in: StandIn, number: int = 0) -> dict[str, Any]:
    body, content_type = stand_in.objects.contents[f"{OUTPUT}{number}/SeqLabel.json"]
    assert content_type == "application/json"
    found: dict[str, Any] = json.loads(body)
    return found


def leave_the_car(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Delete the person, and move the car by a pixel in the second frame; frames without a box are left out."""
    shown = job.sequence(line).shown.frames
    cars = {name: tuple(box for box in boxes if box.label == "car") for name, boxes in shown.items()}
    cars[frame_name(1)] = tuple(replace(box, left=box.left + 1) for box in cars[frame_name(1)])
    return Tracks({name: cars[name] for name in (frame_name(1), frame_name(2))})


def answer_as_ann(line: Mapping[str, Any], job: JobView) -> Annotation | AnsweredBy | Failure:
    return AnsweredBy("ann", job.sequence(line).shown)


def invent_a_frame(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    return Tracks({"none.jpg": job.sequence(line).shown.frames[frame_name(0)]})


def answer_the_first(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Answer sequence 1; sequence 2 cannot be labelled, and sequence 3 stops the job."""
    number = line["source-ref"].split("/")[3]
    if number == "3":
        raise JobStops(manifest_delay=0.0)
    return keep_every_box(line, job) if number == "1" else Failure("The frames do not load")


def fail_at_the_second(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    if "/2/" in line["source-ref"]:
        raise JobFails("The workforce is gone")
    return keep_every_box(line, job)


def test_kept_tracks_come_back_in_ground_truths_shape_without_a_status(stand_in: StandIn) -> None:
    (line,) = labelled(stand_in, sequence_line())
    metadata = line.pop("verified-ref-metadata")
    assert line.pop("verified-ref") == f"{OUTPUT}0/SeqLabel.json"
    assert line == sequence_line()
    assert len(metadata.pop("creation-date")) == len("2020-05-15T08:01:16+0000")
    assert metadata == {
        "class-map": {"0": "person", "1": "car"},
        "type": "groundtruth/video-object-tracking",
        "human-annotated": "yes",
        "job-name": "labeling-job/drive-1",
    }
    assert written(stand_in) == seq_label((*CAR, *PERSON))


def test_edited_tracks_are_adjusted_and_frames_without_boxes_left_out(make_stand_in: Make) -> None:
    stand_in = make_stand_in(f"{__name__}:leave_the_car")
    (line,) = labelled(stand_in, sequence_line())
    frame, name, label, left, *rest = CAR[1]
    assert written(stand_in) == seq_label([(frame, name, label, left + 1, *rest), CAR[2]])
    assert line["verified-ref-metadata"]["adjustment-status"] == "adjusted"
    assert line["verified-ref-metadata"]["class-map"] == {"1": "car"}


def test_an_attribute_that_the_label_does_not_have_is_left_out(stand_in: StandIn) -> None:
    (box,) = CAR[:1]
    labelled(stand_in, sequence_line(), boxes=[(*box[:-1], {"uncertainty": "0.5", "speed": "3"})])
    assert written(stand_in) == seq_label([(*box[:-1], {"uncertainty": "0.5"})])


def test_attributes_of_frames_are_kept_if_the_category_file_has_them(stand_in: StandIn) -> None:
    place_sequences(stand_in.objects.put, sequence_line(), frameAttributes=[{"name": "scene"}])
    label = seq_label(CAR)
    label["tracking-annotations"][2]["frame-attributes"] = {"scene": "rain", "other": "x"}
    stand_in.objects.put("s3://labels/1/SeqLabel.json", json.dumps(label).encode())
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    ended_job(stand_in)
    kept = [frame["frame-attributes"] for frame in written(stand_in)["tracking-annotations"]]
    assert kept == [{}, {}, {"scene": "rain"}, {}]


def test_an_empty_sequence_label_is_a_task_from_nothing(stand_in: StandIn) -> None:
    (line,) = labelled(stand_in, sequence_line(), boxes=[])
    assert written(stand_in) == {"tracking-annotations": []}
    assert line["verified-ref-metadata"]["class-map"] == {}
    assert "adjustment-status" not in line["verified-ref-metadata"]


def test_frames_stand_in_the_order_of_the_bytes_of_their_names(stand_in: StandIn) -> None:
    place_sequences(stand_in.objects.put, sequence_line())
    file = sequence_file()
    file["frames"].reverse()
    stand_in.objects.put("s3://labels/1/seq.json", json.dumps(file).encode())
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    ended_job(stand_in)
    listed = written(stand_in)["tracking-annotations"]
    assert [(one["frame-no"], one["frame"]) for one in listed] == [(str(n), frame_name(n)) for n in range(4)]


def test_the_workers_response_has_the_tracks(stand_in: StandIn) -> None:
    labelled(stand_in, sequence_line())
    folder = "s3://labels/gt/Drive-1/annotations/worker-response/iteration-1/0/"
    (response,) = (json.loads(body) for uri, (body, _) in stand_in.objects.contents.items() if uri.startswith(folder))
    assert response["answers"][0]["answerContent"] == seq_label((*CAR, *PERSON))


def test_a_stopped_job_keeps_the_sequences_that_were_answered(make_stand_in: Make) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_the_first")
    place_sequences(stand_in.objects.put, *(sequence_line(n) for n in (1, 2, 3)))
    human = {**tracking_request()["HumanTaskConfig"], "MaxConcurrentTaskCount": 1}
    stand_in.sagemaker.create_labeling_job(**tracking_request(HumanTaskConfig=human))
    job = ended_job(stand_in)
    assert job["LabelingJobStatus"] == "Stopped"
    counters = job["LabelCounters"]
    assert (counters["TotalLabeled"], counters["FailedNonRetryableError"], counters["Unlabeled"]) == (1, 1, 1)
    answered, failed, untouched = output_lines(stand_in, job)
    assert answered["verified-ref"] == f"{OUTPUT}0/SeqLabel.json"
    assert failed["verified-ref-metadata"]["failure-reason"] == "The frames do not load"
    assert "verified-ref" not in failed
    assert untouched == sequence_line(3)


def test_a_failed_job_leaves_responses_only(make_stand_in: Make) -> None:
    stand_in = make_stand_in(f"{__name__}:fail_at_the_second")
    place_sequences(stand_in.objects.put, sequence_line(1), sequence_line(2))
    human = {**tracking_request()["HumanTaskConfig"], "MaxConcurrentTaskCount": 1}
    stand_in.sagemaker.create_labeling_job(**tracking_request(HumanTaskConfig=human))
    job = ended_job(stand_in)
    assert (job["LabelingJobStatus"], "LabelingJobOutput" in job) == ("Failed", False)
    assert answered_places(stand_in) == ["0"]


def test_an_answer_for_a_frame_that_is_not_in_the_sequence_fails_it(make_stand_in: Make) -> None:
    (line,) = labelled(make_stand_in(f"{__name__}:invent_a_frame"), sequence_line())
    assert "'none.jpg'" in line["verified-ref-metadata"]["failure-reason"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("seq.json", sequence_file(prefix="s3://drives/1"), "does not end with '/'"),
        ("seq.json", sequence_file(**{"number-of-frames": 3}), "number-of-frames is 3, but there are 4 frames"),
        ("seq.json", sequence_file(frames=0), "has 0 frames"),
        ("seq.json", sequence_file(frames=2001), "2001 frames; 1 to 2000"),
        ("seq.json", sequence_file(frames=5), "0004.jpg"),
        ("seq.json", {"frames": []}, "is not a sequence file"),
        ("seq.json", sequence_file(prefix="s3://closed/1/"), "no CORS rule that lets browsers HEAD, PUT"),
        ("SeqLabel.json", {"detection-annotations": []}, "is not a SeqLabel"),
        ("SeqLabel.json", seq_label([(7, *CAR[0][1:])]), "no frame '0007.jpg'"),
        ("SeqLabel.json", seq_label([CAR[0], CAR[0]]), "two boxes of one object"),
        ("SeqLabel.json", seq_label([(0, "id-x", "van", *CAR[0][3:])], labels=("person", "car", "van")), "class-id"),
    ],
)
def test_a_sequence_that_cannot_be_shown_fails_alone(
    stand_in: StandIn, file: str, content: dict[str, Any], reason: str
) -> None:
    stand_in.objects.cors["closed"] = {"GET"}
    place_sequences(stand_in.objects.put, sequence_line(1), sequence_line(2))
    stand_in.objects.put(f"s3://labels/1/{file}", json.dumps(content).encode())
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    job = ended_job(stand_in)
    assert job["LabelCounters"]["FailedNonRetryableError"] == 1
    failed, kept = output_lines(stand_in, job)
    assert reason in failed["verified-ref-metadata"]["failure-reason"]
    assert kept["verified-ref"] == f"{OUTPUT}1/SeqLabel.json"


def test_a_line_without_the_audited_tracks_fails(stand_in: StandIn) -> None:
    line = sequence_line()
    del line["prelabel-ref"]
    (failed,) = labelled(stand_in, line)
    assert "'prelabel-ref'" in failed["verified-ref-metadata"]["failure-reason"]


def test_a_label_that_the_category_file_lacks_fails_its_sequence(stand_in: StandIn) -> None:
    (failed,) = labelled(stand_in, sequence_line(), labels=("car", "van"))
    assert "'person' is not in the label category file" in failed["verified-ref-metadata"]["failure-reason"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": [f"class {n}" for n in range(31)]}, "31 labels; 1 to 30"),
        ({"labels": ["person", "car", "construction site"]}, "'construction site' does not have 1 to 16 characters"),
        ({"labels": ["car", "car"]}, "twice"),
        ({"documentVersion": "2018-11-28"}, "documentVersion"),
        ({"auditLabelAttributeName": "prelabel"}, "must end with '-ref'"),
        ({"auditLabelAttributeName": "verified-ref"}, "must differ"),
        ({"annotationType": "Polygon"}, "annotationType"),
        ({"categoryGlobalAttributes": [{"name": "a" * 17}]}, "does not have 1 to 16 characters"),
        ({"frameAttributes": [{"name": "scene", "enum": [str(n) for n in range(11)]}]}, "more than 10 values"),
    ],
)
def test_a_category_file_beyond_the_limits_fails_the_job(
    stand_in: StandIn, changes: dict[str, Any], reason: str
) -> None:
    place_sequences(stand_in.objects.put, sequence_line(), **changes)
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    assert reason in ended_job(stand_in)["FailureReason"]


def test_an_eleventh_sequence_fails_the_job(stand_in: StandIn) -> None:
    place_sequences(stand_in.objects.put, *(sequence_line(n) for n in range(1, 12)))
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    assert "more than 10 objects" in ended_job(stand_in)["FailureReason"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"LabelAttributeName": "verified"}, "'-ref'"),
        ({"HumanTaskConfig": {"UiConfig": {"UiTemplateS3Uri": "s3://labels/template.liquid"}}}, UI),
        ({"HumanTaskConfig": {"UiConfig": {"HumanTaskUiArn": UI.replace("Tracking", "Detection")}}}, UI),
        ({"HumanTaskConfig": {"PreHumanTaskLambdaArn": f"{BUILT_IN}PRE-AdjustmentBoundingBox"}}, "different task"),
        ({"HumanTaskConfig": {"NumberOfHumanWorkersPerDataObject": 2}}, "NumberOfHumanWorkersPerDataObject"),
    ],
)
def test_a_request_that_breaks_a_rule_of_video_is_refused(
    stand_in: StandIn, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ClientError, match="ValidationException") as refused:
        stand_in.sagemaker.create_labeling_job(**tracking_request(**changes))
    assert named in str(refused.value)


def test_a_job_for_one_worker_names_the_one_who_answered(make_stand_in: Make) -> None:
    stand_in = make_stand_in(f"{__name__}:answer_as_ann")
    labelled(stand_in, sequence_line())
    (key,) = (key for key in stand_in.objects.contents if "/worker-response/" in key)
    (answer,) = json.loads(stand_in.objects.contents[key][0])["answers"]
    assert answer["workerId"] == "private.us-east-1.ann"
