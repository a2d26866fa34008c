"""Inputs of tracking jobs for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from local.tests.sagemaker.jobs import BUILT_IN, job_request
from local.tests.sagemaker.stand_in import StandIn, eventually

UI = "arn:aws:sagemaker:us-east-1:394669845002:human-task-ui/VideoObjectTracking"
LABELS = ("person", "car")
# A box of a track in a frame: the frame's position, object-id, label, left, top, width, height, attributes.
Place = tuple[int, str, str, int, int, int, int, dict[str, Any]]
CAR = tuple((n, "id-car", "car", 10 + n, 20, 30, 40, {"uncertainty": f"0.{n}"}) for n in range(4))
PERSON: tuple[Place, ...] = (
    (1, "id-person", "person", 100, 50, 10, 30, {}),
    (2, "id-person", "person", 101, 50, 10, 30, {}),
)


def frame_name(n: int) -> str:
    return f"{n:04}.jpg"


def categories(labels: Iterable[str] = LABELS, **changes: Any) -> dict[str, Any]:
    """Make a label category file whose labels have a read-only attribute."""
    attribute = {"name": "uncertainty", "type": "string", "editsAllowed": "none"}
    return {
        "documentVersion": "2020-03-01",
        "annotationType": "BoundingBox",
        "labels": [{"label": label, "categoryAttributes": [attribute]} for label in labels],
        "frameAttributes": [],
        "categoryGlobalAttributes": [],
        "instructions": {"shortInstruction": "Follow each object", "fullInstruction": "All of it"},
        "auditLabelAttributeName": "prelabel-ref",
    } | changes


def sequence_file(number: int = 1, frames: int = 4, **changes: Any) -> dict[str, Any]:
    listed = [
        {"frame-no": n + 1, "frame": frame_name(n), "unix-timestamp": 1_700_000_000 + n / 10} for n in range(frames)
    ]
    return {
        "seq-no": number,
        "prefix": f"s3://drives/{number}/",
        "number-of-frames": frames,
        "frames": listed,
    } | changes


def seq_label(boxes: Sequence[Place], labels: Sequence[str] = LABELS) -> dict[str, Any]:
    """Make a SeqLabel of these boxes; an object is called by its label and the end of its id."""
    frames: dict[int, list[dict[str, Any]]] = {}
    for frame, object_id, label, left, top, width, height, attributes in boxes:
        frames.setdefault(frame, []).append(
            {
                "class-id": str(labels.index(label)),
                "left": left,
                "top": top,
                "width": width,
                "height": height,
                "object-id": object_id,
                "object-name": f"{label}:{object_id[3:]}",
                "label-category-attributes": attributes,
            }
        )
    return {
        "tracking-annotations": [
            {"frame-no": str(n), "frame": frame_name(n), "frame-attributes": {}, "annotations": frames[n]}
            for n in sorted(frames)
        ]
    }


def sequence_line(number: int = 1, labels: Sequence[str] = LABELS, **changes: Any) -> dict[str, Any]:
    metadata = {
        "class-map": {str(n): label for n, label in enumerate(labels)},
        "type": "groundtruth/video-object-tracking",
        "human-annotated": "no",
        "creation-date": "2026-01-01T00:00:00+0000",
        "job-name": "labeling-job/run-1",
    }
    return {
        "source-ref": f"s3://labels/{number}/seq.json",
        "prelabel-ref": f"s3://labels/{number}/SeqLabel.json",
        "prelabel-ref-metadata": metadata,
        "drive": "d1",
    } | changes


def tracking_request(**changes: Any) -> dict[str, Any]:
    """Make a CreateLabelingJob request for the files of `place_sequences`."""
    kind = "AdjustmentVideoObjectTracking"
    human = {
        "UiConfig": {"HumanTaskUiArn": UI},
        "PreHumanTaskLambdaArn": f"{BUILT_IN}PRE-{kind}",
        "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": f"{BUILT_IN}ACS-{kind}"},
    } | changes.pop("HumanTaskConfig", {})
    return job_request(**{"LabelAttributeName": "verified-ref", "HumanTaskConfig": human, **changes})


def place_sequences(
    put: Callable[[str, bytes], None],
    *lines: Mapping[str, Any],
    boxes: Sequence[Place] = (*CAR, *PERSON),
    images: Sequence[bytes] = (b"jpg",) * 4,
    **changes: Any,
) -> None:
    """Put all files of a tracking job, every sequence with these images; `changes`: of the label category file."""
    labels = tuple(lines[0]["prelabel-ref-metadata"]["class-map"].values())
    put("s3://labels/categories.json", json.dumps(categories(**{"labels": labels, **changes})).encode())
    put("s3://labels/in.manifest", "\n".join(json.dumps(line) for line in lines).encode())
    for number in range(1, len(lines) + 1):
        put(f"s3://labels/{number}/seq.json", json.dumps(sequence_file(number, len(images))).encode())
        put(f"s3://labels/{number}/SeqLabel.json", json.dumps(seq_label(boxes, labels)).encode())
        for n, image in enumerate(images):
            put(f"s3://drives/{number}/{frame_name(n)}", image)


def start_sequences(stand_in: StandIn, *lines: Mapping[str, Any], **placed: Any) -> None:
    """Create a tracking job of these sequences, and wait until it is InProgress."""
    place_sequences(stand_in.objects.put, *lines, **placed)
    stand_in.sagemaker.create_labeling_job(**tracking_request())
    eventually(
        lambda: stand_in.sagemaker.describe_labeling_job(LabelingJobName="Drive-1")["LabelingJobStatus"] == "InProgress"
    )
