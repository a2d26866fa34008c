"""Ground Truth's jobs over a bucket: reviewers answer some frames, and then a job is stopped, fails or completes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from autolabel.contracts.ports import LabelingJobState
from tests.fakes.bucket import FakeBucket

Line = dict[str, Any]


@dataclass
class Job:
    """A job. `place`: its folder in the label bucket; `manifest`: an S3 URI, with `lines`.

    `answers`: by frame and worker.
    """

    name: str
    place: str
    manifest: str
    lines: list[Line]
    status: str = "InProgress"
    answers: dict[int, dict[str, Line]] = field(default_factory=dict)
    output: str = ""


class FakeLabelingJobs:
    """`LabelingJobs` in a dict. `with_manifest`: whether a job that is stopped leaves an output manifest.

    `held_back`: the number of answers that the bucket does not have yet, though the job counts them.
    """

    def __init__(self, labels: FakeBucket, *, with_manifest: bool = True) -> None:
        self.jobs: dict[str, Job] = {}
        self.stopped: list[str] = []
        self.with_manifest = with_manifest
        self.held_back = 0
        self._labels = labels

    def describe(self, job: str) -> LabelingJobState | None:
        found = self.jobs.get(job)
        if found is None:
            return None
        if found.status == "Stopping":
            self.end(job, "Stopped")
            return LabelingJobState("Stopping", found.manifest, "", len(found.answers))
        return LabelingJobState(found.status, found.manifest, found.output, len(found.answers))

    def stop(self, job: str) -> None:
        self.stopped.append(job)
        if self.jobs[job].status == "InProgress":
            self.jobs[job].status = "Stopping"

    def create(self, name: str, manifest: str) -> Job:
        """Create a job, as the state LabelingJob does. `manifest`: an S3 URI."""
        assert name not in self.jobs, f"the job name {name} is used a second time"
        key = manifest.removeprefix(self._labels.uri(""))
        lines = [msgspec.json.decode(line) for line in self._labels.lines(key)]
        place = f"{key.rpartition('manifests/')[0]}verification/{name}/"
        self.jobs[name] = Job(name, place, manifest, lines)
        return self.jobs[name]

    def answer(self, name: str, place: int, boxes: list[Mapping[str, Any]], worker: str = "ann", **review: Any) -> str:
        """Answer a frame of an open job, and return its S3 URI. `boxes`: label, left, top, width, height."""
        job = self.jobs[name]
        assert job.status == "InProgress", f"{name} is {job.status}: nobody can answer its frames"
        content = {"boundingBox": {"boundingBoxes": boxes}, "review": msgspec.json.encode(review).decode()}
        job.answers.setdefault(place, {})[worker] = {
            "acceptanceTime": "2026-01-02T00:00:00.000Z",
            "submissionTime": "2026-01-02T00:00:09.000Z",
            "timeSpentInSeconds": 9.0,
            "answerContent": content,
            "workerId": f"private.eu-central-1.{worker}",
        }
        source: str = job.lines[place]["source-ref"]
        return source

    def end(self, name: str, status: str) -> None:
        """End a job: its answers are in the bucket, except those that are held back."""
        job = self.jobs[name]
        job.status = status
        self.place(name)

    def place(self, name: str) -> None:
        """Write the answers of an ended job into the bucket."""
        job = self.jobs[name]
        there = dict(list(job.answers.items())[: len(job.answers) - self.held_back])
        for at, answers in there.items():
            for worker, answer in answers.items():
                key = f"{job.place}annotations/worker-response/iteration-1/{at}/2026-{worker}.json"
                self._labels.write(key, msgspec.json.encode({"answers": [answer]}))
        if job.status == "Completed" or (job.status == "Stopped" and self.with_manifest):
            lines = [self._labelled(job, line, there.get(at)) for at, line in enumerate(job.lines)]
            key = f"{job.place}manifests/output/output.manifest"
            self._labels.write(key, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            job.output = self._labels.uri(key)

    def _labelled(self, job: Job, line: Line, answers: dict[str, Line] | None) -> Line:
        if answers is None:
            return line
        answer = list(answers.values())[-1]
        boxes = answer["answerContent"]["boundingBox"]["boundingBoxes"]
        names = list(dict.fromkeys(box["label"] for box in boxes))
        return {
            **line,
            "verified": {
                "image_size": line["prelabel"]["image_size"],
                "annotations": [
                    {"class_id": names.index(box["label"]), **{k: v for k, v in box.items() if k != "label"}}
                    for box in boxes
                ],
            },
            "verified-metadata": {
                "objects": [{"confidence": 0.0} for _ in boxes],
                "class-map": {str(i): name for i, name in enumerate(names)},
                "type": "groundtruth/object-detection",
                "human-annotated": "yes",
                "creation-date": "2026-01-02T00:00:09.000000",
                "job-name": f"labeling-job/{job.name.lower()}",
            },
        }
