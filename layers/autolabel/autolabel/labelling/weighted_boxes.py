"""Merge several models' detections of a frame: group them by object, and let all models with coverage vote.

Views of one network count as one model: their detections pass a suppression within each class. Independent networks are
merged by weighted boxes fusion (Solovyev, Wang, Gabruseva 2021): boxes are averaged by confidence and weight. The
confidence is the vote of all networks whose coverage has the object, also of those that missed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autolabel.labelling.model_detections import GROUP_IOU, ModelDetections
from autolabel.labels.detections import Box, Detection, Vote, box_iou, rank
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Model

Floats = npt.NDArray[np.float64]

# Views find nearly the same box of an object: this is the usual IoU of a detector's own suppression.
VIEW_IOU = 0.45
# The value that the authors of weighted boxes fusion recommend for independent models.
NETWORK_IOU = 0.55
# The least recall in the weight of a vote. It keeps the weight above 0: a detection of one network alone then keeps its
# confidence.
LEAST_RECALL = 0.01
_BLOCK = 256


class _View:
    """A model that answered, and where it votes against objects that it did not find."""

    def __init__(self, model: Model, claimed: Mapping[str, set[str]]) -> None:
        self.id = model.id
        self.model = model
        groups = current_taxonomy().groups
        self._groups = {groups[name] for name in model.coverage.classes or model.classes.values()}
        # Its detections of these classes do not count, so it does not vote against them either.
        self._ignored = {name for name, models in claimed.items() if model.id not in models}

    def covers(self, name: str, camera: str, box: Box, width: int, height: int) -> bool:
        """Return whether it should find such an object, perhaps under another name of its group."""
        if name in self._ignored or current_taxonomy().groups[name] not in self._groups:
            return False
        return self.model.coverage.sees(camera, box, width, height)


class _Network:
    """A network: those of its views that answered."""

    def __init__(self, models: Sequence[Model], claimed: Mapping[str, set[str]]) -> None:
        self.views = [_View(model, claimed) for model in models]
        self.weight = max(model.weight for model in models)
        self._votes: dict[str, float] = {}

    def vote(self, name: str) -> float:
        """Return the weight of the network's votes on a class, for and against: low if it finds few such objects."""
        if name not in self._votes:
            recall = max(view.model.calibration_of(name).recall for view in self.views)
            self._votes[name] = self.weight * max(LEAST_RECALL, recall)
        return self._votes[name]


class _NetworkDetection(NamedTuple):
    """An object as one network found it; `views`: the detections of its views, the strongest first."""

    network: str
    views: tuple[Detection, ...]
    strength: float

    @property
    def best(self) -> Detection:
        return self.views[0]


class _Cluster:
    """Detections that are taken for one object. Its box is their mean, weighted by strength."""

    def __init__(self, first: _NetworkDetection) -> None:
        self.detections = [first]
        self.box = first.best.box

    def add(self, detection: _NetworkDetection) -> None:
        self.detections.append(detection)
        parts = [(one.best.box, one.strength) for one in self.detections]
        total = sum(strength for _, strength in parts)
        if total > 0.0:
            # Plain floats: for a few numbers an array takes ten times as long.
            x1, y1, x2, y2 = (_mean([(box[side], strength) for box, strength in parts], total) for side in range(4))
            self.box = (x1, y1, x2, y2)

    def takes(self, detection: _NetworkDetection, iou: float) -> bool:
        """Return whether a detection shows this object; two of one network with the same name show two objects."""
        own = [one.best.name for one in self.detections if one.network == detection.network]
        if not own:
            return iou > NETWORK_IOU
        return detection.best.name not in own and iou > GROUP_IOU


def _mean(parts: Sequence[tuple[float, float]], total: float) -> float:
    """Return the mean of values by their weights, which add up to `total`.

    The mean is limited to the range of the values: rounding of floats could put it outside, and outside the frame.
    """
    mean = sum(value * weight for value, weight in parts) / total
    return min(max(mean, min(parts)[0]), max(parts)[0])


