"""Create SageMaker labelling jobs and wait for their end."""

from __future__ import annotations

import json
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import Cancelled, StateError
from local.cloud.stepfunctions.integrations.answers import ask
from local.cloud.stepfunctions.integrations.clients import Clients

POLL_SECONDS = 0.25
_PREFIX = "SageMaker"
# The error shapes of CreateLabelingJob, DescribeLabelingJob and StopLabelingJob in botocore's model.
_MODELLED = frozenset({"ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound"})


def create(clients: Clients, arguments: Any, _: Cancellation) -> Any:
    """sagemaker:createLabelingJob: create a job without waiting for it."""
    return _ask(lambda: clients["sagemaker"].create_labeling_job(**arguments))


def run(clients: Clients, arguments: Any, cancellation: Cancellation) -> Any:
    """sagemaker:createLabelingJob.sync: create a job, wait for its end, return its description.

    A failed or stopped job raises States.TaskFailed. When the task is cancelled, the job is stopped.
    """
    create(clients, arguments, cancellation)
    name = arguments["LabelingJobName"]
    try:
        while True:
            job = _ask(lambda: clients["sagemaker"].describe_labeling_job(LabelingJobName=name))
            if job["LabelingJobStatus"] == "Completed":
                return job
            if job["LabelingJobStatus"] in ("Failed", "Stopped"):
                raise StateError("States.TaskFailed", json.dumps(job))
            cancellation.sleep(POLL_SECONDS)
    except Cancelled:
        _ask(lambda: clients["sagemaker"].stop_labeling_job(LabelingJobName=name))
        raise


def _ask(call: Any) -> Any:
    try:
        return ask(_PREFIX, call)
    except StateError as error:
        if error.error.removeprefix("SageMaker.").removesuffix("Exception") not in _MODELLED:
            # SageMaker's model has no errors for refused requests, throttles and 5xx: the SDK's base class reports
            # them.
            raise StateError("SageMaker.AmazonSageMakerException", error.cause) from error
        raise
