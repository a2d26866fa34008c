"""Sequences: the strips of frames in which reviewers verify tracks, as Ground Truth's video jobs take them.

The frames of a job stay the unit that settling accounts for. What Ground Truth gets is made of them: a sequence file
and the tracks to begin from (a SeqLabel) for each strip, and a manifest that names these. Shapes and limits: developer
guide, sms-video-manual-data-setup and sms-data-output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.labels.manifest import (
    PRELABEL_TRACKS,
    TRACKS_TYPE,
    ImageSize,
    LabelledBox,
    ManifestLine,
    metadata_of,
    read_line,
)

# How the manifests end that Ground Truth gets in the place of that of the frames: of sequences, and of views.
SEQUENCES = ".sequences.manifest"
SHOWN = ".shown.manifest"
# The attribute of a box that tells its uncertainty.
UNCERTAINTY = "uncertainty"
# The attribute of a frame's line of answers that names the sequence with its label.
STRIP = "strip"
_NANOSECONDS = 1_000_000_000


class SequenceFrame(msgspec.Struct, frozen=True, rename="kebab"):
    """A frame of a sequence file. `frame`: its name below the file's prefix; `unix_timestamp`: whole seconds."""

    frame_no: int
    frame: str
    unix_timestamp: int


class SequenceFile(msgspec.Struct, frozen=True, rename="kebab"):
    """A sequence: consecutive frames of one camera, in the order of their names, which is that of time."""

    seq_no: int
    prefix: str
    number_of_frames: int
    frames: tuple[SequenceFrame, ...]

    @property
    def shown(self) -> list[str]:
        """Return the S3 URIs of the objects that reviewers see, in order."""
        return [self.prefix + frame.frame for frame in self.frames]


class TrackBox(msgspec.Struct, frozen=True, rename="kebab"):
    """A box of a SeqLabel, in whole pixels. `object_id`: of its track; `object_name`: as in `car:1`.

    `label_category_attributes`: UNCERTAINTY, 0 to 1 in two digits, of a box of the models.
    """

    class_id: str
    left: int
    top: int
    width: int
    height: int
    object_id: str
    object_name: str
    label_category_attributes: dict[str, str | float] = {}


class TrackFrame(msgspec.Struct, frozen=True, rename="kebab"):
    """The boxes of a frame in a SeqLabel."""

    frame_no: int
    frame: str
    annotations: tuple[TrackBox, ...]


class SeqLabel(msgspec.Struct, frozen=True, rename="kebab"):
    """The tracks of a sequence. A frame that is not listed has no boxes."""

    tracking_annotations: tuple[TrackFrame, ...]


class TracksMetadata(msgspec.Struct, frozen=True, rename="kebab"):
    """The metadata of the tracks that reviewers begin from. `class_map`: the names of the class ids that they have."""

    class_map: dict[str, str]
    type: str
    human_annotated: str
    creation_date: str
    job_name: str


class SequenceLine(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={
        "sequence": "source-ref",
        "prelabel": PRELABEL_TRACKS,
        "metadata": metadata_of(PRELABEL_TRACKS),
        "candidates": "candidates-ref",
    },
):
    """A line of the manifest of sequences: the S3 URIs of the sequence file and of the SeqLabel to begin from.

    `candidates`: the S3 URI of the candidates, a SeqLabel too, if there are any. Ground Truth does not read them; a
    worker's page may, to follow an object that a reviewer draws.
    """

    sequence: str
    prelabel: str
    metadata: TracksMetadata
    candidates: str = ""


class GivenManifest(msgspec.Struct, frozen=True):
    """What Ground Truth gets in the place of the manifest of a job's frames: the S3 URI of a manifest."""

    manifest: str


class ShownFrame(NamedTuple):
    """A frame of a job: its own S3 URI, and its size."""

    source: str
    size: ImageSize


def sequences_manifest(manifest: str) -> str:
    """Return the key or S3 URI of the manifest of sequences; `manifest`: of the job's frames."""
    return manifest.removesuffix(".manifest") + SEQUENCES


def shown_manifest(manifest: str) -> str:
    """Return the key or S3 URI of the manifest with the frames' views; `manifest`: of the job's frames."""
    return manifest.removesuffix(".manifest") + SHOWN


