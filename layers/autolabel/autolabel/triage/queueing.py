"""Write the review queues of a run: which frames reviewers get, and in which order.

Under the policy `doubtful` the most uncertain frames come first. Audits are anywhere in between, so that reviewers
cannot recognise them. Strips of tracks, and frames under `key-frames`, are in the drive's order.
"""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import IO, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.job_manifest import JobManifest
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import AGAIN, AUDIT, BLIND_AUDIT, UNASKED, VerifyUncertain
from autolabel.labelling.earlier_labels import EarlierCounts, EarlierFrame, earlier_frames
from autolabel.labelling.shards import LabelledShard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.manifest import read_line, with_values
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.job_manifests import write_manifests
from autolabel.triage.policy import AuditStretch, claims, draw_audits, is_acceptable, stretch_of, triage_frame
from autolabel.triage.seeds import sow_body
from autolabel.triage.sowing import Seeds

# A job's lines are sorted on disk, and a function has 512 MB of disk.
MAX_QUEUE_BYTES = 400_000_000
_SPOOL_BYTES = 64_000_000
_READERS = 16


class _Line(NamedTuple):
    """A line for reviewers. `rank`: its place in the queue; `strip`: as in TriagedFrame."""

    rank: tuple[float, float, int]
    body: bytes
    strip: str


class _Place(NamedTuple):
    """A line's rank and strip in a queue, and its place on disk."""

    rank: tuple[float, float, int]
    offset: int
    size: int
    strip: str


class TriagedFrame(NamedTuple):
    """A frame with its kind. `rank`: its place in the queue, the least first; equal ones in the drive's order.

    `strip`: the strip in which reviewers get it, if they get strips.
    """

    kind: str
    rank: tuple[float, float]
    earlier: EarlierFrame
    strip: str = ""


class Triage(ABC):
    """The triage of a run's frames."""

    def __init__(self, run: Run, shards: Sequence[LabelledShard], label_bucket: Bucket) -> None:
        self._run = run
        self._shards = shards
        self._label_bucket = label_bucket
        self.counts: Counter[str] = Counter()
        self.earlier = EarlierCounts()

    @abstractmethod
    def _triage(self, shard: LabelledShard) -> Iterator[TriagedFrame]:
        """Triage the frames of a shard, in its order; the same ones at each call."""

    def write_kinds(self) -> None:
        """Write the kind of every frame, and count the kinds and the earlier labels."""

        def lines() -> Iterator[bytes]:
            for shard in self._shards:
                for kind, _, earlier, _ in self._triage(shard):
                    self.counts[kind] += 1
                    self.earlier.take(kind, earlier)
                    yield msgspec.json.encode(kind) + b"\n"

        self._label_bucket.write_stream(self._run.folder.triage, lines(), "application/jsonl")

    def write_queues(self, max_objects: int, seeds: Seeds, max_strips: int) -> Iterator[JobManifest]:
        """Write the manifests of the jobs, each of at most `max_objects` frames and `max_strips` strips.

        A shard is divided only if it has more strips. `seeds`: by frame; reviewers see these frames with their seed.

        Raises CountMismatch for a shard with more frames.
        """
        index = 0
        queue = _Queue()
        first = last = None

        def write() -> Iterator[JobManifest]:
            nonlocal index
            for lines in queue.jobs(max_strips):
                yield from write_manifests(self._run, index, lines, first or 0, last or 0, self._label_bucket)
                index += 1
            queue.close()

        for shard in self._shards:
            chosen = self._chosen(shard, seeds)
            if len(chosen) > max_objects:
                raise CountMismatch(
                    f"shard {shard.index} has {len(chosen)} frames, a labelling job takes {max_objects}"
                )
            if queue.places and not queue.has_room(chosen, max_objects, max_strips):
                yield from write()
                first, queue = None, _Queue()
            first, last = shard.index if first is None else first, shard.index
            for line in chosen:
                queue.add(line)
        yield from write()

    def _chosen(self, shard: LabelledShard, seeds: Seeds) -> list[_Line]:
        """Choose the lines of a shard that reviewers get, with their ranks."""
        triaged = list(self._triage(shard))
        if all(frame.kind in UNASKED for frame in triaged):
            return []
        bodies = self._label_bucket.lines(self._run.folder.shard(shard.index, shard.part("manifest")))
        chosen = []
        for place, (body, (kind, rank, earlier, strip)) in enumerate(zip(bodies, triaged, strict=True)):
            if kind not in UNASKED:
                shown = without_prelabel(body) if kind == BLIND_AUDIT else body
                if kind == AGAIN and earlier.asked:
                    shown = earlier.asked.encode()
                if seeds and (seed := seeds.get(read_line(body).source_ref)):
                    shown = sow_body(body, seed)
                    # In its place by the uncertainty that reviewers see: out of order, it would stand out.
                    rank = (-seed.shown_level, -seed.shown_own)
                if strip:
                    line = read_line(shown)
                    line.strip = strip
                    shown = msgspec.json.encode(line)
                chosen.append(_Line((*rank, shard.before + place), shown + b"\n", strip))
        return chosen

    def _uncertainties(self, shard: LabelledShard) -> Iterator[FrameUncertainty]:
        lines = self._label_bucket.lines(self._run.folder.shard(shard.index, shard.part("doubts")))
        return map(msgspec.json.Decoder(FrameUncertainty).decode, lines)


