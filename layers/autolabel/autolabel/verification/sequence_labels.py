"""Expands what a job of tracks left, a SeqLabel for each sequence, to one line for each frame, with its boxes.

A line has the shape of a job of boxes, and the ids of the tracks in the `objects` of its metadata, so settling takes it
as any other. Lines join by the frame's name: `frame-no` is a number in one page of the guide and a text in another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.labels.manifest import BOX_TYPE, REVIEW, VERIFIED, BoxAnnotation, BoxLabel, BoxObject, metadata_of, raw
from autolabel.labels.reviews import Review, share_review
from autolabel.verification.jobs import ATTRIBUTES, JobRound
from autolabel.verification.rules import sentence
from autolabel.verification.sequences import (
    STRIP,
    SequenceLine,
    ShownFrame,
    TrackBox,
    own_id,
    read_sequence,
    read_sequence_lines,
    shown_frames,
)

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# A box takes about 250 bytes. An attribute of a manifest line, and so a pre-label, has at most some 250 boxes.
_MAX_FRAME = 64_000
# A line of the output manifest has URIs and the class map.
_MAX_LINE = 100_000
# A name must not begin with a dot, because clients resolve `..` in the path of a request.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:+-]*"
_LABELS = re.compile(rf"({_NAME}/)*{_NAME}\.json")
# S3's limit is 1,024 bytes; the keys of our jobs are shorter.
_MAX_KEY = 900
# A line that settling counts as broken.
_UNREADABLE = b"null"
_Text = Annotated[str, msgspec.Meta(max_length=200)]
# Returns the review of a sequence by its place in the job's manifest; None if there is none that can be read.
ReviewOf: TypeAlias = Callable[[int], Review | None]


class _Metadata(msgspec.Struct, rename="kebab"):
    """How the tracks of a sequence were made. `adjustment_status` is absent where no box was changed."""

    class_map: dict[str, _Text] = {}
    adjustment_status: _Text = ""
    human_annotated: _Text = ""
    creation_date: _Text = ""
    job_name: _Text = ""


class _SeqLabel(msgspec.Struct, rename="kebab"):
    tracking_annotations: list[msgspec.Raw]


class _Named(msgspec.Struct):
    frame: str


class _Box(msgspec.Struct, rename="kebab"):
    class_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,4}\Z")] | int
    left: float
    top: float
    width: float
    height: float
    object_id: str = ""


class _Boxes(msgspec.Struct):
    annotations: list[_Box]


class _Left(NamedTuple):
    """A box that a reviewer left or was shown. `id`: of its object."""

    class_id: int
    name: str
    left: float
    top: float
    width: float
    height: float
    id: str


def expand_output(one: JobRound, frames: Iterable[bytes], label_bucket: Bucket, review_of: ReviewOf) -> Iterator[bytes]:
    """Yield a line for each frame of the sequences in a job's output manifest, with its share of the review.

    `frames`: the lines of the job's frames. `review_of`: finds the review of a sequence. A frame of a failed sequence
    has its failure, one of a sequence without an answer no label. Lines of other sequences, second lines of one, and
    unreadable ones give lines that settling counts as foreign, doubled and broken; so do such frames of a SeqLabel.
    """
    known = shown_frames(frames)
    lines = enumerate(read_sequence_lines(one.given or one.manifest, label_bucket))
    sequences = {line.sequence: (place, line) for place, line in lines}
    answered: dict[str, str] = {}
    attribute, folder = ATTRIBUTES[one.task], _results(one, label_bucket)
    for body in label_bucket.lines(one.output.removeprefix(label_bucket.uri(""))):
        try:
            line = msgspec.json.decode(body if len(body) <= _MAX_LINE else _UNREADABLE, type=dict[str, msgspec.Raw])
            source = msgspec.json.decode(line["source-ref"], type=str)
        except (*_BROKEN, KeyError):
            yield _UNREADABLE
            continue
        if source not in sequences:
            yield _line(f"sequence {source}")
        elif source in answered:
            yield _line(answered[source])
        else:
            place, given = sequences[source]
            sequence = _Sequence(given, known, label_bucket, review_of(place))
            answered[source] = sequence.sources[0]
            yield from sequence.lines(line.get(attribute), line.get(metadata_of(attribute)), folder)


def expand_labels(
    one: JobRound,
    frames: Iterable[bytes],
    label_bucket: Bucket,
    review_of: ReviewOf,
    classes: Sequence[str],
    known: Collection[str],
) -> Iterator[bytes]:
    """Yield a line for each frame of the sequences that have a SeqLabel, but no answer in an output manifest.

    A job that fails may leave no manifest. `frames`: the lines of the job's frames; `known`: the S3 URIs of those with
    an answer. `review_of`: finds the review of a sequence. `classes`: in the order of the class ids.
    """
    shown = shown_frames(frames)
    place = _results(one, label_bucket)
    folder = f"{place}{one.job}/annotations/consolidated-annotation/output/"
    times = {found.key: found.modified for found in label_bucket.list(folder.removeprefix(label_bucket.uri("")))}
    for number, line in enumerate(read_sequence_lines(one.given or one.manifest, label_bucket)):
        uri = f"{folder}{number}/SeqLabel.json"
        time = times.get(uri.removeprefix(label_bucket.uri("")))
        if time is None:
            continue
        sequence = _Sequence(line, shown, label_bucket, review_of(number))
        if sequence.sources[0] in known:
            continue
        made = _Metadata(
            class_map={str(id): name for id, name in enumerate(classes)},
            adjustment_status="adjusted",
            human_annotated="yes",
            creation_date=datetime.fromtimestamp(time, UTC).replace(tzinfo=None).isoformat(),
            job_name=f"labeling-job/{one.job.lower()}",
        )
        yield from sequence.named_lines(uri, made, place)


def _results(one: JobRound, label_bucket: Bucket) -> str:
    """Return the S3 URI below which the jobs of the run write."""
    run = one.manifest.removeprefix(label_bucket.uri("")).rpartition("manifests/")[0]
    return label_bucket.uri(f"{run}verification/")


class _Sequence:
    """A sequence of the job. `sources`: the S3 URIs of its frames. `review`: of the whole sequence, if it is known."""

    def __init__(
        self, line: SequenceLine, known: Mapping[str, ShownFrame], label_bucket: Bucket, review: Review | None
    ) -> None:
        self._uri = line.sequence
        self._label_bucket = label_bucket
        sequence, shown = read_sequence(line, label_bucket)
        self._places = {frame.frame: at for at, frame in enumerate(sequence.frames)}
        self._reviews = dict(zip(self._places, share_review(review, len(self._places)), strict=True)) if review else {}
        self._frames = [known[uri] for uri in sequence.shown]
        self._shown = {name: [_as_left(box, line.metadata.class_map) for box in boxes] for name, boxes in shown.items()}
        self._ids = {box.id for boxes in self._shown.values() for box in boxes}
        self.sources = [frame.source for frame in self._frames]

    def lines(self, label: msgspec.Raw | None, metadata: msgspec.Raw | None, place: str) -> Iterator[bytes]:
        """Yield the lines of the sequence's frames. `place`: the S3 URI below which its SeqLabel must be."""
        try:
            if metadata and "failure-reason" in (told := msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])):
                yield from self._failed(told["failure-reason"])
                return
            if label is None:
                yield from map(_line, self.sources)
                return
            made = msgspec.json.decode(metadata or b"null", type=_Metadata)
            entries = self._read(msgspec.json.decode(label, type=str), place)
        except _BROKEN as e:
            yield from self._failed(raw(sentence(f"the tracks of the sequence cannot be read: {e}")))
            return
        yield from self._joined(entries, made)

    def named_lines(self, uri: str, made: _Metadata, place: str) -> Iterator[bytes]:
        """Yield the lines of the sequence's frames from a SeqLabel that no manifest names.

        Yields none if it cannot be read, or names no frame or another one: then it may be of another sequence.
        """
        try:
            entries = self._read(uri, place)
            names = {msgspec.json.decode(entry, type=_Named).frame for entry in entries}
        except _BROKEN:
            return
        if names and names <= self._places.keys():
            yield from self._joined(entries, made)

    def _failed(self, reason: msgspec.Raw) -> Iterator[bytes]:
        return (_line(source, metadata=raw({"failure-reason": reason})) for source in self.sources)

    def _read(self, uri: str, place: str) -> list[msgspec.Raw]:
        """Read a SeqLabel's frames; raises msgspec.ValidationError, which says why it does not count."""
        if not uri.startswith(place) or len(uri) > _MAX_KEY or not _LABELS.fullmatch(uri, len(place)):
            raise msgspec.ValidationError(f"the tracks are not a JSON document below {place}: {uri}")
        key = uri.removeprefix(self._label_bucket.uri(""))
        head = self._label_bucket.head(key)
        most = _MAX_FRAME * (1 + len(self._frames))
        if head is None or head.size > most:
            raise msgspec.ValidationError("it is gone" if head is None else f"it has more than {most:,} bytes")
        return msgspec.json.decode(self._label_bucket.read(key) or b"", type=_SeqLabel).tracking_annotations

    def _joined(self, entries: Iterable[msgspec.Raw], made: _Metadata) -> Iterator[bytes]:
        listed = set[str]()
        for entry in entries:
            try:
                name = msgspec.json.decode(entry, type=_Named).frame
            except _BROKEN:
                yield _UNREADABLE
                continue
            if name not in self._places or name in listed:
                yield _line(self.sources[self._places[name]] if name in listed else f"{self._uri} {name}")
                continue
            listed.add(name)
            try:
                yield self._labelled(name, self._left(name, entry, made), made)
            except _BROKEN as e:
                reason = raw({"failure-reason": f"the boxes cannot be read: {e}"})
                yield _line(self.sources[self._places[name]], metadata=reason)
        for name in self._places:
            if name not in listed:
                # The file has all boxes of all frames, so a frame that it lacks has none. But where no box of the
                # sequence was changed, those that were shown stand.
                kept = () if made.adjustment_status == "adjusted" else self._shown.get(name, ())
                yield self._labelled(name, kept, made)

    def _left(self, name: str, entry: msgspec.Raw, made: _Metadata) -> list[_Left]:
        """Read the boxes of a frame. Ids that were shown stay, and an object has one box in a frame."""
        left, used = list[_Left](), set[str]()
        for number, box in enumerate(msgspec.json.decode(entry, type=_Boxes).annotations):
            id = box.object_id if box.object_id in self._ids else own_id(self._uri, box.object_id)
            if not box.object_id or id in used:
                id = own_id(self._uri, name, number)
            used.add(id)
            class_id = int(box.class_id)
            known = made.class_map.get(str(class_id))
            if known is None:
                raise msgspec.ValidationError(f"class {class_id} has no name in the class map")
            left.append(_Left(class_id, known, box.left, box.top, box.width, box.height, id))
        return left

    def _labelled(self, name: str, boxes: Sequence[_Left], made: _Metadata) -> bytes:
        """Make the line of a frame, as a job of boxes leaves it."""
        frame = self._frames[self._places[name]]
        unchanged = Counter(box[1:] for box in boxes) == Counter(box[1:] for box in self._shown.get(name, ()))
        label = BoxLabel(
            [frame.size],
            [BoxAnnotation(box.class_id, box.left, box.top, box.width, box.height) for box in boxes],
        )
        metadata = {
            "objects": [BoxObject(track=box.id) for box in boxes],
            "class-map": {str(box.class_id): box.name for box in boxes},
            "type": BOX_TYPE,
            "adjustment-status": "unadjusted" if unchanged else "adjusted",
            "human-annotated": made.human_annotated,
            "creation-date": made.creation_date,
            "job-name": made.job_name,
        }
        return _line(frame.source, raw(label), raw(metadata), self._reviews.get(name), self._uri)


def _as_left(box: TrackBox, class_map: Mapping[str, str]) -> _Left:
    return _Left(int(box.class_id), class_map[box.class_id], box.left, box.top, box.width, box.height, box.object_id)


def _line(
    source: str,
    label: msgspec.Raw | None = None,
    metadata: msgspec.Raw | None = None,
    review: Review | None = None,
    strip: str | None = None,
) -> bytes:
    """Encode a line of the job's output for one frame. `strip`: the S3 URI of the sequence that has its label."""
    parts = {"source-ref": source, VERIFIED: label, metadata_of(VERIFIED): metadata, REVIEW: review, STRIP: strip}
    return msgspec.json.encode({name: part for name, part in parts.items() if part is not None})
