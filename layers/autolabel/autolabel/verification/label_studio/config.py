"""The page that people work on: Label Studio's labelling configuration (labelstud.io/tags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

# What results name as `from_name` and `to_name`.
BOXES = "box"
IMAGE = "image"
MARKS = "marks"
FRAME = "frame"
# What people may say of a box, and of a frame.
OCCLUDED = "occluded"
TRUNCATED = "truncated"
UNSURE = "unsure"

INSTRUCTIONS = (
    "The boxes that a model found are drawn already: change only what is wrong. Draw boxes tightly around what is"
    " visible, give each its class (keys 1 to 0), mark those that are occluded or cut off by the frame's edge. Submit a"
    " frame without objects as it is. Skip a frame only if nobody could label it."
)


def label_config(labels: Sequence[str], colors: Mapping[str, str]) -> str:
    """The XML of a job with these labels, in their order; digits choose the first ten."""
    # Turned boxes and turned images have no place in a manifest.
    buttons = "".join(
        f"<Label value={quoteattr(name)} background={quoteattr(colors.get(name, '#757575'))}{_hotkey(i)}/>"
        for i, name in enumerate(labels)
    )
    return (
        "<View>"
        f'<RectangleLabels name="{BOXES}" toName="{IMAGE}" canRotate="false" opacity="0.1" strokeWidth="2">'
        f"{buttons}</RectangleLabels>"
        f'<Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true" brightnessControl="true"'
        ' contrastControl="true" rotateControl="false"/>'
        f'<Choices name="{MARKS}" toName="{IMAGE}" choice="multiple" perRegion="true">'
        f'<Choice value="{OCCLUDED}" hotkey="o"/><Choice value="{TRUNCATED}" hotkey="t"/></Choices>'
        f'<Choices name="{FRAME}" toName="{IMAGE}" choice="multiple"><Choice value="{UNSURE}" hotkey="u"/></Choices>'
        "</View>"
    )


def _hotkey(index: int) -> str:
    return f' hotkey="{(index + 1) % 10}"' if index < 10 else ""
