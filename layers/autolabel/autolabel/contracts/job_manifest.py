"""The manifest of a verification job: which shards' lines people are given."""

from __future__ import annotations

import msgspec

from autolabel.contracts.drive import run_prefix


class JobManifest(msgspec.Struct, frozen=True):
    """The manifest of one job: its key and the shard manifests, as (key, size), that make it up, the `first` and the
    `last` of them by the shards' indexes."""

    key: str
    frames: int
    parts: tuple[tuple[str, int], ...]
    first: int
    last: int


def manifest_key(drive: str, run: str, index: int) -> str:
    """The manifest of a run's job."""
    return f"{run_prefix(drive, run)}manifests/verify-{index:03d}.manifest"
