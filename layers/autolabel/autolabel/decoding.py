"""Decoding: from one model's answer to detections on the taxonomy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from autolabel.answers import project
from autolabel.catalogue import Model
from autolabel.decoders import find_decoder
from autolabel.detections import Detection, repair_box

# An answer up to this size is parsed as it is; walking over it first would cost more than it saves.
SMALL_ANSWER = 1_000_000
# So much of a class name that the catalogue does not know is counted by.
MAX_LABEL = 80


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
