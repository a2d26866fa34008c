"""The aims of the merge, and whether these models and frames meet them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from autolabel_cli.models.kitti import GROUPS
from tools.quality.figures import Comparison, describe
from tools.quality.precision import Floats
from tools.quality.systems import CALIBRATED, FUSED, LEAST_WORK

# The project's aims: minimum differences from the best single model, minimum values, maximum cost of a control.
LEAST_DIFFERENCE = -0.02
LEAST_VEHICLES = {"ap50": 0.90, "ap70": 0.74}
LEAST_PRECISION_GAIN = 0.05
LEAST_EDITS_SAVED = 0.20
MOST_CONTROL_COST = 0.01
# With fewer objects, the best of several models is the luckiest one: no limit applies.
LEAST_OBJECTS = 10


class Aim(NamedTuple):
    """A measured value that should be at least `limit`. `values`: of the set itself, then of each resample."""

    name: str
    values: Floats
    limit: float

    @property
    def met(self) -> bool:
        return bool(self.values[0] >= self.limit - 1e-9)

    def as_json(self) -> dict[str, object]:
        judged = {"limit": self.limit, "met": self.met} if np.isfinite(self.limit) else {}
        return {"name": self.name, **judged, **describe(self.values)}


def aims_of(comparison: Comparison) -> Iterator[Aim]:
    """The aims of the merge with and without calibration; none where there is no merge.

    Thresholds change only edits. One aim without a limit shows what the same thresholds do for the best single model.
    """
    known = {system.name for system in comparison.systems}
    for merged in (FUSED, FUSED + CALIBRATED):
        if merged in known:
            yield from _aims(comparison, merged)
    if FUSED + LEAST_WORK in known:
        least = comparison.least_edits_alone()
        yield _edits_saved(comparison, FUSED + LEAST_WORK, least, LEAST_EDITS_SAVED)
        yield _edits_saved(comparison, FUSED + LEAST_WORK, least + LEAST_WORK, -np.inf)


def _aims(comparison: Comparison, merged: str) -> Iterator[Aim]:
    figures = comparison.figures
    for name in comparison.found:
        best = comparison.best_alone(name)
        gain = figures[merged, name].ap50 - figures[best, name].ap50
        judged = comparison.objects(name) >= LEAST_OBJECTS
        yield Aim(f"{merged}: AP50 of {name} above {best}", gain, LEAST_DIFFERENCE if judged else -np.inf)
    for name in GROUPS:
        if name in comparison.found:
            best = comparison.best_alone(name)
            recall = figures[best, name].recall
            gain = figures[merged, name].precision_at(recall) - figures[best, name].precision_at(recall)
            limit = LEAST_PRECISION_GAIN if name == "vehicle" else -np.inf
            yield Aim(f"{merged}: precision of {name} above {best} at its recall {recall:.2f}", gain, limit)
    if "vehicle" in comparison.found:
        for name, limit in LEAST_VEHICLES.items():
            yield Aim(f"{merged}: {name} of vehicle", getattr(figures[merged, "vehicle"], name), limit)
    yield _edits_saved(comparison, merged, comparison.least_edits_alone(), LEAST_EDITS_SAVED)
    plain = merged.removesuffix(CALIBRATED)
    suffix = merged.removeprefix(plain)
    for control in ("random", "shifted"):
        for name in GROUPS:
            if name in comparison.found:
                with_control = figures[f"{plain} + {control}{suffix}", name].ap50
                cost = with_control - figures[merged, name].ap50
                yield Aim(f"{merged}: AP50 of {name} with {control} above without", cost, -MOST_CONTROL_COST)


def _edits_saved(comparison: Comparison, merged: str, alone: str, limit: float) -> Aim:
    saved = 1.0 - comparison.edits_per_frame(merged) / comparison.edits_per_frame(alone)
    return Aim(f"{merged}: share of edits saved, over {alone}", saved, limit)
