"""Refuse request members that the stand-in does not support.

Some supported members have no effect, because one machine offers no choice of hardware or network: instance types,
weights, volumes, keys at rest, VPCs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.sagemaker.errors import UnsupportedHere


def _members(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Paths of members by operation; lists add nothing to a path, and ".*" at the end admits everything below it.
_SUPPORTED: dict[str, frozenset[str]] = {
    "CreateModel": _members("""ModelName ExecutionRoleArn Tags.* VpcConfig.* EnableNetworkIsolation
        PrimaryContainer.Image PrimaryContainer.ModelDataUrl
        PrimaryContainer.Environment.* PrimaryContainer.ContainerHostname
        Containers.Image Containers.Environment.* Containers.ContainerHostname"""),
    "CreateEndpointConfig": _members("""EndpointConfigName Tags.* KmsKeyId VpcConfig.*
        EnableNetworkIsolation
        ProductionVariants.VariantName ProductionVariants.ModelName ProductionVariants.InitialInstanceCount
        ProductionVariants.InstanceType ProductionVariants.InitialVariantWeight ProductionVariants.VolumeSizeInGB
        ProductionVariants.ModelDataDownloadTimeoutInSeconds ProductionVariants.InferenceAmiVersion
        ProductionVariants.ContainerStartupHealthCheckTimeoutInSeconds
        AsyncInferenceConfig.*"""),
    "CreateTrainingJob": _members("""TrainingJobName HyperParameters.* RoleArn Tags.* Environment.* VpcConfig.*
        AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode
        AlgorithmSpecification.EnableSageMakerMetricsTimeSeries
        InputDataConfig.ChannelName InputDataConfig.ContentType InputDataConfig.InputMode
        InputDataConfig.DataSource.S3DataSource.S3DataType InputDataConfig.DataSource.S3DataSource.S3Uri
        InputDataConfig.DataSource.S3DataSource.S3DataDistributionType
        OutputDataConfig.S3OutputPath OutputDataConfig.KmsKeyId
        ResourceConfig.InstanceType ResourceConfig.InstanceCount ResourceConfig.VolumeSizeInGB
        ResourceConfig.VolumeKmsKeyId StoppingCondition.MaxRuntimeInSeconds EnableNetworkIsolation"""),
    "CreateEndpoint": _members("EndpointName EndpointConfigName Tags.*"),
    "UpdateEndpoint": _members("EndpointName EndpointConfigName"),
    "UpdateEndpointWeightsAndCapacities": _members("""EndpointName DesiredWeightsAndCapacities.VariantName
        DesiredWeightsAndCapacities.DesiredInstanceCount"""),
    "CreateWorkteam": _members("WorkteamName Description MemberDefinitions.* Tags.*"),
    "CreateLabelingJob": _members("""LabelingJobName LabelAttributeName RoleArn LabelCategoryConfigS3Uri Tags.*
        InputConfig.DataSource.S3DataSource.ManifestS3Uri InputConfig.DataAttributes.*
        OutputConfig.S3OutputPath OutputConfig.KmsKeyId
        HumanTaskConfig.WorkteamArn HumanTaskConfig.UiConfig.UiTemplateS3Uri HumanTaskConfig.PreHumanTaskLambdaArn
        HumanTaskConfig.UiConfig.HumanTaskUiArn
        HumanTaskConfig.TaskKeywords HumanTaskConfig.TaskTitle HumanTaskConfig.TaskDescription
        HumanTaskConfig.NumberOfHumanWorkersPerDataObject HumanTaskConfig.TaskTimeLimitInSeconds
        HumanTaskConfig.TaskAvailabilityLifetimeInSeconds HumanTaskConfig.MaxConcurrentTaskCount
        HumanTaskConfig.AnnotationConsolidationConfig.AnnotationConsolidationLambdaArn"""),
}


def refuse_unsupported(operation: str, request: Mapping[str, Any]) -> None:
    """Raise UnsupportedHere that names the first unsupported member."""
    for path in _paths(request, ""):
        if not _admitted(path, _SUPPORTED[operation]):
            raise UnsupportedHere(f"{operation} with {path}")


def _admitted(path: str, supported: frozenset[str]) -> bool:
    parts = path.split(".")
    return path in supported or any(".".join(parts[:n]) + ".*" in supported for n in range(1, len(parts) + 1))


def _paths(value: Any, where: str) -> list[str]:
    """Return the paths of all leaves of a request; an empty structure is a leaf."""
    if isinstance(value, Mapping) and value:
        return [path for name, item in value.items() for path in _paths(item, f"{where}.{name}" if where else name)]
    if isinstance(value, list | tuple) and value:
        return [path for item in value for path in _paths(item, where)]
    return [where] if where else []
