"""Voting: what several models saw of a frame, gathered by object and put to the vote of all within reach.

Views of one network are one model: its detections pass a suppression within each class. Independent networks are merged
by weighted boxes fusion (Solovyev, Wang, Gabruseva 2021): boxes are averaged by confidence and weight, and the
confidence is the vote of all networks within whose reach the object lies, those that missed it included.
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

# Views see the same object alike: the usual overlap of a detector's own suppression.
VIEW_IOU = 0.45
# What the authors of weighted boxes fusion recommend for independent models.
NETWORK_IOU = 0.55
# A vote is never nothing: what only such a network sees keeps its confidence.
LEAST_RECALL = 0.01
_BLOCK = 256


class _View:
    """A model that answered, and where its silence says something."""

    def __init__(self, model: Model, claimed: Mapping[str, set[str]]) -> None:
        self.id = model.id
        self.model = model
        groups = current_taxonomy().groups
        self._groups = {groups[name] for name in model.coverage.classes or model.classes.values()}
        # What it says of them is not heard: so its silence says nothing.
        self._unheard = {name for name, models in claimed.items() if model.id not in models}

    def reaches(self, name: str, camera: str, box: Box, width: int, height: int) -> bool:
        """Whether it could be expected to see such an object, perhaps under another name of its group."""
        if name in self._unheard or current_taxonomy().groups[name] not in self._groups:
            return False
        return self.model.coverage.sees(camera, box, width, height)


class _Network:
    """The views of a network that answered."""

    def __init__(self, models: Sequence[Model], claimed: Mapping[str, set[str]]) -> None:
        self.views = [_View(model, claimed) for model in models]
        self.weight = max(model.weight for model in models)
        self._votes: dict[str, float] = {}

    def vote(self, name: str) -> float:
        """What its word about a class counts: a network that sees few of its objects says little, also by silence."""
        if name not in self._votes:
            recall = max(view.model.calibration_of(name).recall for view in self.views)
            self._votes[name] = self.weight * max(LEAST_RECALL, recall)
        return self._votes[name]


class _Sighting(NamedTuple):
    """An object as one network saw it; `seen`: by which of its views, the strongest first."""

    network: str
    seen: tuple[Detection, ...]
    strength: float

    @property
    def best(self) -> Detection:
        return self.seen[0]


class _Cluster:
    """Sightings of what is held to be one object; its box is their mean by strength."""

    def __init__(self, first: _Sighting) -> None:
        self.sightings = [first]
        self.box = first.best.box

    def add(self, sighting: _Sighting) -> None:
        self.sightings.append(sighting)
        parts = [(one.best.box, one.strength) for one in self.sightings]
        total = sum(strength for _, strength in parts)
        if total > 0.0:
            # Plain floats: for a handful of numbers an array takes ten times as long.
            x1, y1, x2, y2 = (_mean([(box[side], strength) for box, strength in parts], total) for side in range(4))
            self.box = (x1, y1, x2, y2)

    def takes(self, sighting: _Sighting, share: float) -> bool:
        """Whether the sighting is of the same object; two of one network and name are two objects."""
        own = [one.best.name for one in self.sightings if one.network == sighting.network]
        if not own:
            return share > NETWORK_IOU
        return sighting.best.name not in own and share > GROUP_IOU


def _mean(parts: Sequence[tuple[float, float]], total: float) -> float:
    """The mean of values by their weights, which add up to `total`.

    It lies between its parts, but for the last digit of a float, which would be outside the frame.
    """
    mean = sum(value * weight for value, weight in parts) / total
    return min(max(mean, min(parts)[0]), max(parts)[0])


def vote_on(
    seen: Sequence[ModelDetections], claimed: Mapping[str, set[str]], camera: str, width: int, height: int
) -> Sequence[Detection]:
    """What several models saw of a frame of `width` x `height` pixels as one set of detections, in no order.

    `claimed`: classes over which only some models have authority, with their ids; none of another's is in `seen`.
    """
    groups = current_taxonomy().groups
    networks: dict[str, _Network] = {}
    sightings: list[_Sighting] = []
    for name in dict.fromkeys(one.model.view_of for one in seen):
        views = [one for one in seen if one.model.view_of == name]
        network = networks[name] = _Network([one.model for one in views], claimed)
        found = _merge_views([d for view in views for d in view.detections], len(views))
        sightings += [_Sighting(name, of, network.weight * of[0].confidence) for of in found]
    merged: list[Detection] = []
    for group in dict.fromkeys(groups[one.best.name] for one in sightings):
        for cluster in _cluster([one for one in sightings if groups[one.best.name] == group]):
            merged.append(_vote(cluster, networks, camera, width, height))
    return merged


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """The IoU [n, m] of boxes [n, 4] with others [m, 4], both xyxy."""
    x1, y1, x2, y2 = (boxes[:, side, None] for side in range(4))
    ox1, oy1, ox2, oy2 = (others[None, :, side] for side in range(4))
    shared: Floats = np.maximum(np.minimum(x2, ox2) - np.maximum(x1, ox1), 0.0)
    shared *= np.maximum(np.minimum(y2, oy2) - np.maximum(y1, oy1), 0.0)
    union = (x2 - x1) * (y2 - y1) + (ox2 - ox1) * (oy2 - oy1) - shared
    # A box without an area overlaps nothing.
    shared /= np.where(union > 0.0, union, 1.0)
    return shared


def _overlapping(boxes: Floats, least: float) -> npt.NDArray[np.bool_]:
    """Which boxes [n, 4] overlap each other by more than `least` [n, n]; block by block, for the sake of memory."""
    blocks = [overlaps(boxes[at : at + _BLOCK], boxes) > least for at in range(0, len(boxes), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.zeros((0, 0), bool)


def suppress(close: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Greedy suppression in order: the places that are kept, each followed by those that it suppressed.

    `close` [n, n]: whether a place suppresses another if it is kept.
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
    """A network's detections, one for each object; those of other views that were suppressed go with it."""
    ordered = sorted(detections, key=rank)
    if views == 1:
        # A model has done its own suppression, and knows better than we what it takes for two objects.
        return [(detection,) for detection in ordered]
    boxes, names = _boxes(ordered), _numbers([d.name for d in ordered])
    close = _overlapping(boxes, VIEW_IOU) & (names[:, None] == names)
    return [tuple(ordered[index] for index in members) for members in suppress(close)]


