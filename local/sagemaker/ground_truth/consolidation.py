"""Turn a worker's answer into attributes of the output manifest's line.

Shapes: developer guide, "Output data" (bounding box job output, semantic segmentation output, video frame object
tracking output, 3D point cloud object detection output, label verification job output, adjustment).
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from local.sagemaker.ground_truth.annotators import Annotation, Box, Boxes, JobView, Segments, Verdict
from local.sagemaker.ground_truth.cuboids import Cuboids, Scenes, same_cuboids
from local.sagemaker.ground_truth.sequences import Sequences, Tracks, same_tracks
from local.sagemaker.names import S3Uri


class NotConsolidated(Exception):
    """The answer does not make a label; the message is the object's failure-reason."""


BACKGROUND = {"class-name": "BACKGROUND", "hex-color": "#ffffff"}


# From this IoU on, boxes of two workers are similar. The guide gives no number.
_SIMILAR = 0.5


def label_attributes(
    line: Mapping[str, Any],
    annotation: Annotation,
    job: JobView,
    stored: S3Uri | None = None,
    several: Sequence[Boxes] = (),
) -> dict[str, Any]:
    """Make the new label and its metadata for an input line; raises NotConsolidated or MalformedPrelabel.

    `stored`: the S3 URI of the annotation's segments or tracks. `several`: what each worker of the task drew, if it has
    several.
    """
    label: dict[str, Any] | int | str
    if job.kind == "adjustment" and isinstance(annotation, Boxes):
        label, metadata = _boxes(line, annotation, job, several)
    elif job.kind == "segmentation" and isinstance(annotation, Segments) and stored:
        label, metadata = str(stored), _segments(line, annotation, job)
    elif job.sequences and isinstance(annotation, Tracks) and stored:
        label, metadata = str(stored), _tracks(line, annotation, job.sequences)
    elif job.scenes and isinstance(annotation, Cuboids):
        label, metadata = job.scenes.label(annotation), _cuboids(line, annotation, job.scenes)
    elif job.kind == "verification" and isinstance(annotation, Verdict):
        label, metadata = _verdict(annotation, job)
    else:
        raise NotConsolidated(f"A {type(annotation).__name__} does not answer a task of kind {job.kind}")
    return {job.label_attribute: label, f"{job.label_attribute}-metadata": _origin(job) | metadata}


def failure_attributes(reason: str, job: JobView) -> dict[str, Any]:
    """Make the metadata of an object that could not be labelled: a reason instead of a label."""
    return {f"{job.label_attribute}-metadata": {"failure-reason": reason} | _origin(job)}


