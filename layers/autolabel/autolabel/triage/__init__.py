"""Triage: decide which frames reviewers get, audit accepted frames, and judge what audits prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.triage.audits import Evidence, count_old_evidence, read_evidence
    from autolabel.triage.hindsight import Hindsight, Outcome, Reviewed, best_setting
    from autolabel.triage.proof import Certificate, acceptance_sentences, class_records
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "audits": (
                "Evidence",
                "count_old_evidence",
                "read_evidence",
            ),
            "hindsight": (
                "Hindsight",
                "Outcome",
                "Reviewed",
                "best_setting",
            ),
            "proof": (
                "Certificate",
                "acceptance_sentences",
                "class_records",
            ),
        },
    )

__all__ = [
    "Certificate",
    "Evidence",
    "Hindsight",
    "Outcome",
    "Reviewed",
    "acceptance_sentences",
    "best_setting",
    "class_records",
    "count_old_evidence",
    "read_evidence",
]
