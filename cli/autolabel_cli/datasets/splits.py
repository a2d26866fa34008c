"""Splits of an export. Neighbouring frames are almost the same image, so they are never in two splits.

A drive is in one split only, or it is cut into stretches, with a gap where the split changes.
"""

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
_NANOSECONDS = 1_000_000_000


class Stretches(NamedTuple):
    """How drives are cut. `seconds`: of a stretch; `gap`: least seconds between frames of different splits.

    Stretches are counted from the epoch, so all cameras of a drive are cut at the same times, and new frames move no
    cut.
    """

    seconds: int = 60
    gap: float = 5.0

    def place(self, drive: str, timestamp: int, choose: Callable[[str], str]) -> tuple[str | None, int]:
        """Return the split of a frame, and the second in which its stretch begins. The split is None in a gap.

        `timestamp`: in nanoseconds. A gap is the beginning of a stretch whose split differs from the one before.
        """
        length = self.seconds * _NANOSECONDS
        number, passed = divmod(timestamp, length)
        start = number * self.seconds
        split = choose(f"{drive}/{start}")
        in_gap = passed < self.gap * _NANOSECONDS and choose(f"{drive}/{start - self.seconds}") != split
        return None if in_gap else split, start


class Splitter(NamedTuple):
    """`names`: the splits. `choose`: split of a drive, or of a vehicle if there is `vehicle_of` (drive, run), or of a
    stretch of a drive if there are `stretches`."""

    names: Sequence[str] = SPLITS[:1]
    choose: Callable[[str], str] = lambda group: SPLITS[0]
    vehicle_of: Callable[[str, str], str] | None = None
    stretches: Stretches | None = None


def parse_shares(text: str) -> dict[str, float]:
    """Parse `train=0.8,val=0.1,test=0.1`. CommandError for another format and for a sum other than 1."""
    shares: dict[str, float] = {}
    try:
        for part in text.split(","):
            name, _, share = part.strip().partition("=")
            if name not in SPLITS or name in shares:
                raise ValueError(f"{name!r} is not one of {', '.join(SPLITS)}, each once")
            shares[name] = float(share)
            if not 0 <= shares[name] <= 1:
                raise ValueError(f"{share} is not a share between 0 and 1")
        if not math.isclose(total := math.fsum(shares.values()), 1, abs_tol=1e-6):
            raise ValueError(f"the shares add up to {total:g}, not to 1")
    except ValueError as e:
        raise CommandError(f"--split {text!r}: {e}") from e
    return shares


def split_by_hash(group: str, shares: Mapping[str, float]) -> str:
    """Choose the split of a drive, vehicle or stretch by its name alone, so that new drives do not move it."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / _HASHED
    end = 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    # Rounding can leave a gap after the last share.
    return [name for name, share in shares.items() if share][-1]


def read_split_file(path: Path) -> dict[str, str]:
    """Read the split of each drive from a JSON object of lists by split. CommandError for another format."""
    try:
        lists = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise CommandError(f"--split-file {path}: {e}; give a JSON object of lists of drives by split") from e
    found: dict[str, str] = {}
    for split, drives in lists.items():
        if split not in SPLITS:
            raise CommandError(f"--split-file {path}: {split!r} is not one of {', '.join(SPLITS)}")
        for drive in drives:
            if found.setdefault(drive, split) != split:
                raise CommandError(
                    f"--split-file {path} has drive {drive!r} in {found[drive]} and in {split}: keep one"
                )
    return found


def split_by_file(path: Path) -> Splitter:
    """Make a splitter that follows a file, and refuses drives that the file does not name."""
    found = read_split_file(path)

    def choose(drive: str) -> str:
        if drive not in found:
            raise CommandError(f"--split-file {path} has no split for drive {drive!r}: add the drive to one")
        return found[drive]

    return Splitter([name for name in SPLITS if name in found.values()], choose)
