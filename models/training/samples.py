"""Reads the labelled pictures of a training job's channels.

The channel `labels` has `labels.jsonl`: a line for each frame with `frame`, the path of its picture in the channel
`frames`; `boxes`, its objects as [class of the taxonomy, left, top, right, bottom]; and `regions`, where an object may
be that nothing is known of, as [left, top, right, bottom]. All are pixels of the picture. autolabel writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.servers.image_headers import NotAnImage
from models.servers.images import decode
from models.servers.letterbox import letterbox
from models.training.fitting import View
from models.training.network import Floats, Network

_LABELS = "labels.jsonl"


class SamplesRefused(ValueError):
    """The channels cannot be read; the message names the file, the line and what is wrong."""


class Sample(NamedTuple):
    """A labelled frame: its picture, its objects' classes [n] and boxes [n, 4], and regions [m, 4], xyxy in pixels."""

    picture: Path
    classes: tuple[str, ...]
    boxes: Floats
    regions: Floats


def read_samples(labels: Path, frames: Path) -> list[Sample]:
    """Read all labelled frames; raises SamplesRefused."""
    path = labels / _LABELS
    if not path.is_file():
        raise SamplesRefused(f"the channel labels has no {_LABELS}: start the job with autolabel models train")
    with path.open("rb") as lines:
        found = [_read(line, f"{_LABELS}, line {number}", frames) for number, line in enumerate(lines, start=1)]
    if not any(sample.classes for sample in found):
        raise SamplesRefused(f"{_LABELS} has no object in {len(found)} frames: name datasets with objects")
    return found


def views(network: Network, samples: list[Sample], channels: dict[str, int], most: int) -> Iterator[View]:
    """Yield what the last layers see of each frame, as it is and mirrored; of at most `most` / 2 frames, evenly chosen.

    `channels`: the output of each class. Raises SamplesRefused for a picture that cannot be read.
    """
    count = min(len(samples), max(1, most // 2))
    for at in range(count):
        sample = samples[at * len(samples) // count]
        try:
            image = decode(sample.picture.read_bytes())
        except (OSError, NotAnImage) as e:
            raise SamplesRefused(f"{sample.picture.name} cannot be read: {e}") from e
        width = image.shape[1]
        other = np.ascontiguousarray(image[:, ::-1])
        for mirrored in (False, True):
            square, scale = letterbox(other if mirrored else image, network.side)
            boxes, regions = (_mirror(of, width) if mirrored else of for of in (sample.boxes, sample.regions))
            # Half precision: the features of a view are 0.9 MB.
            read = {name: values.astype(np.float16) for name, values in network.read(square).items()}
            yield View(read, boxes * scale, [channels[name] for name in sample.classes], regions * scale)


def _mirror(boxes: Floats, width: int) -> Floats:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _read(line: bytes, origin: str, frames: Path) -> Sample:
    try:
        document = json.loads(line)
        classes = tuple(str(name) for name, *_ in document["boxes"])
        boxes = _boxes([box for _, *box in document["boxes"]])
        picture = frames / document["frame"]
        regions = _boxes(document.get("regions", []))
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        raise SamplesRefused(f"{origin} is not a labelled frame: {e!r}") from e
    if not picture.resolve().is_relative_to(frames.resolve()):
        raise SamplesRefused(f"{origin} names a frame outside of its channel: {document['frame']!r}")
    return Sample(picture, classes, boxes, regions)


def _boxes(given: list[list[float]]) -> Floats:
    boxes = np.array(given, np.float32).reshape(len(given), 4)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise ValueError("a box is empty or not finite")
    return boxes
