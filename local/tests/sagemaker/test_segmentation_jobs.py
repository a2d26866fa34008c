"""Labelling jobs of segments: refused requests, and the resulting pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.ground_truth.annotators import Annotation, Failure, JobView, Segments
from local.tests.sagemaker.jobs import BUILT_IN, ended_job, job_request, manifest_line, output_lines, place_job
from local.tests.sagemaker.stand_in import StandIn
from tests.fakes.images import png

TEMPLATE = """<crowd-form><crowd-semantic-segmentation src="{{ task.input.taskObject | grant_read_access }}"
  labels="{{ task.input.labels | to_json | escape }}"
  initial-value="{'src': '{{ task.input.manifestLine.pre-ref | grant_read_access }}', 'labelMappings': {
    {% for one in task.input.manifestLine.pre-ref-metadata.internal-color-map %}{% endfor %} } }">
  </crowd-semantic-segmentation></crowd-form>"""
PICTURE = png(640, 272)
CHANGED = png(640, 272, (1, 2, 3))
COLORS = {
    "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
    "2": {"class-name": "car", "hex-color": "#ff7f0e", "confidence": 0.9},
}


def segmented(number: int = 1, **changes: Any) -> dict[str, Any]:
    """Make a frame with segments as its pre-label."""
    metadata = {"internal-color-map": COLORS, "type": "groundtruth/semantic-segmentation"}
    return manifest_line(number, changes={"pre-ref": "s3://labels/pre.png", "pre-ref-metadata": metadata, **changes})


def request(**changes: Any) -> dict[str, Any]:
    kind = "AdjustmentSemanticSegmentation"
    human = {
        "PreHumanTaskLambdaArn": f"{BUILT_IN}PRE-{kind}",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": f"{BUILT_IN}ACS-{kind}"},
    }
    return job_request(**{"LabelAttributeName": "verified-ref", "HumanTaskConfig": human, **changes})


def labelled(stand_in: StandIn, *lines: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a job of these frames to its end; return the job and its output lines."""
    place_job(stand_in, *lines, template=TEMPLATE)
    stand_in.objects.put("s3://labels/pre.png", PICTURE, "image/png")
    stand_in.sagemaker.create_labeling_job(**request())
    job = ended_job(stand_in)
    return job, output_lines(stand_in, job)


def paint(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    return Segments(CHANGED)


def picture_of(stand_in: StandIn, line: Mapping[str, Any]) -> bytes:
    body, content_type = stand_in.objects.contents[line["verified-ref"]]
    assert content_type == "image/png"
    return body


def test_kept_segments_are_copied_into_the_jobs_folder(stand_in: StandIn) -> None:
    job, (line,) = labelled(stand_in, segmented())
    assert job["LabelCounters"]["HumanLabeled"] == 1
    assert line["verified-ref"].startswith("s3://labels/gt/Drive-1/annotations/consolidated-annotation/output/0_")
    assert picture_of(stand_in, line) == PICTURE
    metadata = line["verified-ref-metadata"]
    assert len(metadata.pop("creation-date")) == len("2018-10-18T22:18:13.527256")
    assert metadata == {
        "internal-color-map": {index: {**one, "confidence": 0.0} for index, one in COLORS.items()},
        "type": "groundtruth/semantic-segmentation",
        "human-annotated": "yes",
        "job-name": "labeling-job/drive-1",
        "adjustment-status": "unadjusted",
    }
    folder = "s3://labels/gt/Drive-1/annotations/worker-response/iteration-1/0/"
    (response,) = (json.loads(body) for uri, (body, _) in stand_in.objects.contents.items() if uri.startswith(folder))
    assert response["answers"][0]["answerContent"]["crowd-semantic-segmentation"] == {
        "initialValueModified": False,
        "inputImageProperties": {"width": 640, "height": 272},
        "labelMappings": {"car": {"color": "#ff7f0e"}},
        "labeledImage": {"pngImageData": base64.b64encode(PICTURE).decode()},
    }


def test_painted_segments_are_adjusted(make_stand_in: Callable[..., StandIn]) -> None:
    stand_in = make_stand_in(f"{__name__}:paint")
    _, (line,) = labelled(stand_in, segmented())
    assert picture_of(stand_in, line) == CHANGED
    assert line["verified-ref-metadata"]["adjustment-status"] == "adjusted"


def test_a_frame_without_segments_gets_a_blank_picture_of_its_size(stand_in: StandIn) -> None:
    _, (line,) = labelled(stand_in, manifest_line())
    body = picture_of(stand_in, line)
    assert body != PICTURE
    assert (int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big")) == (640, 272)
    assert [one["class-name"] for one in line["verified-ref-metadata"]["internal-color-map"].values()] == ["BACKGROUND"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pre-ref": "s3://labels/none.png"}, "none.png"),
        ({"pre-ref": "s3://closed/pre.png"}, "no CORS rule"),
        ({"pre-ref-metadata": {"internal-color-map": {"1": {"class-name": "car"}}}}, "malformed"),
        ({"pre-ref-metadata": {"internal-color-map": {"1": {"class-name": "zebra", "hex-color": "#1"}}}}, "'zebra'"),
    ],
    ids=["gone", "hidden from browsers", "without colours", "of a class that is not asked for"],
)
def test_segments_that_cannot_be_shown_fail_their_frame(
    stand_in: StandIn, changes: dict[str, Any], reason: str
) -> None:
    stand_in.objects.put("s3://closed/pre.png", PICTURE, "image/png")
    stand_in.objects.cors["closed"] = frozenset()
    job, lines = labelled(stand_in, segmented(1, **changes), segmented(2))
    assert job["LabelCounters"]["FailedNonRetryableError"] == 1
    assert "verified-ref" not in lines[0]
    assert reason in lines[0]["verified-ref-metadata"]["failure-reason"]
    assert picture_of(stand_in, lines[1]) == PICTURE


@pytest.mark.parametrize("name", ["verified", "verified-ref-metadata", "source-ref"])
def test_an_attribute_without_the_ending_ref_is_refused(stand_in: StandIn, name: str) -> None:
    with pytest.raises(ClientError, match="LabelAttributeName") as refused:
        stand_in.sagemaker.create_labeling_job(**request(LabelAttributeName=name))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_template_of_boxes_is_refused_for_segments(stand_in: StandIn) -> None:
    place_job(stand_in, segmented())
    stand_in.sagemaker.create_labeling_job(**request())
    assert "crowd-semantic-segmentation" in ended_job(stand_in)["FailureReason"]


def test_more_frames_than_ground_truth_takes_fail_the_job(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sagemaker.ground_truth.labeling_job.SEGMENTED_OBJECTS", 2)
    place_job(stand_in, *(segmented(number) for number in range(3)), template=TEMPLATE)
    stand_in.sagemaker.create_labeling_job(**request())
    assert "more than 2 objects" in ended_job(stand_in)["FailureReason"]
