"""The control plane of training: jobs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.sagemaker.containers import image_name
from local.sagemaker.errors import ResourceInUse, ResourceNotFound, UnsupportedHere, ValidationFailed
from local.sagemaker.names import S3Uri, arn
from local.sagemaker.ports import Cloud
from local.sagemaker.registry import Registry, list_page
from local.sagemaker.supported import refuse_unsupported
from local.sagemaker.training.training_job import TrainingJob


class TrainingJobs:
    """The account's training jobs. `images` maps image names (no registry, no tag) to command lines.

    They are not kept when the cloud ends.
    """

    def __init__(self, cloud: Cloud, images: Mapping[str, Sequence[str]], folder: Path) -> None:
        self._cloud = cloud
        self._images = images
        self._folder = folder / "training"
        self._jobs: Registry[TrainingJob] = Registry()

    def stop(self) -> None:
        """End the running jobs without artefacts or events, because the cloud goes down."""
        for job in self._jobs:
            job.abandon()

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob: returns at once; the job reads its channels while it is Downloading."""
        refuse_unsupported("CreateTrainingJob", request)
        name = request["TrainingJobName"]
        _check(request)
        image = request["AlgorithmSpecification"].get("TrainingImage", "")
        command = self._images.get(image_name(image))
        if command is None:
            raise UnsupportedHere(
                f"the training image {image!r}: add the command of its program to CloudSettings.training_images"
            )
        if not self._cloud.roles.exists(request["RoleArn"]):
            raise ValidationFailed(f"Could not assume role {request['RoleArn']}: it does not exist.")
        taken = ResourceInUse(f"Training job names must be unique within an AWS account and region: {name}")
        if name in self._jobs:
            raise taken
        job = TrainingJob(request, self._cloud, command, self._folder)
        self._jobs.add(name, job, taken=taken)
        job.start()
        return {"TrainingJobArn": job.arn}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob."""
        return self._job(request["TrainingJobName"]).description()

    def stop_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """StopTrainingJob."""
        job = self._job(request["TrainingJobName"])
        if not job.request_stop():
            raise ValidationFailed(
                f"The request was rejected because the training job is in status {job.summary()['TrainingJobStatus']}."
            )
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs."""
        summaries = [job.summary() for job in self._jobs]
        listed = list_page(
            summaries, request, result="TrainingJobSummaries", name="TrainingJobName", status="TrainingJobStatus"
        )
        for summary in listed["TrainingJobSummaries"]:
            del summary["SecondaryStatus"]
        return listed

    def arns(self) -> set[str]:
        """Return the ARNs of all jobs."""
        return {job.arn for job in self._jobs}

    def _job(self, name: str) -> TrainingJob:
        missing = ResourceNotFound(f"Requested resource not found: {arn('training-job', name)}")
        return self._jobs.get(name, missing=missing)


def _check(request: Mapping[str, Any]) -> None:
    """Check what the service model leaves optional; raises ValidationFailed and UnsupportedHere."""
    for member in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if member not in request:
            raise ValidationFailed(f"{member} must be given")
    if request["ResourceConfig"].get("InstanceCount", 1) != 1:
        raise UnsupportedHere("a training job on more than one instance")
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    channels = request.get("InputDataConfig", [])
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) < len(names):
        raise ValidationFailed(f"Channel names must be unique: {', '.join(names)}")
    for channel in channels:
        source = channel["DataSource"].get("S3DataSource")
        where = f"channel {channel['ChannelName']!r}"
        if source is None or channel.get("InputMode", mode) != "File":
            raise UnsupportedHere(f"{where} without an S3DataSource in File mode")
        if source["S3DataType"] == "AugmentedManifestFile":
            raise ValidationFailed(f"AugmentedManifestFile can be used only in Pipe mode: {where}")
        if source.get("S3DataDistributionType", "FullyReplicated") != "FullyReplicated":
            raise UnsupportedHere(f"{where} that is sharded")
        try:
            S3Uri.parse(source["S3Uri"])
        except ValueError as e:
            raise ValidationFailed(f"{where}: {e}") from e
