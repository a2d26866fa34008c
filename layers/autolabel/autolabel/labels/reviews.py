"""Reviews: what is known of how a person came to a frame's labels, beside the labels themselves."""

from __future__ import annotations

import msgspec

# What a page of ours sends takes a few kilobytes.
MAX_REVIEW = 20_000
# So much of a comment is shown to others.
MAX_COMMENT = 500
_MOST_SECONDS = 1e9


class Effort(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often something was done in a frame, and the active seconds that it took."""

    count: int = 0
    seconds: float = 0.0


class Marks(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was marked at a box."""

    occluded: bool = False
    truncated: bool = False


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a person came to a frame's labels; what a back-end does not tell is absent.

    `worker`: the back-end's name for the person. `seconds`: active ones. `edits`: by kind, `add`, `delete`, `move`,
    `relabel`, `accept`. `unsure`: the frame is to be seen by somebody else, and why. `boxes`: marks of the label's
    boxes, in their order.
    """

    worker: str = ""
    seconds: float | None = None
    keys: int | None = None
    clicks: int | None = None
    edits: dict[str, Effort] = {}
    unsure: bool = False
    comment: str = ""
    boxes: tuple[Marks, ...] = ()


def read_review(text: str) -> Review:
    """What a page of ours noted; nothing where it is not of that shape, since the labels count without it."""
    if len(text) > MAX_REVIEW:
        return Review()
    try:
        review = msgspec.json.decode(text, type=Review)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError):
        return Review()
    return msgspec.structs.replace(review, seconds=known_seconds(review.seconds))


def known_seconds(seconds: float | None) -> float | None:
    """Seconds as a page tells them; None for what cannot be."""
    return seconds if seconds is not None and 0 <= seconds < _MOST_SECONDS else None
