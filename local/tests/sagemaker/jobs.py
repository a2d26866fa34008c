"""Inputs and outputs of labelling jobs for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.tests.sagemaker.stand_in import ROLE, StandIn, eventually

TEAM = "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel"
BUILT_IN = "arn:aws:lambda:us-east-1:432418664414:function:"
TEMPLATE = """<crowd-form><crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}"
  initial-value="[{% for box in task.input.manifestLine.pre.annotations %}
    {% capture id %}{{ box.class_id }}{% endcapture %}
    {% assign label = task.input.manifestLine.pre-metadata.class-map[id] %}{% endfor %}]">
  </crowd-bounding-box></crowd-form>"""
VERDICTS = """<crowd-form><crowd-image-classifier src="{{ task.input.taskObject | grant_read_access }}"
  categories="{{ task.input.labels | to_json | escape }}"></crowd-image-classifier></crowd-form>"""


def manifest_line(number: int = 1, label: str = "car", changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make a frame whose pre-label is one box of that label."""
    return {
        "source-ref": f"s3://drives/{number}.png",
        "drive": "d1",
        "pre": {
            "image_size": [{"width": 640, "height": 272, "depth": 3}],
            "annotations": [{"class_id": 7, "left": 10, "top": 20, "width": 30, "height": 40}],
        },
        "pre-metadata": {
            "objects": [{"confidence": 0.8}],
            "class-map": {"7": label},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "creation-date": "2026-01-01T00:00:00.000000",
            "job-name": "run-1",
        },
    } | dict(changes or {})


def job_request(**changes: Any) -> dict[str, Any]:
    """Make a CreateLabelingJob request for the files of `place_job`."""
    human = {
        "WorkteamArn": TEAM,
        "UiConfig": {"UiTemplateS3Uri": "s3://labels/template.liquid"},
        "PreHumanTaskLambdaArn": BUILT_IN + "PRE-AdjustmentBoundingBox",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": BUILT_IN + "ACS-AdjustmentBoundingBox"},
        "TaskTitle": "Verify",
        "TaskDescription": "Verify the boxes",
        "NumberOfHumanWorkersPerDataObject": 1,
        "TaskTimeLimitInSeconds": 600,
    } | changes.pop("HumanTaskConfig", {})
    return {
        "LabelingJobName": "Drive-1",
        "LabelAttributeName": "verified",
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": "s3://labels/in.manifest"}}},
        "OutputConfig": {"S3OutputPath": "s3://labels/gt/"},
        "RoleArn": ROLE,
        "LabelCategoryConfigS3Uri": "s3://labels/categories.json",
        "HumanTaskConfig": human,
    } | changes


def place_job(stand_in: StandIn, *lines: Mapping[str, Any], template: str = TEMPLATE) -> None:
    """Put all files that a job reads, and the images of its lines."""
    categories = {"document-version": "2018-11-28", "labels": [{"label": "person"}, {"label": "car"}]}
    stand_in.objects.put("s3://labels/categories.json", json.dumps(categories).encode())
    stand_in.objects.put("s3://labels/template.liquid", template.encode())
    stand_in.objects.put("s3://labels/in.manifest", "\n".join(json.dumps(line) for line in lines).encode())
    for line in lines:
        stand_in.objects.put(line["source-ref"], b"png", "image/png")


def ended_job(stand_in: StandIn, name: str = "Drive-1") -> dict[str, Any]:
    """Return the job's description once it has ended."""

    def described() -> dict[str, Any]:
        job: dict[str, Any] = stand_in.sagemaker.describe_labeling_job(LabelingJobName=name)
        return job if job["LabelingJobStatus"] in ("Completed", "Failed", "Stopped") else {}

    job: dict[str, Any] = eventually(described)
    return job


def output_lines(stand_in: StandIn, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the output manifest of an ended job."""
    body, _ = stand_in.objects.contents[job["LabelingJobOutput"]["OutputDatasetS3Uri"]]
    return [json.loads(line) for line in body.decode().splitlines()]


def answered_places(stand_in: StandIn) -> list[str]:
    """Return the places of the worker responses below a job's output path, in order."""
    folder = "s3://labels/gt/Drive-1/annotations/worker-response/iteration-1/"
    found = (uri for uri in stand_in.objects.contents if uri.startswith(folder))
    return sorted(uri.removeprefix(folder).split("/")[0] for uri in found)


def start_job(stand_in: StandIn, *lines: Mapping[str, Any], template: str = TEMPLATE, **changes: Any) -> None:
    """Create a job of these frames, and wait until it is InProgress."""
    place_job(stand_in, *lines, template=template)
    request = job_request(**changes)
    stand_in.sagemaker.create_labeling_job(**request)
    name = request["LabelingJobName"]
    eventually(
        lambda: stand_in.sagemaker.describe_labeling_job(LabelingJobName=name)["LabelingJobStatus"] == "InProgress"
    )
