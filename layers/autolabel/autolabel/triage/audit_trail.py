"""Gather the audits of a run, frame by frame, while its dataset is written."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.verification import AUDITS, BLIND_AUDIT, Policy, VerifyAll, VerifyKeyFrames
from autolabel.labels.agreement import Pair
from autolabel.triage.audits import EVIDENCE_VERSION, AuditedStretch, Evidence, Recipe, judge_stretch
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.policy import AuditStretch, stretch_of


class AuditTrail:
    """Takes a run's frames: a camera's in the drive's order, and those of an audit stretch one after another."""

    def __init__(self, policy: Policy) -> None:
        # If reviewers get every frame, nothing is audited.
        self._policy = None if isinstance(policy, VerifyAll) else policy
        self._stretches: list[AuditedStretch] = []
        self._stretch: AuditStretch | None = None
        self._frames: list[Sequence[Pair]] = []
        self._blind = True

    def take(self, frame: Reviewed, pairs: Sequence[Pair] | None) -> None:
        """Take a frame; only audits count.

        `pairs`: the boxes of the pre-label, also of one that was not shown, paired with a person's boxes; None if no
        person left a label.
        """
        if pairs is None or self._policy is None or frame.triage not in AUDITS:
            return
        stretch = stretch_of(self._policy, frame.camera, frame.position)
        if stretch != self._stretch:
            self._close()
            self._stretch = stretch
        self._frames.append(pairs)
        self._blind &= frame.triage == BLIND_AUDIT

    def evidence(self, run: Run, published: str, of: Recipe) -> Evidence:
        """Return the evidence of the run's audits; `published`: an ISO 8601 time in UTC; `of`: the run's recipe."""
        self._close()
        known = of.full, run.drive, run.run, published
        base = of.base if of.base != of.full else UNSET
        stretches = tuple(sorted(self._stretches, key=lambda one: (one.camera, one.position)))
        if self._policy is None:
            return Evidence(*known, max_uncertainty=0.0, version=EVIDENCE_VERSION, base=base)
        return Evidence(
            *known,
            max_uncertainty=self._policy.max_uncertainty,
            target=self._policy.target,
            stretch=self._policy.stretch,
            stretches=stretches,
            version=EVIDENCE_VERSION,
            base=base,
            task=self._policy.task,
            iou=self._policy.iou if isinstance(self._policy, VerifyKeyFrames) else 0.0,
        )

    def _close(self) -> None:
        if self._policy and self._stretch and (classes := judge_stretch(self._frames)):
            place = self._stretch.camera, self._stretch.number * self._policy.stretch
            self._stretches.append(AuditedStretch(*place, self._blind, classes))
        self._stretch, self._frames, self._blind = None, [], True
