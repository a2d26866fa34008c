"""Tells where the vehicle is at a time, from the poses of a drive's logs."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from autolabel.contracts.logs import EgoPose
from autolabel.cuboids.geometry import Array
from autolabel.cuboids.rig import matrix_at

# Between two poses farther apart, in ns, nothing is known.
_LONGEST_GAP = 1_000_000_000
# Metres from the origin of the standing frame: more than the Earth is long, so a pose farther away is damaged.
_FARTHEST = 1e8
# Later times do not fit into 64 bits.
_MAX_TIME = 2**63
# A drive of five hours at 100 Hz; they take 64 bytes each.
_MOST_POSES = 2_000_000


class EgoMotion:
    """The poses of a vehicle's frame in a frame that stands still.

    `times` (n): ns since the epoch, in order; `positions` (n, 3): metres; `rotations` (n, 4): quaternions x, y, z, w of
    length 1.
    """

    def __init__(self, times: npt.NDArray[np.int64], positions: Array, rotations: Array) -> None:
        self._times, self._positions, self._rotations = times, positions, rotations

    def at(self, time: int) -> Array | None:
        """Return the matrix (4 x 4) from the vehicle's frame to the standing one; None where no poses are near."""
        after = int(np.searchsorted(self._times, time))
        if after < len(self._times) and self._times[after] == time:
            return matrix_at(self._positions[after], self._rotations[after])
        if not 0 < after < len(self._times):
            return None
        gap = int(self._times[after] - self._times[after - 1])
        if gap > _LONGEST_GAP:
            return None
        share = (time - int(self._times[after - 1])) / gap
        before, later = self._rotations[after - 1], self._rotations[after]
        # A quaternion and its negative are one rotation: the nearer one is taken.
        turn = (1 - share) * before + share * (later if before @ later >= 0 else -later)
        place = (1 - share) * self._positions[after - 1] + share * self._positions[after]
        return matrix_at(place, turn / np.linalg.norm(turn))

    def between(self, first: int, second: int) -> Array | None:
        """Return the matrix (4 x 4) from the vehicle's frame at a time to that at another; None if one is not known."""
        start, end = self.at(first), self.at(second)
        if start is None or end is None:
            return None
        moved: Array = np.linalg.inv(end) @ start
        return moved


def read_poses(lines: Iterable[bytes], vehicle: str) -> EgoMotion:
    """Read poses.jsonl: the poses of the topic with most of them whose child is the vehicle's frame, or not named.

    Poses without an orientation, and lines that are none, are left out.
    """
    decoder = msgspec.json.Decoder(EgoPose)
    found: defaultdict[str, tuple[array[int], array[float]]] = defaultdict(lambda: (array("q"), array("d")))
    for count, line in enumerate(lines):
        if count == _MOST_POSES:
            break
        try:
            pose = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if not 0 <= pose.timestamp < _MAX_TIME:
            continue
        if pose.position and pose.orientation and pose.child.lstrip("/") in ("", vehicle):
            times, numbers = found[pose.topic]
            times.append(pose.timestamp)
            numbers.extend((*pose.position, *pose.orientation))
    # The topic's name decides between two with as many.
    topic = max(sorted(found), key=lambda topic: len(found[topic][0]), default="")
    times, numbers = found[topic]
    table = np.frombuffer(numbers).reshape(-1, 7) if len(numbers) else np.empty((0, 7))
    stamps, first = np.unique(
        np.frombuffer(times, np.int64) if len(times) else np.empty(0, np.int64), return_index=True
    )
    norms = np.linalg.norm(table[first, 3:], axis=1)
    # Also false for numbers that are not finite.
    good = (np.abs(table[first]) < _FARTHEST).all(axis=1) & (np.abs(norms - 1) < 1e-2)
    table, norms = table[first][good], norms[good]
    return EgoMotion(stamps[good], table[:, :3], table[:, 3:] / norms[:, None])
