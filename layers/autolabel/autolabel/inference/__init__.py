"""The completion protocol: submission, completion and reconciliation of units."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.inference.completion import Completion, parse_notification, wake_if_done
    from autolabel.inference.reconcile_pass import (
        PassProgress,
        ReconcilePasses,
        Verdict,
        Worst,
        await_answers,
        retry_failed_units,
    )
    from autolabel.inference.reconciliation import Limits
    from autolabel.inference.submission import AT_ONCE, ObjectEvent, Submission, read_message
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "completion": (
                "Completion",
                "parse_notification",
                "wake_if_done",
            ),
            "reconcile_pass": (
                "PassProgress",
                "ReconcilePasses",
                "Verdict",
                "Worst",
                "await_answers",
                "retry_failed_units",
            ),
            "reconciliation": ("Limits",),
            "submission": (
                "AT_ONCE",
                "ObjectEvent",
                "Submission",
                "read_message",
            ),
        },
    )

__all__ = [
    "AT_ONCE",
    "Completion",
    "Limits",
    "ObjectEvent",
    "PassProgress",
    "ReconcilePasses",
    "Submission",
    "Verdict",
    "Worst",
    "await_answers",
    "parse_notification",
    "read_message",
    "retry_failed_units",
    "wake_if_done",
]
