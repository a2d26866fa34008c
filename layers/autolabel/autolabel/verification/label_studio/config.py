"""Label Studio's labelling configuration, which makes the page for reviewers (labelstud.io/tags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

# The names of the page's controls, which results repeat as `from_name` and `to_name`.
BOXES = "box"
IMAGE = "image"
MARKS = "marks"
FRAME = "frame"
# The marks that reviewers can set for a box, and for a frame.
OCCLUDED = "occluded"
TRUNCATED = "truncated"
UNSURE = "unsure"
# The mark of a box that models found after an earlier review, or that reviewers differ about. A box that still has it
# is not part of the label.
CHECK = "check"

INSTRUCTIONS = (
    "Models drew these boxes. Change only what is wrong. Draw each box tightly around the visible part of an object,"
    " choose its class (keys 1 to 0), and mark it if the object is occluded or cut off by the frame's edge. Submit a"
    " correct frame without changes, also one without objects. Skip a frame only if it is impossible to label."
    " Boxes with the mark check are not part of the label yet: models found them after the last review, or reviewers"
    " differ about them. Untick the mark to add such a box. The others are left out."
)


def label_config(labels: Sequence[str], colors: Mapping[str, str]) -> str:
    """Return the XML of a job's configuration. `labels`: in their order; digits choose the first ten."""
    # The XML below forbids rotation, because a manifest cannot express rotated boxes and images.
    buttons = "".join(
        f"<Label value={quoteattr(name)} background={quoteattr(colors.get(name, '#757575'))}{_hotkey(i)}/>"
        for i, name in enumerate(labels)
    )
    return (
        '<View><Header value="$why" size="6"/>'
        f'<RectangleLabels name="{BOXES}" toName="{IMAGE}" canRotate="false" opacity="0.1" strokeWidth="2">'
        f"{buttons}</RectangleLabels>"
        f'<Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true" brightnessControl="true"'
        ' contrastControl="true" rotateControl="false"/>'
        f'<Choices name="{MARKS}" toName="{IMAGE}" choice="multiple" perRegion="true">'
        f'<Choice value="{OCCLUDED}" hotkey="o"/><Choice value="{TRUNCATED}" hotkey="t"/>'
        f'<Choice value="{CHECK}" hotkey="c"/></Choices>'
        f'<Choices name="{FRAME}" toName="{IMAGE}" choice="multiple"><Choice value="{UNSURE}" hotkey="u"/></Choices>'
        "</View>"
    )


def _hotkey(index: int) -> str:
    return f' hotkey="{(index + 1) % 10}"' if index < 10 else ""
