"""Says in one sentence why a frame has no label: rules that a back-end's label can break, and its own reasons."""

from __future__ import annotations

from autolabel.labels.manifest import ImageSize

# The most characters of such a sentence, and of a class's name in it. Both can be foreign text.
MAX_FAILURE = 500
_MAX_NAME = 50


def unknown_class(name: str) -> str:
    """Say that the job did not offer a class."""
    return f"class {name[:_MAX_NAME]!r} is not a class of the job"


def other_size(width: int, height: int, frame: ImageSize) -> str:
    """Say that a label was drawn on an image of another size than the frame; empty if the sizes are the same."""
    # Pixels of an image of another size mean other places.
    if (width, height) == (frame.width, frame.height):
        return ""
    return f"the label was drawn on an image of {width} x {height}, the frame has {frame.width} x {frame.height}"


def sentence(text: str) -> str:
    """Put a text from outside on one line of at most MAX_FAILURE characters, without control characters."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_FAILURE])
    return " ".join(shown.split())[:MAX_FAILURE]
