"""Takes over the reviewers' work of the earlier runs of a drive: collects their labels for the shards of a new run.

All sources are in the order of the drive, so they are merged without holding them: the jobs of the run before, one at a
time, and what that run had collected from the runs before it.
"""

from __future__ import annotations

import heapq
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import Literal

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.ports import Bucket, LabelingJobs, Runs
from autolabel.contracts.verification import TRACKS
from autolabel.datasets.verified_labels import LatestResults
from autolabel.labelling.shards import READERS, Shard, ShardFrame, read_shards
from autolabel.labels.exclusions import Exclusions, read_exclusions, reviewers_of
from autolabel.labels.manifest import LabelledBy, ManifestLine, read_line
from autolabel.labels.person_labels import FrameLabels, PersonLabel, add_label, shown_boxes
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.seeds import unsown
from autolabel.triage.sowing import read_seeds
from autolabel.verification.settlement import Result, SeveralResults, read_results
from autolabel.verification.takeover import (
    Projects,
    RoundFiles,
    attempts_of,
    end_jobs,
    mark_taken_over,
    rounds_of,
)

_SPOOL_BYTES = 64_000_000
# Crowded frames take gigabytes in a job of 100,000, and a quarter of that when they are compressed.
_FASTEST = 1


class Collected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was collected for a run: frames by the run whose label is their newest; `missing`: labels by job that the
    back-end counted and that did not come."""

    frames: dict[str, int] = {}
    missing: dict[str, int] = {}


class TakeOver(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a take-over is. `verdict`: unless it is `collected`, the call must be repeated after a minute.

    `end`: jobs have not ended; `wait`: their answers have not come. `waiting`: these jobs; `labels`: frames with a
    person's label.
    """

    verdict: Literal["end", "wait", "collected"]
    waiting: tuple[str, ...] = ()
    labels: int = 0


def take_over_earlier_runs(
    run: Run,
    *,
    label_bucket: Bucket,
    ledger: Runs,
    jobs: LabelingJobs,
    projects: Projects | None,
    waited: float,
) -> TakeOver:
    """End the open jobs of the drive's earlier runs, take in what reviewers answered, and collect all labels.

    Earlier runs cannot go on after that. `projects`: None in a stack without Label Studio. `waited`: seconds since all
    jobs have ended.
    """
    if done := read_collected(label_bucket, run):
        return TakeOver("collected", labels=sum(done.frames.values()))
    waiting, missing, earlier, ended = list[str](), dict[str, int](), list[Run](), True
    for one in _earlier_runs(run, ledger):
        mark_taken_over(label_bucket, one.folder, run.run)
        ending = end_jobs(one, label_bucket=label_bucket, jobs=jobs, projects=projects, waited=waited)
        waiting += ending.waiting
        missing |= ending.missing
        ended = ended and ending.ended
        earlier.append(one)
        if label_bucket.exists(one.folder.earlier_labels):
            # It took over the runs before it.
            break
    if waiting:
        return TakeOver("wait" if ended else "end", tuple(waiting))
    collected = collect_labels(run, earlier, label_bucket=label_bucket, missing=missing)
    return TakeOver("collected", labels=sum(collected.frames.values()))


def _earlier_runs(run: Run, ledger: Runs) -> Iterator[Run]:
    """Yield the earlier runs of the drive, the newest first."""
    for number in range(int(run.run) - 1, 0, -1):
        if found := ledger.find_run(run.drive, f"{number:04d}"):
            yield found


def read_collected(label_bucket: Bucket, run: Run) -> Collected | None:
    """Read the counts of what was collected for a run; None if nothing was yet."""
    body = label_bucket.read(run.folder.earlier_labels)
    return msgspec.json.decode(body, type=Collected) if body else None


