"""Fits the last layers of a YOLOX network to labelled pictures, with the assignment and losses of YOLOX.

After Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430): SimOTA with the ten best IoUs and a centre
of 2.5 cells, weights 5, 1 and 1 of the losses of boxes, objectness and classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from models.training.network import Floats, Network

_STRIDES = (8, 16, 32)
_CENTRE = 2.5
_CANDIDATES = 10
_BOX_WEIGHT, _IOU_COST, _OUTSIDE_COST = 5.0, 3.0, 1e5
# Of the exponential mean of the weights, which is what is written.
_DECAY = 0.99


@dataclass(frozen=True)
class View:
    """A picture as the last layers see it, and its objects in pixels of the square.

    `features`: by tensor. `boxes`: [n, 4] as left, top, right, bottom. `channels`: [n], the outputs of their classes.
    `regions`: [m, 4], where an object may be that nothing is known of.
    """

    features: Mapping[str, npt.NDArray[np.floating]]
    boxes: Floats
    channels: Sequence[int]
    regions: Floats


@dataclass(frozen=True)
class Settings:
    """How to fit. `hold`: how strongly weights are held to where they began, the factor of a squared distance."""

    steps: int = 300
    batch: int = 8
    rate: float = 1e-2
    hold: float = 1e-4
    seed: int = 1


def fit(
    network: Network, views: Sequence[View], settings: Settings, tell: Callable[[int, float], None]
) -> dict[str, Floats]:
    """Fit the last layers; return their numbers by initialiser. `tell(step, loss)` gets the progress."""
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    names = [name for ends in network.ends for layer in ends for name in (layer.weight, layer.bias)]
    # A copy: numbers of a file cannot be written to.
    began = {name: torch.from_numpy(network.weight(name).copy()) for name in names}
    weights = {name: value.clone().requires_grad_() for name, value in began.items()}
    mean = {name: value.clone() for name, value in began.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=settings.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, total_steps=settings.steps)
    for step in range(settings.steps):
        chosen = random.choice(len(views), min(settings.batch, len(views)), replace=False)
        loss = _loss(network, weights, [views[at] for at in chosen])
        held = sum((weights[name] - began[name]).square().sum() for name in names)
        optimizer.zero_grad()
        (loss + settings.hold * held).backward()
        optimizer.step()
        schedule.step()
        decay = min(_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for name in names:
                mean[name].lerp_(weights[name], 1 - decay)
        tell(step + 1, loss.item())
    return {name: value.numpy() for name, value in mean.items()}


def _loss(network: Network, weights: dict[str, Tensor], views: Sequence[View]) -> Tensor:
    boxes, objectness, classes, strides, cells = _predict(network, weights, views)
    box_loss = class_loss = torch.zeros(())
    wanted = torch.zeros_like(objectness)
    counts = torch.ones_like(objectness)
    found = 0
    for at, view in enumerate(views):
        middles = cells * strides
        counts[at] = 1.0 - _inside(middles, torch.from_numpy(view.regions)).any(dim=1).float()
        if not view.channels:
            continue
        true = torch.from_numpy(view.boxes)
        channels = torch.tensor(view.channels)
        with torch.no_grad():
            places, objects, ious = _assign(boxes[at], objectness[at], classes[at], strides, middles, true, channels)
        wanted[at, places] = 1.0
        counts[at, places] = 1.0
        found += len(places)
        box_loss = box_loss + (1 - _pair_iou(boxes[at, places], true[objects]).square()).sum()
        targets = functional.one_hot(channels[objects], classes.shape[-1]) * ious[:, None]
        class_loss = class_loss + functional.binary_cross_entropy_with_logits(
            classes[at, places], targets, reduction="sum"
        )
    object_loss = (functional.binary_cross_entropy_with_logits(objectness, wanted, reduction="none") * counts).sum()
    return (_BOX_WEIGHT * box_loss + object_loss + class_loss) / max(found, 1)


def _predict(
    network: Network, weights: dict[str, Tensor], views: Sequence[View]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return boxes [batch, n, 4], objectness [batch, n] and classes [batch, n, channels] as logits, and of the n cells
    their strides [n, 1] and middles [n, 2] in units of the stride.
    """
    boxes, objectness, classes, strides, cells = [], [], [], [], []
    read = {name: torch.from_numpy(np.stack([view.features[name] for view in views])) for name in network.features}
    for stride, ends in zip(_STRIDES, network.ends, strict=True):
        box, of_object, of_class = (
            functional.conv2d(read[layer.reads].float(), weights[layer.weight], weights[layer.bias])
            .flatten(2)
            .transpose(1, 2)
            for layer in ends
        )
        height, width = read[ends.box.reads].shape[-2:]
        ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        corners = torch.stack([xs, ys], dim=-1).reshape(-1, 2).float()
        centres = (box[..., :2] + corners) * stride
        halves = box[..., 2:].clamp(max=20).exp() * (stride / 2)
        boxes.append(torch.cat([centres - halves, centres + halves], dim=-1))
        objectness.append(of_object[..., 0])
        classes.append(of_class)
        strides.append(torch.full((height * width, 1), float(stride)))
        cells.append(corners + 0.5)
    return (torch.cat(boxes, 1), torch.cat(objectness, 1), torch.cat(classes, 1), torch.cat(strides), torch.cat(cells))


def _assign(
    boxes: Tensor,
    objectness: Tensor,
    classes: Tensor,
    strides: Tensor,
    middles: Tensor,
    true: Tensor,
    channels: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign cells to objects by SimOTA: cells [k], the object of each [k], and the IoU of its box with it [k]."""
    centres = (true[:, :2] + true[:, 2:]) / 2
    near = ((middles[:, None] - centres).abs() < _CENTRE * strides[:, None]).all(dim=2)
    inside = _inside(middles, true)
    eligible = (near | inside).any(dim=1).nonzero()[:, 0]
    near, inside = near[eligible], inside[eligible]
    ious = _all_iou(boxes[eligible], true)
    scores = (classes[eligible].sigmoid() * objectness[eligible].sigmoid()[:, None]).sqrt()
    targets = functional.one_hot(channels, classes.shape[-1]).float()
    of_class = functional.binary_cross_entropy(
        scores[:, None].expand(-1, len(true), -1), targets[None].expand(len(eligible), -1, -1), reduction="none"
    ).sum(dim=2)
    cost = of_class - _IOU_COST * (ious + 1e-8).log() + _OUTSIDE_COST * ~(near & inside)
    taken = torch.zeros_like(cost, dtype=torch.bool)
    best = ious.topk(min(_CANDIDATES, len(eligible)), dim=0).values.sum(dim=0).int().clamp(min=1)
    for at, number in enumerate(best.tolist()):
        taken[cost[:, at].topk(min(number, len(eligible)), largest=False).indices, at] = True
    # A cell serves the object that costs it least.
    several = taken.sum(dim=1) > 1
    taken[several] = functional.one_hot(cost[several].argmin(dim=1), len(true)).bool()
    places, objects = taken.nonzero(as_tuple=True)
    return eligible[places], objects, ious[places, objects]


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Tell whether each point [n, 2] is in each box [m, 4]: [n, m]."""
    return (points[:, None] > boxes[:, :2]).all(dim=2) & (points[:, None] < boxes[:, 2:]).all(dim=2)


def _all_iou(a: Tensor, b: Tensor) -> Tensor:
    return _pair_iou(a[:, None], b[None])


def _pair_iou(a: Tensor, b: Tensor) -> Tensor:
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    both = sides.prod(dim=-1)
    areas = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1)
    return both / (areas - both).clamp(min=1e-6)
