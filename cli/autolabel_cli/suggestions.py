"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the known names closest to a name as the end of a sentence, or "" when none is close."""
    near = difflib.get_close_matches(name, list(known), n=_MOST_SHOWN)
    return f"; did you mean {' or '.join(near)}?" if near else ""