def collect_labels(
    run: Run, earlier: Sequence[Run], *, label_bucket: Bucket, missing: dict[str, int] | None = None
) -> Collected:
    """Write the earlier labels of the frames of each shard, once; a repeated call changes nothing.

    `earlier`: the earlier runs of the drive, the newest first. `missing`: for the counts. Labels of reviewers that are
    excluded now are marked, and the run does as if they were not there. The jobs of earlier runs must have ended.
    Raises CountMismatch if an earlier run's jobs are not in the order of the drive.
    """
    if done := read_collected(label_bucket, run):
        return done
    sources = [_in_order(one) for one in _sources(earlier, label_bucket)]
    labels = _merged(sources, read_exclusions(label_bucket))
    following = next(labels, None)
    frames = Counter[str]()

    def positions(shard: Shard) -> tuple[Shard, list[str]]:
        decoder = msgspec.json.Decoder(ShardFrame)
        keys = (decoder.decode(body).key for body in label_bucket.lines(shard.key))
        return shard, [parse_frame_key(key).position for key in keys]

    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as rest:
        for shard, wanted in map_in_order(positions, read_shards(label_bucket, run.folder), READERS):
            found, known = [], frozenset(wanted)
            while following is not None and following.position <= wanted[-1]:
                encoded = msgspec.json.encode(following) + b"\n"
                if following.position in known:
                    found.append(encoded)
                    if counting := next((label for label in following.labels if not label.excluded), None):
                        frames[counting.run] += 1
                else:
                    rest.write(encoded)
                following = next(labels, None)
            if found:
                key = run.folder.shard(shard.index, "earlier.jsonl")
                label_bucket.write(key, b"".join(found), "application/jsonl")
        while following is not None:
            rest.write(msgspec.json.encode(following) + b"\n")
            following = next(labels, None)
        if rest.tell():
            # A frame or camera that is away in this run may be back in the next.
            rest.seek(0)
            label_bucket.write_stream(run.folder.other_earlier_labels, rest, "application/jsonl")
    collected = Collected(dict(frames.most_common()), missing or {})
    label_bucket.write_once(run.folder.earlier_labels, msgspec.json.encode(collected))
    return collected


def _sources(earlier: Sequence[Run], label_bucket: Bucket) -> Iterator[Iterator[FrameLabels]]:
    """Yield the sources of labels, the newest first.

    What a run had collected includes all that was there before it. Runs of versions without collections have none.
    """
    for one in earlier:
        yield _made_in(one, label_bucket)
        if label_bucket.exists(one.folder.earlier_labels):
            yield _collected_for(one, label_bucket)
            return


def _merged(sources: Sequence[Iterator[FrameLabels]], exclusions: Exclusions) -> Iterator[FrameLabels]:
    """Merge sources by frame; of equal frames, heapq.merge yields those of the newer source first."""
    for position, same in groupby(heapq.merge(*sources, key=attrgetter("position")), key=attrgetter("position")):
        labels: tuple[PersonLabel, ...] = ()
        for frame in same:
            for label in frame.labels:
                excluded = bool(reviewers_of(label.review) & exclusions.reviewers)
                if label.excluded != excluded:
                    label = msgspec.structs.replace(label, excluded=excluded)
                labels = add_label(labels, label)
        yield FrameLabels(position, labels)


def _in_order(source: Iterable[FrameLabels]) -> Iterator[FrameLabels]:
    last = ""
    for one in source:
        if one.position <= last:
            raise CountMismatch(f"the earlier labels are not in the order of the drive: {one.position} after {last}")
        last = one.position
        yield one


def _collected_for(run: Run, label_bucket: Bucket) -> Iterator[FrameLabels]:
    decoder = msgspec.json.Decoder(FrameLabels)

    def read(shard: Shard) -> bytes:
        return label_bucket.read(run.folder.shard(shard.index, "earlier.jsonl")) or b""

    def of_shards() -> Iterator[FrameLabels]:
        for body in map_in_order(read, read_shards(label_bucket, run.folder), READERS):
            yield from map(decoder.decode, body.splitlines())

    rest: Iterator[FrameLabels] = iter(())
    with suppress(KeyError):
        rest = map(decoder.decode, label_bucket.lines(run.folder.other_earlier_labels))
    return heapq.merge(of_shards(), rest, key=attrgetter("position"))


