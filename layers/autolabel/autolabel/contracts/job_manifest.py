"""Describes the manifest of a verification job: the shards whose lines reviewers get."""

from __future__ import annotations

import msgspec


class JobManifest(msgspec.Struct, frozen=True):
    """The manifest of one job: its key, and its `parts`: the shard manifests in it, as (key, size).

    `first` and `last` are the indexes of the first and last shard. `index`: the job's number in the run, which its key
    and name contain. `reviewers`: how many label each frame.
    """

    key: str
    frames: int
    parts: tuple[tuple[str, int], ...]
    first: int
    last: int
    index: int
    reviewers: int = 1