def frames_manifest(given: str) -> str:
    """Return the key or S3 URI of the manifest of a job's frames; `given`: of what Ground Truth got."""
    return f"{given.removesuffix(SEQUENCES).removesuffix(SHOWN).removesuffix('.manifest')}.manifest"


def write_sequences(manifest: str, strip_frames: int, classes: Sequence[str], label_bucket: Bucket) -> GivenManifest:
    """Write the sequences of a job, once, since a job may be at work with them.

    `manifest`: the S3 URI of the job's frames; `strip_frames`: the most in a sequence. `classes`: in the order of the
    class ids. Raises CountMismatch for frames that are not in the order of their names, as the worker's page sorts
    them.
    """
    key = manifest.removeprefix(label_bucket.uri(""))
    name = sequences_manifest(key)
    if not label_bucket.exists(name):
        folder = f"{name.removesuffix('.manifest')}/"
        lines = (
            msgspec.json.encode(_write_sequence(folder, number, strip, classes, label_bucket)) + b"\n"
            for number, strip in enumerate(cut_strips(map(read_line, label_bucket.lines(key)), strip_frames), 1)
        )
        label_bucket.write_stream(name, lines, "application/jsonl", once=True)
    return GivenManifest(label_bucket.uri(name))


def cut_strips(lines: Iterable[ManifestLine], strip_frames: int) -> Iterator[list[ManifestLine]]:
    """Cut a job's frames into strips of one prefix, and of one name where the lines name their strips.

    `strip_frames`: the most in a strip. Raises CountMismatch for frames that are not in the order of their names.
    """
    strip, before = list[ManifestLine](), ""
    for line in lines:
        prefix, _, name = line.shown_ref.rpartition("/")
        same = bool(strip) and strip[0].shown_ref.rpartition("/")[0] == prefix
        same = same and strip[0].strip == line.strip
        if same and name.encode() <= before.encode():
            raise CountMismatch(f"{line.source_ref} comes after {before}, and the worker's page sorts frames by name")
        if strip and (not same or len(strip) == strip_frames):
            yield strip
            strip = []
        strip.append(line)
        before = name
    if strip:
        yield strip


def read_sequence_lines(manifest: str, label_bucket: Bucket) -> Iterator[SequenceLine]:
    """Read the manifest of a job's sequences. `manifest`: the S3 URI of its frames."""
    key = sequences_manifest(manifest.removeprefix(label_bucket.uri("")))
    return map(msgspec.json.Decoder(SequenceLine).decode, label_bucket.lines(key))


def read_sequence(line: SequenceLine, label_bucket: Bucket) -> tuple[SequenceFile, dict[str, tuple[TrackBox, ...]]]:
    """Read a sequence that `write_sequences` wrote, and the boxes that it shows, by the name of the frame."""
    sequence = msgspec.json.decode(_read(line.sequence, label_bucket), type=SequenceFile)
    shown = msgspec.json.decode(_read(line.prelabel, label_bucket), type=SeqLabel)
    return sequence, {frame.frame: frame.annotations for frame in shown.tracking_annotations}


def shown_frames(frames: Iterable[bytes]) -> dict[str, ShownFrame]:
    """Find the frames of a job by the S3 URIs of what reviewers see. `frames`: the lines of its manifest."""
    return {line.shown_ref: ShownFrame(line.source_ref, line.size) for line in map(read_line, frames)}


def count_sequences(manifest: str, labelled: Collection[str], label_bucket: Bucket) -> int:
    """Count the sequences of a job that have a labelled frame, since Ground Truth counts sequences.

    `manifest`: the S3 URI of the job's frames; `labelled`: the S3 URIs of those with a label.
    """
    frames = shown_frames(label_bucket.lines(manifest.removeprefix(label_bucket.uri(""))))
    files = (_read(line.sequence, label_bucket) for line in read_sequence_lines(manifest, label_bucket))
    sequences = map(msgspec.json.Decoder(SequenceFile).decode, files)
    return sum(any(frames[uri].source in labelled for uri in sequence.shown) for sequence in sequences)


