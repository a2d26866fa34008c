"""Labelling one frame: from its header and its models' answers to detections on the taxonomy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from autolabel.answers import project
from autolabel.catalogue import Model
from autolabel.decoders import find_decoder
from autolabel.detections import Detection, Detections, repair_box
from autolabel.regions import EGO_SHARE, Point, covered_share

# An answer up to this size is parsed as it is; walking over it first would cost more than it saves.
SMALL_ANSWER = 1_000_000
# So much of a class name that the catalogue does not know is counted by.
MAX_LABEL = 80


class FrameLabels(msgspec.Struct, frozen=True):
    """`candidates`: all that the models saw of the taxonomy; `prelabel`: what of it counts; `dropped`: the rest."""

    candidates: Detections
    prelabel: Detections
    dropped: Counter[str]


def decode_answer(
    chunks: Iterable[bytes], model: Model, width: int, height: int
) -> tuple[list[Detection], Counter[str]]:
    """One model's answer as detections on the taxonomy, in pixels of a frame of `width` x `height`.

    `chunks`: the answer's bytes. Classes without a place in the taxonomy and boxes that are nothing in the frame are
    counted. Raises AnswerRefused.
    """
    decoder = find_decoder(model.decoder)
    first, rest = _head(chunks)
    body = first if rest is None else project(_chain(first, rest), decoder.keys)
    found, dropped = [], Counter[str]()
    for raw in decoder.decode(body, width, height, model.options):
        name = model.classes.get(raw.label)
        if name is None:
            # What is too doubtful to count anyway says nothing about the class map.
            doubtful = raw.score < model.threshold
            dropped["under the threshold" if doubtful else f"no class for {raw.label[:MAX_LABEL]!r}"] += 1
            continue
        box = repair_box(raw.box, width, height)
        if box is None:
            dropped["box outside the frame"] += 1
            continue
        confidence = model.calibration_of(name).confidence(raw.score)
        found.append(
            Detection(name=name, box=box, score=raw.score, confidence=confidence, label=raw.label, models=(model.id,))
        )
    return found, dropped


def label_frame(
    found: Sequence[Detection],
    models: Sequence[Model],
    width: int,
    height: int,
    *,
    labels: frozenset[str],
    ego_mask: Sequence[Point] | None,
) -> FrameLabels:
    """Choose a frame's pre-label from everything that its models found: thresholds, the job's labels, the ego mask."""
    by_id = {model.id: model for model in models}
    dropped: Counter[str] = Counter()
    ordered = sorted(found, key=lambda d: (-d.confidence, d.name, d.box))
    kept = []
    for detection in ordered:
        why = _why_dropped(detection, by_id[detection.models[0]], labels, ego_mask)
        if why:
            dropped[why] += 1
        else:
            kept.append(detection)
    return FrameLabels(Detections(width, height, tuple(ordered)), Detections(width, height, tuple(kept)), dropped)


def _why_dropped(
    detection: Detection, model: Model, labels: frozenset[str], ego_mask: Sequence[Point] | None
) -> str | None:
    if detection.confidence < model.threshold_of(detection.name):
        return "under the threshold"
    if detection.name not in labels:
        return f"{detection.name!r} is no label of the job"
    if ego_mask is not None and covered_share(detection.box, ego_mask) > EGO_SHARE:
        return "on the ego vehicle"
    return None


def _head(chunks: Iterable[bytes]) -> tuple[bytes, Iterable[bytes] | None]:
    """The first bytes of a stream, and the rest when it is longer than a small answer."""
    iterator = iter(chunks)
    head = bytearray()
    for chunk in iterator:
        head += chunk
        if len(head) > SMALL_ANSWER:
            return bytes(head), iterator
    return bytes(head), None


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield first
    yield from rest
