"""Training jobs of SageMaker: starts one under a name that follows from its data, and waits for it."""

from __future__ import annotations

import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from autolabel_cli.training.samples import Samples

Tell = Callable[[str], None]
_FIRST_POLL, _LAST_POLL = 0.5, 30.0
# SageMaker does not give a name twice, so what failed or was stopped is tried again under the next one.
_MOST_ATTEMPTS = 50
_FOLDER = "training/"
_ENDED = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Instance:
    """Where a job runs: the type, its volume in GB, and the seconds after which SageMaker stops it."""

    type: str
    volume: int
    seconds: int


def start_job(
    stack: Stack,
    name: str,
    image: str,
    hyperparameters: Mapping[str, str],
    samples: Samples,
    start: str,
    instance: Instance,
    *,
    again: bool,
) -> str:
    """Start the job of this name, or find it; return the name of the attempt.

    A job that runs or is complete is not started again. One that failed or was stopped is, under the next name, if
    `again`. `start`: S3 URI of the artefact that it begins from, empty for the image's own weights.
    """
    sagemaker = stack.client("sagemaker")
    for number in range(1, _MOST_ATTEMPTS + 1):
        attempt = name if number == 1 else f"{name}-{number}"
        found = _describe(sagemaker, attempt)
        if found and found["TrainingJobStatus"] in ("Failed", "Stopped"):
            if not again and _describe(sagemaker, f"{name}-{number + 1}") is None:
                raise CommandError(f"{_why(found)}; give --again to try once more")
            continue
        if found:
            return attempt
        _write_channels(stack, attempt, samples)
        try:
            sagemaker.create_training_job(
                **_request(stack, attempt, image, hyperparameters, start, instance),
            )
        except ClientError as e:
            # Another command was faster.
            if error_code(e) != "ResourceInUse":
                raise
        return attempt
    raise CommandError(f"training job {name} was tried {_MOST_ATTEMPTS} times: change its data or settings")


def await_job(stack: Stack, job: str, tell: Tell) -> str:
    """Wait for a job; return the S3 URI of its artefact. CommandError when it fails or is stopped."""
    sagemaker, pause, said = stack.client("sagemaker"), _FIRST_POLL, ""
    while True:
        found = sagemaker.describe_training_job(TrainingJobName=job)
        if found["TrainingJobStatus"] in _ENDED:
            break
        if said != (said := found["SecondaryStatus"]):
            tell(f"training job {job}: {said}")
        # SageMaker tells of the end by an event, which a command cannot wait for.
        time.sleep(pause)
        pause = min(pause * 1.3, _LAST_POLL)
    if found["TrainingJobStatus"] != "Completed":
        raise CommandError(f"{_why(found)}; give --again to try once more")
    return str(found["ModelArtifacts"]["S3ModelArtifacts"])


def read_classes(stack: Stack, artefact: str) -> dict[str, str]:
    """Read the class map that the job left in its artefact, classes.json. CommandError without a usable one."""
    bucket, _, key = artefact.removeprefix("s3://").partition("/")
    with tempfile.TemporaryFile() as packed:
        try:
            stack.client("s3").download_fileobj(bucket, key, packed)
        except ClientError as e:
            if error_code(e) != "404":
                raise
            raise CommandError(
                f"{artefact} is gone, since {_FOLDER} is deleted after 30 days: train again with another hyperparameter"
            ) from e
        packed.seek(0)
        try:
            with tarfile.open(fileobj=packed, mode="r:*") as archive:
                member = archive.extractfile("classes.json")
                body = member.read() if member else b""
            return msgspec.json.decode(body, type=dict[str, str])
        # A file that ends early or has wrong bytes raises errors of gzip and zlib.
        except (tarfile.TarError, EOFError, OSError, zlib.error, KeyError, msgspec.DecodeError) as e:
            raise CommandError(
                f"{artefact} has no usable classes.json ({e}): the training program must write the class map of the "
                "trained model there (docs/ml-engineers/training.md)"
            ) from e


def _write_channels(stack: Stack, job: str, samples: Samples) -> None:
    samples.labels.seek(0)
    stack.client("s3").upload_fileobj(
        _Unclosed(samples.labels), stack.labels.name, f"{_folder(job)}labels/labels.jsonl"
    )
    stack.labels.write(f"{_folder(job)}frames.manifest", samples.frames)


class _Unclosed:
    """A file whose end of upload does not close it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, amount: int = -1) -> bytes:
        return self._file.read(amount)


def _folder(job: str) -> str:
    return f"{_FOLDER}{job}/"


# `Any`, here and below: requests and answers of boto3, whose fields have different types.
def _request(
    stack: Stack, job: str, image: str, hyperparameters: Mapping[str, str], start: str, instance: Instance
) -> dict[str, Any]:
    """Make the request. Channels are files: pipes of augmented manifests need a label in every line of a dataset."""
    channels = [
        _channel("labels", "S3Prefix", stack.labels.uri(f"{_folder(job)}labels/")),
        _channel("frames", "ManifestFile", stack.labels.uri(f"{_folder(job)}frames.manifest")),
        *([_channel("start", "S3Prefix", start)] if start else []),
    ]
    key = stack.outputs.get("KmsKeyArn")
    return {
        "TrainingJobName": job,
        "RoleArn": stack.output("TrainingRoleArn"),
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "HyperParameters": dict(hyperparameters),
        "InputDataConfig": channels,
        "OutputDataConfig": {
            "S3OutputPath": stack.labels.uri(_folder(job).rstrip("/")),
            **({"KmsKeyId": key} if key else {}),
        },
        "ResourceConfig": {"InstanceType": instance.type, "InstanceCount": 1, "VolumeSizeInGB": instance.volume},
        "StoppingCondition": {"MaxRuntimeInSeconds": instance.seconds},
        # The program reads frames of fleets; without a network it can send them nowhere.
        "EnableNetworkIsolation": True,
        "Tags": [{"Key": "autolabel:stack", "Value": stack.name}],
    }


def _channel(name: str, kind: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "InputMode": "File", "DataSource": {"S3DataSource": source}}


def _describe(sagemaker: Any, job: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=job)
    except ClientError as e:
        # The API names ResourceNotFound; SageMaker also answers so for a job that does not exist.
        if error_code(e) in ("ResourceNotFound", "ValidationException"):
            return None
        raise
    return found


def _why(found: Mapping[str, Any]) -> str:
    reason = found.get("FailureReason") or found["SecondaryStatus"]
    return f"training job {found['TrainingJobName']} is {found['TrainingJobStatus']}: {reason}"
