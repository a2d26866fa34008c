"""Reads the output of a Ground Truth labelling job. Keys and formats: developer guide, Output data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from autolabel.contracts.ports import Bucket, StoredObject
from autolabel.contracts.verification import SEGMENTS
from autolabel.labels.manifest import REVIEW, VERIFIED, BoxLabel, BoxMetadata, metadata_of
from autolabel.labels.reviews import MAX_REVIEW, Marks, Review, known_seconds, read_review
from autolabel.streams.json_depth import is_deep
from autolabel.streams.ordered_map import map_in_order
from autolabel.verification.jobs import JobRound

_OUTPUT = "manifests/output/output.manifest"
_RESPONSES = "annotations/worker-response/iteration-1/"
# Threads: reading a response mostly waits for S3.
_READERS = 16
# A box of a response takes about a hundred bytes. Our worker page adds at most MAX_REVIEW.
_MAX_RESPONSE = 200_000 + 2 * MAX_REVIEW


def read_output(one: JobRound, frames: Iterable[bytes], label_bucket: Bucket) -> Iterator[bytes]:
    """Yield the lines of a labelling job's output manifest, each with the `review` of its response, if there is one.

    `frames`: the lines of the job's manifest; a line's position names its response. Responses to segments are not
    read, because they hold whole pictures.
    """
    output = one.output.removeprefix(label_bucket.uri(""))
    if one.task == SEGMENTS:
        yield from label_bucket.lines(output)
        return
    responses = (
        _read_responses(label_bucket, output.removesuffix(_OUTPUT) + _RESPONSES) if output.endswith(_OUTPUT) else {}
    )
    places = {msgspec.json.decode(body, type=_Source).source_ref: place for place, body in enumerate(frames)}
    for body in label_bucket.lines(output):
        try:
            source = msgspec.json.decode(body, type=_Source).source_ref
            response = responses.get(places.get(source, -1))
            line = _with_review(body, response) if response else body
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            line = body
        yield line


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str


class _Drawn(msgspec.Struct, frozen=True):
    label: str
    left: float
    top: float
    width: float
    height: float


class _Boxes(msgspec.Struct, rename="camel"):
    bounding_boxes: tuple[_Drawn, ...] = ()


class _Content(msgspec.Struct, rename={"bounding_box": "boundingBox"}):
    bounding_box: _Boxes = msgspec.field(default_factory=_Boxes)
    review: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    worker_id: str = ""
    time_spent_in_seconds: float | None = None
    answer_content: _Content = msgspec.field(default_factory=_Content)


class _Response(msgspec.Struct):
    answers: list[_Answer]


def _read_responses(label_bucket: Bucket, prefix: str) -> dict[int, _Answer]:
    """Read the reviewers' responses by the frame's position in the manifest. The last one of a frame counts."""

    def read(found: StoredObject) -> tuple[int, _Answer | None]:
        place = found.key.removeprefix(prefix).partition("/")[0]
        if not place.isdecimal() or found.size > _MAX_RESPONSE:
            return -1, None
        try:
            answers = msgspec.json.decode(label_bucket.read(found.key) or b"", type=_Response).answers
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return -1, None
        return int(place), answers[-1] if answers else None

    return {place: answer for place, answer in map_in_order(read, label_bucket.list(prefix), _READERS) if answer}


def _with_review(body: bytes, answer: _Answer) -> bytes:
    line: dict[str, Any] = msgspec.json.decode(body)
    if is_deep(line):
        # JSON that is barely shallow enough to read may be too deep to write.
        return body
    review = read_review(answer.answer_content.review)
    seconds = known_seconds(answer.time_spent_in_seconds) if review.seconds is None else review.seconds
    review = msgspec.structs.replace(
        review, worker=answer.worker_id, seconds=seconds, boxes=_marks(line, review, answer.answer_content.bounding_box)
    )
    return msgspec.json.encode({**line, REVIEW: review})


def _marks(line: dict[str, Any], review: Review, drawn: _Boxes) -> tuple[Marks, ...]:
    """Return the marks in the order of the label's boxes. Ground Truth's consolidation may have changed the order."""
    if not any(review.boxes):
        return ()
    marks = {
        (box.label, box.left, box.top, box.width, box.height): mark
        for box, mark in zip(drawn.bounding_boxes, review.boxes, strict=False)
    }
    try:
        label = msgspec.convert(line.get(VERIFIED), BoxLabel)
        names = msgspec.convert(line.get(metadata_of(VERIFIED)), BoxMetadata).class_map
    except msgspec.ValidationError:
        return ()
    return tuple(
        marks.get((names.get(str(box.class_id), ""), box.left, box.top, box.width, box.height), Marks())
        for box in label.annotations
    )
