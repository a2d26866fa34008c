"""Reads the output of a Ground Truth labelling job. Keys and formats: developer guide, Output data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET

from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import BOXES, CUBOIDS, SEGMENTS, TRACKS
from autolabel.labels.manifest import (
    BOX_TYPE,
    REVIEW,
    VERIFIED,
    BoxLabel,
    BoxMetadata,
    ManifestLine,
    metadata_of,
    raw,
    read_line,
)
from autolabel.labels.reviews import MAX_REVIEW, Marks, Review, known_seconds, read_review
from autolabel.streams.json_depth import is_deep
from autolabel.streams.ordered_map import map_in_order
from autolabel.verification.consolidation import ANSWERS, ASKED
from autolabel.verification.cuboid_labels import RIGHT_HANDED, CuboidYaw, expand_cuboids
from autolabel.verification.jobs import LABELS, JobRound, ReviewersOf, one_reviewer
from autolabel.verification.sequence_labels import ReviewOf, expand_labels, expand_output
from autolabel.verification.sequences import GivenManifest, shown_manifest

_OUTPUT = "manifests/output/output.manifest"
_RESPONSES = "annotations/worker-response/iteration-1/"
# Threads: reading a response mostly waits for S3.
_READERS = 16
# A box of a response takes about a hundred bytes. Our worker page adds at most MAX_REVIEW.
_MAX_RESPONSE = 200_000 + 2 * MAX_REVIEW
# One to a strip has the boxes of up to 2,000 frames.
_MAX_STRIP_RESPONSE = 50_000_000
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def write_shown(manifest: str, label_bucket: Bucket) -> GivenManifest:
    """Write the lines of a job with the view of each frame as `source-ref`, so that nothing leads to the frame.

    `manifest`: the S3 URI of the job's frames. A repeated call writes the same.
    """
    key = manifest.removeprefix(label_bucket.uri(""))

    def shown(body: bytes) -> bytes:
        line = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return msgspec.json.encode(line | {"source-ref": line["review-ref"]}) + b"\n"

    label_bucket.write_stream(shown_manifest(key), map(shown, label_bucket.lines(key)), "application/jsonl")
    return GivenManifest(label_bucket.uri(shown_manifest(key)))


def _with_source(body: bytes, sources: Mapping[str, str]) -> bytes:
    """Return an output line with its frame as `source-ref`, if the job was given the frame's view."""
    try:
        shown = msgspec.json.decode(body, type=_Source).source_ref
        source = sources.get(shown, shown)
        if source == shown:
            return body
        return msgspec.json.encode(msgspec.json.decode(body, type=dict[str, msgspec.Raw]) | {"source-ref": source})
    except _BROKEN:
        return body


def read_output(
    one: JobRound,
    frames: Iterable[bytes],
    label_bucket: Bucket,
    classes: Sequence[str] = (),
    reviewers: ReviewersOf = one_reviewer,
    yaw: CuboidYaw = RIGHT_HANDED,
) -> Iterator[bytes]:
    """Yield the lines of a labelling job's output manifest, each with the `review` of its response, if there is one.

    A line for which several reviewers were asked has their `answers` in the place of a label: the guide says of Ground
    Truth's own consolidation only that it averages similar boxes, and its label does not say who differs.

    `frames`: the lines of the job's manifest; a line's position names its responses. Responses to segments are not
    read, because they hold whole pictures. Tracks are expanded to the boxes of each frame, and the reviews of
    strips are shared among their frames. `classes`: in the order of the class ids. `reviewers`: how many reviewers a
    frame gets, by its S3 URI. `yaw`: how Ground Truth writes that of a cuboid; raises VerificationRefused if the
    cuboids that reviewers left untouched contradict it.
    """
    if not one.output:
        # An earlier attempt of the round left no frame open, and no job was created.
        return
    output = one.output.removeprefix(label_bucket.uri(""))
    if one.task == SEGMENTS:
        sources = {line.shown: line.source_ref for line in map(msgspec.json.Decoder(_Source).decode, frames)}
        yield from (_with_source(body, sources) for body in label_bucket.lines(output))
        return
    if one.task == CUBOIDS:
        yield from expand_cuboids(one.job, output, frames, label_bucket, yaw)
        return
    if one.task == TRACKS:
        yield from expand_output(one, frames, label_bucket, _reviews_of(one, label_bucket))
        return
    responses = (
        _find_responses(label_bucket, output.removesuffix(_OUTPUT) + _RESPONSES) if output.endswith(_OUTPUT) else {}
    )
    places, sources = dict[str, int](), dict[str, str]()
    for place, line in enumerate(map(msgspec.json.Decoder(_Source).decode, frames)):
        places[line.source_ref] = place
        sources[line.shown] = line.source_ref

    def with_review(body: bytes) -> bytes:
        body = _with_source(body, sources)
        try:
            source = msgspec.json.decode(body, type=_Source).source_ref
            keys = responses.get(places.get(source, -1), ())
            if (asked := _asked(one, source, reviewers)) > 1:
                return _with_answers(body, _read_answers(label_bucket, keys), asked, one.job, classes) or body
            response = _read_response(label_bucket, keys)
            return _with_review(body, response) if response else body
        except _BROKEN:
            return body

    yield from map_in_order(with_review, label_bucket.lines(output), _READERS)


