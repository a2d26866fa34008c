"""The times of a folder's images, while the folder changes between uploads."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.logs import RECEIPT, choose_sensors, inspect_log, natural_order
from autolabel_cli.drives.recordings import Recording, find_recording
from autolabel_cli.errors import CommandError
from tests.fakes.counting import Counting

START = 1_700_000_000_000_000_000
NAMES = [f"{stem}{end}" for stem in ("1", "2", "10", "a", "a1", "a02", "a10", "b\udcff") for end in (".png", ".jpg")]

# With times of nanoseconds and of microseconds.
LAYOUTS = [("",), ("front/", "rear/"), ("front/", "left/data/"), ("a/front/", "b/rear/", "left/")]
# KITTI's list of times: 1.png has the second line.
LINES = b"2011-09-26 13:02:25.9\n2011-09-26 13:02:26.0\n2011-09-26 13:02:26.1\n"
PACKED = [*(name for name in NAMES if name.isascii()), "1700000000000000777.jpg", "1700000000000001.png"]


def recorded(folder: Path, names: set[str], modified: int = START) -> Recording:
    """Make the folder hold these images, and find them."""
    for path in folder.rglob("[!.]*"):
        if path.is_file():
            path.unlink()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        os.utime(folder / name, ns=(modified, modified))
    return find_recording(folder)


@given(st.lists(st.tuples(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(0, 2 * START)), min_size=2))
def test_a_name_keeps_its_time_and_times_follow_the_names(folders: list[tuple[set[str], int]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, first = Path(made), dict[str, int]()
        for names, modified in folders:
            recording = recorded(folder, names, modified)
            assert recording.keep_times() == ""
            first |= {name: time for name, time in recording.times.items() if name not in first}
            assert recording.times == {name: first[name] for name in recording.times}
        ordered = [first[name] for name in sorted(first, key=natural_order)]
        assert all(before < after for before, after in itertools.pairwise(ordered))
        assert ordered[0] > 0


@given(
    st.lists(st.sets(st.sampled_from(PACKED), min_size=1), min_size=1, max_size=2),
    st.sampled_from(LAYOUTS),
    st.integers(0, 2 * 10**9),
)
def test_an_archive_of_a_folder_has_the_cameras_and_times_of_the_folder(
    folders: list[set[str]], layout: tuple[str, ...], seconds: int
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "run")
        folder.mkdir()
        for names in folders:
            # What is in data has a list of times.
            held = {inner + name for inner in layout if "data" not in inner for name in names}
            recorded(folder, held, seconds * 10**9).keep_times()
        if "left/data/" in layout:
            (folder / "left").mkdir(exist_ok=True)
            (folder / "left/timestamps.txt").write_bytes(LINES)
            for number in ("1", "2"):
                (folder / f"left/data/{number}.png").parent.mkdir(exist_ok=True)
                (folder / f"left/data/{number}.png").touch()
        recording = find_recording(folder)
        for path in recording.files:
            path.write_bytes(b"image")
            os.utime(path, ns=(START, seconds * 10**9))
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as packed:
            packed.add(folder, "run")
        index = inspect_log(Counting(target.getvalue()), "log")
        found = {
            chunk.member.name.removeprefix("run/"): (chunk.first, (chunk.channels or (0,))[0])
            for chunk in index.chunks
            if chunk.member
        }
        assert {name: time for name, (time, _) in found.items()} == recording.times
        names_of = choose_sensors(index).names
        if recording.cameras:
            assert {name: names_of[channel] for name, (_, channel) in found.items()} == recording.cameras
        assert not index.unread


def test_new_names_follow_at_ten_a_second_from_the_oldest_file(tmp_path: Path) -> None:
    names = ("1.jpg", "2.jpg", "10.jpg", "1700000000000000777.jpg")
    for name in names:
        (tmp_path / name).touch()
    os.utime(tmp_path / "10.jpg", ns=(START, START))
    assert find_recording(tmp_path).times == {
        "1.jpg": START,
        "2.jpg": START + 100_000_000,
        "10.jpg": START + 200_000_000,
        "1700000000000000777.jpg": START + 777,
    }


def test_names_that_are_timestamps_need_no_receipt(tmp_path: Path) -> None:
    recording = recorded(tmp_path, {f"{START}.png"})
    assert recording.keep_times() == ""
    assert not (tmp_path / RECEIPT).exists()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"times": {"a": "b"}}', b"\xff"])
def test_a_broken_receipt_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / RECEIPT).write_bytes(body)
    with pytest.raises(CommandError, match=f"{RECEIPT}.* cannot be read"):
        recorded(tmp_path, {"1.png"})
