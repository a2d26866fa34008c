"""Evaluation of systems on a labelled folder: scores by class, and edits of a frame."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from autolabel.labelling import FrameLabels
from autolabel.labels import Detections
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import Scores
from autolabel_cli.evaluation.edits import Edits, count_edits
from autolabel_cli.evaluation.folders import Frame, FrameLeftOut, LabelledFolder
from autolabel_cli.evaluation.objects import LabelledObject, ScoredClass, scored_classes, truths
from autolabel_cli.evaluation.scores import AT, IOUS, Tally, rounded
from autolabel_cli.evaluation.systems import FINAL, FUSED, LabelFrame
from autolabel_cli.models.kitti import GROUPS, Level
from autolabel_cli.models.matching import Guess, Verdict, interval, judge
from autolabel_cli.models.truth import Truth

# Frames that are matched at once: one at a time takes longer, and more take memory.
_BATCH = 32
# The servers answer one request for each core; a few more would only wait.
_MOST_THREADS = 8


class Evaluation(NamedTuple):
    """Result for a folder: scores by system and class, and mean edits of a frame by system.

    `left_out`: images, labels and boxes that were not scored, by reason. `intervals`: 95 % of the average precision at
    AT, by system and class; `differences`: of the same minus that of the first system.
    """

    frames: int
    scores: Mapping[str, Mapping[str, Scores]]
    edits: Mapping[str, Mapping[str, float]]
    left_out: Counter[str]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = {}
    differences: Mapping[str, Mapping[str, tuple[float, float]]] = {}

    @property
    def alone(self) -> list[str]:
        """Names of the systems that are a single model."""
        return [system for system in self.scores if system not in (FUSED, FINAL)]

    def best_alone(self, name: str) -> str:
        """Return the model with the best AP at an IoU of 0.5 of a class; "" when no model was asked."""
        return max(self.alone, key=lambda system: self.scores[system][name].ap50 or 0.0, default="")


class _Seen(NamedTuple):
    objects: Sequence[LabelledObject]
    labels: Mapping[str, FrameLabels]


def evaluate_folder(
    folder: LabelledFolder,
    label: LabelFrame,
    level: Level,
    tell: Callable[[int, int], None],
    *,
    intervals: bool = False,
) -> Evaluation:
    """Label every frame of a folder and score the labels. `tell(count, total)` gets the progress.

    `intervals`: draw the frames again and again, which takes seconds for some hundred frames. Memory grows by some
    kilobytes for each frame. CommandError when no frame can be scored.
    """
    classes = scored_classes(folder.labelled)
    tallies = defaultdict[str, dict[str, Tally]](lambda: {name: Tally() for name in classes})
    edits = defaultdict[str, Counter[str]](Counter)
    left_out = Counter(folder.left_out)
    frames = 0

    def see(frame: Frame) -> _Seen | str:
        try:
            return _Seen(frame.objects(), label(frame))
        except FrameLeftOut as e:
            return str(e)

    everything = map_in_order(see, folder.frames, min(os.cpu_count() or 1, _MOST_THREADS))
    for batch in _batches(_told(everything, len(folder.frames), tell)):
        left_out.update(one for one in batch if isinstance(one, str))
        seen = [one for one in batch if isinstance(one, _Seen)]
        frames += len(seen)
        for system in seen[0].labels if seen else ():
            labels = [one.labels[system] for one in seen]
            for name, scored in classes.items():
                true = [truths(one.objects, scored, level) for one in seen]
                _add(tallies[system][name], labels, true, scored, level)
            for one, of in zip(seen, labels, strict=True):
                edits[system].update(count_edits(tuple(of.prelabel), one.objects, level, folder.labelled)._asdict())
    if not frames:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise CommandError(f"no frame can be scored: {reasons}")
    found = {system: {name: tally.scores() for name, tally in of.items()} for system, of in tallies.items()}
    # The groups are always there; a class only where the folder has an object of it that counts.
    found = {
        system: {name: scores for name, scores in of.items() if scores.objects or name in GROUPS}
        for system, of in found.items()
    }
    means = {
        system: {kind: (rounded(of[kind] / frames) or 0.0) for kind in Edits._fields}
        | {"total": rounded(of.total() / frames) or 0.0}
        for system, of in edits.items()
    }
    evaluation = Evaluation(frames, found, means, left_out)
    if not intervals:
        return evaluation
    drawn = {
        system: {name: tallies[system][name].resampled() for name in of if of[name].objects}
        for system, of in found.items()
    }
    first = next(iter(drawn.values()))
    return evaluation._replace(
        intervals={system: {name: interval(one) for name, one in of.items()} for system, of in drawn.items()},
        differences={
            system: {name: interval(one - first[name]) for name, one in of.items()} for system, of in drawn.items()
        },
    )


def _add(
    tally: Tally, labels: Sequence[FrameLabels], true: Sequence[Sequence[Truth]], scored: ScoredClass, level: Level
) -> None:
    def verdicts(chosen: Sequence[Detections], ious: Sequence[float]) -> list[Verdict]:
        guesses = [[Guess(d.box, d.confidence) for d in found if d.name in scored.classes] for found in chosen]
        return judge(list(zip(guesses, true, strict=True)), ious, level.min_height)

    tally.add(verdicts([of.merged for of in labels], IOUS), verdicts([of.prelabel for of in labels], [AT]))


def _told(everything: Iterator[_Seen | str], total: int, tell: Callable[[int, int], None]) -> Iterator[_Seen | str]:
    for count, one in enumerate(everything, start=1):
        tell(count, total)
        yield one


def _batches(everything: Iterator[_Seen | str]) -> Iterator[list[_Seen | str]]:
    while batch := list(islice(everything, _BATCH)):
        yield batch
