"""Draws the seeds of a run, and writes them once, before any manifest of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import (
    EVERYTHING,
    TRACKS,
    UNCERTAIN,
    UNPROVEN,
    VerifyAll,
    VerifyUncertain,
    reviewers_of,
    seeded_share,
)
from autolabel.labelling.shards import LabelledShard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labelling.uncertainty_map import read_map
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.acceptance import AcceptanceCriteria
from autolabel.triage.audits import read_recipe
from autolabel.triage.corrections import read_corrections
from autolabel.triage.seeds import MOST_UNCERTAIN, TRIES, Seed, draw_boxes, make_seed, sow_body
from autolabel.triage.track_seeds import STRETCH, StretchFrame, make_stretch, make_track_seed, strip_objects

# Kinds of frames that may get a seed. Audits prove classes, and a label of a person has other boxes than the models'.
_SEEDED_KINDS = (EVERYTHING, UNCERTAIN, UNPROVEN)
# Without audit stretches: consecutive frames of a camera with at most one seed.
_STRIP = 10
# Few, because a shard takes megabytes.
_READERS = 4

Seeds = Mapping[str, Seed]
Strips = Callable[[], Iterable[Sequence[ManifestLine]]]


def fix_seeds(
    run: Run, shards: Sequence[LabelledShard], criteria: AcceptanceCriteria, label_bucket: Bucket, strips: Strips
) -> tuple[AcceptanceCriteria, Seeds]:
    """Draw and write the seeds of a run, once for its criteria; return the criteria with their name, and the seeds.

    Without vigilance there are none. The kinds of the run's frames must be written. `strips`: opens the strips that
    reviewers of tracks get, in order.
    """
    policy = run.document.verification
    share = seeded_share(policy)
    if not share:
        return criteria, {}
    if not criteria.seeds:
        # Of other criteria, other frames are audits: their seeds are others.
        name = hashlib.sha256(msgspec.json.encode(criteria)).hexdigest()[:12]
        strip = policy.stretch if isinstance(policy, VerifyUncertain) else _STRIP
        drawn = (
            _draw_tracks(run, strips, share, label_bucket)
            if policy.task == TRACKS
            else _draw(run, shards, share, strip, label_bucket)
        )
        seeds = (msgspec.json.encode(seed) + b"\n" for seed in drawn)
        label_bucket.write_stream(run.folder.seeds(name), seeds, "application/jsonl", once=True)
        criteria = msgspec.structs.replace(criteria, seeds=name)
    return criteria, _read(run.folder, criteria.seeds, label_bucket)


def read_seeds(folder: RunFolder, label_bucket: Bucket) -> Seeds:
    """Read the seeds in a run's manifests, by frame; empty without vigilance."""
    body = label_bucket.read(folder.acceptance_criteria)
    name = msgspec.json.decode(body, type=_Named).seeds if body else ""
    return _read(folder, name, label_bucket) if name else {}


def sow_lines(bodies: Iterable[bytes], seeds: Seeds) -> Iterator[bytes]:
    """Yield a manifest's lines with their seeds, each with its line feed."""
    decoder = msgspec.json.Decoder(_Source)
    for body in bodies:
        seed = seeds.get(decoder.decode(body).source_ref)
        yield (sow_body(body, seed) if seed else body) + b"\n"


class _Named(msgspec.Struct):
    """The part of the acceptance criteria that names the seeds."""

    seeds: str = ""


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str


def _read(folder: RunFolder, name: str, label_bucket: Bucket) -> Seeds:
    found = map(msgspec.json.Decoder(Seed).decode, label_bucket.lines(folder.seeds(name)))
    return {seed.source_ref: seed for seed in found}