def read_answers(
    one: JobRound,
    frames: Callable[[], Iterable[bytes]],
    label_bucket: Bucket,
    classes: Sequence[str],
    reviewers: ReviewersOf = one_reviewer,
    yaw: CuboidYaw = RIGHT_HANDED,
) -> Iterator[bytes]:
    """Yield what reviewers answered before a job was stopped or failed: the output lines of these frames.

    Lines of the output manifest come first, if it is there. Then come frames that it lacks, from the reviewers'
    responses. Segments are in the manifest only, because a response does not say which picture became the label; and so
    are cuboids, whose responses are not documented. The
    format of responses to tracks is not documented (only worker, seconds and notes are read), but their SeqLabels are
    beside them. `one.output`: empty if Ground Truth names no manifest. `frames`: opens the job's manifest;
    `classes`, `reviewers` and `yaw` as in `read_output`. A frame that some of its reviewers have answered is answered.
    """
    folder = _job_folder(one, label_bucket)
    # Ground Truth may write the manifest some minutes after it has named the job as stopped.
    manifest = one.output.removeprefix(label_bucket.uri("")) or folder + _OUTPUT
    attribute = LABELS[one.task]
    found: set[str] = set()
    if label_bucket.exists(manifest):
        named = msgspec.structs.replace(one, output=label_bucket.uri(manifest))
        for body in read_output(named, frames(), label_bucket, classes, reviewers, yaw):
            try:
                line = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
                source = msgspec.json.decode(line["source-ref"], type=str)
            except (*_BROKEN, KeyError):
                continue
            if attribute in line or metadata_of(attribute) in line or ANSWERS in line:
                found.add(source)
                yield body
    if one.task == TRACKS and any(msgspec.json.decode(body, type=_Source).source_ref not in found for body in frames()):
        yield from expand_labels(one, frames(), label_bucket, _reviews_of(one, label_bucket), classes, found)
    if one.task != BOXES:
        return
    responses = _find_responses(label_bucket, folder + _RESPONSES)

    def answered(place: int, body: bytes) -> bytes | None:
        line = read_line(body)
        if line.source_ref in found:
            return None
        if (asked := _asked(one, line.source_ref, reviewers)) > 1:
            return _with_answers(body, _read_answers(label_bucket, responses[place]), asked, one.job, classes)
        answer = _read_response(label_bucket, responses[place])
        if answer is None or answer.answer_content.bounding_box is None:
            return None
        return _answered(line, answer, answer.answer_content.bounding_box.bounding_boxes, one.job, classes)

    places = ((place, body) for place, body in enumerate(frames()) if place in responses)
    yield from filter(None, map_in_order(lambda given: answered(*given), places, _READERS))


def _asked(one: JobRound, source: str, reviewers: ReviewersOf) -> int:
    """Return how many reviewers were asked for a frame: one in a second round."""
    return reviewers(source) if one.round == 1 else 1


def _job_folder(one: JobRound, label_bucket: Bucket) -> str:
    """Return the prefix of the job's output: its name below the S3OutputPath of the state LabelingJob."""
    run = one.manifest.removeprefix(label_bucket.uri("")).rpartition("manifests/")[0]
    return f"{run}verification/{one.job}/"


def _with_answers(
    body: bytes, answers: Iterable[_Answer], asked: int, job: str, classes: Sequence[str]
) -> bytes | None:
    """Make the line of a frame that several workers were asked for; None if none of them left boxes.

    `body`: the line of the output manifest, or of the input.
    """
    line = read_line(body)
    source, human = line.source_ref, _human_annotated(line)
    given = []
    for one in answers:
        if boxes := one.answer_content.bounding_box:
            made = _answered(read_line(body), one, boxes.bounding_boxes, job, classes, human)
            fields = msgspec.json.decode(made, type=dict[str, msgspec.Raw])
            given.append({name: fields[name] for name in (VERIFIED, metadata_of(VERIFIED), REVIEW) if name in fields})
    return msgspec.json.encode({"source-ref": source, ASKED: asked, ANSWERS: given}) if given else None


def _human_annotated(line: ManifestLine) -> str:
    """Return `no` if the output manifest says that no person made the label; responses do not say it."""
    if line.verified_metadata is UNSET:
        return "yes"
    return "no" if msgspec.json.decode(line.verified_metadata, type=_Made).human_annotated == "no" else "yes"


