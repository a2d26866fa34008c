"""Linked shards: what Link left of a run, and which parts of its shards count since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import ShardMissing
from autolabel.contracts.ports import Bucket
from autolabel.labelling.shards import READERS, AskedLines, LabelledShard, Tally, read_results
from autolabel.streams.ordered_map import map_in_order

# This version of the linker in links.json wrote the ids of the tracks only, as tracks.jsonl.
IDS_ONLY = "1"


class CameraLinks(msgspec.Struct, frozen=True):
    """The linked boxes of one camera. `rate`: frames a second, by the median of the pauses; None for one frame.

    `tracks`: the number of confirmed tracks; None if the rate is too low for linking.
    """

    rate: float | None
    tracks: int | None


class Links(msgspec.Struct, frozen=True):
    """The content of links.json."""

    version: str
    cameras: dict[str, CameraLinks]


class LinkedResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of linking a shard: the sizes of its linked parts.

    `more`: by class, how many boxes the linked pre-labels have more than the models found, or less. `asked`: as in the
    shard's own result.
    """

    manifest_bytes: int
    more: dict[str, int] = {}
    asked: AskedLines | None = None


def read_links(run: Run, label_bucket: Bucket) -> Links | None:
    """Read the counts of a run's tracks; None for a run whose boxes were not linked."""
    body = label_bucket.read(run.folder.links)
    return msgspec.json.decode(body, type=Links) if body else None


def read_link_version(run: Run, label_bucket: Bucket) -> str:
    """Read the version of the linker that changed a run's pre-labels; empty if none did."""
    links = read_links(run, label_bucket)
    return links.version if links and links.version != IDS_ONLY else ""


def read_labelled(run: Run, label_bucket: Bucket) -> tuple[list[LabelledShard], Tally]:
    """Read the result of every planned shard, with its linked parts where Link wrote them.

    Raises ShardMissing or CountMismatch for one that is not as planned.
    """
    shards, tally = read_results(label_bucket, run.folder)
    links = read_links(run, label_bucket)
    if links is None or links.version == IDS_ONLY:
        return shards, tally
    linked = {camera for camera, of in links.cameras.items() if of.tracks is not None}
    classes = Counter(tally.classes)

    def read(shard: LabelledShard) -> tuple[LabelledShard, LinkedResult | None]:
        if shard.camera not in linked:
            return shard, None
        body = label_bucket.read(run.folder.shard(shard.index, "linked.result.json"))
        if body is None:
            raise ShardMissing(f"shard {shard.index} of {run.drive} {run.run} was not linked: it has no linked result")
        return shard, msgspec.json.decode(body, type=LinkedResult)

    counting = list[LabelledShard]()
    for shard, result in map_in_order(read, shards, READERS):
        if result is None:
            counting.append(shard)
            continue
        classes.update(result.more)
        counting.append(
            msgspec.structs.replace(shard, manifest_bytes=result.manifest_bytes, asked=result.asked, linked=True)
        )
    counts = {name: count for name, count in classes.items() if count}
    return counting, msgspec.structs.replace(tally, boxes=sum(counts.values()), classes=counts)


def read_track_ids(run: Run, shard: int, label_bucket: Bucket) -> Iterator[list[str]]:
    """Read the track ids of each line of a shard that the version IDS_ONLY linked, in the order of the boxes."""
    decoder = msgspec.json.Decoder(list[str])
    return map(decoder.decode, label_bucket.lines(run.folder.shard(shard, "tracks.jsonl")))
