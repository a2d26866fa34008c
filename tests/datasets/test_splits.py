"""Neighbouring frames are in one split; the split of a drive or stretch depends on its name alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from autolabel_cli.__main__ import main
from autolabel_cli.datasets.splits import Stretches, parse_shares, split_by_hash
from autolabel_cli.errors import CommandError
from tests.datasets.drives import Labelled, Shelf, key_of

Export = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
SHARES = "train=0.6,val=0.2,test=0.2"
CAR = Labelled("car", 2, 3, 20, 10)


def publish(shelf: Shelf, drives: int, vehicles: int = 1) -> list[str]:
    names = [f"drive-{i}" for i in range(drives)]
    for i, drive in enumerate(names):
        lines = [shelf.frame(key_of(drive, index=n), [CAR]) for n in range(2)]
        shelf.publish(drive, lines, vehicle=f"car {i % vehicles}")
    return names


def splits_of(card: dict[str, Any]) -> dict[str, str]:
    return {drive["drive"]: drive["split"] for drive in card["drives"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not one of train, val, test"),
        ("train", "could not convert"),
        ("train=0.5", "add up to 0.5"),
        ("train=0.5,val=0.6", "add up to 1.1"),
        ("train=0.5,train=0.5", "each once"),
        ("train=0.5,dev=0.5", "'dev' is not one of"),
        ("train=2,val=-1", "2 is not a share"),
        ("train=nan", "nan is not a share"),
    ],
)
def test_invalid_shares_are_refused(text: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        parse_shares(text)


@given(st.text(max_size=80), st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any))
def test_every_name_gets_a_split_with_a_share_above_zero(name: str, parts: list[int]) -> None:
    shares = {split: part / sum(parts) for split, part in zip(("train", "val", "test"), parts, strict=True)}
    assert shares[split_by_hash(name, shares)] > 0
    assert split_by_hash(name, shares) == split_by_hash(name, dict(shares))


def test_many_drives_are_split_by_the_shares() -> None:
    counts = Counter(split_by_hash(f"2026-11-22-{i}", parse_shares(SHARES)) for i in range(20_000))
    assert {name: round(count / 20_000, 1) for name, count in counts.items()} == parse_shares(SHARES)


def test_other_drives_do_not_change_the_split_of_a_drive(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    drives = publish(shelf, 12)
    few = splits_of(export(*drives[3:6], "--format", "coco", "--split", SHARES, folder=tmp_path / "few"))
    many = splits_of(export(*drives, "--format", "coco", "--split", SHARES, folder=tmp_path / "many"))
    assert few.items() <= many.items()
    assert len(set(many.values())) == 3


def test_drives_of_a_vehicle_stay_in_one_split(shelf: Shelf, export: Export) -> None:
    drives = publish(shelf, 24, vehicles=4)
    card = export(*drives, "--format", "coco", "--split", SHARES, "--split-by", "vehicle")
    of_vehicle: dict[str, set[str]] = {}
    for drive in card["drives"]:
        of_vehicle.setdefault(drive["vehicle"], set()).add(drive["split"])
    assert len(of_vehicle) == 4
    assert all(len(splits) == 1 for splits in of_vehicle.values())
    apart = {split_by_hash(drive, parse_shares(SHARES)) for drive in drives[::4]}
    assert len(apart) > 1, "by their own names, drives of one vehicle are in several splits"


@given(
    st.lists(st.integers(0, 500 * 10**9), max_size=60),
    st.integers(1, 60),
    st.floats(0, 0.99),
    st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any),
)
def test_frames_of_different_splits_are_at_least_a_gap_apart(
    offsets: list[int], seconds: int, share_of_gap: float, parts: list[int]
) -> None:
    shares = {split: part / sum(parts) for split, part in zip(("train", "val", "test"), parts, strict=True)}
    cut = Stretches(seconds, share_of_gap * seconds)
    times = sorted(1_700_000_000_000_000_000 + offset for offset in offsets)
    places = [cut.place("drive-a", time, lambda name: split_by_hash(name, shares))[0] for time in times]
    kept = [(time, split) for time, split in zip(times, places, strict=True) if split]
    for (before, one), (after, other) in pairwise(kept):
        assert one == other or after - before >= cut.gap * 10**9
    if 1.0 in shares.values():
        assert None not in places, "there is no gap where the split does not change"


def test_a_drive_is_cut_at_the_same_times_in_all_cameras(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    # Two cameras of 2 Hz, which do not see at the same instants, for ten minutes.
    lines = [
        shelf.frame(key_of(camera=camera, index=late + n * 500_000_000), [CAR])
        for camera, late in (("front", 0), ("rear", 70_000_000))
        for n in range(1_200)
    ]
    shelf.publish("drive-a", lines)
    words = ["drive-a", "--format", "coco", "--no-images", "--split", SHARES, "--split-by", "time"]
    card = export(*words, "--stretch", "20", "--gap", "3")
    images = {
        split: json.loads((tmp_path / f"out/annotations/instances_{split}.json").read_text())
        for split in card["splits"]
    }
    seconds = {
        split: {int(Path(image["file_name"]).stem.split(".")[2]) // 10**9 for image in of["images"]}
        for split, of in images.items()
    }
    assert all(seconds.values())
    for one, other in combinations(seconds.values(), 2):
        assert min(abs(a - b) for a in one for b in other) >= 3
    assert all(name.count(".") == 2 for of in images.values() for name in (video["name"] for video in of["videos"]))
    left_out = card["left_out"]["frames"]["in a gap between splits"]
    assert 0 < left_out == 2_400 - card["frames"]
    [drive] = card["drives"]
    assert drive["splits"] == {name: split["frames"] for name, split in card["splits"].items()}
    assert (card["stretch_seconds"], card["gap_seconds"], card["splits"]["val"]["drives"]) == (20, 3.0, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split-by", "time"], "--split-by time needs --split"),
        (["--split", SHARES, "--gap", "3"], "need --split-by time"),
        (
            ["--split", SHARES, "--split-by", "time", "--stretch", "5"],
            "a gap of 5 s leaves nothing of stretches of 5 s",
        ),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused(shelf: Shelf, refusal: Refusal, words: list[str], said: str) -> None:
    assert said in refusal(*publish(shelf, 1), "--format", "coco", *words)


def test_a_split_file_chooses_the_splits(shelf: Shelf, export: Export, tmp_path: Path) -> None:
    drives = publish(shelf, 3)
    path = tmp_path / "splits.json"
    path.write_text('{"val": ["drive-0"], "train": ["drive-1", "drive-2", "drive-9"]}')
    card = export(*drives, "--format", "coco", "--split-file", str(path))
    assert splits_of(card) == {"drive-0": "val", "drive-1": "train", "drive-2": "train"}
    assert {name: split["frames"] for name, split in card["splits"].items()} == {"train": 4, "val": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"train": ["drive-0"]}', "has no split for drive 'drive-1'"),
        ('{"train": ["drive-0", "drive-1"], "val": ["drive-1"]}', "has drive 'drive-1' in train and in val"),
        ('{"dev": []}', "'dev' is not one of train, val, test"),
        ("[]", "give a JSON object of lists"),
        ("", "give a JSON object of lists"),
    ],
)
def test_an_ambiguous_split_file_is_refused(
    shelf: Shelf, refusal: Refusal, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    assert said in refusal(*publish(shelf, 2), "--format", "coco", "--split-file", str(path))


def test_an_empty_split_gives_a_warning(shelf: Shelf, tmp_path: Path, library: None) -> None:
    [drive] = publish(shelf, 1)
    words = ["export", drive, "--format", "coco", "--split", "train=0,val=0,test=1", "--to", str(tmp_path / "out")]
    ended = CliRunner().invoke(main, words, catch_exceptions=False)
    assert ended.exit_code == 0
    assert "warning: no frame is in train" in ended.stderr
    assert "warning: no frame is in val" in ended.stderr
    assert "no frame is in test" not in ended.stderr
