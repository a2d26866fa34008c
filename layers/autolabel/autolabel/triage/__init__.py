"""Triage: decide which frames reviewers get, audit accepted frames, and judge what audits prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.triage.audits import Evidence, acceptance_status, read_evidence
    from autolabel.triage.hindsight import Hindsight, Outcome, Reviewed, best_setting
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "audits": (
                "Evidence",
                "acceptance_status",
                "read_evidence",
            ),
            "hindsight": (
                "Hindsight",
                "Outcome",
                "Reviewed",
                "best_setting",
            ),
        },
    )

__all__ = ["Evidence", "Hindsight", "Outcome", "Reviewed", "acceptance_status", "best_setting", "read_evidence"]
