"""The control plane of Ground Truth: labelling jobs by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from local.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationFailed
from local.sagemaker.ground_truth.annotators import load_annotator
from local.sagemaker.ground_truth.image_tickets import ImageTickets
from local.sagemaker.ground_truth.labeling_job import LabelingJob
from local.sagemaker.ground_truth.labeling_requests import check_labeling_request
from local.sagemaker.ground_truth.tasks import Clock
from local.sagemaker.names import arn
from local.sagemaker.ports import Cloud
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported
from local.settings import PEOPLE, CloudSettings


class LabelingJobs:
    """The account's labelling jobs; `workteams` returns the ARNs of its work teams.

    The annotator of `settings` answers their tasks. Without one, people do, and their browsers read images by
    `tickets`. Raises ValueError for an annotator that does not exist.
    """

    def __init__(
        self,
        cloud: Cloud,
        workteams: Callable[[], Set[str]],
        settings: CloudSettings,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cloud = cloud
        self._workteams = workteams
        self._settings = settings
        self._annotator = None if settings.annotator == PEOPLE else load_annotator(settings.annotator)
        self._clock = clock
        self.tickets = ImageTickets()
        self._jobs: Registry[LabelingJob] = Registry()

    def stop(self) -> None:
        """End the running jobs without output or events, because the cloud goes down."""
        for job in self._jobs:
            job.abandon()

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateLabelingJob: returns at once; the job checks its inputs in S3 while it is Initializing."""
        refuse_unsupported("CreateLabelingJob", request)
        check_labeling_request(request, self._workteams())
        job = LabelingJob(request, self._cloud, self._annotator, self._settings, self.tickets, self._clock)
        name = request["LabelingJobName"]
        taken = ResourceInUse(f"Labeling job name {name} is already in use ({arn('labeling-job', name)}).")
        if name in self._jobs:
            raise taken
        if not self._cloud.roles.exists(request["RoleArn"]):
            raise ValidationFailed(f"Could not assume role {request['RoleArn']}: it does not exist.")
        self._jobs.add(name, job, taken=taken)
        job.start()
        return {"LabelingJobArn": job.arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeLabelingJob."""
        return self._job(request["LabelingJobName"]).description()

    def stop_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """StopLabelingJob."""
        self._job(request["LabelingJobName"]).request_stop()
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListLabelingJobs."""
        summaries = [job.summary() for job in self._jobs]
        return list_page(
            summaries,
            request,
            result="LabelingJobSummaryList",
            name="LabelingJobName",
            status="LabelingJobStatus",
        )

    def arns(self) -> set[str]:
        """Return the ARNs of all jobs."""
        return {job.arn for job in self._jobs}

    def __iter__(self) -> Iterator[LabelingJob]:
        """Iterate over all jobs."""
        return iter(self._jobs)

    def find(self, name: str) -> LabelingJob | None:
        """Return the job of that name, None if there is none."""
        return self._jobs.get(name, missing=KeyError(name)) if name in self._jobs else None

    def _job(self, name: str) -> LabelingJob:
        missing = ResourceNotFound(f"Requested resource not found: labeling job {name} does not exist.")
        return self._jobs.get(name, missing=missing)
