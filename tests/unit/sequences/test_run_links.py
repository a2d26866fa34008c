"""The boxes of a run are linked over its shards, in any number of calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.verification import AGAIN, KEPT
from autolabel.datasets.joining import carry_tracks
from autolabel.labelling.earlier_labels import EarlierFrame
from autolabel.labelling.shards import AskedLines, Shard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.detections import repair_box
from autolabel.labels.manifest import MAX_ATTRIBUTE, ManifestLine, Origin, PrelabelTracks, read_line, whole_pixels
from autolabel.sequences.linked_lines import TrackedBox, link_line
from autolabel.sequences.linked_shards import Links, read_labelled, read_links
from autolabel.sequences.linking import Sight
from autolabel.sequences.run_links import LinkCursor, link_run
from autolabel.sequences.tracks import link_frames
from tests.fakes.bucket import FakeBucket
from tests.fakes.lines import parsed

START = 1_700_000_000_000_000_000
NAMES = ("car", "person")


class Object(NamedTuple):
    """A box of 100 x 80 pixels that moves to the right.

    `gone`: frames in which no model finds it; `misnamed`: frames in which it has the other class.
    """

    name: str
    first: int
    frames: int
    left: int
    speed: int
    gone: frozenset[int] = frozenset()
    misnamed: frozenset[int] = frozenset()

    def at(self, frame: int) -> tuple[str, int] | None:
        there = self.first <= frame < self.first + self.frames and frame not in self.gone
        name = next(name for name in NAMES if name != self.name) if frame in self.misnamed else self.name
        shake = (self.left + 7 * frame) % 5
        return (name, max(0, self.left + self.speed * (frame - self.first) + shake)) if there else None


objects = st.lists(
    st.builds(
        Object,
        st.sampled_from(NAMES),
        st.integers(0, 20),
        st.integers(1, 30),
        st.integers(0, 800),
        st.integers(-15, 15),
        st.frozensets(st.integers(0, 30), max_size=8),
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
        "doubt": {"level": 0.1, "boxes": [0.1] * len(boxes), "why": ["low confidence"], "ghosts": []},
    }


def write_shard(bucket: FakeBucket, run: Run, index: int, lines: Sequence[dict[str, Any]]) -> None:
    doubts = [{"level": 0.1, "boxes": one["doubt"]["boxes"]} if "doubt" in one else {} for one in lines]
    for part, rows in (("manifest", lines), ("doubts", doubts)):
        bucket.write(run.folder.shard(index, f"{part}.jsonl"), b"".join(msgspec.json.encode(x) + b"\n" for x in rows))
    names = [NAMES[box["class_id"]] for one in lines for box in one["prelabel"]["annotations"]]
    tally = {"labelled": len(lines), "boxes": len(names), "classes": Counter(names)}
    size = len(bucket.read(run.folder.shard(index, "manifest.jsonl")) or b"")
    result = {"index": index, "tally": tally, "manifest_bytes": size}
    bucket.write(run.folder.shard(index, "result.json"), msgspec.json.encode(result))


def run_of(tracks: bool = True) -> Run:
    document = DriveDocument("v", {"front": Camera(), "rear": Camera()}, tracks=tracks)
    return Run("d", "0001", document, "e", ("m.0001",), "2026.1", NAMES)


class Linked(NamedTuple):
    """The linked lines of a run, as later functions read them. Those of the camera `front` come first."""

    lines: list[ManifestLine]
    uncertainties: list[FrameUncertainty]
    links: Links
    calls: int

    @property
    def tracks(self) -> list[Sequence[str]]:
        return [one.prelabel_tracks.ids if one.prelabel_tracks is not UNSET else () for one in self.lines]


def linked(
    scene: Sequence[Object],
    *,
    frames: int = 40,
    rate: float = 10.0,
    shard: int = 7,
    late: bool = False,
    failed: int | None = None,
    resized: int | None = None,
) -> Linked:
    """Link a run of two cameras that see the same; `late`: each call links one shard; `failed`: no model answered.

    `resized`: the first frame that is larger than those before.
    """
    run, bucket, shards = run_of(), FakeBucket("labels"), list[bytes]()
    for camera in ("front", "rear"):
        for first in range(0, frames, shard):
            index, of = len(shards), range(first, min(first + shard, frames))
            lines = [line(camera, START + round(n * 1e9 / rate), boxes_at(scene, n)) for n in of]
            if failed is not None and failed in of:
                lines[failed - first] = line(camera, START + round(failed * 1e9 / rate), [])
                del lines[failed - first]["doubt"]
            for n in of if resized is not None else ():
                lines[n - first]["prelabel"]["image_size"][0]["height"] += n >= resized
            shards.append(msgspec.json.encode(Shard(index, camera, len(of), "")) + b"\n")
            write_shard(bucket, run, index, lines)
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
    labelled, tally = read_labelled(run, bucket)
    bodies = [
        (body, uncertainty)
        for one in labelled
        for body, uncertainty in zip(
            *(bucket.lines(run.folder.shard(one.index, one.part(part))) for part in ("manifest", "doubts")), strict=True
        )
    ]
    read = [read_line(body) for body, _ in bodies]
    assert sum(one.manifest_bytes for one in labelled) == sum(len(body) + 1 for body, _ in bodies)
    assert tally.classes == Counter(box.name for one in read for box in one.prelabel_boxes)
    assert tally.boxes == sum(tally.classes.values())
    decode = msgspec.json.Decoder(FrameUncertainty).decode
    return Linked(read, [decode(uncertainty) for _, uncertainty in bodies], links, calls)


# Two cars are missed at once, and the second one in the frame came first.
@example([Object("car", 8, 30, 0, 0, frozenset({20})), Object("car", 0, 38, 500, 0, frozenset({20}))], 4)
@given(objects, st.integers(1, 40))
@pytest.mark.slow
def test_any_number_of_calls_and_shards_gives_the_same_tracks(scene: list[Object], shard: int) -> None:
    whole = linked(scene, shard=40)
    pieces = linked(scene, shard=shard, late=True)
    assert pieces.lines == whole.lines
    assert pieces.uncertainties == whole.uncertainties
    assert pieces.links == whole.links
    assert pieces.calls >= len(pieces.tracks) / shard


@given(objects)
def test_tracks_are_those_of_the_camera_alone(scene: list[Object]) -> None:
    found = linked(scene)
    rows = list[tuple[float, list[Sight]]]()
    for n in range(40):
        time = n * 100_000_000 / 1e9
        rows.append((time, [Sight(time, (x, 50.0, x + 100.0, 130.0), name) for name, x in boxes_at(scene, n)]))
    expected = sorted(
        [
            (box.frame, track.name, whole_pixels(repair_box(box.box, 2_000, 200) or box.box, 2_000, 200), box.seen)
            for box in track.boxes
        ]
        for track in link_frames(rows)
        if track.confirmed
    )
    tracks: dict[str, list[tuple[int, str, tuple[int, ...], bool]]] = defaultdict(list)
    for n, one in enumerate(found.lines[:40]):
        assert one.prelabel_tracks is not UNSET
        shown = zip(one.prelabel_boxes, one.prelabel_tracks.ids, one.prelabel_tracks.origins, strict=True)
        for box, id, origin in shown:
            place = (round(box.left), round(box.top), round(box.width), round(box.height))
            tracks[id].append((n, box.name, place, origin == Origin.MODEL))
    tracks.pop("", None)
    assert sorted(tracks.values()) == expected
    assert found.links.cameras["front"].tracks == len(tracks) == found.links.cameras["rear"].tracks


@given(objects)
@pytest.mark.slow
def test_frames_with_filled_boxes_are_never_certain_and_no_box_gets_less_uncertain(scene: list[Object]) -> None:
    found = linked(scene)
    for n, (one, uncertainty) in enumerate(zip(found.lines[:40], found.uncertainties[:40], strict=True)):
        assert one.prelabel_tracks is not UNSET
        assert one.uncertainty is not UNSET
        filled = [origin == Origin.INTERPOLATED for origin in one.prelabel_tracks.origins]
        assert all(level == 1.0 for level, is_filled in zip(uncertainty.boxes, filled, strict=True) if is_filled)
        assert all(level >= 0.1 for level, is_filled in zip(uncertainty.boxes, filled, strict=True) if not is_filled)
        assert (uncertainty.level == 1.0) == any(filled)
        assert (one.uncertainty.level, one.uncertainty.boxes) == (uncertainty.level, uncertainty.boxes)
        assert filled.count(False) == len(boxes_at(scene, n))
        assert list(uncertainty.claims) == sorted({box.name for box in one.prelabel_boxes})


def test_a_class_is_voted_over_a_track_and_the_models_own_is_kept() -> None:
    found = linked([Object("car", 0, 40, 100, 10, misnamed=frozenset((0, 20)))])
    named = [one.prelabel_boxes[0].name for one in found.lines]
    assert set(named) == {"car"}
    own = [one.prelabel_tracks.classes for one in found.lines[:40] if one.prelabel_tracks is not UNSET]
    assert [n for n, classes in enumerate(own) if classes == ("person",)] == [0, 20]
    assert [one.boxes for one in found.uncertainties[19:22]] == [(0.1,), (0.5,), (0.1,)]


def test_a_failed_frame_gets_no_box_that_no_model_saw() -> None:
    found = linked([Object("car", 0, 40, 100, 10, frozenset({11}))], failed=10)
    assert [len(one.prelabel_boxes) for one in found.lines[8:13]] == [1, 1, 0, 1, 1]
    assert [one.level for one in found.uncertainties[9:12]] == [0.1, None, 1.0]


def levels(found: Linked) -> list[tuple[float, ...]]:
    return [one.boxes for one in found.uncertainties[:40]]


def test_a_change_of_the_frames_size_ends_all_tracks_and_is_no_end_of_an_object() -> None:
    scene = [Object("car", 0, 40, 300, 10, frozenset({20}))]
    found = linked(scene, resized=20)
    before, after = ({one for ids in found.tracks[of] for one in ids} for of in (slice(0, 20), slice(20, 40)))
    assert len(before) == len(after) == 1
    assert before != after
    # The box that is missed in the first frame of the new size is not filled in.
    assert found.tracks[20] == ()
    assert max(found.uncertainties[19].boxes) < 0.5
    assert max(linked([Object("car", 0, 20, 300, 10)]).uncertainties[19].boxes) == 0.5


def test_boxes_without_a_track_and_ends_inside_the_picture_are_uncertain() -> None:
    # Two frames alone; a track that is there from the first frame on and ends; one that lasts until the last frame.
    short = levels(linked([Object("car", 10, 2, 500, 0)]))
    assert short[9:13] == [(), (0.8,), (0.8,), ()]
    ended, begun = levels(linked([Object("car", 0, 20, 500, 0)])), levels(linked([Object("car", 20, 20, 500, 0)]))
    assert (ended[0], ended[18], ended[19]) == ((0.1,), (0.1,), (0.5,))
    assert (begun[20], begun[21], begun[39]) == ((0.5,), (0.1,), (0.1,))
    # It leaves the picture at its left edge.
    assert levels(linked([Object("car", 0, 20, 2, 0)]))[19] == (0.1,)
    # The recording begins and ends with it.
    assert levels(linked([Object("car", 0, 2, 500, 0)], frames=2)) == [(0.1,)] * 4


def test_a_box_that_jumps_is_uncertain() -> None:
    run, bucket = run_of(), FakeBucket("labels")
    lefts = [500] * 10
    lefts[5] = 540
    write_shard(
        bucket, run, 0, [line("front", START + n * 100_000_000, [("car", left)]) for n, left in enumerate(lefts)]
    )
    bucket.write(run.folder.shard_list, msgspec.json.encode(Shard(0, "front", 10, "")) + b"\n")
    link_run(run, LinkCursor(), label_bucket=bucket, is_late=lambda: False)
    decoder = msgspec.json.Decoder(FrameUncertainty)
    boxes = [decoder.decode(one).boxes for one in bucket.lines(run.folder.shard(0, "linked.doubts.jsonl"))]
    # Where a neighbour jumps, a box is not where the two beside it lead either.
    assert boxes[3:8] == [
        (0.1,),
        (round(1 - 80 / 120, 2),),
        (round(1 - 60 / 140, 2),),
        (round(1 - 80 / 120, 2),),
        (0.1,),
    ]
    line_ = read_line(list(bucket.lines(run.folder.shard(0, "linked.manifest.jsonl")))[5])
    assert line_.uncertainty is not UNSET
    assert line_.uncertainty.why == ("a box jumps between its neighbours in time", "low confidence")


def test_a_line_that_would_be_too_long_keeps_the_models_boxes_and_says_so() -> None:
    frame = line("front", START, [("car", n) for n in range(300)])
    tracked = [TrackedBox("0123456789ab", "car", (float(n), 50.0, n + 100.0, 130.0)) for n in range(300)]
    assert len(msgspec.json.encode(frame["prelabel"])) < MAX_ATTRIBUTE
    fits = link_line(msgspec.json.encode(frame), certain(300), tracked, [], NAMES)
    assert parsed(fits.body).prelabel_tracks is not UNSET
    over = link_line(msgspec.json.encode(frame), certain(300), tracked, tracked[:100], NAMES)
    kept = parsed(over.body)
    assert (kept.prelabel_boxes, kept.prelabel_tracks) == (parsed(frame).prelabel_boxes, UNSET)
    assert (over.uncertainty, dict(over.more)) == (certain(300), {})
    assert kept.uncertainty is not UNSET
    assert kept.uncertainty.why[0] == "too many boxes to fill gaps and to smooth"


def certain(boxes: int) -> FrameUncertainty:
    return FrameUncertainty(0.1, (0.1,) * boxes)


def test_reviewers_who_are_asked_again_get_the_linked_lines_of_the_other_frames() -> None:
    run, bucket = run_of(), FakeBucket("labels")
    write_shard(bucket, run, 0, [line("front", START + n * 100_000_000, [("car", 500)]) for n in range(3)])
    kept = [EarlierFrame(KEPT), EarlierFrame(AGAIN, asked='{"asked":1}'), EarlierFrame()]
    bucket.write(run.folder.shard(0, "kept.jsonl"), b"".join(msgspec.json.encode(one) + b"\n" for one in kept))
    bucket.write(run.folder.shard_list, msgspec.json.encode(Shard(0, "front", 3, "")) + b"\n")
    link_run(run, LinkCursor(), label_bucket=bucket, is_late=lambda: False)
    lines = list(bucket.lines(run.folder.shard(0, "linked.manifest.jsonl")))
    asked = list(bucket.lines(run.folder.shard(0, "linked.asked.jsonl")))
    assert asked == [b'{"asked":1}', lines[2]]
    ((shard,), _) = read_labelled(run, bucket)
    assert shard.asked == AskedLines(2, sum(len(one) + 1 for one in asked))


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
    write_shard(bucket, run, 0, [line("front", START + n * 100_000_000, [("car", 10 * n)]) for n in range(3)])
    report = link_run(run, LinkCursor(1, "backward"), label_bucket=bucket, is_late=lambda: False)
    assert report.verdict == "done"
    lines = map(read_line, bucket.lines(run.folder.shard(0, "linked.manifest.jsonl")))
    assert len({one.prelabel_tracks.ids for one in lines if one.prelabel_tracks is not UNSET}) == 1


def test_a_reviewers_boxes_keep_the_tracks_and_the_origins_of_the_boxes_they_were_made_from() -> None:
    frame = line("front", START, [("car", 0), ("car", 300), ("person", 600)])
    left = line("front", START, [("person", 600), ("person", 310), ("car", 900), ("car", 0)])
    frame |= {"verified": left["prelabel"], "verified-metadata": left["prelabel-metadata"]}
    tracks = PrelabelTracks(("a", "b", "c"), (Origin.INTERPOLATED, Origin.MODEL, Origin.MODEL))

    def carried(labelled_by: str) -> tuple[tuple[str, ...], str]:
        frame["provenance"]["labelled-by"] = labelled_by
        ids, origins = carry_tracks(parsed(frame), tracks)
        return ids, " ".join(origins)

    ids = ("c", "b", "", "a")
    assert carried("model and person") == (ids, "model person person interpolated")
    # A person who did not see the boxes drew all of them.
    assert carried("person") == (ids, "person person person person")
    assert carried("script") == (ids, "model script script interpolated")
    del frame["verified"], frame["verified-metadata"]
    assert carry_tracks(parsed(frame), tracks) == (tracks.ids, tracks.origins)