def own_id(*parts: str | int) -> str:
    """Derive the id of an object that no track of the run has."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]


def _read(uri: str, label_bucket: Bucket) -> bytes:
    return label_bucket.read(uri.removeprefix(label_bucket.uri(""))) or b""


def _write_sequence(
    folder: str, number: int, strip: Sequence[ManifestLine], classes: Sequence[str], label_bucket: Bucket
) -> SequenceLine:
    """Write the files of one sequence; return its line of the manifest."""
    names, hints = _Names(classes), _Names(classes)
    prefix = strip[0].shown_ref.rpartition("/")[0] + "/"
    frames = [
        SequenceFrame(at, line.shown_ref.removeprefix(prefix), int(line.origin.timestamp) // _NANOSECONDS)
        for at, line in enumerate(strip, 1)
    ]
    tracks = _label(frames, ([names.box(*shown) for shown in shown_tracks(line)] for line in strip))
    candidates = _label(frames, ([hints.box(*weak) for weak in _weak_boxes(line)] for line in strip))
    stem = f"{folder}{number:02d}"
    sequence, prelabel, hinted = f"{stem}.json", f"{stem}.SeqLabel.json", ""
    label_bucket.write(sequence, msgspec.json.encode(SequenceFile(number, prefix, len(frames), tuple(frames))))
    label_bucket.write(prelabel, msgspec.json.encode(tracks))
    if candidates.tracking_annotations:
        label_bucket.write(f"{stem}.candidates.json", msgspec.json.encode(candidates))
        hinted = label_bucket.uri(f"{stem}.candidates.json")
    made = msgspec.json.decode(strip[0].prelabel_metadata or b"{}", type=_Made)
    metadata = TracksMetadata(names.class_map, TRACKS_TYPE, "no", made.creation_date, made.job_name)
    return SequenceLine(label_bucket.uri(sequence), label_bucket.uri(prelabel), metadata, hinted)


def _label(frames: Iterable[SequenceFrame], boxes: Iterable[Sequence[TrackBox]]) -> SeqLabel:
    """Make a SeqLabel of the boxes of each frame. A frame without boxes is left out."""
    shown = zip(frames, boxes, strict=True)
    return SeqLabel(tuple(TrackFrame(frame.frame_no, frame.frame, tuple(own)) for frame, own in shown if own))


class _Made(msgspec.Struct, rename="kebab"):
    creation_date: str = ""
    job_name: str = ""


def shown_tracks(line: ManifestLine) -> Iterator[tuple[LabelledBox, str, float | None]]:
    """Yield the boxes of a frame that reviewers begin from, with the ids of their objects and their uncertainty.

    A box in no track is an object of one frame. What contradicts an earlier label is a box too, since the page of a
    sequence has no marks; a reviewer deletes it if it is wrong.
    """
    ids = line.prelabel_ids
    candidates = line.uncertainty.candidates if line.uncertainty is not UNSET else ()
    levels = line.uncertainty.boxes if line.uncertainty is not UNSET else ()
    new = (LabelledBox(c.label, c.left, c.top, c.width, c.height, c.confidence, c.track) for c in candidates if c.new)
    used = set[str]()
    for at, box in enumerate((*line.prelabel_boxes, *new)):
        id = box.track or (ids[at] if at < len(ids) else "")
        if not id or id in used:
            id = own_id(line.source_ref, at)
        used.add(id)
        yield box, id, levels[at] if at < len(levels) else None


def _weak_boxes(line: ManifestLine) -> Iterator[tuple[LabelledBox, str, None]]:
    """Yield the candidates of a frame that reviewers do not see as boxes, each as an object of its own."""
    candidates = line.uncertainty.candidates if line.uncertainty is not UNSET else ()
    for at, one in enumerate(candidates):
        if not (one.new or one.disputed):
            box = LabelledBox(one.label, one.left, one.top, one.width, one.height, one.confidence)
            yield box, own_id(line.source_ref, "candidate", at), None


class _Names:
    """Numbers the classes and the objects of a sequence. `class_map`: the classes that it has."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._ids = {name: str(at) for at, name in enumerate(classes)}
        self._objects: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.class_map: dict[str, str] = {}

    def box(self, box: LabelledBox, id: str, level: float | None) -> TrackBox:
        class_id = self._ids[box.name]
        self.class_map[class_id] = box.name
        if id not in self._objects:
            self._counts[box.name] = self._counts.get(box.name, 0) + 1
            self._objects[id] = f"{box.name}:{self._counts[box.name]}"
        sides = (round(box.left), round(box.top), round(box.width), round(box.height))
        attributes: dict[str, str | float] = {} if level is None else {UNCERTAINTY: f"{level:.2f}"}
        return TrackBox(class_id, *sides, id, self._objects[id], attributes)
