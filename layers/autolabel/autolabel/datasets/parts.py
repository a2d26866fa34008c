"""Parts: contiguous shards of a run that are published by one call, because a call has 15 minutes.

A part is made of its inputs alone, so it may be made twice, in any order, or before it is needed. What belongs to the
whole run is gathered afterwards, in the drive's order, from what each part has for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import ACCEPTED
from autolabel.datasets.verified_labels import FinishedJob, join_jobs
from autolabel.labelling.shards import OTHER_KINDS, LabelledShard
from autolabel.labels.box_cuboids import CuboidScene
from autolabel.labels.manifest import ManifestLine
from autolabel.sequences.linked_shards import IDS_ONLY, read_labelled, read_links

# Shards in a part: a state passes on 256 KiB, and a shard with the longest name takes 170 bytes of a part's line.
MAX_SHARDS = 1_000
# Different reasons for which frames without a verified label are counted: a reason can be foreign text.
MAX_REASONS = 100
# Words with a digit are numbers, places and ids of one frame; S3 is a name.
_NUMBERED = re.compile(r"(?<![\w-])(?![sS]3\b)[\w-]*\d[\w-]*")


class Part(msgspec.Struct, frozen=True):
    """A part of a run: its shards, and the job whose frames they have, if any.

    `before`: frames in earlier parts. `run_frames`: of the whole run. `earlier`: the run has labels of earlier runs.
    `results`: the ETags of the job's results, so that a part of other results is another one. `linked`: the ids of
    its tracks are beside its shards, as the first version of Link left them.
    """

    number: int
    shards: tuple[LabelledShard, ...]
    before: int
    run_frames: int
    earlier: bool
    job: FinishedJob | None = None
    results: tuple[str, ...] = ()
    linked: bool = False

    @property
    def id(self) -> str:
        """Return the name of its files. It depends on all fields, so that no other part writes the same files."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()
        return f"{self.number:06d}-{digest[:12]}"

    @property
    def frames(self) -> int:
        return sum(shard.lines for shard in self.shards)

    @property
    def is_last(self) -> bool:
        return self.before + self.frames == self.run_frames


class DatasetCounts(msgspec.Struct):
    """Counts lines of the dataset by labelled-by, their boxes by class, and the accepted and kept frames.

    `unverified`: lines without a verified label, by reason. `without_cuboid`: boxes that have none, by reason.
    Where reviewers got the cuboids of `cuboid_frames`: `cuboid_origins` are cuboids by whose they are, `added_cuboids`
    those of objects without a box, `unverified_cuboids` the frames that came back without a label, by reason.
    """

    labelled_by: dict[str, int] = {}
    classes: dict[str, int] = {}
    unverified: dict[str, int] = {}
    accepted: int = 0
    kept: int = 0
    cuboids: int = 0
    without_cuboid: dict[str, int] = {}
    cuboid_origins: dict[str, int] = {}
    added_cuboids: int = 0
    cuboid_frames: int = 0
    unverified_cuboids: dict[str, int] = {}

    def take(self, line: ManifestLine) -> None:
        for box in line.label_boxes:
            _count(self.classes, box.name)
        for cuboid in line.cuboids or ():
            self.cuboids += not cuboid.why
            if cuboid.why:
                _count(self.without_cuboid, cuboid.why)
            elif cuboid.origin:
                _count(self.cuboid_origins, cuboid.origin)
        self.added_cuboids += len(line.added_cuboids or ())
        scene = line.cuboids_metadata or CuboidScene()
        self.cuboid_frames += bool(scene.job or scene.verification)
        if why := scene.verification:
            self._count_reason(self.unverified_cuboids, _NUMBERED.sub("#", why), 1)
        _count(self.labelled_by, line.origin.labelled_by.value)
        self.accepted += line.origin.triage == ACCEPTED
        self.kept += line.origin.kept is not None
        if line.origin.verification and line.origin.kept is None:
            self._count_reason(self.unverified, _NUMBERED.sub("#", line.origin.verification), 1)

    def add(self, other: DatasetCounts) -> None:
        """Add the counts of the part that follows."""
        for name, count in other.classes.items():
            _count(self.classes, name, count)
        for name, count in other.labelled_by.items():
            _count(self.labelled_by, name, count)
        for why, count in other.without_cuboid.items():
            _count(self.without_cuboid, why, count)
        self.cuboids += other.cuboids
        for origin, count in other.cuboid_origins.items():
            _count(self.cuboid_origins, origin, count)
        self.added_cuboids += other.added_cuboids
        self.cuboid_frames += other.cuboid_frames
        for reason, count in other.unverified_cuboids.items():
            self._count_reason(self.unverified_cuboids, reason, count)
        for reason, count in other.unverified.items():
            self._count_reason(self.unverified, reason, count)
        self.accepted += other.accepted
        self.kept += other.kept

    def _count_reason(self, counts: dict[str, int], reason: str, count: int) -> None:
        separate = reason in counts or len(counts) < MAX_REASONS
        _count(counts, reason if separate else OTHER_KINDS, count)


def _count(counts: dict[str, int], name: str, count: int = 1) -> None:
    counts[name] = counts.get(name, 0) + count


def plan_parts(run: Run, jobs: Sequence[FinishedJob], label_bucket: Bucket, part_frames: int) -> Iterator[Part]:
    """Cut the shards of a run into parts of at most one job and, beyond one shard, `part_frames` frames."""
    shards, _ = read_labelled(run, label_bucket)
    run_frames = sum(shard.lines for shard in shards)
    earlier = any(shard.asked for shard in shards)
    links = read_links(run, label_bucket)
    linked = links is not None and links.version == IDS_ONLY
    ahead = join_jobs(jobs)
    number = before = 0
    piece, piece_job = list[LabelledShard](), None

    def part() -> Part:
        results = _results(piece_job, label_bucket) if piece_job else ()
        return Part(number, tuple(piece), before, run_frames, earlier, piece_job, results, linked)

    for shard in shards:
        while ahead and ahead[0].last < shard.index:
            ahead.pop(0)
        job = ahead[0] if ahead and ahead[0].first <= shard.index else None
        held = sum(one.lines for one in piece)
        full = held + shard.lines > part_frames or len(piece) == MAX_SHARDS
        if piece and (job != piece_job or full):
            yield part()
            number, before, piece = number + 1, before + held, []
        piece.append(shard)
        piece_job = job
    if piece:
        yield part()


def _results(job: FinishedJob, label_bucket: Bucket) -> tuple[str, ...]:
    """Return the ETags of a job's results, round by round."""
    heads = (label_bucket.head(one.results.removeprefix(label_bucket.uri(""))) for one in job.rounds)
    return tuple(head.etag if head else "" for head in heads)
