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

from autolabel.logs import RECEIPT, inspect_log, natural_order
from autolabel_cli.drives.folder_times import frame_times, keep_times
from autolabel_cli.errors import CommandError
from tests.fakes.counting import Counting

START = 1_700_000_000_000_000_000
NAMES = [f"{stem}{end}" for stem in ("1", "2", "10", "a", "a1", "a02", "a10", "b\udcff") for end in (".png", ".jpg")]

# With times of nanoseconds and of microseconds.
PACKED = [*(name for name in NAMES if name.isascii()), "1700000000000000777.jpg", "1700000000000001.png"]


def times_of(folder: Path, names: set[str], modified: int = START) -> dict[str, int]:
    """Make the folder hold these images, and return their times in the order of the names."""
    for path in folder.glob("[!.]*"):
        path.unlink()
    for name in names:
        (folder / name).touch()
        os.utime(folder / name, ns=(modified, modified))
    return frame_times(folder, [folder / name for name in sorted(names, key=natural_order)])


@given(st.lists(st.tuples(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(0, 2 * START)), min_size=2))
def test_a_name_keeps_its_time_and_times_follow_the_names(folders: list[tuple[set[str], int]]) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, first = Path(made), dict[str, int]()
        for names, modified in folders:
            times = times_of(folder, names, modified)
            assert keep_times(folder, times)
            first |= {name: time for name, time in times.items() if name not in first}
            assert times == {name: first[name] for name in times}
        ordered = [first[name] for name in sorted(first, key=natural_order)]
        assert all(before < after for before, after in itertools.pairwise(ordered))
        assert ordered[0] > 0


@given(st.lists(st.sets(st.sampled_from(PACKED), min_size=1), min_size=1, max_size=2), st.integers(0, 2 * 10**9))
def test_an_archive_of_a_folder_has_the_times_of_the_folder(folders: list[set[str]], seconds: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "run")
        folder.mkdir()
        for names in folders:
            times = times_of(folder, names, seconds * 10**9)
        keep_times(folder, dict(list(times.items())[::2]))
        times = times_of(folder, names, seconds * 10**9)
        for path in folder.glob("[!.]*"):
            path.write_bytes(b"image")
            os.utime(path, ns=(START, seconds * 10**9))
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as packed:
            packed.add(folder, "run")
        chunks = inspect_log(Counting(target.getvalue()), "log").chunks
        assert {chunk.member.name: chunk.first for chunk in chunks if chunk.member} == {
            f"run/{name}": time for name, time in times.items()
        }


def test_new_names_follow_at_ten_a_second_from_the_oldest_file(tmp_path: Path) -> None:
    (tmp_path / "10.jpg").touch()
    os.utime(tmp_path / "10.jpg", ns=(START, START))
    for name in ("1.jpg", "2.jpg", "1700000000000000777.jpg"):
        (tmp_path / name).touch()
    images = [tmp_path / name for name in ("1.jpg", "2.jpg", "10.jpg", "1700000000000000777.jpg")]
    assert frame_times(tmp_path, images) == {
        "1.jpg": START,
        "2.jpg": START + 100_000_000,
        "10.jpg": START + 200_000_000,
        "1700000000000000777.jpg": START + 777,
    }


def test_names_that_are_timestamps_need_no_receipt(tmp_path: Path) -> None:
    times = times_of(tmp_path, {f"{START}.png"})
    assert keep_times(tmp_path, times)
    assert not (tmp_path / RECEIPT).exists()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"times": {"a": "b"}}', b"\xff"])
def test_a_broken_receipt_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / RECEIPT).write_bytes(body)
    with pytest.raises(CommandError, match=f"{RECEIPT}.* cannot be read"):
        times_of(tmp_path, {"1.png"})
