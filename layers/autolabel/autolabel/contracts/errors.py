"""Defines all errors of the project, as one tree.

AutolabelError
├── Refused                  an input breaks a contract: recorded with its reason, never retried
│   ├── KeyRefused           an object key outside the contract
│   ├── DocumentRefused      a drive.json or a catalogue document
│   ├── ImageRefused         a frame that is not a usable image
│   │   ├── FrameChanged     its object changed after the listing was frozen, or is gone
│   │   └── FrameUnreadable  S3 does not give its object out
│   ├── LogRefused           a drive log, or a part of it, that cannot be read
│   ├── AnswerRefused        a model's answer that cannot be read
│   └── VerificationRefused  a work team or a labelling server is set up wrongly
├── Unavailable              a dependency fails temporarily: the work goes back and is tried again
│   ├── EndpointUnavailable  throttled, failing, updating or missing endpoint
│   ├── CatalogueUnavailable the catalogue, or a revision in it, is missing or broken
│   └── VerificationUnavailable  the labelling server is down, slow or throttles
└── Inconsistent             the run's own records contradict each other: the run stops for an operator
    ├── RunMissing           a run without its record
    ├── ShardMissing         a planned shard without its result
    ├── CountMismatch        the counts of frames do not add up
    ├── ModelFailing         a model failed most of the run's frames
    ├── FramesUnreadable     S3 does not give out most of the run's frames
    ├── LabelingFailed       labelling jobs ended without labels
    └── OtherReview          a run was allocated for another choice of frames to review
"""

from __future__ import annotations

# A person reads the message, and needs no more than this.
MAX_MESSAGE = 2_000
# Begins the reason of a frame that S3 does not give out; S3's code follows.
UNREADABLE = "s3-"


class AutolabelError(Exception):
    """Base of every error that autolabel raises on purpose."""


class Refused(AutolabelError):
    """An input breaks a contract; `reason` is a stable word for counting, the message names the input.

    The message may quote the input, so it is made safe to log, store and show: it has at most MAX_MESSAGE characters,
    and unprintable ones (line feeds, terminal commands, marks that change the writing direction) become escapes.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(printable(message))
        self.reason = reason


def printable(text: str) -> str:
    """Put the text on one line of at most MAX_MESSAGE characters, with escapes for unprintable characters."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:MAX_MESSAGE])
    return "".join(shown)[:MAX_MESSAGE]


class KeyRefused(Refused):
    """An object key breaks the contract."""


class DocumentRefused(Refused):
    """A document (drive.json, catalogue) breaks its schema."""


class ImageRefused(Refused):
    """A frame is not an image that models and reviewers can work on."""


class FrameChanged(ImageRefused):
    """A frame's object is no longer the one that the run's listing froze."""

    def __init__(self, message: str) -> None:
        super().__init__("frame-changed", message)


class FrameUnreadable(ImageRefused):
    """S3 does not give a frame's object out; `code` is S3's own, and the reason contains it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(UNREADABLE + code, message)


class LogRefused(Refused):
    """A drive log, a chunk of it or one of its messages cannot be read."""


class AnswerRefused(Refused):
    """A model's answer cannot be read."""


class VerificationRefused(Refused):
    """A work team or a labelling server is set up wrongly; the message says what to change."""


class Unavailable(AutolabelError):
    """A dependency is temporarily unavailable: try again later."""


class EndpointUnavailable(Unavailable):
    """The endpoint is throttled, failing, updating or missing; `gone`: it takes no request until it is repaired."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class CatalogueUnavailable(Unavailable):
    """The catalogue, or a revision that it must hold, is missing or broken."""


class VerificationUnavailable(Unavailable):
    """The labelling server is down, slow or throttles."""


class Inconsistent(AutolabelError):
    """The run's own records contradict each other."""


class RunMissing(Inconsistent):
    """A request names a run that was never allocated."""


class ShardMissing(Inconsistent):
    """A planned shard has no result."""


class CountMismatch(Inconsistent):
    """The counts of frames do not add up."""


class ModelFailing(Inconsistent):
    """A model failed most of the run's frames: an operator looks before reviewers get frames without boxes."""


class FramesUnreadable(Inconsistent):
    """S3 does not give out most of the run's frames: an operator looks before the run ends without them."""


class OtherReview(Inconsistent):
    """A run that was never started was allocated with another choice of the frames that reviewers get again."""


class LabelingFailed(Inconsistent):
    """Labelling jobs ended without labels; the message names them. A redrive starts their next attempts."""
