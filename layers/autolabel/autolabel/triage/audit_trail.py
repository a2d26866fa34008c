"""The audits of a run, gathered frame by frame while its dataset is written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.verification import AUDIT, BLIND_AUDIT, Policy, VerifyUncertain
from autolabel.labels.agreement import Pair, count_agreement
from autolabel.triage.audits import AuditedFrame, Auditing, Evidence
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.policy import AuditStretch, stretch_of


class AuditTrail:
    """Takes a run's frames, those of a camera in the drive's order; frames of a segment must follow each other."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        # Where everything goes to people nothing is audited: the evidence is for no doubt at all, and empty.
        self._auditing = Auditing(policy.max_uncertainty if isinstance(policy, VerifyUncertain) else 0.0)
        self._segment: tuple[AuditStretch, str] | None = None
        self._frames: list[AuditedFrame] = []

    def take(self, frame: Reviewed, pairs: Sequence[Pair] | None) -> Reviewed:
        """Take in a frame and complete its record.

        `pairs`: the boxes of the pre-label, also of one that was not shown, paired with a person's; None where no
        person left a label.
        """
        if pairs is None:
            return frame
        if isinstance(self._policy, VerifyUncertain) and frame.triage in (AUDIT, BLIND_AUDIT):
            stretch = stretch_of(self._policy, frame.camera, frame.position), frame.triage
            if stretch != self._segment:
                self._close()
                self._segment = stretch
            self._frames.append(AuditedFrame(frame.level or 0.0, pairs))
        return msgspec.structs.replace(frame, verified=True, classes=count_agreement(pairs))

    def evidence(self, run: Run, published: str) -> Evidence:
        """What the audits of the run tell; `published`: an ISO 8601 time in UTC."""
        self._close()
        return self._auditing.evidence(run, published)

    def _close(self) -> None:
        if self._segment is not None:
            self._auditing.take(self._frames, blind=self._segment[1] == BLIND_AUDIT)
        self._segment, self._frames = None, []
