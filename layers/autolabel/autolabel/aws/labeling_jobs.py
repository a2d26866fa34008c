"""Implements labelling jobs on SageMaker Ground Truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.ports import LabelingJobState

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient


class SageMakerLabelingJobs:
    """Implements `LabelingJobs` on SageMaker."""

    def __init__(self, client: SageMakerClient) -> None:
        self._sagemaker = client

    def describe(self, job: str) -> LabelingJobState | None:
        try:
            found = self._sagemaker.describe_labeling_job(LabelingJobName=job)
        except ClientError as e:
            # Ground Truth has two codes for a job that does not exist.
            if error_code(e) in ("ResourceNotFound", "ValidationException"):
                return None
            raise
        counters = found["LabelCounters"]
        return LabelingJobState(
            found["LabelingJobStatus"],
            found["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"],
            found.get("LabelingJobOutput", {}).get("OutputDatasetS3Uri", ""),
            labelled=counters.get("TotalLabeled", 0),
            unlabelled=counters.get("Unlabeled", 0),
            failed=counters.get("FailedNonRetryableError", 0),
            reason=found.get("FailureReason", ""),
            workteam=found.get("HumanTaskConfig", {}).get("WorkteamArn", ""),
            created=found["CreationTime"].timestamp() if "CreationTime" in found else 0.0,
        )

    def stop(self, job: str) -> None:
        try:
            self._sagemaker.stop_labeling_job(LabelingJobName=job)
        except ClientError as e:
            # ValidationException: it has ended meanwhile.
            if error_code(e) not in ("ResourceNotFound", "ValidationException"):
                raise
