"""A selection keeps frames by a rate or by what changes, restarts with each slice, and counts what it leaves out."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.errors import DocumentRefused, LogRefused
from autolabel.contracts.logs import LINKED_RATE, FrameSelection, parse_log_document, parse_selection
from autolabel.logs import index as indexes
from autolabel.logs import pictures
from autolabel.logs.schemas import PackedPicture, RawPicture
from autolabel.logs.selection import (
    NOT_SELECTED,
    SAME_TIMESTAMP,
    Selection,
    Selector,
    Timestamps,
    choose_selection,
)
from autolabel.sequences import LEAST_RATE
from tests.fakes.archives import archive, images
from tests.fakes.images import saved
from tests.fakes.logs import (
    FRONT,
    LIDAR,
    REAR,
    START,
    STEP,
    Sent,
    bag_log,
    drive,
    jpeg,
    mcap_log,
    pixels,
    raw,
    sqlite_log,
)
from tests.fakes.pipeline import DRIVE
from tests.fakes.videos import OPEN, UNEVEN, video
from tests.unit.logs.reading import read_log
from tests.unit.logs.test_point_clouds import scanned
from tests.unit.logs.test_poses import GPS, fix
from tests.unit.logs.test_steps import Cloud, extracted
from tests.unit.logs.test_steps import document as described

SECOND = 1_000_000_000
CAMERA = "front"
STILL = bytes(576)


def kept(selection: FrameSelection, frames: list[tuple[int, bytes | None]], *, tracks: bool = False) -> list[int]:
    """Return the times of the frames that a selector keeps. `frames`: times with thumbnails."""
    selector = Selector(Selection({CAMERA: selection}, tracks), Timestamps())
    taken = []
    for timestamp, thumbnail in frames:
        try:
            selector.check(CAMERA, timestamp, lambda shown=thumbnail: shown)  # type: ignore[misc]
            selector.take(CAMERA, timestamp)
        except LogRefused:
            continue
        taken.append(timestamp)
    return taken


def grey(level: int) -> bytes:
    return bytes([level]) * 576


@given(st.sampled_from([2.0, 5.0, 7.5, 0.1]), st.lists(st.integers(1, SECOND), min_size=1, max_size=60))
def test_a_rate_keeps_at_most_one_frame_of_each_cell(rate: float, pauses: list[int]) -> None:
    times = [START + sum(pauses[:n]) for n in range(len(pauses))]
    found = kept(FrameSelection(rate=rate), [(time, None) for time in times])
    # The cells are as long as the pause of the rate: a frame that is left out has a kept one this near before it.
    assert found[0] == times[0]
    for time in times:
        before = max(one for one in found if one <= time)
        assert time - before < SECOND / rate
    spans = (found[-1] - found[0]) * rate / SECOND
    assert len(found) <= spans + 2


@given(st.lists(st.integers(-3_000_000, 3_000_000), min_size=20, max_size=20), st.sampled_from([10, 20, 30]))
def test_cameras_that_are_triggered_together_stay_in_step(jitter: list[int], hertz: int) -> None:
    triggers = [START + n * SECOND // hertz for n in range(20)]
    times = [at + late for at, late in zip(triggers, jitter, strict=True)]
    found = kept(FrameSelection(rate=5), [(time, None) for time in times])
    assert [times.index(time) for time in found] == list(range(0, 20, hertz // 5))


def test_a_standing_camera_keeps_a_frame_after_the_longest_gap() -> None:
    times = [START + n * STEP for n in range(100)]
    # The sensor's noise is not a change.
    noise = [(time, grey(n % 3)) for n, time in enumerate(times)]
    selection = FrameSelection(visual_change=3, longest_gap=4)
    assert kept(selection, noise) == [times[0], times[40], times[80]]
    # Also where the clock was set back by an hour.
    back = [(time - 3600 * SECOND, STILL) for time in times[:2]]
    assert kept(selection, [(times[0], STILL), *back]) == [times[0], times[0] - 3600 * SECOND]


def test_slow_changes_add_up_and_unreadable_pictures_are_kept() -> None:
    times = [START + n * STEP for n in range(9)]
    selection = FrameSelection(visual_change=3)
    assert kept(selection, [(time, grey(n)) for n, time in enumerate(times)]) == times[::3]
    # What comes behind an unreadable picture cannot be compared.
    unreadable = [STILL, STILL, None, STILL, STILL]
    assert kept(selection, list(zip(times, unreadable, strict=False))) == [times[0], times[2], times[3]]


@given(st.lists(st.tuples(st.integers(20, 200), st.integers(0, 12)), min_size=1, max_size=120))
def test_with_tracks_a_change_keeps_whole_stretches(frames: list[tuple[int, int]]) -> None:
    times = [START + sum(pause for pause, _ in frames[:n]) * 1_000_000 for n in range(len(frames))]
    shown = [(time, grey(level)) for time, (_, level) in zip(times, frames, strict=True)]
    found = kept(FrameSelection(visual_change=5), shown, tracks=True)
    levels = dict(zip(times, (level for _, level in frames), strict=True))
    at = 0
    while at < len(found):
        begin = found[at]
        stretch = [time for time in times if begin <= time < begin + SECOND]
        assert found[at : at + len(stretch)] == stretch
        at += len(stretch)
        # Until the next stretch begins, nothing has changed.
        end = found[at] if at < len(found) else times[-1] + 1
        between = [time for time in times if begin + SECOND <= time < end]
        assert all(abs(levels[time] - levels[begin]) < 5 for time in between)
    pauses = sorted(later - earlier for earlier, later in pairwise(found))
    # As the linker counts it, if the camera stood for a time at least.
    assert len(found) < 20 or pauses[(len(pauses) - 1) // 2] <= SECOND / LINKED_RATE


def test_the_rate_that_is_linked_is_the_linkers_own() -> None:
    assert LINKED_RATE == LEAST_RATE


def test_a_frame_that_is_none_is_not_the_one_to_compare_with() -> None:
    # A frame with the time of the first one does not become the reference.
    shown = [(START, grey(0)), (START + 5, grey(10)), (START, grey(90)), (START + 9, grey(12))]
    assert kept(FrameSelection(visual_change=3), shown) == [START, START + 5]
    # A damaged picture at 0.2 s does not take the cell.
    sent = front([0, 200, 250, 0, 400, 450])
    sent[1] = sent[1]._replace(packed=("jpeg", b"no picture"))
    reading = read_log(mcap_log(sent), selection=Selection({"camera-front": FrameSelection(rate=5)}))
    assert [(frame.timestamp - START) // 1_000_000 for frame in reading.frames] == [0, 250, 400]
    assert (reading.refused, reading.skipped) == ({"not-an-image": 1}, {NOT_SELECTED: 2})


def front(milliseconds: list[int], level: int = 0) -> list[Sent]:
    return [
        Sent(FRONT, START + ms * 1_000_000, START + n * STEP, packed=("jpeg", jpeg(level + n)))
        for n, ms in enumerate(milliseconds)
    ]


def test_pictures_that_a_rate_leaves_out_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    file = pictures.image_file
    monkeypatch.setattr(pictures, "image_file", lambda picture: made.append(picture) or file(picture))
    monkeypatch.setattr(pictures, "thumbnail", lambda _: pytest.fail("a rate looks at no picture"))
    selection = Selection(dict.fromkeys(("camera-front", "camera-rear"), FrameSelection(rate=2)))
    reading = read_log(mcap_log(drive(20)), selection=selection)
    assert len(made) == len(reading.frames) == 8
    assert reading.skipped == {NOT_SELECTED: 32}


def test_thumbnails_show_what_pictures_of_all_kinds_show() -> None:
    ramp = np.linspace(0, 255, 320).astype(np.uint8).repeat(180).reshape(320, 180).T
    rgb = np.stack((ramp,) * 3, axis=2)
    deep = ramp.astype(np.uint16) << 8
    views = [
        PackedPicture("", memoryview(saved(Image.fromarray(rgb), "JPEG"))),
        PackedPicture("", memoryview(saved(Image.fromarray(rgb), "PNG"))),
        PackedPicture("", memoryview(saved(Image.fromarray(deep), "PNG"))),
        RawPicture(320, 180, "mono8", False, 320, memoryview(ramp.tobytes())),
        RawPicture(320, 180, "mono16", False, 640, memoryview(deep.tobytes())),
        RawPicture(320, 180, "bgr8", False, 960, memoryview(rgb.tobytes())),
    ]
    wanted = ramp.reshape(18, 10, 32, 10).mean(axis=(1, 3))
    for picture in views:
        found = pictures.thumbnail(picture)
        assert found
        assert np.abs(np.frombuffer(found, np.uint8).reshape(18, 32) - wanted).max() <= 2
    jpeg_file, gif = bytes(views[0].data), saved(Image.fromarray(rgb), "GIF")
    for unreadable in (jpeg_file[:200], gif, b""):
        assert pictures.thumbnail(PackedPicture("", memoryview(unreadable))) is None


def messages(seed: int) -> list[Sent]:
    """Messages of 60 frames in which the vehicle stands for a while, with double times and damaged pictures."""
    draw = Random(seed)
    sent: list[Sent] = []
    for n in range(60):
        number = n if n < 10 or n > 45 else 10
        packed = ("jpeg", b"damaged" if draw.random() < 0.1 else jpeg(number))
        again = draw.choice(sent).stamp if sent and draw.random() < 0.1 else START + n * STEP
        sent.append(Sent(FRONT, again, START + n * STEP, packed=packed))
        shown = raw(pixels(number).tobytes(), encoding="unknown" if draw.random() < 0.1 else "rgb8")
        sent.append(Sent(REAR, START + n * STEP + 5, START + n * STEP + 5, raw=shown))
    return sent


@pytest.mark.parametrize(
    ("writer", "selection", "tracks"),
    [
        (mcap_log, {"rate": 3}, True),
        (mcap_log, {"visual_change": 5, "longest_gap": 2}, False),
        (bag_log, {"camera-front": {"rate": 5}, "camera-rear": {"visual_change": 5}}, True),
        (sqlite_log, {"visual_change": 5}, True),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_slices_of_any_size_in_any_order_leave_the_same_frames(
    writer: Any, selection: Any, tracks: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "SELECTED_BYTES", 50_000)
    body = writer(messages(seed))
    whole = selected(body, 10**9, None, selection=selection, tracks=tracks)
    log = whole.folder()
    assert whole.inspect(log).slices > 1
    cloud = selected(body, 9_000, Random(seed), selection=selection, tracks=tracks)
    assert cloud.frames() == whole.frames()
    assert cloud.summary(log) == whole.summary(log)
    assert cloud.labels.objects[log.left] == whole.labels.objects[log.left]
    # The command reads slice after slice, with the times of all.
    document = parse_log_document(described(selection=selection, tracks=tracks), "recording.json")
    reading = read_log(body, selection=choose_selection(document, None, ("camera-front", "camera-rear")))
    assert sorted(frame.body for frame in reading.frames) == sorted(whole.frames().values())
    topics = whole.summary(log).topics
    assert {name: (of.skipped, of.refused) for name, of in topics.items()} == {
        name: (of.skipped, of.refused) for name, of in reading.tally.topics.items()
    }
    for of in topics.values():
        assert of.messages == 60 == of.extracted + sum(of.skipped.values()) + sum(of.refused.values())
        assert min(of.skipped[NOT_SELECTED], of.extracted) > 0
    (record,) = whole.ledger.logs(DRIVE)
    assert record.skipped == sum(sum(of.skipped.values()) for of in topics.values())


def selected(body: bytes, slice_bytes: int, draw: Random | None, name: str = "a.mcap", **fields: Any) -> Cloud:
    cloud = Cloud(slice_bytes)
    cloud.upload(f"drives/{DRIVE}/logs/recording.json", described(logs=[name], **fields))
    cloud.put_log(body, name)
    cloud.run_extractions(draw)
    return cloud


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_images_are_selected_by_their_times_in_any_order_of_packing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list(images(40).items())
    ordered = selected(archive(dict(files), kind), 10**9, None, selection={"rate": 2})
    assert len(ordered.frames()) == 16
    Random(1).shuffle(files)
    shuffled = archive(dict(files), kind)
    if kind != "tar.gz":
        assert selected(shuffled, 10**9, None, selection={"rate": 2}).frames() == ordered.frames()
        monkeypatch.setattr(indexes, "SELECTED_PICTURE_BYTES", 10_000)
    for selection in ({"rate": 2}, {"visual_change": 5, "longest_gap": 2}):
        whole = selected(shuffled, 10**9, None, selection=selection)
        cloud = selected(shuffled, 1, Random(1), selection=selection)
        assert (cloud.inspect(cloud.folder()).slices > 1) == (kind != "tar.gz")
        assert cloud.frames() == whole.frames()
        assert cloud.summary(cloud.folder()) == whole.summary(whole.folder())
        assert sum(of.messages for of in whole.summary(whole.folder()).topics.values()) == 80


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("selection", [{"rate": 6}, {"visual_change": 40}])
def test_slices_of_a_video_leave_the_same_frames(
    container: str, selection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "SELECTED_PICTURE_BYTES", 2_000)
    body = video(container=container, params=OPEN, frames=len(UNEVEN), times=UNEVEN)
    fields = {"selection": selection, "start": "2026-11-22T10:00:00Z", "tracks": False}
    whole = selected(body, 10**9, None, "front.mp4", **fields)
    cloud = selected(body, 1, Random(1), "front.mp4", **fields)
    log = whole.folder(f"drives/{DRIVE}/logs/front.mp4")
    assert whole.inspect(log).slices > 1
    assert cloud.frames() == whole.frames()
    (topic,) = whole.summary(log).topics.values()
    assert cloud.summary(log) == whole.summary(log)
    assert (topic.messages, topic.refused) == (len(UNEVEN), {})
    assert 5 < topic.extracted == len(whole.frames()) < len(UNEVEN)


def test_the_document_counts_before_the_stacks_own_selection() -> None:
    own = parse_selection("rate=2")

    def chosen(**fields: Any) -> dict[str, FrameSelection]:
        document = parse_log_document(json.dumps(fields).encode(), "recording.json")
        return dict(choose_selection(document, own, ("front", "rear")).cameras)

    assert chosen() == {"front": own, "rear": own}
    assert chosen(selection={}) == {}
    assert chosen(selection={"rate": 5}) == dict.fromkeys(("front", "rear"), FrameSelection(rate=5))
    assert chosen(selection={"front": {"visual_change": 3}}) == {"front": FrameSelection(visual_change=3)}


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"rate": 0}, "give one of `rate` and `visual_change`"),
        ({"rate": 5, "visual_change": 3}, "give one of `rate` and `visual_change`"),
        ({"rate": 5, "longest_gap": 3}, "`longest_gap` belongs to `visual_change`"),
        ({"front": {}}, "give one of"),
        ({"rate": "5"}, "got `str`"),
        ({"rate": 5, "front": {"rate": 5}}, "unknown field `front`"),
        ({"front": {"hertz": 5}}, "unknown field `hertz`"),
        ({"visual_change": 256}, "<= 255"),
        ({"front camera": {"rate": 5}}, "'front camera', which cannot be a camera"),
    ],
)
def test_a_selection_that_cannot_be_obeyed_is_refused(selection: Any, said: str) -> None:
    with pytest.raises(DocumentRefused, match=r"^recording\.json.*selection") as refused:
        parse_log_document(json.dumps({"selection": selection}).encode(), "recording.json")
    assert said in str(refused.value)


def test_the_stacks_selection_is_written_in_short() -> None:
    assert parse_selection("") is None
    assert parse_selection("visual_change=3,longest_gap=7.5") == FrameSelection(visual_change=3, longest_gap=7.5)
    for text in ("rate", "rate=fast", "rate=5,visual_change=3", "hertz=5"):
        with pytest.raises(ValueError, match=f"'{text}' is not a selection, like rate=5"):
            parse_selection(text)


@pytest.mark.parametrize(("rate", "tracks", "noted"), [(2, True, True), (2, False, False), (5, True, False)])
def test_a_drive_notes_the_cameras_that_are_too_slow_for_tracks(rate: float, tracks: bool, noted: bool) -> None:
    cloud = selected(mcap_log(drive(20)), 10**9, None, selection={"camera-front": {"rate": rate}}, tracks=tracks)
    key = f"drives/{DRIVE}/drive.json"
    notes = parse_drive_document(cloud.ingest.objects[key], key).notes
    note = "log a.mcap: selected frames are more than 200 ms apart, too far for tracks: camera-front (500 ms)"
    assert notes == ((note,) if noted else ())
    assert not cloud.announcements.told


@pytest.mark.parametrize("selection", [{"rate": 1}, {"camera-front": {"rate": 1}, "top": {"rate": 1}}])
def test_a_selection_leaves_point_clouds_and_poses_as_they_are(selection: Any) -> None:
    messages = scanned(10)
    again = messages[1]._replace(log_time=messages[-1].log_time + 1)
    body = mcap_log([*messages, *(fix(at) for at in range(10)), again])
    fields = {"lidars": {LIDAR: "top"}, "poses": [GPS], "selection": selection}
    cloud = extracted(body, 10**9, fields=described(**fields))
    counts = cloud.summary(cloud.folder()).topics
    assert (counts[LIDAR].extracted, dict(counts[LIDAR].skipped)) == (10, {SAME_TIMESTAMP: 1})
    assert (counts[GPS].extracted, dict(counts[GPS].skipped)) == (10, {})
    (record,) = cloud.ledger.logs(DRIVE)
    assert (record.lidars, record.poses) == ({"top": 10}, 10)
    assert counts[FRONT].extracted == record.cameras["camera-front"] < 10
    assert dict(counts[FRONT].skipped) == {NOT_SELECTED: 10 - counts[FRONT].extracted}
    assert record.note.startswith("selected frames are more than") == (counts[FRONT].extracted > 1)
