"""Evidence of audits that were never made."""

from __future__ import annotations

from autolabel.contracts.verification import AuditedPolicy, VerifyKeyFrames
from autolabel.triage.audits import EVIDENCE_VERSION, AuditedStretch, ClassErrors, Count, Evidence
from autolabel.triage.policy import ANY_CLASS

# More than prove a target of 0.95 without an error.
ENOUGH = 110


def evidence_of(
    recipe: str,
    drive: str,
    policy: AuditedPolicy,
    *,
    right: int = ENOUGH,
    wrong: int = 0,
    run: str = "0001",
    published: str = "1970-01-01T00:00:00+00:00",
    blind: bool = True,
    name: str = "car",
) -> Evidence:
    """Make the evidence of a run whose audit stretches show one object each, the wrong ones first.

    The models see a wrong object where there is none, and miss the one that is there.
    """
    stretches = []
    for number in range(wrong + right):
        count = Count(1, int(number < wrong))
        classes = {ANY_CLASS: ClassErrors(recall=count), name: ClassErrors(count, count)}
        stretches.append(AuditedStretch("front", number * policy.stretch, blind, classes))
    return Evidence(
        recipe,
        drive,
        run,
        published,
        policy.max_uncertainty,
        policy.target,
        policy.stretch,
        tuple(stretches),
        EVIDENCE_VERSION,
        policy.iou if isinstance(policy, VerifyKeyFrames) else 0.0,
        task=policy.task,
    )
