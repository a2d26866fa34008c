"""Which split a drive belongs to. Frames of one drive are never in two: neighbours are almost the same picture."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel_cli.errors import CommandError

SPLITS = ("train", "val", "test")
_HASHED = 2**64


class Splitter(NamedTuple):
    """`names` of the splits; `choose` one for a drive, or for the vehicle of a drive and run where that is asked."""

    names: Sequence[str] = SPLITS[:1]
    choose: Callable[[str], str] = lambda group: SPLITS[0]
    vehicle_of: Callable[[str, str], str] | None = None


def parse_shares(text: str) -> dict[str, float]:
    """`train=0.8,val=0.1,test=0.1` as shares that add up to 1; CommandError for anything else."""
    shares: dict[str, float] = {}
    try:
        for part in text.split(","):
            name, _, share = part.strip().partition("=")
            if name not in SPLITS or name in shares:
                raise ValueError(f"{name!r} is not one of {', '.join(SPLITS)}, each once")
            shares[name] = float(share)
            if not 0 <= shares[name] <= 1:
                raise ValueError(f"{share} is no share")
        if not math.isclose(total := math.fsum(shares.values()), 1, abs_tol=1e-6):
            raise ValueError(f"the shares add up to {total:g}, not to 1")
    except ValueError as e:
        raise CommandError(f"--split {text!r}: {e}") from e
    return shares


def split_by_hash(group: str, shares: Mapping[str, float]) -> str:
    """The split of a drive or vehicle: a matter of its name alone, so that others may come without moving it."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / _HASHED
    end = 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    # What rounding left of the last share.
    return [name for name, share in shares.items() if share][-1]


def read_split_file(path: Path) -> dict[str, str]:
    """Drive → split, from a JSON object of lists of drives by split; CommandError for anything else."""
    try:
        lists = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise CommandError(f"--split-file {path}: {e}; it is a JSON object of lists of drives by split") from e
    found: dict[str, str] = {}
    for split, drives in lists.items():
        if split not in SPLITS:
            raise CommandError(f"--split-file {path}: {split!r} is not one of {', '.join(SPLITS)}")
        for drive in drives:
            if found.setdefault(drive, split) != split:
                raise CommandError(f"--split-file {path} puts drive {drive!r} into {found[drive]} and into {split}")
    return found


def split_by_file(path: Path) -> Splitter:
    """A splitter that has each drive where a file says, and refuses others."""
    found = read_split_file(path)

    def choose(drive: str) -> str:
        if drive not in found:
            raise CommandError(f"--split-file {path} names no split for drive {drive!r}")
        return found[drive]

    return Splitter([name for name in SPLITS if name in found.values()], choose)
