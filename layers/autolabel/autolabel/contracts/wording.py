"""Words that messages, notes and reports share."""

from __future__ import annotations


def counted(count: float, one: str, many: str = "") -> str:
    """Write a count with the thing that it counts: `1 frame`, `1,200 frames`.

    `many`: for more or fewer than one, if it is not `one` with an s. Both may go on, so that a verb agrees as well.
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {one if count == 1 else many or f'{one}s'}"
