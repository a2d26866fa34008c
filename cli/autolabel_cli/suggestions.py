"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as the end of a sentence; empty when none is near."""
    near = difflib.get_close_matches(name, list(known), n=_MOST_SHOWN)
    return f"; did you mean {' or '.join(near)}?" if near else ""
