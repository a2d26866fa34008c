"""Fuses detections of several views of a frame by weighted boxes fusion (Solovyev, Wang, Gabruseva 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.servers.detections import Detections
from models.servers.suppression import Floats, ious

# The value that the authors of weighted boxes fusion recommend.
_IOU = 0.55


def fuse(views: Sequence[Detections]) -> Detections:
    """Fuse the detections of each view into objects, best first.

    An object's box is the mean of its boxes, weighted by their scores. Its score is the sum of their scores divided by
    the number of views, so that an object which few views find loses score. Two boxes of one view are two objects.
    """
    boxes = np.concatenate([view.boxes for view in views])
    scores = np.concatenate([view.scores for view in views])
    classes = np.concatenate([view.classes for view in views])
    sources = np.repeat(np.arange(len(views)), [len(view.boxes) for view in views])
    means: Floats = np.zeros_like(boxes)
    totals: Floats = np.zeros_like(scores)
    kinds = np.zeros_like(classes)
    taken = np.zeros((len(boxes), len(views)), bool)
    count = 0
    for index in np.argsort(-scores, kind="stable"):
        source = sources[index]
        fits = ious(boxes[index], means[:count])
        fits[(kinds[:count] != classes[index]) | taken[:count, source]] = 0
        place = int(fits.argmax()) if count and fits.max() > _IOU else count
        if place == count:
            kinds[place] = classes[index]
            count += 1
        total = totals[place] + scores[index]
        means[place] += (boxes[index] - means[place]) * (scores[index] / total if total else 1)
        totals[place] = total
        taken[place, source] = True
    totals /= len(views)
    order = np.argsort(-totals[:count], kind="stable")
    return Detections(means[order], totals[order], kinds[order])
