"""What Ground Truth is given for a run: jobs, their manifests, the label categories and the workers' page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

import msgspec

from autolabel.drives import run_prefix
from autolabel.errors import CountMismatch
from autolabel.manifest import PRELABEL
from autolabel.shards import Shard, ShardResult, shard_key


class VerificationJob(msgspec.Struct, frozen=True):
    """One labelling job to come. `name` has room for an attempt; `manifest`, `categories`, `template`: S3 URIs."""

    name: str
    manifest: str
    frames: int
    categories: str
    template: str


class JobManifest(msgspec.Struct, frozen=True):
    """The manifest of one job: its key and the shard manifests, as (key, size), that make it up."""

    key: str
    frames: int
    parts: tuple[tuple[str, int], ...]


def split_into_jobs(
    drive: str, run: str, results: Iterable[tuple[Shard, ShardResult]], max_objects: int
) -> Iterator[JobManifest]:
    """Put whole shards together into manifests of at most `max_objects` frames, in order; empty shards are left out.

    Rejected frames have no line and count for nothing here. CountMismatch for a shard that no job can take.
    """
    parts: list[tuple[str, int]] = []
    frames, index = 0, 0
    for shard, result in results:
        lines = result.tally.labelled + result.tally.failed
        if not lines:
            continue
        if lines > max_objects:
            raise CountMismatch(f"shard {shard.index} has {lines} frames, a labelling job takes {max_objects}")
        if parts and frames + lines > max_objects:
            yield JobManifest(_manifest_key(drive, run, index), frames, tuple(parts))
            parts, frames, index = [], 0, index + 1
        parts.append((shard_key(drive, run, shard.index, "manifest.jsonl"), result.manifest_bytes))
        frames += lines
    if parts:
        yield JobManifest(_manifest_key(drive, run, index), frames, tuple(parts))


def _manifest_key(drive: str, run: str, index: int) -> str:
    return f"{run_prefix(drive, run)}manifests/verify-{index:03d}.manifest"


def job_name(bucket: str, drive: str, run: str, index: int) -> str:
    """The stem of a labelling job's name, at most 50 characters.

    Job names have no underscore, differ by more than case, and are taken for good in an account and Region: a hash
    stands for the drive's exact name and the label bucket, so that two stacks can label drives of one name.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "-", drive)[:30].strip("-")
    return f"{readable}-{hashlib.sha256(f'{bucket}/{drive}'.encode()).hexdigest()[:8]}-{run}-{index:03d}"


def label_categories(labels: Sequence[str]) -> bytes:
    """The label category file of an image job: the order gives the class ids of the manifests."""
    return msgspec.json.encode({"document-version": "2018-11-28", "labels": [{"label": name} for name in labels]})


def worker_template(colors: dict[str, str], labels: Sequence[str]) -> bytes:
    """The page that workers see: Liquid that Ground Truth renders with each frame's pre-label as initial boxes."""
    page = files("autolabel").joinpath("worker.liquid.html").read_text("utf-8")
    legend = "".join(
        f'<li><span style="background:{colors[name]}"></span>{name}</li>' for name in labels if name in colors
    )
    return page.replace("PRELABEL", PRELABEL).replace("<!-- LEGEND -->", legend).encode()
