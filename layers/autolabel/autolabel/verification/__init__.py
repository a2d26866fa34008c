"""Gives reviewers their jobs, in Ground Truth or Label Studio, and settles the labels that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.verification.attempts import JobAttempt, take_attempt
    from autolabel.verification.cuboid_labels import RIGHT_HANDED, CuboidYaw
    from autolabel.verification.ground_truth import read_answers, read_output, write_shown
    from autolabel.verification.jobs import LABEL_STUDIO, BackEnds, JobRound, ReviewersOf, job_name, one_reviewer
    from autolabel.verification.label_studio.client import LabelStudioClient
    from autolabel.verification.label_studio.connection import Connection, read_connection
    from autolabel.verification.label_studio.notifications import take_notification
    from autolabel.verification.label_studio.projects import (
        Images,
        Job,
        JobProject,
        Results,
        StorageImages,
        Webhook,
        annotated,
        close_project,
        open_project,
        progress,
        renew_images,
    )
    from autolabel.verification.people import await_reviewers, wake_job
    from autolabel.verification.sequences import SEQUENCES, write_sequences
    from autolabel.verification.settlement import settle_round
    from autolabel.verification.takeover import attempts_of, check_not_taken_over, rounds_of, taken_over_by
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "attempts": (
                "JobAttempt",
                "take_attempt",
            ),
            "cuboid_labels": (
                "RIGHT_HANDED",
                "CuboidYaw",
            ),
            "ground_truth": (
                "read_answers",
                "read_output",
                "write_shown",
            ),
            "jobs": (
                "LABEL_STUDIO",
                "BackEnds",
                "JobRound",
                "ReviewersOf",
                "job_name",
                "one_reviewer",
            ),
            "label_studio.client": ("LabelStudioClient",),
            "label_studio.connection": (
                "Connection",
                "read_connection",
            ),
            "label_studio.notifications": ("take_notification",),
            "label_studio.projects": (
                "Images",
                "Job",
                "JobProject",
                "Results",
                "StorageImages",
                "Webhook",
                "annotated",
                "close_project",
                "open_project",
                "progress",
                "renew_images",
            ),
            "people": (
                "await_reviewers",
                "wake_job",
            ),
            "sequences": (
                "SEQUENCES",
                "write_sequences",
            ),
            "settlement": ("settle_round",),
            "takeover": (
                "attempts_of",
                "check_not_taken_over",
                "rounds_of",
                "taken_over_by",
            ),
        },
    )

__all__ = [
    "LABEL_STUDIO",
    "RIGHT_HANDED",
    "SEQUENCES",
    "BackEnds",
    "Connection",
    "CuboidYaw",
    "Images",
    "Job",
    "JobAttempt",
    "JobProject",
    "JobRound",
    "LabelStudioClient",
    "Results",
    "ReviewersOf",
    "StorageImages",
    "Webhook",
    "annotated",
    "attempts_of",
    "await_reviewers",
    "check_not_taken_over",
    "close_project",
    "job_name",
    "one_reviewer",
    "open_project",
    "progress",
    "read_answers",
    "read_connection",
    "read_output",
    "renew_images",
    "rounds_of",
    "settle_round",
    "take_attempt",
    "take_notification",
    "taken_over_by",
    "wake_job",
    "write_sequences",
    "write_shown",
]
