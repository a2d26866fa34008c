"""The control plane of Ground Truth: labelling jobs by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from local.records import Records
from local.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationFailed
from local.sagemaker.ground_truth.annotators import keep_every_box, load_annotator
from local.sagemaker.ground_truth.image_tickets import ImageTickets
from local.sagemaker.ground_truth.labeling_job import LabelingJob
from local.sagemaker.ground_truth.labeling_requests import check_labeling_request, job_kind
from local.sagemaker.ground_truth.tasks import Clock
from local.sagemaker.names import arn
from local.sagemaker.ports import Cloud
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported
from local.settings import PEOPLE, CloudSettings

_log = logging.getLogger(__name__)


class LabelingJobs:
    """The account's labelling jobs; `workteams` returns the ARNs of its work teams.

    The annotator of `settings` answers their tasks. Without one, people do, and their browsers read images by
    `tickets`. Cuboids then stay as they are shown and count as a script's, since the portal has no page of points. Jobs
    and answers are kept in `records`. Raises ValueError for an annotator that does not exist.
    """

    def __init__(
        self,
        cloud: Cloud,
        workteams: Callable[[], Set[str]],
        settings: CloudSettings,
        clock: Clock,
        records: Records,
    ) -> None:
        self._cloud = cloud
        self._workteams = workteams
        self._settings = settings
        self._annotator = None if settings.annotator == PEOPLE else load_annotator(settings.annotator)
        self._clock = clock
        self._records = records
        self.tickets = ImageTickets()
        self._jobs: Registry[LabelingJob] = Registry()
        self._one_person = False

    def stop(self) -> None:
        """End the running jobs without output or events, because the cloud goes down."""
        for job in self._jobs:
            job.abandon()

    def resume(self) -> list[str]:
        """Make the kept jobs known, and let the open ones go on; return the names of those."""
        self._one_person = any(on for _, on in self._records.all("one-person"))
        begun = []
        for name, state in self._records.all("job"):
            job = self._new_job(state["request"])
            job.restore(state)
            self._jobs.add(name, job, taken=_taken(name))
            if job.open:
                begun.append(job)
        # A job looks for earlier ones.
        for job in begun:
            job.start()
        return [job.name for job in begun]

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateLabelingJob: returns at once; the job checks its inputs in S3 while it is Initializing."""
        refuse_unsupported("CreateLabelingJob", request)
        check_labeling_request(request, self._workteams())
        job = self._new_job(request)
        name = request["LabelingJobName"]
        if name in self._jobs:
            raise _taken(name)
        if not self._cloud.roles.exists(request["RoleArn"]):
            raise ValidationFailed(f"Could not assume role {request['RoleArn']}: it does not exist.")
        self._jobs.add(name, job, taken=_taken(name))
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

    @property
    def one_person(self) -> bool:
        """Whether a worker may give a second look to what they gave the first one."""
        return self._one_person

    def allow_one_person(self, allowed: bool) -> None:
        """Let workers give both looks, or not."""
        self._records.put("one-person", "", "portal", allowed)
        self._one_person = allowed

    def __iter__(self) -> Iterator[LabelingJob]:
        """Iterate over all jobs."""
        return iter(self._jobs)

    def find(self, name: str) -> LabelingJob | None:
        """Return the job of that name, None if there is none."""
        return self._jobs.get(name, missing=KeyError(name)) if name in self._jobs else None

    def _new_job(self, request: Mapping[str, Any]) -> LabelingJob:
        annotator = self._annotator
        if annotator is None and job_kind(request) == "cuboids":
            _log.warning(
                "labelling job %s: the portal has no page of points, so a script leaves the cuboids as they are",
                request["LabelingJobName"],
            )
            annotator = keep_every_box
        return LabelingJob(
            request, self._cloud, annotator, self._settings, self.tickets, self._clock, self._records, self
        )

    def _job(self, name: str) -> LabelingJob:
        missing = ResourceNotFound(f"Requested resource not found: labeling job {name} does not exist.")
        return self._jobs.get(name, missing=missing)


def _taken(name: str) -> ResourceInUse:
    return ResourceInUse(f"Labeling job name {name} is already in use ({arn('labeling-job', name)}).")
