"""Measures what uncertainty tells of a labelled folder: what limits would save, and how early errors are found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from autolabel.contracts.verification import VerifyUncertain
from autolabel.labelling import FrameLabels, frame_uncertainty
from autolabel.labels import WELL_PLACED
from autolabel.models import Model
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import LimitSavings, UncertaintyDocument
from autolabel_cli.evaluation.edits import count_edits
from autolabel_cli.evaluation.folders import Frame, FrameLeftOut, LabelledFolder
from autolabel_cli.evaluation.systems import FUSED, LabelFrame
from autolabel_cli.models.kitti import Level

# The time of a review: for a frame, and for each of its boxes. A choice, in no unit.
_FRAME_TIME, _BOX_TIME = 1.0, 0.5
_MOST_THREADS = 8


class JudgedFrame(NamedTuple):
    """A frame before review. `level`: its uncertainty; `errors`: the edits that it needs; `time`: of its review.

    `boxes`: their number; `doubt`: the sum of what their confidences lack to 1.
    """

    level: float
    boxes: int
    doubt: float
    errors: int

    @property
    def time(self) -> float:
        return _FRAME_TIME + _BOX_TIME * self.boxes


def evaluate_uncertainty(
    folder: LabelledFolder,
    label: LabelFrame,
    models: Sequence[Model],
    level: Level,
    *,
    limits: Sequence[float],
    share: float,
    tell: Callable[[int, int], None],
) -> UncertaintyDocument:
    """Label every frame of a folder by all models merged, and judge its uncertainty by its labels.

    `limits`: of the uncertainty up to which frames are accepted. `share`: of the time of all reviews, after which the
    errors that were found are counted. `tell(count, total)` gets the progress. CommandError when no frame has labels.
    """
    left_out = Counter(folder.left_out)

    def judge(frame: Frame) -> JudgedFrame | str:
        try:
            labels = label(frame)[FUSED]
        except FrameLeftOut as e:
            return str(e)
        return _judge(labels, frame, models, level, folder)

    frames = list[JudgedFrame]()
    everything = map_in_order(judge, folder.frames, min(os.cpu_count() or 1, _MOST_THREADS))
    for count, one in enumerate(everything, start=1):
        tell(count, len(folder.frames))
        if isinstance(one, str):
            left_out[one] += 1
        else:
            frames.append(one)
    if not frames:
        raise CommandError(f"no frame can be judged: {', '.join(f'{n} {why}' for why, n in left_out.items())}")
    return UncertaintyDocument(
        frames=len(frames),
        faulty=sum(one.errors > 0 for one in frames),
        errors=sum(one.errors for one in frames),
        limits=tuple(savings(frames, limit) for limit in limits),
        share=share,
        found={
            "uncertainty": found_first(frames, share, lambda one: one.level),
            "boxes": found_first(frames, share, lambda one: one.boxes),
            "confidence": found_first(frames, share, lambda one: one.doubt),
        },
        left_out=dict(left_out.most_common()),
    )


def _judge(
    labels: FrameLabels, frame: Frame, models: Sequence[Model], level: Level, folder: LabelledFolder
) -> JudgedFrame:
    boxes = tuple(labels.prelabel)
    edits = count_edits(boxes, frame.objects(), level, folder.labelled, WELL_PLACED)
    doubt = sum(1.0 - box.confidence for box in boxes)
    return JudgedFrame(frame_uncertainty(labels, models, 0).level, len(boxes), doubt, edits.total)


def savings(frames: Sequence[JudgedFrame], limit: float) -> LimitSavings:
    """Compute what a limit accepts and saves, once all classes are proven; the share that is audited is not saved."""
    within = [one for one in frames if one.level <= limit]
    time = sum(one.time for one in within) / sum(one.time for one in frames)
    faulty = sum(one.errors > 0 for one in within)
    return LimitSavings(limit, len(within), faulty, round((1.0 - VerifyUncertain().audit) * time, 4))


def found_first(frames: Sequence[JudgedFrame], share: float, rank: Callable[[JudgedFrame], float]) -> float:
    """Compute the share of the errors in the frames of highest rank that take a share of the review time.

    Frames of one rank count as one with the mean of their errors; of the frame at the end of the time, a part counts.
    """
    time, found = share * sum(one.time for one in frames), 0.0
    groups = dict[float, list[JudgedFrame]]()
    for one in frames:
        groups.setdefault(rank(one), []).append(one)
    for _, group in sorted(groups.items(), reverse=True):
        takes = sum(one.time for one in group)
        found += sum(one.errors for one in group) * min(1.0, time / takes)
        time = max(0.0, time - takes)
    return round(found / max(sum(one.errors for one in frames), 1), 4)
