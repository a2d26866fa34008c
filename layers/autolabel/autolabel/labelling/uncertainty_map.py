"""Calibrate the uncertainty of frames: a map from the level of a frame to the share of such frames that need a change.

The command fits a map to published runs and writes it to the catalogue, for their recipe. The plan of a run copies it
into the run's folder, so that a run keeps the map with which it began, or none.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import planned_recipe
from autolabel.contracts.verification import VerifyKeyFrames


class UncertaintyMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """A monotone map of levels, given by points with straight lines between them.

    `recipe`: of the runs that it was fitted to, without a map. `revision`: four digits; another map of the recipe has
    another one. `levels`, `shares`: the points, both rising, from 0 to 1. `frames`, `stretches`: the number of reviewed
    frames and of their audit stretches; `reach`: the level up to which only blind audits were counted, 0 without any.
    """

    recipe: str
    revision: str
    levels: tuple[float, ...]
    shares: tuple[float, ...]
    frames: int
    stretches: int
    reach: float = 0.0

    @property
    def digest(self) -> str:
        """The digest of the points. Unlike the revision, it is never used again after the map was deleted."""
        return hashlib.sha256(msgspec.json.encode([self.levels, self.shares])).hexdigest()[:16]

    def share(self, level: float) -> float:
        """Return the share of the frames with a level that need a change.

        1 stays 1, because frames with a filled box have it, and no policy accepts these.
        """
        if level >= 1.0:
            return 1.0
        after = bisect_right(self.levels, level)
        if after in (0, len(self.levels)):
            return round(self.shares[max(after - 1, 0)], 4)
        (x1, x2), (y1, y2) = self.levels[after - 1 : after + 1], self.shares[after - 1 : after + 1]
        return round(y1 + (y2 - y1) * (level - x1) / (x2 - x1), 4)


def calibrated(level: float, uncertainty_map: UncertaintyMap | None) -> float:
    """Return the share of a level; the level itself without a map."""
    return level if uncertainty_map is None else uncertainty_map.share(level)


def map_key(recipe: str) -> str:
    """Return the key of the current map of a recipe, which runs that are planned from now on take."""
    return f"catalogue/uncertainty/{recipe}.json"


def keep_map(run: Run, label_bucket: Bucket) -> None:
    """Copy the current map of a run's recipe, if there is one, into its folder. A repeated call keeps the copy."""
    body = label_bucket.read(map_key(planned_recipe(run)))
    if body is not None:
        label_bucket.write_once(run.folder.uncertainty_map, body)


def read_map(run: Run, label_bucket: Bucket) -> UncertaintyMap | None:
    """Read the map of a run; None without one, and if the run's recipe changed by an update since it was planned."""
    if isinstance(run.document.verification, VerifyKeyFrames):
        # No uncertainty decides there, and another recipe would lose the evidence of interpolation.
        return None
    body = label_bucket.read(run.folder.uncertainty_map)
    found = msgspec.json.decode(body, type=UncertaintyMap) if body else None
    return found if found and found.recipe == planned_recipe(run) else None