def stated_size(line: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the image's width and height as any label of the line states them."""
    for value in line.values():
        if isinstance(value, Mapping) and value.get("image_size"):
            return value["image_size"][0]["width"], value["image_size"][0]["height"]
    return None


def average_boxes(several: Sequence[Boxes]) -> list[tuple[Box, float]]:
    """Average the most similar boxes of different workers, and return each with the share of workers who drew it.

    Developer guide, "Consolidate annotations": by the Jaccard index. It does not say which boxes are left out, so none
    are, and not how confidence is calculated.
    """
    groups: list[list[Box]] = []
    for annotation in several:
        free = list(range(len(groups)))
        for box in annotation.boxes:
            of = max(free, key=lambda i: iou(groups[i][0], box), default=None)
            if of is not None and iou(groups[of][0], box) >= _SIMILAR:
                free.remove(of)
                groups[of].append(box)
            else:
                groups.append([box])
    return [
        (
            Box(
                Counter(box.label for box in group).most_common(1)[0][0],
                *(
                    round(mean(sides))
                    for sides in zip(*((b.left, b.top, b.width, b.height) for b in group), strict=True)
                ),
            ),
            round(len(group) / len(several), 2),
        )
        for group in groups
    ]


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    both = max(width, 0) * max(height, 0)
    return both / (a.width * a.height + b.width * b.height - both) if both else 0.0


def _boxes(
    line: Mapping[str, Any], annotation: Boxes, job: JobView, several: Sequence[Boxes]
) -> tuple[dict[str, Any], dict[str, Any]]:
    if annotation.image is None:
        raise NotConsolidated("The answer does not state the image's size")
    ids = {label: number for number, label in enumerate(job.labels)}
    shown = job.prelabels(line)
    # One worker for each object cannot agree with others: confidence is 0.
    drawn = average_boxes(several) if len(several) > 1 else [(box, 0.0) for box in annotation.boxes]
    boxes = [box for box, _ in drawn]
    # The crowd element refuses initial values with a label that it does not offer, changed or not.
    for box in (*shown, *boxes):
        if box.label not in ids:
            raise NotConsolidated(f"The label {box.label!r} is not in the label category file")
    label = {
        "image_size": [{"width": annotation.image[0], "height": annotation.image[1], "depth": 3}],
        "annotations": [
            {"class_id": ids[box.label], "left": box.left, "top": box.top, "width": box.width, "height": box.height}
            for box in boxes
        ],
    }
    metadata = {
        "objects": [{"confidence": confidence} for _, confidence in drawn],
        "class-map": {str(ids[box.label]): box.label for box in boxes},
        "type": "groundtruth/object-detection",
        "adjustment-status": "unadjusted" if _same(shown, boxes) else "adjusted",
    }
    return label, metadata


def _segments(line: Mapping[str, Any], annotation: Segments, job: JobView) -> dict[str, Any]:
    _, colors = job.segments(line) or ("", {"0": BACKGROUND})
    return {
        "internal-color-map": {index: {**meant, "confidence": 0.0} for index, meant in colors.items()},
        "type": "groundtruth/semantic-segmentation",
        "adjustment-status": "adjusted" if annotation.adjusted else "unadjusted",
    }


def _tracks(line: Mapping[str, Any], annotation: Tracks, sequences: Sequences) -> dict[str, Any]:
    metadata = {
        "class-map": sequences.class_map(annotation),
        "type": "groundtruth/video-object-tracking",
        "creation-date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
    }
    # Ground Truth documents it for changed sequences only.
    return (
        metadata if same_tracks(sequences.of(line).shown, annotation) else {**metadata, "adjustment-status": "adjusted"}
    )


def _cuboids(line: Mapping[str, Any], annotation: Cuboids, scenes: Scenes) -> dict[str, Any]:
    # The guide writes the key of the class map with an underscore here, and with a dash for all other jobs.
    metadata = {
        "objects": [],
        "class_map": scenes.class_map(annotation),
        "type": "groundtruth/point_cloud_object_detection",
    }
    # It documents the status for changed frames only.
    if same_cuboids(scenes.of(line).shown, annotation):
        return metadata
    return {**metadata, "adjustment-status": "adjusted"}


def _verdict(annotation: Verdict, job: JobView) -> tuple[int, dict[str, Any]]:
    if annotation.label not in job.labels:
        raise NotConsolidated(f"The verdict {annotation.label!r} is not in the label category file")
    metadata: dict[str, Any] = {
        "class-name": annotation.label,
        "confidence": 0.0,
        "type": "groundtruth/label-verification",
    }
    if annotation.comment:
        metadata["worker-feedback"] = [{"comment": annotation.comment}]
    return list(job.labels).index(annotation.label), metadata


def _origin(job: JobView) -> dict[str, str]:
    return {
        "human-annotated": "yes" if job.human_annotated else "no",
        "creation-date": datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "job-name": f"labeling-job/{job.name.lower()}",
    }


def _same(first: Sequence[Box], second: Sequence[Box]) -> bool:
    def order(box: Box) -> tuple[str, int, int, int, int]:
        return (box.label, box.left, box.top, box.width, box.height)

    return sorted(first, key=order) == sorted(second, key=order)
