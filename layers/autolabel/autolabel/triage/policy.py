"""Decide which frames of a run reviewers get, and why.

The policy is the drive's. `all` gives reviewers every frame. `doubtful` gives them uncertain frames, frames with a
class that is not proven, and audits: a share of the frames that could be accepted. Some audits are without a pre-label,
because people tend to accept a suggestion. Neighbouring frames show the same objects, so audits are drawn by stretches.
`key-frames` is decided by the tracks of a whole shard (`triage/key_frames.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

from autolabel.contracts.verification import (
    ACCEPTED,
    AUDIT,
    BLIND_AUDIT,
    EVERYTHING,
    UNCERTAIN,
    UNPROVEN,
    AuditedPolicy,
    VerifyAll,
    VerifyUncertain,
)

# Each frame claims it beside its classes: that it shows no other object.
ANY_CLASS = "any class"


class AuditStretch(NamedTuple):
    """Consecutive frames of a camera in the drive's order."""

    camera: str
    number: int


class Draw(NamedTuple):
    """Audit stretches whose frames are audited, and those of them that are audited blind."""

    audited: frozenset[AuditStretch] = frozenset()
    blind: frozenset[AuditStretch] = frozenset()


def stretch_of(policy: AuditedPolicy, camera: str, position: int) -> AuditStretch:
    """Return the audit stretch of a frame; `position`: its place among the camera's frames, from 0."""
    return AuditStretch(camera, position // policy.stretch)


def claims(classes: Iterable[str]) -> frozenset[str]:
    """Return what a frame claims. `classes`: of its boxes and of its candidates above the floor; ANY_CLASS is added."""
    return frozenset({ANY_CLASS, *classes})


def is_acceptable(policy: VerifyUncertain, level: float | None) -> bool:
    """Return whether a frame is certain enough to be accepted; `level` is None without a pre-label."""
    return level is not None and level <= policy.max_uncertainty


def draw_audits(
    policy: VerifyUncertain,
    drive: str,
    run: str,
    acceptable: Iterable[tuple[AuditStretch, Collection[str]]],
    proven: Collection[str],
) -> Draw:
    """Draw a run's audits; a repeated call draws the same. `acceptable`: the stretch and the claims of each frame.

    At least one stretch is audited, and at least one blind, if there is any. If a claim of an audited stretch is not
    proven, the stretch is audited blind: reviewers get its frames anyway, and audits with a pre-label in sight prove
    nothing. A stretch's acceptable frames are blind together, so that few of their neighbours show a pre-label.
    """
    is_proven: dict[AuditStretch, bool] = {}
    for stretch, claimed in acceptable:
        is_proven[stretch] = is_proven.get(stretch, True) and _are_proven(claimed, proven)
    ordered = sorted(is_proven, key=lambda one: (_lot(drive, run, one), one))
    audited = ordered[: _share(policy.audit, len(ordered))]
    drawn = audited[: _share(policy.blind, len(audited))]
    return Draw(frozenset(audited), frozenset((*drawn, *(one for one in audited if not is_proven[one]))))


def triage_frame(
    policy: VerifyAll | VerifyUncertain,
    level: float | None,
    claimed: Collection[str],
    proven: Collection[str],
    stretch: AuditStretch,
    draw: Draw,
    earlier: str = "",
) -> str:
    """Return a frame's kind, one of KINDS.

    `level`: None without a pre-label; `claimed`: the result of `claims`. `earlier`: KEPT or AGAIN for a frame with a
    person's label from an earlier run. Audits come first, as if there were no such label: without the frames that
    reviewers have labelled, the rest would be easier than a new drive, and the bounds too high.
    """
    if isinstance(policy, VerifyAll):
        return earlier or EVERYTHING
    acceptable = is_acceptable(policy, level)
    if acceptable and stretch in draw.audited:
        return BLIND_AUDIT if stretch in draw.blind else AUDIT
    if earlier:
        return earlier
    if not acceptable:
        return UNCERTAIN
    return ACCEPTED if _are_proven(claimed, proven) else UNPROVEN


def _are_proven(claimed: Collection[str], proven: Collection[str]) -> bool:
    return all(name in proven for name in claimed)


def _lot(drive: str, run: str, stretch: AuditStretch) -> bytes:
    return hashlib.sha256(f"{drive}/{run}/{stretch.camera}/{stretch.number}".encode()).digest()


def _share(share: float, count: int) -> int:
    """Return the share of a count as a whole number, rounded up, without the rounding errors of floats."""
    return math.ceil(share * count - 1e-9)