def _draw(run: Run, shards: Sequence[LabelledShard], share: float, strip: int, label_bucket: Bucket) -> Iterator[Seed]:
    secret = _secret(run)
    drawn: dict[tuple[str, int], int] = {}
    for stretched in {_is_stretched(run, shard) for shard in shards}:
        frames = _frames(run, shards, label_bucket, stretched)
        for box in draw_boxes(secret, frames, share / STRETCH if stretched else share, strip):
            drawn[box.camera, box.position] = box.at
    corrections = read_corrections(label_bucket, read_recipe(run, label_bucket).base)
    uncertainty_map = read_map(run, label_bucket)

    def make(shard: LabelledShard) -> list[Seed]:
        places = [place for place in range(shard.lines) if (shard.camera, shard.before + place) in drawn]
        if not places:
            return []
        bodies = list(label_bucket.lines(run.folder.shard(shard.index, shard.part("manifest"))))
        uncertainties = list(_uncertainties(run, shard, label_bucket))
        found = list[Seed]()
        for place in places:
            position = shard.before + place
            at = drawn[shard.camera, position]
            # A stretch stays in its strip, so that strips have one seed at most.
            length = STRETCH if _is_stretched(run, shard) else 1
            end = place + min(length, strip - position % strip, shard.lines - place)
            begin = max(end - length, place - position % strip, 0)
            frames = [
                StretchFrame(read_line(body), one.failed)
                for body, one in zip(bodies[begin:end], uncertainties[begin:end], strict=True)
            ]
            lots = f"{secret}/{shard.camera}/{position}/{at}/kind"
            line, failed = frames[place - begin]
            if seed := make_seed(line, at, failed, lots, corrections, run.labels, uncertainty_map):
                found += make_stretch(frames, place - begin, seed, at, lots, run.labels, uncertainty_map)
        return found

    for seeds in map_in_order(make, shards, _READERS):
        yield from seeds


def _draw_tracks(run: Run, strips: Strips, share: float, label_bucket: Bucket) -> Iterator[Seed]:
    """Draw the objects of strips that get a seed, at most one of a strip, and make their seeds."""
    secret, policy = _secret(run), run.document.verification
    # Several reviewers of a strip check each other.
    objects = (
        (str(number), 0, [one.level for one in strip_objects(strip)])
        for number, strip in enumerate(strips())
        if reviewers_of(policy, strip[0].source_ref) == 1
    )
    drawn = {box.camera: box.at for box in draw_boxes(secret, objects, share, 1)}
    corrections = read_corrections(label_bucket, read_recipe(run, label_bucket).base)
    for number, strip in enumerate(strips()):
        if (at := drawn.get(str(number))) is None:
            continue
        found = strip_objects(strip)
        # If no error fits the drawn object, another one of the strip gets the seed.
        for one in [*found[at:], *found[:at]][:TRIES]:
            lots = f"{secret}/{number}/{one.id}/kind"
            if one.level < MOST_UNCERTAIN and (seeds := make_track_seed(strip, one.id, lots, corrections, run.labels)):
                yield from seeds
                break


def _secret(run: Run) -> str:
    # Reviewers see the drive, the run and the camera, but not the ETag of the drive document.
    return f"{run.drive}/{run.run}/{run.document_etag}"


def _is_stretched(run: Run, shard: LabelledShard) -> bool:
    """Check whether reviewers see all frames of a shard one after the other, with tracks."""
    policy = run.document.verification
    return isinstance(policy, VerifyAll) and policy.reviewers == 1 and shard.linked and not shard.asked


def _frames(
    run: Run, shards: Sequence[LabelledShard], label_bucket: Bucket, stretched: bool
) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Yield the frames that may get a seed: the camera, the position and the uncertainty of each box.

    `stretched`: only those of shards whose seeds are stretches, or only the others.
    """
    kinds = _kinds(run, shards, label_bucket)
    for shard in shards:
        judged = zip(_uncertainties(run, shard, label_bucket), _alone(run, shard, label_bucket), strict=False)
        for place, (uncertainty, alone) in enumerate(judged):
            may = next(kinds) in _SEEDED_KINDS and uncertainty.level is not None and alone
            if may and _is_stretched(run, shard) == stretched:
                yield shard.camera, shard.before + place, uncertainty.boxes


def _alone(run: Run, shard: LabelledShard, label_bucket: Bucket) -> Iterator[bool]:
    """Yield whether a frame gets one reviewer: several reviewers of a frame check each other."""
    policy, decoder = run.document.verification, msgspec.json.Decoder(_Source)
    if policy.reviewers == 1:
        return repeat(True)
    bodies = label_bucket.lines(run.folder.shard(shard.index, shard.part("manifest")))
    return (reviewers_of(policy, decoder.decode(body).source_ref) == 1 for body in bodies)


def _kinds(run: Run, shards: Sequence[LabelledShard], label_bucket: Bucket) -> Iterator[str]:
    if not isinstance(run.document.verification, VerifyUncertain) and not any(shard.asked for shard in shards):
        return repeat(EVERYTHING)
    return map(msgspec.json.Decoder(str).decode, label_bucket.lines(run.folder.triage))


def _uncertainties(run: Run, shard: LabelledShard, label_bucket: Bucket) -> Iterator[FrameUncertainty]:
    lines = label_bucket.lines(run.folder.shard(shard.index, shard.part("doubts")))
    return map(msgspec.json.Decoder(FrameUncertainty).decode, lines)
