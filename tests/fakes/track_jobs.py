"""Ground Truth's jobs of tracks over a bucket, by the developer guide's page on output data, without product code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from autolabel.contracts.ports import LabelingJobState
from tests.fakes.bucket import FakeBucket

Boxes = dict[str, list[dict[str, Any]]]
# Makes what a reviewer leaves of a sequence, by the names of the frames. A text is the reason of a failure; None: the
# sequence is not answered.
Review = Callable[[Boxes], Boxes | str | None]


@dataclass
class VideoSequence:
    """A sequence of a job: its line of the manifest, the names of its frames in order, and the boxes that it shows."""

    line: dict[str, Any]
    names: list[str]
    prefix: str
    shown: Boxes


@dataclass
class Job:
    """A job. `manifest`: the S3 URI of its sequences; `answers`: by the place of the sequence."""

    place: str
    manifest: str
    sequences: list[VideoSequence]
    status: str = "InProgress"
    output: str = ""
    labelled: int = 0
    answers: dict[int, Boxes | str] = field(default_factory=dict)

    @property
    def labels(self) -> str:
        """The prefix of the SeqLabels in the label bucket."""
        return f"{self.place}annotations/consolidated-annotation/output/"


class FakeTrackJobs:
    """`LabelingJobs` in a dict. `classes`: as in the label category file."""

    def __init__(self, labels: FakeBucket, classes: Sequence[str]) -> None:
        self.jobs: dict[str, Job] = {}
        self._labels = labels
        self._classes = classes

    def describe(self, job: str) -> LabelingJobState | None:
        found = self.jobs.get(job)
        if found is None:
            return None
        return LabelingJobState(found.status, found.manifest, found.output, found.labelled)

    def stop(self, job: str) -> None:
        self.end(job, "Stopped")

    def create(self, name: str, manifest: str) -> Job:
        """Create a job, as the state LabelingJob does. `manifest`: the S3 URI of its sequences."""
        key = manifest.removeprefix(self._labels.uri(""))
        place = f"{key.rpartition('manifests/')[0]}verification/{name}/"
        lines = [msgspec.json.decode(line) for line in self._labels.lines(key)]
        self.jobs[name] = Job(place, manifest, [self._read(line) for line in lines])
        return self.jobs[name]

    def answer(self, name: str, place: int, review: Review = lambda shown: shown, worker: str = "") -> None:
        """Answer a sequence of an open job. `worker`: whom the response names; without one, there is no response."""
        job = self.jobs[name]
        assert job.status == "InProgress"
        left = review({frame: [dict(box) for box in boxes] for frame, boxes in job.sequences[place].shown.items()})
        if left is not None:
            job.answers[place] = left
        if worker:
            # The guide documents a response's worker for all jobs, and its content not for those of tracks.
            response = {"answers": [{"answerContent": {"trackingAnnotations": "?"}, "workerId": worker}]}
            key = f"{job.place}annotations/worker-response/iteration-1/{place}/2026-01-02_00:00:09.json"
            self._labels.write(key, msgspec.json.encode(response))

    def end(self, name: str, status: str = "Completed") -> str:
        """End a job; return the S3 URI of its output manifest, which a failed one does not leave."""
        job = self.jobs[name]
        job.status = status
        job.labelled = sum(not isinstance(answer, str) for answer in job.answers.values())
        lines = [self._labelled(job, at, sequence) for at, sequence in enumerate(job.sequences)]
        if status == "Failed":
            return ""
        key = f"{job.place}manifests/output/output.manifest"
        self._labels.write(key, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        job.output = self._labels.uri(key)
        return job.output

    def _read(self, line: dict[str, Any]) -> VideoSequence:
        sequence, shown = (self._json(line[name]) for name in ("source-ref", "prelabel-ref"))
        frames = sequence["frames"]
        assert sequence["number-of-frames"] == len(frames)
        names = [frame["frame"] for frame in frames]
        boxes = {one["frame"]: one["annotations"] for one in shown["tracking-annotations"]}
        return VideoSequence(line, names, sequence["prefix"], {name: boxes.get(name, []) for name in names})

    def _json(self, uri: str) -> Any:
        return msgspec.json.decode(self._labels.objects[uri.removeprefix(self._labels.uri(""))])

    def _labelled(self, job: Job, at: int, sequence: VideoSequence) -> dict[str, Any]:
        left = job.answers.get(at)
        if left is None:
            return sequence.line
        made = {
            "human-annotated": "yes",
            "creation-date": "2026-01-02T00:00:09+0000",
            "job-name": "labeling-job/tracks",
        }
        if isinstance(left, str):
            return {**sequence.line, "verified-tracks-ref-metadata": {"failure-reason": left, **made}}
        key = f"{job.labels}{at}/SeqLabel.json"
        self._labels.write(key, msgspec.json.encode(seq_label(left, sequence.names)))
        ids = sorted({box["class-id"] for boxes in left.values() for box in boxes})
        classes = {id: self._classes[int(id)] for id in ids}
        changed = {} if left == sequence.shown else {"adjustment-status": "adjusted"}
        metadata = {"class-map": classes, "type": "groundtruth/video-object-tracking", **made, **changed}
        return {
            **sequence.line,
            "verified-tracks-ref": self._labels.uri(key),
            "verified-tracks-ref-metadata": metadata,
        }


def seq_label(left: Mapping[str, list[dict[str, Any]]], names: list[str]) -> dict[str, Any]:
    """Make the content of a SeqLabel, of the frames with boxes; its numbers are not those of the sequence file."""
    return {
        "tracking-annotations": [
            {"frame-no": str(names.index(name)), "frame": name, "frame-attributes": {}, "annotations": boxes}
            for name, boxes in left.items()
            if boxes
        ]
    }
