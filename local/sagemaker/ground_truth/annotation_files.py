"""The files below a job's output path: workers' answers, input and output of consolidation, the manifest.

Places and shapes: developer guide, "Output data" (output directories, worker metadata) and "Post-annotation Lambda".
File names are as in AWS's samples, e.g. `2021-03-08_23:06:49.json`.
"""

from __future__ import annotations

import datetime
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from local.sagemaker.ground_truth.tasks import Result
from local.sagemaker.names import REGION, S3Uri
from local.sagemaker.ports import ObjectStore

_JSON = "application/json"
_SPOOL_BYTES = 1 << 20
# Number of objects that are consolidated together.
_BATCH = 100

# A task's number, its line and its result, None when it has none.
Task = tuple[int, Mapping[str, Any], Result | None]


def worker_answer(
    worker: str, content: Mapping[str, Any], accepted: float, submitted: float, spent: float
) -> dict[str, Any]:
    """Make a worker's answer as Ground Truth records it; times in seconds since the epoch, `spent` in seconds."""
    identity = {
        "identityProviderType": "Cognito",
        "issuer": f"https://cognito-idp.{REGION}.amazonaws.com/{REGION}_embedded",
        "sub": worker,
    }
    return {
        "acceptanceTime": _moment(accepted),
        "submissionTime": _moment(submitted),
        "timeSpentInSeconds": round(spent, 3),
        "answerContent": content,
        "workerId": f"private.{REGION}.{worker}",
        "workerMetadata": {"identityData": identity},
    }


def accepted_at(answer: Mapping[str, Any]) -> float:
    """Return the time when the worker of an answer got the task, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(answer["acceptanceTime"]).timestamp()


class AnnotationFiles:
    """Writes files below `place`, the job's own folder; methods raise StorageError."""

    def __init__(self, objects: ObjectStore, place: S3Uri, kms_key: str | None) -> None:
        self._objects = objects
        self.place = place
        self._kms_key = kms_key

    def write_response(self, number: int, answer: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> None:
        """Write the answer of a task's worker, in place of their earlier one, which has the same name.

        `answers`: all of the task so far, in the order of the first one of each worker. Each has a second of its own,
        from the first one's on, because names have no smaller unit.
        """
        first = datetime.datetime.fromtimestamp(accepted_at(answers[0]), datetime.UTC)
        name = _file_name(first + datetime.timedelta(seconds=answers.index(answer)))
        place = self.place.below("annotations", "worker-response", "iteration-1", str(number), name)
        self._write(place, json.dumps({"answers": [answer]}, ensure_ascii=False).encode())

    def write_picture(self, number: int, picture: bytes) -> S3Uri:
        """Write the segments of a task, a PNG; return its URI."""
        moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        place = self.place.below("annotations", "consolidated-annotation", "output", f"{number}_{moment}.png")
        self._objects.write(place, picture, "image/png", self._kms_key)
        return place

    def write_tracks(self, number: int, label: Mapping[str, Any]) -> S3Uri:
        """Write the tracks of a task, a SeqLabel; return its URI."""
        place = self.place.below("annotations", "consolidated-annotation", "output", str(number), "SeqLabel.json")
        self._write(place, json.dumps(label, ensure_ascii=False).encode())
        return place

    def write_results(self, tasks: Iterable[Task]) -> S3Uri:
        """Write consolidation's input and output and the output manifest; return the manifest's URI.

        The manifest has every line of the input: those of tasks without a result are as they were.
        """
        place = self.place.below("manifests", "output", "output.manifest")
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as output:
            began = datetime.datetime.now(datetime.UTC)
            for batch, chunk in enumerate(_batches(tasks)):
                for _, line, result in chunk:
                    attributes = result.attributes if result else {}
                    output.write(json.dumps({**line, **attributes}, ensure_ascii=False).encode() + b"\n")
                self._write_consolidation(_file_name(began + datetime.timedelta(seconds=batch)), chunk)
            output.seek(0)
            self._write(place, output)
        return place

    def _write_consolidation(self, name: str, tasks: list[Task]) -> None:
        answered = [(str(number), line, result) for number, line, result in tasks if result and result.answer]
        if not answered:
            return
        requests = [
            {
                "datasetObjectId": number,
                "dataObject": {"s3Uri": line["source-ref"]},
                "annotations": [
                    {
                        "workerId": answer["workerId"],
                        "annotationData": {"content": json.dumps(answer["answerContent"], ensure_ascii=False)},
                    }
                    for answer in result.all_answers
                ],
            }
            for number, line, result in answered
        ]
        responses = [
            {"datasetObjectId": number, "consolidatedAnnotation": {"content": result.attributes}}
            for number, _, result in answered
        ]
        for kind, content in (("consolidation-request", requests), ("consolidation-response", responses)):
            place = self.place.below("annotations", "consolidated-annotation", kind, "iteration-1", name)
            self._write(place, json.dumps(content, ensure_ascii=False).encode())

    def _write(self, place: S3Uri, body: IO[bytes] | bytes) -> None:
        self._objects.write(place, body, _JSON, self._kms_key)


def _batches(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    rest = iter(tasks)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def _file_name(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d_%H:%M:%S.json")
