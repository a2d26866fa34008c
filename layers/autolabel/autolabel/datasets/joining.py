"""Joins the frames of a part of a run with the labels from its verification job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, repeat
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import (
    ACCEPTED,
    BETWEEN,
    BLIND_AUDIT,
    EVERYTHING,
    KEPT,
    TRACKS,
    UNREVIEWED,
    VerifyAll,
    VerifyKeyFrames,
    VerifyNone,
)
from autolabel.datasets.in_between import label_between
from autolabel.datasets.parts import Part
from autolabel.datasets.strip_tracks import adopt_track_ids
from autolabel.datasets.verified_labels import JobTally, VerifiedLabels
from autolabel.labelling.earlier_labels import EarlierFrame, earlier_frames, keep_label
from autolabel.labelling.shards import LabelledShard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import LabelledBox, LabelledBy, ManifestLine, Origin, PrelabelTracks, read_line
from autolabel.reporting.findings import is_searched
from autolabel.sequences.linked_shards import read_track_ids
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.seeds import SeedVerdict

# Threads that read shards ahead, since a read mostly waits for S3. Few, because a shard takes megabytes.
_READERS = 4


class JoinedFrame(NamedTuple):
    """A future line of the dataset, with the frame's uncertainty and, if it is searched, its line of detections.jsonl.

    `position`: among the camera's frames, from 0. `expected`: of a blind audit between key frames, the boxes to which
    these lead; None for other frames. `seed`: what a reviewer made of the frame's seed, if it had one. `redrawn`: what
    a second person drew blind in a key frame, if one did.
    """

    line: ManifestLine
    uncertainty: FrameUncertainty
    candidates: bytes
    position: int
    expected: list[LabelledBox] | None = None
    seed: SeedVerdict | None = None
    redrawn: list[LabelledBox] | None = None


NO_REVIEWERS = "the drive asks for no reviewers"


class _ShardLines(NamedTuple):
    """The lines of a shard's parts, as they are read ahead."""

    shard: LabelledShard
    manifest: list[bytes]
    uncertainties: list[bytes]
    candidates: Iterable[bytes]
    earlier: list[EarlierFrame]
    tracks: Sequence[list[str] | None]


