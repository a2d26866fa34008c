"""Defines the policies of verification, and the kinds of frames by why reviewers get them."""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal

import msgspec

EVERYTHING = "everything"
UNCERTAIN = "doubtful"
UNPROVEN = "unproven"
AUDIT = "audit"
BLIND_AUDIT = "blind audit"
ACCEPTED = "accepted"
# Frames with a person's label from an earlier run: it is kept, or a reviewer gets the frame again.
KEPT = "kept"
AGAIN = "again"
# Reviewers get key frames. The labels of the frames between follow from theirs.
KEY_FRAME = "key frame"
BETWEEN = "between"
# The drive asks for no reviewers.
UNREVIEWED = "unreviewed"
AUDITS = (AUDIT, BLIND_AUDIT)
KINDS = (EVERYTHING, UNCERTAIN, UNPROVEN, AUDIT, BLIND_AUDIT, ACCEPTED, KEPT, AGAIN, KEY_FRAME, BETWEEN, UNREVIEWED)
# Frames of these kinds are in no verification job.
UNASKED = (ACCEPTED, KEPT, BETWEEN, UNREVIEWED)

# Which frames with a person's label from an earlier run reviewers get again: those that the new pre-labels contradict,
# none, or all of them.
ReviewChoice = Literal["changed", "none", "all"]
REVIEW_CHANGED: ReviewChoice = "changed"
REVIEW_NONE: ReviewChoice = "none"
REVIEW_ALL: ReviewChoice = "all"

BackEnd = Literal["ground-truth", "label-studio"]
Task = Literal["boxes", "segments", "tracks"]
Privacy = Literal["blur"]
"""What people see of frames if not the frames themselves: views, in which number plates and heads are covered."""
BOXES: Task = "boxes"
SEGMENTS: Task = "segments"
TRACKS: Task = "tracks"
# What the reviewers of a job correct: the drive's task, or the cuboids of its settled labels.
JobTask = Task | Literal["cuboids"]
CUBOIDS: JobTask = "cuboids"
# Whether a drive's labels are lifted to cuboids, and whether reviewers get these.
Cuboids = bool | Literal["verify"]
VERIFY: Cuboids = "verify"
# How many reviewers label a frame, independently of each other; and the share of frames that get more than one.
Reviewers = Annotated[int, msgspec.Meta(ge=1, le=5)]
ReviewersShare = Annotated[float, msgspec.Meta(gt=0, le=1)]
# The most that vigilance may seed: reviewers fix each seed, and each is a risk.
MOST_SEEDED = 0.01
# The share of the boxes, or of the objects of strips, that are seeded with an error; True: MOST_SEEDED.
Vigilance = bool | Annotated[float, msgspec.Meta(gt=0, le=MOST_SEEDED)]


class VerifyAll(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="policy", tag="all"
):
    """Reviewers get every frame. `back_end`: where they work; the stack's own if it is None.

    `task`: what they correct; segments and tracks in Ground Truth only. `reviewers`: how many label each frame, or
    strip, of the `reviewers_share`, which `reviewers_of` draws; the others get one. `vigilance`: the share of boxes, or
    of the objects of strips, that get a seeded error.
    """

    back_end: BackEnd | None = None
    task: Task = BOXES
    reviewers: Reviewers = 1
    reviewers_share: ReviewersShare = 1.0
    vigilance: Vigilance = False


class VerifyNone(
    VerifyAll, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="policy", tag="none"
):
    """Reviewers get no frame, and no frame is verified; labels that persons made in earlier runs are kept.

    Like VerifyAll it audits nothing. Its fields have their defaults.
    """


class VerifyUncertain(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="policy",
    tag="doubtful",
    rename={"max_uncertainty": "max_doubt", "stretch": "segment"},
):
    """Reviewers get the frames that need a person.

    `max_uncertainty` (on the wire `max_doubt`): frames with more uncertainty go to reviewers. `audit`: the share of the
    audit stretches of the other frames that goes to reviewers all the same; `blind`: the share of these that is shown
    without the pre-label. `target`: the precision and recall that must be proven for a class before it is accepted.
    `stretch` (on the wire `segment`): the number of consecutive frames of a camera in one audit stretch. `back_end`: as
    above. `task`: boxes, or tracks: then whole stretches are reviewed or accepted. `reviewers`, `reviewers_share`,
    `vigilance`: as above.
    """

    max_uncertainty: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.15
    audit: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    blind: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    target: Annotated[float, msgspec.Meta(ge=0.5, le=0.999)] = 0.95
    stretch: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    back_end: BackEnd | None = None
    task: Task = BOXES
    reviewers: Reviewers = 1
    reviewers_share: ReviewersShare = 1.0
    vigilance: Vigilance = False


class VerifyKeyFrames(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="policy", tag="key-frames"
):
    """Reviewers get key frames. The labels of the frames between follow from theirs by the tracks of the boxes.

    `iou`: what the models' boxes must reach with straight lines between their key frames. `gap`: the most seconds
    between two key frames. `target`: the precision and recall that must be proven before a class counts as held.
    `redraw`: the share of the key frames that a second person labels blind; `is_redrawn` draws them. `back_end`: as
    above. `task`: boxes only.
    """

    # One blind frame makes an audit stretch, and no uncertainty decides about it.
    stretch: ClassVar[int] = 1
    max_uncertainty: ClassVar[float] = 0.0
    # One reviewer for a frame: an interpolated box needs one track through both key frames.
    reviewers: ClassVar[int] = 1
    reviewers_share: ClassVar[float] = 1.0
    # A correction of a key frame is carried to the frames between, and so would be that of a seed.
    vigilance: ClassVar[bool] = False

    iou: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.8
    gap: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    target: Annotated[float, msgspec.Meta(ge=0.5, le=0.999)] = 0.95
    redraw: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02
    back_end: BackEnd | None = None
    task: Task = BOXES


AuditedPolicy = VerifyUncertain | VerifyKeyFrames
Policy = VerifyAll | VerifyNone | VerifyUncertain | VerifyKeyFrames


def reviewers_of(policy: Policy, frame: str) -> int:
    """Return how many reviewers a frame gets, or a strip; `frame`: its S3 URI, of a strip that of its first frame.

    A repeated call, and a later run, draw the same.
    """
    if policy.reviewers_share == 1:
        return policy.reviewers
    return policy.reviewers if _lot(f"reviewers of {frame}") < policy.reviewers_share else 1


def is_redrawn(policy: Policy, frame: str) -> bool:
    """Return whether a key frame is drawn to be labelled by a second person; `frame`: its S3 URI."""
    return isinstance(policy, VerifyKeyFrames) and _lot(f"redraws of {frame}") < policy.redraw


def seeded_share(policy: Policy) -> float:
    """Return the share of boxes, or of the objects of strips, that get a seeded error; 0 without vigilance."""
    return MOST_SEEDED if policy.vigilance is True else float(policy.vigilance)


def _lot(of: str) -> float:
    """Draw a number from 0 to below 1 that a repeated call draws again."""
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:8]) / 2**64
