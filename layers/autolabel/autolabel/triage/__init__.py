"""Triage: decide which frames reviewers get, audit accepted frames, and judge what audits prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.triage.audits import Evidence, count_old_evidence, read_evidence
    from autolabel.triage.hindsight import Hindsight, Outcome, Reviewed, best_setting
    from autolabel.triage.interpolation import InterpolationRecords
    from autolabel.triage.intervals import share_interval
    from autolabel.triage.proof import Certificate, acceptance_sentences, class_records
    from autolabel.triage.uncertainty_fit import (
        Fit,
        Step,
        TooFewStretches,
        as_map,
        fit_steps,
        reviewed_level,
    )
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
            "interpolation": ("InterpolationRecords",),
            "proof": (
                "Certificate",
                "acceptance_sentences",
                "class_records",
            ),
            "uncertainty_fit": (
                "Fit",
                "Step",
                "TooFewStretches",
                "as_map",
                "fit_steps",
                "reviewed_level",
            ),
            "intervals": ("share_interval",),
        },
    )

__all__ = [
    "Certificate",
    "Evidence",
    "Fit",
    "Hindsight",
    "InterpolationRecords",
    "Outcome",
    "Reviewed",
    "Step",
    "TooFewStretches",
    "acceptance_sentences",
    "as_map",
    "best_setting",
    "class_records",
    "count_old_evidence",
    "fit_steps",
    "read_evidence",
    "reviewed_level",
    "share_interval",
]