def _answered(
    line: ManifestLine, answer: _Answer, drawn: Sequence[_Drawn], job: str, classes: Sequence[str], human: str = "yes"
) -> bytes:
    """Make the output line of a response, as Ground Truth's consolidation of one worker's answer makes it."""
    ids = {name: i for i, name in enumerate(classes)}
    shown = Counter((box.name, box.left, box.top, box.width, box.height) for box in line.prelabel_boxes)
    adjusted = Counter((box.label, box.left, box.top, box.width, box.height) for box in drawn) != shown
    line.verified = raw(
        {
            "image_size": [line.size],
            "annotations": [
                # An unknown class stays unknown, and settling refuses the label.
                {"class_id": ids.get(b.label, -1), "left": b.left, "top": b.top, "width": b.width, "height": b.height}
                for b in drawn
            ],
        }
    )
    line.verified_metadata = raw(
        {
            "objects": [{"confidence": 0.0} for _ in drawn],
            "class-map": {str(ids.get(name, -1)): name for name in dict.fromkeys(box.label for box in drawn)},
            "type": BOX_TYPE,
            "adjustment-status": "adjusted" if adjusted else "unadjusted",
            "human-annotated": human,
            "creation-date": answer.submission_time.rstrip("Z"),
            "job-name": f"labeling-job/{job.lower()}",
        }
    )
    return _with_review(msgspec.json.encode(line), answer)


class _Source(msgspec.Struct, rename="kebab"):
    source_ref: str
    review_ref: str = ""

    @property
    def shown(self) -> str:
        return self.review_ref or self.source_ref


class _Drawn(msgspec.Struct, frozen=True):
    label: str
    left: float
    top: float
    width: float
    height: float


class _Boxes(msgspec.Struct, rename="camel"):
    bounding_boxes: tuple[_Drawn, ...]


class _Content(msgspec.Struct, rename={"bounding_box": "boundingBox"}):
    bounding_box: _Boxes | None = None
    review: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    worker_id: str = ""
    submission_time: str = ""
    time_spent_in_seconds: float | None = None
    answer_content: _Content = msgspec.field(default_factory=_Content)


class _Made(msgspec.Struct, rename="kebab"):
    human_annotated: Any = None


class _Response(msgspec.Struct):
    answers: list[_Answer]


def _reviews_of(one: JobRound, label_bucket: Bucket) -> ReviewOf:
    """Return what finds the review of a strip, by its place in the manifest (guide: Worker Metadata)."""
    responses = _find_responses(label_bucket, _job_folder(one, label_bucket) + _RESPONSES, _MAX_STRIP_RESPONSE)

    def review_of(place: int) -> Review | None:
        answer = _read_response(label_bucket, responses.get(place, ()))
        return _review(answer) if answer else None

    return review_of


def _find_responses(label_bucket: Bucket, prefix: str, most: int = _MAX_RESPONSE) -> dict[int, list[str]]:
    """Find the keys of the reviewers' responses by the frame's place in the manifest, the oldest first.

    `most`: the most bytes of a response.
    """
    found = defaultdict[int, list[str]](list)
    for response in label_bucket.list(prefix):
        place = response.key.removeprefix(prefix).partition("/")[0]
        if place.isdecimal() and response.size <= most:
            found[int(place)].append(response.key)
    return found


def _read_response(label_bucket: Bucket, keys: Sequence[str]) -> _Answer | None:
    """Read the last of a frame's responses; None if there is none that can be read."""
    return next(iter(_read_answers(label_bucket, keys[-1:])[-1:]), None)


def _read_answers(label_bucket: Bucket, keys: Iterable[str]) -> list[_Answer]:
    """Read all responses to a frame; those that cannot be read are left out. A file has the answer of one worker."""
    answers = list[_Answer]()
    for key in keys:
        with suppress(*_BROKEN):
            answers += msgspec.json.decode(label_bucket.read(key) or b"", type=_Response).answers
    return answers


def _review(answer: _Answer) -> Review:
    review = read_review(answer.answer_content.review)
    seconds = known_seconds(answer.time_spent_in_seconds) if review.seconds is None else review.seconds
    return msgspec.structs.replace(review, worker=answer.worker_id, seconds=seconds)


def _with_review(body: bytes, answer: _Answer) -> bytes:
    line: dict[str, Any] = msgspec.json.decode(body)
    if is_deep(line):
        # JSON that is barely shallow enough to read may be too deep to write.
        return body
    review = _review(answer)
    marks = _marks(line, review, answer.answer_content.bounding_box)
    return msgspec.json.encode({**line, REVIEW: msgspec.structs.replace(review, boxes=marks)})


def _marks(line: dict[str, Any], review: Review, drawn: _Boxes | None) -> tuple[Marks, ...]:
    """Return the marks in the order of the label's boxes. Ground Truth's consolidation may have changed the order."""
    if drawn is None or not any(review.boxes):
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