def vote_on(
    found: Sequence[ModelDetections], claimed: Mapping[str, set[str]], camera: str, width: int, height: int
) -> Sequence[Detection]:
    """Merge several models' detections of a frame of `width` x `height` pixels into one set, in no order.

    `claimed`: classes over which only some models have authority, with these models' ids. `found` has no detections of
    these classes by other models.
    """
    groups = current_taxonomy().groups
    networks: dict[str, _Network] = {}
    detections: list[_NetworkDetection] = []
    for name in dict.fromkeys(one.model.view_of for one in found):
        views = [one for one in found if one.model.view_of == name]
        network = networks[name] = _Network([one.model for one in views], claimed)
        objects = _merge_views([d for view in views for d in view.detections], len(views))
        detections += [_NetworkDetection(name, of, network.weight * of[0].confidence) for of in objects]
    merged: list[Detection] = []
    for group in dict.fromkeys(groups[one.best.name] for one in detections):
        for cluster in _cluster([one for one in detections if groups[one.best.name] == group]):
            merged.append(_vote(cluster, networks, camera, width, height))
    return merged


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Compute the IoU [n, m] of boxes [n, 4] with others [m, 4], both xyxy."""
    x1, y1, x2, y2 = (boxes[:, side, None] for side in range(4))
    ox1, oy1, ox2, oy2 = (others[None, :, side] for side in range(4))
    shared: Floats = np.maximum(np.minimum(x2, ox2) - np.maximum(x1, ox1), 0.0)
    shared *= np.maximum(np.minimum(y2, oy2) - np.maximum(y1, oy1), 0.0)
    union = (x2 - x1) * (y2 - y1) + (ox2 - ox1) * (oy2 - oy1) - shared
    # The IoU with a box without an area is 0.
    shared /= np.where(union > 0.0, union, 1.0)
    return shared


def _overlapping(boxes: Floats, least: float) -> npt.NDArray[np.bool_]:
    """Find which boxes [n, 4] have an IoU above `least` with each other [n, n]; block by block, to save memory."""
    blocks = [overlaps(boxes[at : at + _BLOCK], boxes) > least for at in range(0, len(boxes), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros((0, 0), bool)


def suppress(close: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Suppress greedily in order; return the indexes that are kept, each followed by those that it suppressed.

    `close` [n, n]: whether an index, if it is kept, suppresses another.
    """
    left = np.ones(len(close), bool)
    kept = []
    for index in range(len(close)):
        if left[index]:
            left[index] = False
            members = np.flatnonzero(close[index] & left)
            left[members] = False
            kept.append([index, *map(int, members)])
    return kept


def _merge_views(detections: Sequence[Detection], views: int) -> list[tuple[Detection, ...]]:
    """Group a network's detections by object: the kept one first, then those of other views that it suppressed."""
    ordered = sorted(detections, key=rank)
    if views == 1:
        # The model has done its own suppression, and knows its own objects best.
        return [(detection,) for detection in ordered]
    boxes, names = _boxes(ordered), _numbers([d.name for d in ordered])
    close = _overlapping(boxes, VIEW_IOU) & (names[:, None] == names)
    return [tuple(ordered[index] for index in members) for members in suppress(close)]


def _cluster(detections: Sequence[_NetworkDetection]) -> list[_Cluster]:
    """Gather the detections of one group by object, the strongest first."""
    ordered = sorted(detections, key=lambda one: (-one.strength, rank(one.best)))
    boxes = _boxes([one.best for one in ordered])
    # A detection that joins a cluster overlaps one of its detections. Most have no such neighbour, and begin a cluster.
    touching = _overlapping(boxes, 0.0)
    clusters: list[_Cluster] = []
    places: list[int] = []
    for index, detection in enumerate(ordered):
        nearby = sorted({places[other] for other in np.flatnonzero(touching[index, :index])})
        ious = sorted((-box_iou(clusters[place].box, detection.best.box), place) for place in nearby)
        chosen = next((place for iou, place in ious if clusters[place].takes(detection, -iou)), len(clusters))
        if chosen == len(clusters):
            clusters.append(_Cluster(detection))
        else:
            clusters[chosen].add(detection)
        places.append(chosen)
    return clusters


def _vote(cluster: _Cluster, networks: dict[str, _Network], camera: str, width: int, height: int) -> Detection:
    """Merge a cluster: the strongest votes give its name, the votes of all networks with coverage its confidence."""
    ballots: dict[str, float] = {}
    for one in cluster.detections:
        name = one.best.name
        ballots[name] = ballots.get(name, 0.0) + networks[one.network].vote(name) * one.best.confidence
    # The cluster's detections are in order of strength, so a draw goes to the strongest.
    name = max(ballots, key=ballots.__getitem__)
    # A dict and not a set: sums of floats depend on the order, and a shard that is labelled twice must be the same.
    found = dict.fromkeys(one.network for one in cluster.detections)
    asked = {
        key: network
        for key, network in networks.items()
        if key in found or any(view.covers(name, camera, cluster.box, width, height) for view in network.views)
    }
    votes = {key: network.vote(name) for key, network in asked.items()}
    best = {key: max(one.best.confidence for one in cluster.detections if one.network == key) for key in found}
    strongest = next(one.best for one in cluster.detections if one.best.name == name)
    confidence = sum(votes[key] * best[key] for key in found) / sum(votes.values())
    detections = [detection for one in cluster.detections for detection in one.views]
    models = tuple(dict.fromkeys(d.models[0] for d in detections))
    missed = tuple(
        view.id
        for network in asked.values()
        for view in network.views
        if view.id not in models and view.covers(name, camera, cluster.box, width, height)
    )
    return Detection(
        name=name,
        box=cluster.box,
        score=strongest.score,
        confidence=min(1.0, confidence),
        label=strongest.label,
        models=models,
        votes=tuple(
            Vote(d.models[0], d.name, d.label, d.score, d.confidence, round(box_iou(d.box, cluster.box), 4))
            for d in detections
        ),
        missed=missed,
        # Not every model gives masks.
        mask=next((d.mask for d in detections if d.mask), ""),
    )


def _numbers(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Number names: equal numbers for equal names."""
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], np.intp)


def _boxes(detections: Sequence[Detection]) -> Floats:
    return np.array([d.box for d in detections], np.float64).reshape(-1, 4)
