"""Implements the domain's ports on AWS. Adapters turn ClientError into the domain's errors and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.aws.announcements import AwsAnnouncements
    from autolabel.aws.batches import ConcurrentBatches
    from autolabel.aws.bucket import S3Bucket
    from autolabel.aws.clients import client, error_code, error_status
    from autolabel.aws.deliveries import DeadLettered, Deliveries
    from autolabel.aws.endpoints import SageMakerEndpoints, SageMakerEndpointStates
    from autolabel.aws.events import Answer, Event, answer
    from autolabel.aws.executions import StepFunctionsExecutions, StepFunctionsExtractions
    from autolabel.aws.labeling_jobs import SageMakerLabelingJobs
    from autolabel.aws.ledger import DynamoLedger
    from autolabel.aws.observability import logger, metrics, name_drive, tracer
    from autolabel.aws.presigned_images import PresignedImages, signing_client
    from autolabel.aws.queue import SqsSubmitQueue
    from autolabel.aws.secrets import Secrets
    from autolabel.aws.settings import SettingsError, read_settings
    from autolabel.aws.wiring import Adapters
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "announcements": ("AwsAnnouncements",),
            "batches": ("ConcurrentBatches",),
            "bucket": ("S3Bucket",),
            "clients": (
                "client",
                "error_code",
                "error_status",
            ),
            "deliveries": (
                "DeadLettered",
                "Deliveries",
            ),
            "endpoints": (
                "SageMakerEndpointStates",
                "SageMakerEndpoints",
            ),
            "events": (
                "Answer",
                "Event",
                "answer",
            ),
            "executions": (
                "StepFunctionsExecutions",
                "StepFunctionsExtractions",
            ),
            "labeling_jobs": ("SageMakerLabelingJobs",),
            "ledger": ("DynamoLedger",),
            "observability": (
                "logger",
                "metrics",
                "name_drive",
                "tracer",
            ),
            "presigned_images": (
                "PresignedImages",
                "signing_client",
            ),
            "queue": ("SqsSubmitQueue",),
            "secrets": ("Secrets",),
            "settings": (
                "SettingsError",
                "read_settings",
            ),
            "wiring": ("Adapters",),
        },
    )

__all__ = [
    "Adapters",
    "Answer",
    "AwsAnnouncements",
    "ConcurrentBatches",
    "DeadLettered",
    "Deliveries",
    "DynamoLedger",
    "Event",
    "PresignedImages",
    "S3Bucket",
    "SageMakerEndpointStates",
    "SageMakerEndpoints",
    "SageMakerLabelingJobs",
    "Secrets",
    "SettingsError",
    "SqsSubmitQueue",
    "StepFunctionsExecutions",
    "StepFunctionsExtractions",
    "answer",
    "client",
    "error_code",
    "error_status",
    "logger",
    "metrics",
    "name_drive",
    "read_settings",
    "signing_client",
    "tracer",
]
