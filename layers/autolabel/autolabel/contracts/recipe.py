"""Recipe: all that a run's pre-labels depend on beside its frames. Evidence and uncertainty maps belong to a recipe."""

from __future__ import annotations

import hashlib

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.verification import VerifyKeyFrames

# Change a version whenever the same answers would give other labels (FUSION, in labelling), other levels (UNCERTAINTY,
# in labelling), the same pre-labels other lines (LINK, in sequences), or the same reviewers' labels other labels
# between key frames (KEY_FRAMES, in datasets).
FUSION = "2026.1"
UNCERTAINTY = "2026.1"
LINK = "3"
KEY_FRAMES = "1"


def recipe(run: Run, link: str = "", uncertainty_map: str = "") -> str:
    """Compute the digest of all that a run's pre-labels depend on beside its frames.

    `link`: the version of the linker that changed them; `uncertainty_map`: the digest of the map that calibrated
    their uncertainty. Each is empty if there was none.
    """
    parts: list[object] = [sorted(run.models), FUSION, UNCERTAINTY, run.taxonomy, sorted(run.labels)]
    if link:
        parts.append(link)
    if uncertainty_map:
        parts.append({"uncertainty": uncertainty_map})
    policy = run.document.verification
    if isinstance(policy, VerifyKeyFrames):
        # Labels between key frames depend on which frames these are.
        parts.append([KEY_FRAMES, policy.iou, policy.gap])
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def planned_recipe(run: Run) -> str:
    """Compute the recipe that a run has once it is linked, if its drive asks for tracks."""
    return recipe(run, LINK if run.document.tracks else "")
