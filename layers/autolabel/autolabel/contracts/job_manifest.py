"""The manifest of a verification job: which shards' lines people are given."""

from __future__ import annotations

import msgspec


class JobManifest(msgspec.Struct, frozen=True):
    """The manifest of one job: its key and the shard manifests, as (key, size), that make it up, the `first` and the
    `last` of them by the shards' indexes."""

    key: str
    frames: int
    parts: tuple[tuple[str, int], ...]
    first: int
    last: int