class Join:
    """Joins the shards of a part with the reviewers' labels, in the order of the drive.

    Once all frames are joined, `tally` is complete: it counts those of the part's job.
    """

    def __init__(self, run: Run, part: Part, label_bucket: Bucket) -> None:
        self._run = run
        self._part = part
        self._label_bucket = label_bucket
        self._kinds = _kinds(run, part, label_bucket)
        policy = run.document.verification
        self._policy = policy
        self._names: dict[str, str] = {}
        self._verified = VerifiedLabels(part.job, label_bucket, policy.task) if part.job else None

    @property
    def tally(self) -> JobTally:
        return self._verified.tally if self._verified else JobTally()

    def frames(self) -> Iterator[JoinedFrame]:
        """Yield every frame once. Raises CountMismatch when a frame went to reviewers and is in no job."""
        for shard in map_in_order(self._read, self._part.shards, _READERS):
            joined = self._join(shard)
            if isinstance(self._policy, VerifyKeyFrames):
                joined = self._interpolate(joined)
            elif self._policy.task == TRACKS and not isinstance(self._policy, VerifyAll):
                joined = self._adopt(joined, self._policy.stretch)
            yield from joined
        if self._part.is_last and next(self._kinds, None) is not None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} has more frames than its shards")

    def _read(self, shard: LabelledShard) -> _ShardLines:
        def lines(part: str) -> list[bytes]:
            return list(self._label_bucket.lines(self._run.folder.shard(shard.index, part)))

        return _ShardLines(
            shard,
            lines(shard.part("manifest")),
            lines(shard.part("doubts")),
            lines("detections.jsonl") if is_searched(shard.index, self._part.run_frames) else repeat(b""),
            list(earlier_frames(self._run, shard, self._label_bucket)),
            list(read_track_ids(self._run, shard.index, self._label_bucket))
            if self._part.linked
            else [None] * shard.lines,
        )

    def _join(self, read: _ShardLines) -> Iterator[JoinedFrame]:
        uncertainties = map(msgspec.json.Decoder(FrameUncertainty).decode, read.uncertainties)
        candidates = iter(read.candidates)
        lines = zip(read.manifest, uncertainties, read.earlier, read.tracks, strict=True)
        for position, (body, uncertainty, earlier, tracks) in enumerate(lines, start=read.shard.before):
            line = read_line(body)
            self._label(line, earlier)
            if tracks is not None:
                line.prelabel_tracks = PrelabelTracks(tuple(tracks), (Origin.MODEL,) * len(tracks))
            linked = line.prelabel_tracks
            if linked is UNSET and self._policy.task == TRACKS:
                # A camera with too few frames a second is not linked, but its reviewers made tracks.
                boxes = len(line.prelabel_boxes)
                linked = PrelabelTracks(("",) * boxes, (Origin.MODEL,) * boxes)
            if linked is not UNSET:
                line.tracks, line.origins = carry_tracks(line, linked)
            seed = self._verified.seed(line.source_ref) if self._verified else None
            redrawn = self._verified.redrawn(line.source_ref) if self._verified else None
            yield JoinedFrame(line, uncertainty, next(candidates, b""), position, seed=seed, redrawn=redrawn)

    def _interpolate(self, shard: Iterator[JoinedFrame]) -> Iterator[JoinedFrame]:
        frames = list(shard)
        expected = label_between([frame.line for frame in frames], self._run.labels)
        for frame, boxes in zip(frames, expected, strict=True):
            yield frame._replace(expected=boxes)

    def _adopt(self, shard: Iterator[JoinedFrame], stretch: int) -> Iterator[JoinedFrame]:
        # Of each blind strip alone: the objects of two strips may be of one track.
        for _, group in groupby(shard, key=lambda frame: frame.position // stretch):
            frames = list(group)
            self._names = adopt_track_ids((frame.line for frame in frames), self._names)
            yield from frames

    def _label(self, line: ManifestLine, earlier: EarlierFrame) -> None:
        kind = next(self._kinds, None)
        if kind is None:
            raise CountMismatch(f"the triage of {self._run.drive} {self._run.run} ends before {line.source_ref}")
        if kind == ACCEPTED:
            # The pre-label becomes the label. `human-annotated` in its metadata shows that no person made it.
            line.verified, line.verified_metadata = line.prelabel, line.prelabel_metadata
        elif kind == KEPT and earlier.label:
            keep_label(line, earlier, earlier.label)
        elif kind == UNREVIEWED:
            line.origin.labelled_by, line.origin.verification = LabelledBy.NOBODY, NO_REVIEWERS
        elif kind == BETWEEN:
            pass  # Its label follows from the key frames beside it, once all of its shard are joined.
        elif self._verified is None:
            raise CountMismatch(f"no verification job has {line.source_ref}")
        else:
            self._verified.join(line, earlier, blind=kind == BLIND_AUDIT)
        line.origin.triage = kind


def carry_tracks(line: ManifestLine, tracks: PrelabelTracks) -> tuple[tuple[str, ...], tuple[Origin, ...]]:
    """Return the track ids and the origins of the boxes of a line's label. `tracks`: of its pre-label.

    A box that a person drew is in no track, unless reviewers verified tracks. A box that was shown and left as it was
    keeps its origin, or is the model's and the person's if it was left in a track.
    """
    shown = line.prelabel_boxes
    if len(shown) != len(tracks.ids):
        raise CountMismatch(
            f"{line.source_ref} has {len(shown)} boxes in its pre-label and {len(tracks.ids)} track ids"
        )
    if line.verified is UNSET or line.verified is line.prelabel:
        return tracks.ids, tracks.origins
    of = {id(box): at for at, box in enumerate(shown)}
    pairs = {id(pair.verified): pair.predicted for pair in pair_boxes(shown, line.verified_boxes) if pair.verified}
    was_shown = line.origin.kept is None and line.origin.labelled_by != LabelledBy.PERSON
    ids, origins = list[str](), list[Origin]()
    for box in line.verified_boxes:
        before = pairs.get(id(box))
        ids.append(box.track or (tracks.ids[of[id(before)]] if before else ""))
        if was_shown and before and _place(before) == _place(box):
            by_person = box.track and not line.labelled_by_script
            origins.append(Origin.MODEL_AND_PERSON if by_person else tracks.origins[of[id(before)]])
        else:
            origins.append(Origin.SCRIPT if line.labelled_by_script else Origin.PERSON)
    return tuple(ids), tuple(origins)


def _place(box: LabelledBox) -> tuple[str, float, float, float, float]:
    return box.name, box.left, box.top, box.width, box.height


def _kinds(run: Run, part: Part, label_bucket: Bucket) -> Iterator[str]:
    """Yield the kind of each frame from the part's first on (why reviewers got it, or did not), in the drive's order.

    Beyond a part that is not the last, these are the kinds of later parts.
    """
    policy = run.document.verification
    if isinstance(policy, VerifyAll) and not isinstance(policy, VerifyNone) and not part.earlier:
        return repeat(EVERYTHING, part.frames)
    lines = islice(label_bucket.lines(run.folder.triage), part.before, None)
    return map(msgspec.json.Decoder(str).decode, lines)