def _made_in(run: Run, label_bucket: Bucket) -> Iterator[FrameLabels]:
    """Yield the labels that persons made in the jobs of a run, in the order of the drive."""
    policy = run.document.verification
    # Two jobs of the same shards, where a share of the frames gets several reviewers.
    together = 2 if policy.reviewers > 1 and policy.reviewers_share < 1 else 1
    for _, group in groupby(rounds_of(label_bucket, run.folder), key=lambda one: one.job // together):
        jobs = [list(rounds) for _, rounds in groupby(group, key=attrgetter("job"))]
        labels = (_made_in_job(run, rounds, label_bucket) for rounds in jobs)
        yield from heapq.merge(*labels, key=attrgetter("position"))


def _made_in_job(run: Run, rounds: Sequence[RoundFiles], label_bucket: Bucket) -> Iterator[FrameLabels]:
    policy = run.document.verification
    reviewers = policy.reviewers if policy.task == TRACKS else 1
    answers, seeds = _JobAnswers(rounds, label_bucket, reviewers), read_seeds(run.folder, label_bucket)
    found: list[tuple[str, bytes]] = []
    for body in label_bucket.lines(rounds[0].manifest):
        # The answers have no seeds, so the boxes that were shown must have none.
        line = unsown(read_line(body), seeds)
        label = answers.label(line, run)
        if label is not None:
            encoded = zlib.compress(msgspec.json.encode(label), _FASTEST)
            found.append((f"{line.origin.camera}/{line.origin.timestamp}", encoded))
    found.sort()
    decoder = msgspec.json.Decoder(PersonLabel)
    for position, encoded in found:
        yield FrameLabels(position, (decoder.decode(zlib.decompress(encoded)),))


class _JobAnswers:
    """The newest answers of a job by frame. `reviewers`: how many may have answered a frame of a strip."""

    def __init__(self, rounds: Sequence[RoundFiles], label_bucket: Bucket, reviewers: int) -> None:
        self._results = LatestResults()
        self._reviewers = reviewers
        # Frames whose second round has ended: what it left, or did not leave, stands.
        self._looked_twice: set[str] = set()
        # Several reviewers of strips, whose answers were not settled.
        self._several: SeveralResults | None = None
        for one in rounds:
            settled = label_bucket.exists(one.results)
            keys = [one.results] if settled else list(attempts_of(label_bucket, one))
            if not settled and one.round == 1 and reviewers > 1:
                answers = (read_results(label_bucket, label_bucket.uri(key)) for key in keys)
                self._several = SeveralResults(answers, label_bucket.lines(one.manifest))
            for key in keys:
                self._results.take(self._noted(read_results(label_bucket, label_bucket.uri(key)), last=one.round > 1))
        self._results.carry_classes()

    def _noted(self, results: Iterable[Result], *, last: bool) -> Iterator[Result]:
        for result in results:
            if last:
                self._looked_twice.add(result.source_ref)
            yield result

    def label(self, line: ManifestLine, run: Run) -> PersonLabel | None:
        """Make the label of a frame from its line in the job's first manifest; None if no person left one."""
        result = self._results.by_frame.pop(line.source_ref, None)
        if result and self._several:
            result = self._several.result(line, result.job, self._reviewers)
        if result is None or result.failure or result.by_script:
            return None
        shown = shown_boxes(line)
        # A blind audit, and a frame without a pre-label.
        nothing_shown = not shown and line.uncertainty is UNSET
        return PersonLabel(
            etag=line.origin.etag,
            taxonomy=run.taxonomy,
            task=run.document.verification.task,
            classes=run.labels,
            label=result.label,
            metadata=result.metadata,
            labelled_by=LabelledBy.PERSON if nothing_shown else LabelledBy.MODEL_AND_PERSON,
            run=run.run,
            job=result.job,
            models=line.origin.models,
            shown=shown,
            review=result.review,
            final=not (result.unsure or result.disputed or result.contested) or line.source_ref in self._looked_twice,
            # Several reviewers answer beside each other, not one after the other.
            unsure=None if self._several else self._results.unsure_before(line.source_ref),
        )
