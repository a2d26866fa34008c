"""The figures of each system: precision by class, and edits of its pre-labels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from autolabel.labels.detections import Detections
from autolabel_cli.models.kitti import SCORED, LabelledFrame, Level, ScoredClass, scored_classes, truths
from autolabel_cli.models.matching import Guess, Verdict, judge
from autolabel_cli.models.truth import COUNTS, Truth
from tools.quality.edits import Edits, count_edits
from tools.quality.precision import AT_50, AT_70, IOUS, Curve, Floats, draw_resamples, interval
from tools.quality.systems import System

RESAMPLES = 1_000
_SEED = 4


class ClassFigures:
    """Figures of one system on one scored class: a value for the set itself, then one for each resample."""

    def __init__(self, candidates: Sequence[Verdict], prelabel: Sequence[Verdict], resamples: Floats) -> None:
        self._resamples = resamples
        self._curve = Curve(candidates, AT_50)
        averages = np.stack([Curve(candidates, at).average_precision(resamples) for at in range(len(IOUS))])
        self.ap50, self.ap70, self.ap = averages[AT_50], averages[AT_70], averages.mean(axis=0)
        self.precision, self.recall = Curve(prelabel, 0).operating_point()

    def precision_at(self, recall: float) -> Floats:
        """The precision at IoU 0.5 at the highest threshold that reaches a recall."""
        return self._curve.precision_at(recall, self._resamples)

    def describe(self) -> dict[str, object]:
        shares = {"precision": self.precision, "recall": self.recall}
        averages = {"ap50": self.ap50, "ap70": self.ap70, "ap50_95": self.ap}
        return {name: describe(values) for name, values in averages.items()} | {k: known(v) for k, v in shares.items()}


class Comparison:
    """Compares all systems on one set at one level."""

    def __init__(
        self,
        systems: Sequence[System],
        frames: Sequence[LabelledFrame],
        level: Level,
        names: Collection[str] = tuple(SCORED),
    ) -> None:
        self.systems = systems
        self.frames = frames
        self.level = level
        self.classes: Mapping[str, ScoredClass] = {
            name: scored for name, scored in scored_classes(frames, level).items() if name in names
        }
        self.resamples = draw_resamples(len(frames), RESAMPLES, _SEED)

    def objects(self, name: str) -> int:
        """The number of objects of a scored class that count."""
        return sum(truth.role == COUNTS for frame in self._truths(name) for truth in frame)

    @cached_property
    def figures(self) -> Mapping[tuple[str, str], ClassFigures]:
        """Figures by system and scored class."""
        return {(s.name, name): self._class_figures(s, name) for s in self.systems for name in self.classes}

    @property
    def found(self) -> list[str]:
        """The scored classes with an object that at least one system finds."""
        return [name for name in self.classes if any(self.figures[s.name, name].ap50[0] > 0.0 for s in self.systems)]

    @cached_property
    def edits(self) -> Mapping[str, list[Edits]]:
        """Edits of each frame, by system."""
        return {
            s.name: [
                count_edits(tuple(labels.prelabel), frame.objects, self.level)
                for labels, frame in zip(s.labels, self.frames, strict=True)
            ]
            for s in self.systems
        }

    def edits_per_frame(self, system: str) -> Floats:
        """The mean edits of a frame of a system, for each resample."""
        totals = np.array([e.total for e in self.edits[system]], np.float64)
        return np.asarray(self.resamples @ totals / len(self.frames))

    def best_alone(self, name: str) -> str:
        """The single model with the best AP at IoU 0.5 of a scored class."""
        return max(self.alone, key=lambda system: float(self.figures[system, name].ap50[0]))

    def least_edits_alone(self) -> str:
        """The single model whose pre-labels need the fewest edits."""
        return min(self.alone, key=lambda system: float(self.edits_per_frame(system)[0]))

    @property
    def alone(self) -> list[str]:
        """The names of the single models, as they are in the catalogue."""
        return [s.name for s in self.systems if s.alone == s.name]

    def _class_figures(self, system: System, name: str) -> ClassFigures:
        scored, true = self.classes[name], self._truths(name)

        def verdicts(chosen: Sequence[Detections], ious: Sequence[float]) -> list[Verdict]:
            guesses = [[Guess(d.box, d.confidence) for d in found if d.name in scored.classes] for found in chosen]
            return judge(list(zip(guesses, true, strict=True)), ious, self.level.min_height)

        candidates = verdicts([labels.merged for labels in system.labels], IOUS)
        prelabel = verdicts([labels.prelabel for labels in system.labels], [IOUS[AT_50]])
        return ClassFigures(candidates, prelabel, self.resamples)

    def _truths(self, name: str) -> list[list[Truth]]:
        return [truths(frame.objects, self.classes[name], self.level) for frame in self.frames]


def describe(values: Floats) -> dict[str, object]:
    """The value of the set itself, with the interval of its resamples."""
    low, high = interval(values[1:])
    return {"value": known(float(values[0])), "interval": [known(low), known(high)]}


def known(value: float) -> float | None:
    """A number for JSON: None instead of NaN."""
    return None if math.isnan(value) else round(value, 4)
