"""Triage: which frames of a run people are given, and why.

The policy is the drive's. `all` gives people every frame. `doubtful` gives them what is in doubt, what shows a class
that is not proven, and audits: a share of the frames that would be accepted, some of them without a pre-label, since
who is shown a suggestion accepts it. Neighbouring frames show the same objects, so audits are drawn by segments.
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
    Policy,
    VerifyAll,
    VerifyUncertain,
)

# What a frame claims beside its classes: that nothing else is there.
ANY_CLASS = "any class"


class AuditStretch(NamedTuple):
    """Consecutive frames of a camera in the drive's order."""

    camera: str
    number: int


class Draw(NamedTuple):
    """Segments whose frames are audited, and those of them that are audited blind."""

    audited: frozenset[AuditStretch] = frozenset()
    blind: frozenset[AuditStretch] = frozenset()


def stretch_of(policy: VerifyUncertain, camera: str, position: int) -> AuditStretch:
    """The segment of a frame; `position`: its place among the camera's frames, from 0."""
    return AuditStretch(camera, position // policy.stretch)


def claims(boxes: Iterable[str], candidates: Iterable[str]) -> frozenset[str]:
    """What a frame claims by the classes of its boxes and of its candidates above the floor of doubt."""
    return frozenset({ANY_CLASS, *boxes, *candidates})


def is_acceptable(policy: VerifyUncertain, level: float | None) -> bool:
    """Whether a frame is in so little doubt that it could be accepted; `level` is None without a pre-label."""
    return level is not None and level <= policy.max_uncertainty


def draw_audits(
    policy: VerifyUncertain,
    drive: str,
    run: str,
    acceptable: Iterable[tuple[AuditStretch, Collection[str]]],
    proven: Collection[str],
) -> Draw:
    """Draw a run's audits, the same ones whenever it is repeated. `acceptable`: frames, by segment and what they claim.

    At least one segment is audited, and at least one blind, however few there are. As long as something of a segment
    is not proven, it is audited blind: people are given its frames anyway, and what they are shown proves nothing. A
    segment's acceptable frames are blind together, so that few of their neighbours show a pre-label.
    """
    is_proven: dict[AuditStretch, bool] = {}
    for stretch, claimed in acceptable:
        is_proven[stretch] = is_proven.get(stretch, True) and _are_proven(claimed, proven)
    ordered = sorted(is_proven, key=lambda one: (_lot(drive, run, one), one))
    audited = ordered[: _share(policy.audit, len(ordered))]
    drawn = audited[: _share(policy.blind, len(audited))]
    return Draw(frozenset(audited), frozenset((*drawn, *(one for one in audited if not is_proven[one]))))


def triage_frame(
    policy: Policy,
    level: float | None,
    claimed: Collection[str],
    proven: Collection[str],
    stretch: AuditStretch,
    draw: Draw,
) -> str:
    """The kind of a frame, one of KINDS. `level`: None without a pre-label; `claimed`: of `claims`."""
    if isinstance(policy, VerifyAll):
        return EVERYTHING
    if not is_acceptable(policy, level):
        return UNCERTAIN
    if stretch in draw.audited:
        return BLIND_AUDIT if stretch in draw.blind else AUDIT
    return ACCEPTED if _are_proven(claimed, proven) else UNPROVEN


def _are_proven(claimed: Collection[str], proven: Collection[str]) -> bool:
    return all(name in proven for name in claimed)


def _lot(drive: str, run: str, stretch: AuditStretch) -> bytes:
    return hashlib.sha256(f"{drive}/{run}/{stretch.camera}/{stretch.number}".encode()).digest()


def _share(share: float, count: int) -> int:
    """The share of a count in whole ones, rounded up but for what floats add."""
    return math.ceil(share * count - 1e-9)
