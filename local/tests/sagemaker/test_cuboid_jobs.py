"""Labelling jobs of cuboids: refused requests, frames that cannot be shown, and the resulting labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.sagemaker.ground_truth.annotators import Annotation, Failure, JobView
from local.sagemaker.ground_truth.cuboids import Cuboid, Cuboids
from local.settings import PEOPLE
from local.tests.sagemaker.jobs import BUILT_IN, ended_job, job_request, output_lines
from local.tests.sagemaker.stand_in import StandIn

Make = Callable[..., StandIn]
UI = "arn:aws:sagemaker:us-east-1:394669845002:human-task-ui/PointCloudObjectDetection"
CAR = {
    **{"label-category-attributes": {}, "object-name": "car:1", "class-id": 1},
    **{"center-x": 9.5, "center-y": 1.5, "center-z": 0.75, "length": 4.1, "width": 1.7, "height": 1.5},
    **{"roll": 0.0, "pitch": 0.0, "yaw": 0.3},
}
IMAGE = {
    **{
        "image-path": "front/1.png",
        "unix-timestamp": 1566861644.76,
        "fx": 700.0,
        "fy": 700.0,
        "cx": 300.0,
        "cy": 180.0,
    },
    "position": {"x": 1.5, "y": 0.0, "z": 1.6},
    "heading": {"qx": -0.5, "qy": 0.5, "qz": -0.5, "qw": 0.5},
}
CATEGORIES = {
    "documentVersion": "2020-03-01",
    "labels": [{"label": "person"}, {"label": "car"}],
    "auditLabelAttributeName": "pre",
}


def scene_line(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make a frame of points with a picture; `changes`: of its metadata."""
    scene = {"format": "binary/xyzi", "unix-timestamp": 1566861644.75, "prefix": "s3://drives/", "images": [IMAGE]}
    return {
        "source-ref": "s3://labels/1.bin",
        "source-ref-metadata": scene | changes,
        "pre": {"annotations": list(annotations or (CAR,))},
        "pre-metadata": {"class-map": {"1": "car"}, "type": "groundtruth/point_cloud_object_detection"},
    }


def request(**changes: Any) -> dict[str, Any]:
    kind = "Adjustment3DPointCloudObjectDetection"
    human = {
        "UiConfig": {"HumanTaskUiArn": UI},
        "PreHumanTaskLambdaArn": f"{BUILT_IN}PRE-{kind}",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": f"{BUILT_IN}ACS-{kind}"},
    } | changes.pop("HumanTaskConfig", {})
    return job_request(**{"HumanTaskConfig": human, **changes})


def labelled(stand_in: StandIn, *lines: Mapping[str, Any], points: bytes = bytes(64)) -> list[dict[str, Any]]:
    """Run a job of these frames to its end; return its output lines."""
    stand_in.objects.put("s3://labels/categories.json", json.dumps(CATEGORIES).encode())
    stand_in.objects.put("s3://labels/in.manifest", "\n".join(json.dumps(line) for line in lines).encode())
    stand_in.objects.put("s3://labels/1.bin", points)
    stand_in.objects.put("s3://drives/front/1.png", b"png")
    stand_in.sagemaker.create_labeling_job(**request())
    return output_lines(stand_in, ended_job(stand_in))


