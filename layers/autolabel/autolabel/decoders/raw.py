"""What every decoder takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from autolabel.detections import Box


class RawDetection(NamedTuple):
    """An object as a model names it; `box`: xyxy in float pixels of the original frame, perhaps outside of it."""

    label: str
    score: float
    box: Box


class DecoderOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a decoder must know of one model beyond its answers; each field says which decoders read it."""

    def wrong(self, decoder: str) -> str:
        """What the decoder of that name cannot use; empty when it can."""
        return ""


class Decoder(NamedTuple):
    """`keys`: the top-level keys of the answer that `decode` needs; everything else is left unread.

    `decode(body, width, height, options)`: `body` is the answer's JSON with at least those keys, `width` and `height`
    the frame's pixels. Raises AnswerRefused.
    """

    keys: frozenset[str]
    decode: Callable[[bytes, int, int, DecoderOptions], list[RawDetection]]
