"""Everything that can go wrong, as one tree.

AutolabelError
├── Refused                  what came in does not fit a contract: recorded with its reason, never retried
│   ├── KeyRefused           an object key outside the contract
│   ├── DocumentRefused      a drive.json or a catalogue document
│   ├── ImageRefused         a frame that is no usable image
│   │   └── FrameChanged     its object holds other bytes than the listing says, or is gone
│   ├── AnswerRefused        a model's answer that cannot be read
│   └── VerificationRefused  a work team or a labelling server that cannot be asked as it is set up
├── Unavailable              somebody else's bad moment: the work goes back and is tried again
│   ├── EndpointUnavailable  throttled, failing, updating or missing endpoint
│   ├── CatalogueUnavailable the catalogue, or a revision in it, is missing or broken
│   └── VerificationUnavailable  the labelling server is down, slow or throttles
└── Inconsistent             the run's own records contradict each other: the run stops for a person
    ├── RunMissing           a run without its record
    ├── ShardMissing         a planned shard without its result
    ├── CountMismatch        frames that do not add up
    ├── ModelFailing         a model failed most of the run's frames
    └── LabelingFailed       labelling jobs ended without labels
"""

from __future__ import annotations

# A sentence of what came in wrong; nobody reads more.
MAX_MESSAGE = 2_000


class AutolabelError(Exception):
    """Base of every error that autolabel raises on purpose."""


class Refused(AutolabelError):
    """What came in does not fit; `reason` is a stable word for counting, the message names the input.

    The message may quote the input, so it is made harmless to log, store and show: of at most MAX_MESSAGE characters,
    with what does not print (line feeds, a terminal's commands, marks that turn the writing round) written as escapes.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(printable(message))
        self.reason = reason


def printable(text: str) -> str:
    """The text on one line, cut to MAX_MESSAGE characters, with what does not print as escapes."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:MAX_MESSAGE])
    return "".join(shown)[:MAX_MESSAGE]


class KeyRefused(Refused):
    """An object key outside the contract."""


class DocumentRefused(Refused):
    """A document (drive.json, catalogue) that breaks its schema."""


class ImageRefused(Refused):
    """A frame that is no image that people and models can work on."""


class FrameChanged(ImageRefused):
    """A frame whose object is no longer what the run's listing froze."""

    def __init__(self, message: str) -> None:
        super().__init__("frame-changed", message)


class AnswerRefused(Refused):
    """A model's answer that cannot be understood."""


class VerificationRefused(Refused):
    """A work team or a labelling server that cannot be asked as it is set up; the message says what to change."""


class Unavailable(AutolabelError):
    """Somebody else's bad moment: try again later."""


class EndpointUnavailable(Unavailable):
    """The endpoint is throttled, failing, updating or missing; `gone`: it takes no request until somebody mends it."""

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
    """A run was named that nobody allocated."""


class ShardMissing(Inconsistent):
    """A planned shard has no result."""


class CountMismatch(Inconsistent):
    """Frames do not add up."""


class ModelFailing(Inconsistent):
    """A model failed most of the run's frames: a person looks at it before people get frames without boxes."""


class LabelingFailed(Inconsistent):
    """Labelling jobs ended without labels; the message names them. A redrive starts their next attempts."""