class UncertaintyTriage(Triage):
    """The triage of the policy `doubtful`. `proven`: classes that may be accepted without a person."""

    def __init__(
        self,
        run: Run,
        policy: VerifyUncertain,
        proven: Collection[str],
        shards: Sequence[LabelledShard],
        label_bucket: Bucket,
    ) -> None:
        super().__init__(run, shards, label_bucket)
        self._policy = policy
        self._proven = proven
        self._draw = draw_audits(policy, run.drive, run.run, self._acceptable(), proven)

    def _rank(self, shard: LabelledShard, place: int, kind: str, uncertainty: FrameUncertainty) -> tuple[float, float]:
        if kind in (AUDIT, BLIND_AUDIT):
            lot = hashlib.sha256(f"{self._run.drive}/{self._run.run}/{shard.camera}/{shard.before + place}".encode())
            return -int.from_bytes(lot.digest()[:4]) / 2**32, 0.0
        # A contradicted label is at least as uncertain as a frame without a pre-label.
        if uncertainty.level is None or kind == AGAIN:
            return -1.0, 0.0
        # A map gives many frames the same share; their own levels still differ.
        return -uncertainty.level, -uncertainty.own_level

    def _triage(self, shard: LabelledShard) -> Iterator[TriagedFrame]:
        judged = earlier_frames(self._run, shard, self._label_bucket)
        for place, (uncertainty, earlier) in enumerate(zip(self._uncertainties(shard), judged, strict=True)):
            stretch = self._stretch(shard, place)
            claimed = claims(uncertainty.claims)
            kind = triage_frame(
                self._policy, uncertainty.level, claimed, self._proven, stretch, self._draw, earlier.kind
            )
            yield TriagedFrame(kind, self._rank(shard, place, kind, uncertainty), earlier)

    def _acceptable(self) -> Iterator[tuple[AuditStretch, frozenset[str]]]:
        """Find the frames that could be accepted: the audit stretch and the claims of each."""

        def find(shard: LabelledShard) -> set[tuple[AuditStretch, frozenset[str]]]:
            return {
                (self._stretch(shard, place), claims(uncertainty.claims))
                for place, uncertainty in enumerate(self._uncertainties(shard))
                if is_acceptable(self._policy, uncertainty.level)
            }

        for found in map_in_order(find, self._shards, _READERS):
            yield from found

    def _stretch(self, shard: LabelledShard, place: int) -> AuditStretch:
        return stretch_of(self._policy, shard.camera, shard.before + place)


class _Queue:
    """Lines that are sorted once all are there."""

    def __init__(self) -> None:
        # Closed by `close`: a queue outlives the shard that begins it.
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 (closed by close)
        self.places: list[_Place] = []
        self._strips = set[str]()
        self._size = 0

    def has_room(self, more: Sequence[_Line], max_objects: int, max_strips: int) -> bool:
        return (
            len(self.places) + len(more) <= max_objects
            and self._size + sum(len(line.body) for line in more) <= MAX_QUEUE_BYTES
            and len(self._strips.union(line.strip for line in more)) <= max_strips
        )

    def add(self, line: _Line) -> None:
        self.places.append(_Place(line.rank, self._size, len(line.body), line.strip))
        self._strips.add(line.strip)
        self._spool.write(line.body)
        self._size += len(line.body)

    def jobs(self, max_strips: int) -> Iterator[Callable[[], Iterator[bytes]]]:
        """Yield what opens the lines of a job, in their order, for each `max_strips` strips."""
        ordered = sorted(self.places)
        strips = list(dict.fromkeys(place.strip for place in ordered))
        for start in range(0, len(strips), max_strips):
            some = frozenset(strips[start : start + max_strips])
            yield partial(self._lines, [place for place in ordered if place.strip in some])

    def _lines(self, places: Iterable[_Place]) -> Iterator[bytes]:
        for place in places:
            self._spool.seek(place.offset)
            yield self._spool.read(place.size)

    def close(self) -> None:
        self._spool.close()


def without_prelabel(body: bytes) -> bytes:
    """Return a manifest line without its pre-label, uncertainty and masks, for a blind audit."""
    line = read_line(body)
    line.prelabel = with_values(line.prelabel, {"annotations": []})
    line.prelabel_metadata = with_values(line.prelabel_metadata, {"objects": [], "class-map": {}})
    line.prelabel_tracks = line.uncertainty = line.masks = line.segmentation = line.segmentation_metadata = UNSET
    return msgspec.json.encode(line)