def _cluster(sightings: Sequence[_Sighting]) -> list[_Cluster]:
    """Sightings of one group of names, gathered by object, the strongest first."""
    ordered = sorted(sightings, key=lambda one: (-one.strength, rank(one.best)))
    boxes = _boxes([one.best for one in ordered])
    # What joins a cluster overlaps one of its sightings: most have no such neighbour, and nothing more is to be done.
    touching = _overlapping(boxes, 0.0)
    clusters: list[_Cluster] = []
    places: list[int] = []
    for index, sighting in enumerate(ordered):
        nearby = sorted({places[other] for other in np.flatnonzero(touching[index, :index])})
        shares = sorted((-box_iou(clusters[place].box, sighting.best.box), place) for place in nearby)
        chosen = next((place for share, place in shares if clusters[place].takes(sighting, -share)), len(clusters))
        if chosen == len(clusters):
            clusters.append(_Cluster(sighting))
        else:
            clusters[chosen].add(sighting)
        places.append(chosen)
    return clusters


def _vote(cluster: _Cluster, networks: dict[str, _Network], camera: str, width: int, height: int) -> Detection:
    """A cluster as one detection: its name by the strongest votes, its confidence by the votes of all in reach."""
    ballots: dict[str, float] = {}
    for sighting in cluster.sightings:
        name = sighting.best.name
        worth = networks[sighting.network].vote(name) * sighting.best.confidence
        ballots[name] = ballots.get(name, 0.0) + worth
    # The cluster's sightings are in order of strength, so that a draw goes to the strongest.
    name = max(ballots, key=ballots.__getitem__)
    # In order, as sets of names are not: sums of floats depend on it, and a shard labelled twice comes out the same.
    saw = dict.fromkeys(sighting.network for sighting in cluster.sightings)
    asked = {
        key: network
        for key, network in networks.items()
        if key in saw or any(view.reaches(name, camera, cluster.box, width, height) for view in network.views)
    }
    votes = {key: network.vote(name) for key, network in asked.items()}
    best = {key: max(s.best.confidence for s in cluster.sightings if s.network == key) for key in saw}
    strongest = next(s.best for s in cluster.sightings if s.best.name == name)
    confidence = sum(votes[key] * best[key] for key in saw) / sum(votes.values())
    seen = [detection for sighting in cluster.sightings for detection in sighting.seen]
    models = tuple(dict.fromkeys(d.models[0] for d in seen))
    missed = tuple(
        view.id
        for network in asked.values()
        for view in network.views
        if view.id not in models and view.reaches(name, camera, cluster.box, width, height)
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
            for d in seen
        ),
        missed=missed,
        # Not every model gives masks.
        mask=next((d.mask for d in seen if d.mask), ""),
    )


def _numbers(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Equal numbers for equal names."""
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], np.intp)


def _boxes(detections: Sequence[Detection]) -> Floats:
    return np.array([d.box for d in detections], np.float64).reshape(-1, 4)
