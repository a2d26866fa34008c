"""Gather the audits of a run, frame by frame, while its dataset is written."""

from __future__ import annotations

from collections.abc import Sequence

from autolabel.contracts.drive import Run
from autolabel.contracts.verification import AUDITS, BLIND_AUDIT, Policy, VerifyUncertain
from autolabel.labels.agreement import Pair
from autolabel.triage.audits import AuditedFrame, Auditing, Evidence
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.policy import AuditStretch, stretch_of


class AuditTrail:
    """Takes a run's frames: a camera's in the drive's order, and those of an audit stretch one after another."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        # If reviewers get every frame, nothing is audited: the evidence is for uncertainty 0, and empty.
        self._auditing = Auditing(policy.max_uncertainty if isinstance(policy, VerifyUncertain) else 0.0)
        self._stretch: tuple[AuditStretch, str] | None = None
        self._frames: list[AuditedFrame] = []

    def take(self, frame: Reviewed, pairs: Sequence[Pair] | None) -> None:
        """Take a frame; only audits count.

        `pairs`: the boxes of the pre-label, also of one that was not shown, paired with a person's boxes; None if no
        person left a label.
        """
        if pairs is None or not isinstance(self._policy, VerifyUncertain) or frame.triage not in AUDITS:
            return
        stretch = stretch_of(self._policy, frame.camera, frame.position), frame.triage
        if stretch != self._stretch:
            self._close()
            self._stretch = stretch
        self._frames.append(AuditedFrame(frame.level or 0.0, pairs))

    def evidence(self, run: Run, published: str) -> Evidence:
        """Return the evidence of the run's audits; `published`: an ISO 8601 time in UTC."""
        self._close()
        return self._auditing.evidence(run, published)

    def _close(self) -> None:
        if self._stretch is not None:
            self._auditing.take(self._frames, blind=self._stretch[1] == BLIND_AUDIT)
        self._stretch, self._frames = None, []
