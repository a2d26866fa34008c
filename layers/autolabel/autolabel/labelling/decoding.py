"""Decode one model's answer into detections on the taxonomy, or into the regions that views cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from autolabel.contracts.errors import AnswerRefused
from autolabel.labelling.answer_stream import project
from autolabel.labels.detections import Detection, Detections, repair_box
from autolabel.models.catalogue import Model
from autolabel.models.decoders import Decoder, find_decoder

if TYPE_CHECKING:
    from autolabel.labelling.masks import AnswerMasks

# Bytes. A smaller answer is parsed whole: projecting it first would cost more than it saves.
SMALL_ANSWER = 1_000_000
# Characters that are kept of an unknown class name when it is counted.
MAX_LABEL = 80


class DecodedAnswer(NamedTuple):
    """The detections of an answer. `dropped`: boxes that were left out, by reason: classes without a place in the
    taxonomy, and boxes outside the frame. `clipped`: detections whose score was a little above 1."""

    detections: list[Detection]
    dropped: Counter[str]
    clipped: int


def decode_answer(chunks: Iterable[bytes], model: Model, width: int, height: int) -> DecodedAnswer:
    """Decode one model's answer into detections on the taxonomy, in pixels of a frame of `width` x `height`.

    `chunks`: the answer's bytes. Raises AnswerRefused.
    """
    decoder = find_decoder(model.decoder)
    body, masks = _read(chunks, decoder, model, width, height)
    found, dropped, clipped = list[Detection](), Counter[str](), 0
    for raw in decoder.decode(body, width, height, model.options):
        name = model.classes.get(raw.label)
        if name is None:
            # A detection below the threshold would not count in any class: it shows no gap in the class map.
            too_low = raw.score < model.threshold
            dropped["under the threshold" if too_low else f"no class for {raw.label[:MAX_LABEL]!r}"] += 1
            continue
        box, mask = repair_box(raw.box, width, height), ""
        if masks is not None:
            mask, box = masks.of_object(raw, box)
        if box is None:
            dropped["box outside the frame"] += 1
            continue
        clipped += raw.score > 1.0
        score = min(raw.score, 1.0)
        calibration = model.calibration_of(name)
        found.append(
            Detection(
                name=name,
                box=calibration.place(box, width, height),
                score=score,
                confidence=calibration.confidence(score),
                label=raw.label,
                models=(model.id,),
                mask=mask,
            )
        )
    return DecodedAnswer(found, dropped, clipped)


def decode_regions(chunks: Iterable[bytes], model: Model, width: int, height: int) -> Detections:
    """Decode the answer of a model of views into the regions that a view covers: `name` is one of COVERED.

    Arguments and errors are those of decode_answer. Regions under the model's threshold are left out.
    """
    found = decode_answer(chunks, model, width, height).detections
    return Detections(width, height, tuple(one for one in found if one.score >= model.threshold_of(one.name)))


def _read(
    chunks: Iterable[bytes], decoder: Decoder, model: Model, width: int, height: int
) -> tuple[bytes, AnswerMasks | None]:
    """Read what the decoder needs of an answer, and its masks if the model's masks are wanted."""
    first, rest = _head(chunks)
    options = model.options
    masks = None
    if options.masks:
        # Imported here because it imports numpy, which boxes do not need.
        from autolabel.labelling.masks import AnswerMasks

        masks = AnswerMasks(width, height, options)
    if rest is None and masks is None:
        return first, None
    keys = decoder.keys or (options.mapping.root if options.mapping else decoder.keys)
    if not keys:
        raise AnswerRefused(
            "answer-too-large",
            f"the answer has more than {SMALL_ANSWER:,} bytes, and `items` of the model does not begin with a key",
        )
    whole = [first] if rest is None else _chain(first, rest)
    body = project(whole, keys, decoder.masks, masks.take) if masks else project(whole, keys)
    if rest is None:
        return first, masks
    if body == b"{}":
        # Otherwise a large answer of another kind would pass as an answer without objects.
        raise AnswerRefused("answer-unreadable", f"the answer has none of the keys {', '.join(sorted(keys))}")
    return body, masks


def _head(chunks: Iterable[bytes]) -> tuple[bytes, Iterable[bytes] | None]:
    """Return the first bytes of a stream, and the rest if it is longer than SMALL_ANSWER."""
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
