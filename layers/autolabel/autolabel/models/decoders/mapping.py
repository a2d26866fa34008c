"""Defines the mapping of the decoder `jmespath`: where a model's answer has the values, by its catalogue document."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

MAX_EXPRESSION = 500
_ROOT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:[\[.]|\|(?!\|)|\Z)")


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """JMESPath expressions: `items` finds the list of objects in the answer, the others find a value in each object.

    If `items` finds an object instead of a list, the others find a list in it: of all classes, all scores and all
    boxes. The boxes may also be one list of four times as many numbers.

    `box` finds four numbers, as `format` and `units` say: left, top, right, bottom (`xyxy`), top, left, bottom, right
    (`yxyx`), left, top, width, height (`xywh`) or centre, width, height (`cxcywh`), in pixels or as shares of the
    picture's width and height.
    """

    items: str
    label: str
    score: str
    box: str
    format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    units: Literal["pixels", "normalised"] = "pixels"

    @property
    def root(self) -> frozenset[str]:
        """Return the key of the answer that `items` begins with; empty if it begins with something else."""
        found = _ROOT.match(self.items)
        return frozenset({found[1]} if found else ())

    def wrong(self) -> str:
        """Say which expression is wrong; empty if none is."""
        # Only models of this decoder need jmespath, but all code that reads a catalogue imports this module.
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
