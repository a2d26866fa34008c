"""Draws the seeds of a run, and writes them once, before any manifest of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import (
    EVERYTHING,
    UNCERTAIN,
    UNPROVEN,
    VerifyUncertain,
    reviewers_of,
    seeded_share,
)
from autolabel.labelling.shards import LabelledShard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labelling.uncertainty_map import read_map
from autolabel.labels.manifest import read_line
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.acceptance import AcceptanceCriteria
from autolabel.triage.audits import read_recipe
from autolabel.triage.corrections import read_corrections
from autolabel.triage.seeds import Seed, draw_boxes, make_seed, sow_body

# Kinds of frames that may get a seed. Audits prove classes, and a label of a person has other boxes than the models'.
_SEEDED_KINDS = (EVERYTHING, UNCERTAIN, UNPROVEN)
# Without audit stretches: consecutive frames of a camera with at most one seed.
_STRIP = 10
# Few, because a shard takes megabytes.
_READERS = 4

Seeds = Mapping[str, Seed]


def fix_seeds(
    run: Run, shards: Sequence[LabelledShard], criteria: AcceptanceCriteria, label_bucket: Bucket
) -> tuple[AcceptanceCriteria, Seeds]:
    """Draw and write the seeds of a run, once for its criteria; return the criteria with their name, and the seeds.

    Without vigilance there are none. The kinds of the run's frames must be written.
    """
    policy = run.document.verification
    share = seeded_share(policy)
    if not share:
        return criteria, {}
    if not criteria.seeds:
        # Of other criteria, other frames are audits: their seeds are others.
        name = hashlib.sha256(msgspec.json.encode(criteria)).hexdigest()[:12]
        strip = policy.stretch if isinstance(policy, VerifyUncertain) else _STRIP
        seeds = (msgspec.json.encode(seed) + b"\n" for seed in _draw(run, shards, share, strip, label_bucket))
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
    # Reviewers see the drive, the run and the camera, but not the ETag of the drive document.
    secret = f"{run.drive}/{run.run}/{run.document_etag}"
    drawn = {
        (box.camera, box.position): box.at
        for box in draw_boxes(secret, _frames(run, shards, label_bucket), share, strip)
    }
    corrections = read_corrections(label_bucket, read_recipe(run, label_bucket).base)
    uncertainty_map = read_map(run, label_bucket)

    def make(shard: LabelledShard) -> list[Seed]:
        places = [place for place in range(shard.lines) if (shard.camera, shard.before + place) in drawn]
        if not places:
            return []
        bodies = list(label_bucket.lines(run.folder.shard(shard.index, shard.part("manifest"))))
        uncertainties = list(_uncertainties(run, shard, label_bucket))
        found = []
        for place in places:
            position, line = shard.before + place, read_line(bodies[place])
            at, failed = drawn[shard.camera, position], uncertainties[place].failed
            lots = f"{secret}/{shard.camera}/{position}/{at}/kind"
            if seed := make_seed(line, at, failed, lots, corrections, run.labels, uncertainty_map):
                found.append(seed)
        return found

    for seeds in map_in_order(make, shards, _READERS):
        yield from seeds


def _frames(
    run: Run, shards: Sequence[LabelledShard], label_bucket: Bucket
) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Yield the frames that may get a seed: the camera, the position and the uncertainty of each box."""
    kinds = _kinds(run, shards, label_bucket)
    for shard in shards:
        judged = zip(_uncertainties(run, shard, label_bucket), _alone(run, shard, label_bucket), strict=False)
        for place, (uncertainty, alone) in enumerate(judged):
            if next(kinds) in _SEEDED_KINDS and uncertainty.level is not None and alone:
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
