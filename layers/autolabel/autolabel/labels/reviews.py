"""Defines reviews: how a person made a frame's label."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

# A review of our worker page takes a few kilobytes.
MAX_REVIEW = 20_000
# Characters of a comment that others see.
MAX_COMMENT = 500
_MOST_SECONDS = 1e9


class Effort(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often an edit was made in a frame, and the active seconds that it took."""

    count: int = 0
    seconds: float = 0.0


class Marks(msgspec.Struct, frozen=True, omit_defaults=True):
    """The marks that a reviewer set for a box."""

    occluded: bool = False
    truncated: bool = False


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a person made a frame's label; fields that a back-end does not report are absent.

    `worker`: the back-end's name for the reviewer. `seconds`: active ones. `edits`: by kind, `add`, `delete`, `move`,
    `relabel`, `accept`. `unsure`: another reviewer must look at the frame; `comment` says why. `boxes`: marks of the
    label's boxes, in their order. `workers`: of a label that was made of the answers of several reviewers; then
    `worker` is empty, and seconds, keys, clicks and edits are the sums. `strip`: the number of frames of the strip in
    which the frame was reviewed; then seconds, keys, clicks and edits are the frame's share of the strip's.
    """

    worker: str = ""
    seconds: float | None = None
    keys: int | None = None
    clicks: int | None = None
    edits: dict[str, Effort] = {}
    unsure: bool = False
    comment: str = ""
    boxes: tuple[Marks, ...] = ()
    workers: tuple[str, ...] = ()
    strip: int = 0


def read_review(text: str) -> Review:
    """Read a review of our worker page; empty if it has another shape, because the label counts without it."""
    if len(text) > MAX_REVIEW:
        return Review()
    try:
        review = msgspec.json.decode(text, type=Review)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError):
        return Review()
    return msgspec.structs.replace(review, seconds=known_seconds(review.seconds))


def known_seconds(seconds: float | None) -> float | None:
    """Return the seconds that a page reports; None if they are impossible."""
    return seconds if seconds is not None and 0 <= seconds < _MOST_SECONDS else None


def share_review(review: Review, frames: int) -> Iterator[Review]:
    """Share the review of a strip among its frames, evenly, because a reviewer sees all of them.

    The shares add up to the whole: seconds to the millisecond, counts exactly.
    """
    for at in range(frames):
        share = partial(_share, at=at, of=frames)
        yield msgspec.structs.replace(
            review,
            seconds=None if review.seconds is None else share(review.seconds),
            keys=None if review.keys is None else int(share(review.keys, 0)),
            clicks=None if review.clicks is None else int(share(review.clicks, 0)),
            edits={
                kind: Effort(int(share(effort.count, 0)), share(effort.seconds))
                for kind, effort in review.edits.items()
            },
            strip=frames,
        )


def _share(whole: float, digits: int = 3, *, at: int, of: int) -> float:
    """Return the share of one place, so that the shares of all places add up to the whole."""
    return round(round(whole / of * (at + 1), digits) - round(whole / of * at, digits), digits)
