"""How a drive asks for verification, and why a frame of it goes to people."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

EVERYTHING = "everything"
UNCERTAIN = "doubtful"
UNPROVEN = "unproven"
AUDIT = "audit"
BLIND_AUDIT = "blind audit"
ACCEPTED = "accepted"
KINDS = (EVERYTHING, UNCERTAIN, UNPROVEN, AUDIT, BLIND_AUDIT, ACCEPTED)

BackEnd = Literal["ground-truth", "label-studio"]
Task = Literal["boxes", "segments"]
BOXES: Task = "boxes"
SEGMENTS: Task = "segments"


class VerifyAll(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="policy", tag="all"
):
    """People are given every frame. `back_end`: where they work, the stack's own when none is named.

    `task`: what they correct; segments in Ground Truth only.
    """

    back_end: BackEnd | None = None
    task: Task = BOXES


class VerifyUncertain(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="policy",
    tag="doubtful",
    rename={"max_uncertainty": "max_doubt", "stretch": "segment"},
):
    """People are given what needs them.

    `max_doubt`: a frame of more goes to people. `audit`: the share of the other frames' segments that goes there all
    the same, and `blind`: the share of these without a pre-label. `target`: what precision and recall of a class must
    be proven to reach before it is accepted. `segment`: so many consecutive frames of a camera are audited together.
    `back_end`: as above. `task`: boxes, of which doubt and audits tell.
    """

    max_uncertainty: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.15
    audit: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    blind: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    target: Annotated[float, msgspec.Meta(ge=0.5, le=0.999)] = 0.95
    stretch: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    back_end: BackEnd | None = None
    task: Task = BOXES


Policy = VerifyAll | VerifyUncertain
