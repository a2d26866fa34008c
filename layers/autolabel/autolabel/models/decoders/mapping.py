"""The mapping of the decoder `jmespath`: where a model's answer has what, written in its catalogue document."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

MAX_EXPRESSION = 500
_ROOT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:[\[.]|\|(?!\|)|\Z)")


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """JMESPath expressions: `items` on the answer gives a list of objects, the others on each object what they say.

    `box` gives four numbers as `format` and `units` say: left, top, right, bottom (`xyxy`), left, top, width, height
    (`xywh`) or centre, width, height (`cxcywh`), in pixels or as parts of the picture's width and height.
    """

    items: str
    label: str
    score: str
    box: str
    format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    units: Literal["pixels", "normalised"] = "pixels"

    @property
    def root(self) -> frozenset[str]:
        """The key of the answer with which `items` begins; empty when it begins with something else."""
        found = _ROOT.match(self.items)
        return frozenset({found[1]} if found else ())

    def wrong(self) -> str:
        """What is no expression; empty when all are."""
        # Only models of this decoder need it; everything that reads a catalogue imports this module.
        import jmespath

        for name in ("items", "label", "score", "box"):
            expression = getattr(self, name)
            if len(expression) > MAX_EXPRESSION:
                return f"the expression of `{name}` is longer than {MAX_EXPRESSION} characters"
            try:
                jmespath.compile(expression)
            except (jmespath.exceptions.JMESPathError, RecursionError) as e:
                return f"the expression of `{name}` is broken: {e}"
        return ""