def correct(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Turn the cuboid, and draw another one."""
    (car,) = job.scene(line).shown.cuboids
    return Cuboids((replace(car, yaw=0.4), Cuboid("person", (5.0, 0.0, 0.9), (0.6, 0.6, 1.8), 0.0, "person:1")))


def name_twice(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    (car,) = job.scene(line).shown.cuboids
    return Cuboids((car, car))


def test_kept_cuboids_come_back_in_ground_truths_shape_without_a_status(stand_in: StandIn) -> None:
    (line,) = labelled(stand_in, scene_line())
    metadata = line.pop("verified-metadata")
    assert line.pop("verified") == {"annotations": [CAR]}
    assert line == scene_line()
    assert len(metadata.pop("creation-date")) == len("2018-10-18T22:18:13.527256")
    assert metadata == {
        "objects": [],
        "class_map": {"1": "car"},
        "type": "groundtruth/point_cloud_object_detection",
        "human-annotated": "yes",
        "job-name": "labeling-job/drive-1",
    }


def test_corrected_cuboids_are_adjusted(make_stand_in: Make) -> None:
    (line,) = labelled(make_stand_in(f"{__name__}:correct"), scene_line())
    car, person = line["verified"]["annotations"]
    assert car == CAR | {"yaw": 0.4}
    assert (person["object-name"], person["class-id"], person["center-x"]) == ("person:1", 0, 5.0)
    assert line["verified-metadata"]["adjustment-status"] == "adjusted"
    assert line["verified-metadata"]["class_map"] == {"0": "person", "1": "car"}


def test_at_the_portal_a_script_answers_and_says_so(make_stand_in: Make) -> None:
    (line,) = labelled(make_stand_in(PEOPLE), scene_line())
    assert line["verified"] == {"annotations": [CAR]}
    assert line["verified-metadata"]["human-annotated"] == "no"


@pytest.mark.parametrize(
    ("line", "points", "reason"),
    [
        (scene_line(format="binary/xyzq"), 64, "the format 'binary/xyzq' is none of binary/ or text/"),
        (scene_line(), 63, "has 63 bytes, which are not points of 16 bytes"),
        (scene_line(format="binary/xyz"), 64, "has 64 bytes, which are not points of 12 bytes"),
        (scene_line(), 16_000_016, "has 1,000,001 points; above 1,000,000"),
        (scene_line(images=[IMAGE] * 9), 64, "has 9 images, more than 8"),
        (scene_line(prefix="s3://drives"), 64, "does not end with '/'"),
        (
            scene_line(images=[{**IMAGE, "heading": {"qx": 1, "qy": 1, "qz": 0, "qw": 0}}]),
            64,
            "a heading has the length",
        ),
        (scene_line(images=[{**IMAGE, "image-path": "front/2.png"}]), 64, "s3://drives/front/2.png"),
        (scene_line(**{"unix-timestamp": "now"}), 64, "Expected `float`, got `str`"),
        (scene_line({**CAR, "class-id": 4}), 64, "'4' is missing"),
        (scene_line(CAR, CAR), 64, "Two cuboids have the name 'car:1'"),
        (scene_line({**CAR, "width": 0}), 64, "has a side that is not positive"),
        ({**scene_line(), "pre": "s3://labels/x"}, 64, "Expected `object`, got `str`"),
    ],
)
def test_a_frame_that_cannot_be_shown_fails_and_says_why(
    stand_in: StandIn, line: dict[str, Any], points: int, reason: str
) -> None:
    (found,) = labelled(stand_in, line, points=bytes(points))
    assert "verified" not in found
    assert reason in found["verified-metadata"]["failure-reason"]


def test_an_answer_that_does_not_fit_fails_its_frame(make_stand_in: Make) -> None:
    (line,) = labelled(make_stand_in(f"{__name__}:name_twice"), scene_line())
    assert "Two cuboids have the name" in line["verified-metadata"]["failure-reason"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"LabelAttributeName": "verified-ref"}, "must not end with '-ref'"),
        ({"HumanTaskConfig": {"UiConfig": {"UiTemplateS3Uri": "s3://labels/page"}}}, "UiConfig needs HumanTaskUiArn"),
        ({"HumanTaskConfig": {"TaskTimeLimitInSeconds": 604_801}}, "is more than 604800 for a point cloud job"),
    ],
)
def test_a_request_that_ground_truth_refuses_is_refused(
    stand_in: StandIn, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ClientError, match=reason):
        stand_in.sagemaker.create_labeling_job(**request(**changes))
