"""Finds a drive's objects that came or changed after a run froze its listing."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Literal

import msgspec

from autolabel.contracts.frames import ListedFrame, drive_prefix, is_point_cloud
from autolabel.contracts.ports import Bucket, StoredObject
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.wording import counted
from autolabel.drives.listing import read_listing, uploads

Change = Literal["late", "overwritten", "deleted"]


class ChangedObject(msgspec.Struct, frozen=True):
    """An object that differs from the frozen listing; `etag` is its current one, empty if it was deleted."""

    key: str
    etag: str
    change: Change


class Lateness(msgspec.Struct, frozen=True):
    """Counts of a drive's objects that differ from its frozen listing; `first`: the key of the first one."""

    late: int = 0
    overwritten: int = 0
    deleted: int = 0
    first: str = ""

    def __str__(self) -> str:
        said = [f"{self.late:,} came late"] if self.late else []
        for count, what in ((self.overwritten, "overwritten"), (self.deleted, "deleted")):
            said += [f"{counted(count, 'was', 'were')} {what}"] if count else []
        return ", ".join(said)

    @property
    def any(self) -> bool:
        return bool(self.late or self.overwritten or self.deleted)


def record_lateness(ingest: Bucket, label_bucket: Bucket, folder: RunFolder) -> Lateness:
    """Compare a drive with the run's frozen listing; write the differences to `late.jsonl`, also if there are none."""
    counts: Counter[str] = Counter()
    first = ""

    def changes() -> Iterator[bytes]:
        nonlocal first
        for changed in changed_objects(ingest, label_bucket, folder):
            counts[changed.change] += 1
            first = first or changed.key
            yield msgspec.json.encode(changed) + b"\n"

    label_bucket.write_stream(folder.late_objects, changes(), "application/jsonl")
    return Lateness(counts["late"], counts["overwritten"], counts["deleted"], first)


def changed_objects(ingest: Bucket, label_bucket: Bucket, folder: RunFolder) -> Iterator[ChangedObject]:
    """Compare a drive's objects, as they are now, with the run's frozen listing; yield the differences."""
    objects = uploads(ingest.list(drive_prefix(folder.drive)), folder.drive)
    # Listings of earlier versions refused point clouds.
    listing = (line for line in read_listing(label_bucket, folder) if not is_point_cloud(line.key))
    return compare_objects(listing, objects)


def compare_objects(listing: Iterable[ListedFrame], objects: Iterable[StoredObject]) -> Iterator[ChangedObject]:
    """Yield the differences between a frozen listing and the current objects, both in the byte order of their keys."""
    frozen = ((line.key.encode(), line, None) for line in listing)
    there = ((thing.key.encode(), None, thing) for thing in objects)
    for _, same in groupby(heapq.merge(frozen, there, key=itemgetter(0)), key=itemgetter(0)):
        line: ListedFrame | None = None
        thing: StoredObject | None = None
        for _, frozen_line, stored in same:
            line, thing = frozen_line or line, stored or thing
        if thing is None:
            yield ChangedObject(line.key if line else "", "", "deleted")
        elif line is None:
            yield ChangedObject(thing.key, thing.etag, "late")
        elif line.etag != thing.etag:
            yield ChangedObject(thing.key, thing.etag, "overwritten")
