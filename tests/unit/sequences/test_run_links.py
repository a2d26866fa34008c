"""The boxes of a run are linked over its shards, in any number of calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.datasets.joining import carry_tracks
from autolabel.labelling.shards import Shard
from autolabel.sequences.linking import CONFIRMED, Sight
from autolabel.sequences.run_links import LinkCursor, Links, link_run, read_links, read_tracks
from autolabel.sequences.tracks import link_frames
from tests.fakes.bucket import FakeBucket
from tests.fakes.lines import parsed

START = 1_700_000_000_000_000_000
NAMES = ("car", "person")


class Object(NamedTuple):
    """A box of 100 x 80 pixels that moves to the right; `gone`: frames in which no model finds it."""

    name: str
    first: int
    frames: int
    left: int
    speed: int
    gone: frozenset[int] = frozenset()

    def at(self, frame: int) -> tuple[str, int] | None:
        there = self.first <= frame < self.first + self.frames and frame not in self.gone
        return (self.name, self.left + self.speed * (frame - self.first)) if there else None


objects = st.lists(
    st.builds(
        Object,
        st.sampled_from(NAMES),
        st.integers(0, 20),
        st.integers(1, 30),
        st.integers(0, 800),
        st.integers(-15, 15),
        st.frozensets(st.integers(0, 30), max_size=8),
    ),
    max_size=6,
)


def boxes_at(scene: Sequence[Object], frame: int) -> list[tuple[str, int]]:
    return [at for one in scene if (at := one.at(frame))]


def line(camera: str, timestamp: int, boxes: Sequence[tuple[str, int]]) -> dict[str, Any]:
    annotations = [
        {"class_id": NAMES.index(name), "left": left, "top": 50, "width": 100, "height": 80} for name, left in boxes
    ]
    metadata = {
        "objects": [{"confidence": 0.9}] * len(boxes),
        "class-map": {str(index): name for index, name in enumerate(NAMES)},
    }
    return {
        "source-ref": f"s3://ingest/drives/d/{camera}/{timestamp}.png",
        "prelabel": {"image_size": [{"width": 2_000, "height": 200, "depth": 3}], "annotations": annotations},
        "prelabel-metadata": metadata,
        "provenance": {"camera": camera, "timestamp": str(timestamp), "labelled-by": "model"},
    }


def run_of(tracks: bool = True) -> Run:
    document = DriveDocument("v", {"front": Camera(), "rear": Camera()}, tracks=tracks)
    return Run("d", "0001", document, "e", ("m.0001",), "2026.1", NAMES)


class Linked(NamedTuple):
    tracks: list[list[str]]
    links: Links
    calls: int


def linked(
    scene: Sequence[Object], *, frames: int = 40, rate: float = 10.0, shard: int = 7, late: bool = False
) -> Linked:
    """Link a run of two cameras that see the same; `late`: each call links one shard."""
    run, bucket, shards = run_of(), FakeBucket("labels"), list[bytes]()
    for camera in ("front", "rear"):
        for first in range(0, frames, shard):
            index, of = len(shards), range(first, min(first + shard, frames))
            lines = [line(camera, START + round(n * 1e9 / rate), boxes_at(scene, n)) for n in of]
            shards.append(msgspec.json.encode(Shard(index, camera, len(of), "")) + b"\n")
            bucket.write(
                run.folder.shard(index, "manifest.jsonl"), b"".join(msgspec.json.encode(x) + b"\n" for x in lines)
            )
    bucket.write(run.folder.shard_list, b"".join(shards))
    cursor, calls = LinkCursor(), 0
    while True:
        report = link_run(run, cursor, label_bucket=bucket, is_late=lambda: late)
        # An answer that was lost: the call is made again.
        assert link_run(run, cursor, label_bucket=bucket, is_late=lambda: late) == report
        calls += 1
        if report.verdict == "done":
            break
        cursor = report.cursor
    links = read_links(run, bucket)
    assert links is not None
    return Linked([ids for index in range(len(shards)) for ids in read_tracks(run, index, bucket)], links, calls)


@given(objects, st.integers(1, 40))
def test_any_number_of_calls_and_shards_gives_the_same_tracks(scene: list[Object], shard: int) -> None:
    whole = linked(scene, shard=40)
    pieces = linked(scene, shard=shard, late=True)
    assert pieces.tracks == whole.tracks
    assert pieces.links == whole.links
    assert pieces.calls >= len(pieces.tracks) / shard


@given(objects)
def test_tracks_are_those_of_the_camera_alone(scene: list[Object]) -> None:
    found = linked(scene)
    rows = [
        (n / 10, [Sight(n / 10, (left, 50.0, left + 100.0, 130.0), name) for name, left in boxes_at(scene, n)])
        for n in range(40)
    ]
    expected = [[box.frame for box in track.boxes if box.seen] for track in link_frames(rows) if track.confirmed]
    frames: dict[str, list[int]] = defaultdict(list)
    for n, ids in enumerate(found.tracks[:40]):
        for one in ids:
            frames[one].append(n)
    frames.pop("", None)
    assert sorted(frames.values()) == sorted(expected)
    assert all(len(row) >= CONFIRMED for row in expected)
    assert found.links.cameras["front"].tracks == len(frames) == found.links.cameras["rear"].tracks


def test_cameras_have_tracks_of_their_own() -> None:
    found = linked([Object("car", 0, 40, 100, 10)])
    front, rear = {one for ids in found.tracks[:40] for one in ids}, {one for ids in found.tracks[40:] for one in ids}
    assert len(front) == len(rear) == 1
    assert front.isdisjoint(rear)


def test_an_object_that_is_seen_again_keeps_its_track() -> None:
    found = linked([Object("car", 0, 40, 100, 10, frozenset(range(12, 25)))])
    assert found.links.cameras["front"].tracks == 1
    assert len({one for ids in found.tracks[:40] for one in ids}) == 1


@pytest.mark.parametrize(("rate", "tracks"), [(2.0, None), (4.9, None), (5.0, 1), (30.0, 1)])
def test_a_camera_below_five_frames_a_second_is_not_linked(rate: float, tracks: int | None) -> None:
    found = linked([Object("car", 0, 40, 100, 4)], rate=rate)
    assert found.links.cameras["front"].tracks == tracks
    assert found.links.cameras["front"].rate == pytest.approx(rate, abs=0.4)
    assert all(bool(one) == bool(tracks) for ids in found.tracks for one in ids)


def test_a_drive_can_switch_linking_off() -> None:
    bucket = FakeBucket("labels")
    bucket.write(run_of().folder.shard_list, b"")
    report = link_run(run_of(tracks=False), LinkCursor(), label_bucket=bucket, is_late=lambda: False)
    assert (report.verdict, read_links(run_of(), bucket)) == ("done", None)


def test_linking_begins_again_when_its_state_is_gone() -> None:
    run, bucket = run_of(), FakeBucket("labels")
    bucket.write(run.folder.shard_list, msgspec.json.encode(Shard(0, "front", 3, "")) + b"\n")
    lines = [line("front", START + n * 100_000_000, [("car", 10 * n)]) for n in range(3)]
    bucket.write(run.folder.shard(0, "manifest.jsonl"), b"".join(msgspec.json.encode(one) + b"\n" for one in lines))
    report = link_run(run, LinkCursor(1, "backward"), label_bucket=bucket, is_late=lambda: False)
    assert report.verdict == "done"
    assert len({one for ids in read_tracks(run, 0, bucket) for one in ids}) == 1


def test_a_reviewers_boxes_keep_the_tracks_of_the_boxes_they_were_made_from() -> None:
    frame = line("front", START, [("car", 0), ("car", 300), ("person", 600)])
    moved = line("front", START, [("person", 600), ("person", 310), ("car", 900)])
    frame |= {"verified": moved["prelabel"], "verified-metadata": moved["prelabel-metadata"]}
    assert carry_tracks(parsed(frame), ["a", "b", "c"]) == ("c", "b", "")
    del frame["verified"], frame["verified-metadata"]
    assert carry_tracks(parsed(frame), ["a", "b", ""]) == ("a", "b", "")
