"""One training job: downloads its channels, runs its container, and uploads what that leaves."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.sagemaker.containers import BASE, start_container, stop_container
from local.sagemaker.names import REGION, S3Uri, arn
from local.sagemaker.ports import Cloud, StorageError
from local.sagemaker.training.channels import BadChannel, fill_channel

_log = logging.getLogger(__name__)
EVENT = "SageMaker Training Job State Change"
# Developer guide, "How Amazon SageMaker AI signals algorithms": SIGKILL follows SIGTERM after 120 seconds.
_GRACE_SECONDS = 120.0
_POLL_SECONDS = 0.05
# Developer guide, "How Amazon SageMaker AI signals success or failure": the first 1,024 characters are returned.
_FAILURE_CHARACTERS = 1024
_DAY = 86_400
_ENDED = ("Completed", "Failed", "Stopped")


class _Failed(Exception):
    """The job fails; the message is its FailureReason."""


class TrainingJob:
    """A training job and its thread; it reads and writes with the rights of its RoleArn.

    `command` stands for the container; it finds its folders below the variable SAGEMAKER_BASE_DIR in the place of
    /opt/ml. The job's files and its log are in `folder`.
    """

    def __init__(self, request: Mapping[str, Any], cloud: Cloud, command: Sequence[str], folder: Path) -> None:
        self.name: str = request["TrainingJobName"]
        self.arn = arn("training-job", self.name)
        self.log = folder / f"{self.name}.log"
        self._base = (folder / self.name).resolve()
        self._request = request
        self._cloud = cloud
        self._objects = cloud.roles.assume(request["RoleArn"]).objects
        self._command = command
        self._place = S3Uri.parse(request["OutputDataConfig"]["S3OutputPath"]).below(self.name, "output")
        self._limit = request["StoppingCondition"].get("MaxRuntimeInSeconds", _DAY)
        self._created = self._modified = time.time()
        self._started = self._ended = 0.0
        self._status, self._secondary = "InProgress", ""
        self._transitions: list[dict[str, Any]] = []
        self._failure_reason: str | None = None
        self._artefact: S3Uri | None = None
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=f"training-{self.name}", daemon=True)
        self._enter("Starting")

    def start(self) -> None:
        """Start the job's thread."""
        self._thread.start()

    def request_stop(self) -> bool:
        """Stop the container; what it leaves is uploaded. Return False for a job that has ended."""
        with self._lock:
            if self._status == "InProgress":
                self._status = "Stopping"
                self._enter("Stopping")
                self._stopping.set()
            return self._status not in _ENDED

    def abandon(self) -> None:
        """End the job without artefact or event, because the cloud goes down; wait for its thread."""
        self._abandoned.set()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def summary(self) -> dict[str, Any]:
        """Describe the job as ListTrainingJobs shows it."""
        with self._lock:
            found = {
                "TrainingJobName": self.name,
                "TrainingJobArn": self.arn,
                "CreationTime": self._created,
                "LastModifiedTime": self._modified,
                "TrainingJobStatus": self._status,
                "SecondaryStatus": self._secondary,
            }
            return found | ({"TrainingEndTime": self._ended} if self._ended else {})

    def description(self) -> dict[str, Any]:
        """Describe the job as DescribeTrainingJob shows it."""
        with self._lock:
            request = {name: value for name, value in self._request.items() if name != "Tags"}
            found = {**request, **self.summary(), "SecondaryStatusTransitions": [dict(t) for t in self._transitions]}
            found["ModelArtifacts"] = {"S3ModelArtifacts": str(self._artefact or "")}
            if self._started:
                found["TrainingStartTime"] = self._started
            if self._started and self._ended:
                seconds = max(1, round(self._ended - self._started))
                found |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            if self._failure_reason:
                found["FailureReason"] = self._failure_reason
            return found

    def _enter(self, secondary: str) -> None:
        with self._lock:
            now = self._modified = time.time()
            if self._transitions:
                self._transitions[-1]["EndTime"] = now
            self._secondary = secondary
            self._transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": secondary})

    def _run(self) -> None:
        over_time = False
        try:
            over_time = self._train()
            status = "Stopped" if over_time or self._stopping.is_set() else "Completed"
        except _Failed as e:
            status, self._failure_reason = "Failed", str(e)
        except (BadChannel, StorageError) as e:
            status, self._failure_reason = "Failed", f"ClientError: Data download failed: {e}"
        # A fault of the stand-in, too, ends the job: who waits for it must not wait for ever.
        except Exception as e:
            _log.exception("training job %s", self.name)
            status, self._failure_reason = "Failed", f"InternalServerError: {type(e).__name__}: {e}"
        # The log stays, as in CloudWatch.
        shutil.rmtree(self._base, ignore_errors=True)
        if self._abandoned.is_set():
            return
        if self._failure_reason:
            _log.error("training job %s: %s; its log: %s", self.name, self._failure_reason, self.log)
        self._enter("MaxRuntimeExceeded" if over_time else status)
        with self._lock:
            self._status, self._ended = status, time.time()
        self._cloud.events.put(EVENT, {"TrainingJobName": self.name, "TrainingJobStatus": status}, [self.arn])

    def _train(self) -> bool:
        """Run the container between download and upload; return whether its time was over."""
        for part in ("input/config", "input/data", "model", "output/data"):
            (self._base / part).mkdir(parents=True, exist_ok=True)
        self._enter("Downloading")
        for channel in self._request.get("InputDataConfig", []):
            fill_channel(self._objects, channel, self._base / "input" / "data" / channel["ChannelName"])
            if self._stopping.is_set():
                return False
        self._write_configuration()
        self._enter("Training")
        with self._lock:
            self._started = time.time()
        process = start_container(self.name, self._command, self._environment(), self.log)
        deadline = time.monotonic() + self._limit
        while process.poll() is None and not self._stopping.is_set() and time.monotonic() < deadline:
            self._stopping.wait(_POLL_SECONDS)
        over_time = process.poll() is None and not self._stopping.is_set()
        ended_by_itself = process.poll()
        stop_container(process, 0 if self._abandoned.is_set() else _GRACE_SECONDS)
        if self._abandoned.is_set():
            return False
        if ended_by_itself:
            raise _Failed(self._algorithm_error(ended_by_itself))
        self._enter("Uploading")
        self._upload("model", "model.tar.gz")
        if any((self._base / "output" / "data").iterdir()):
            self._upload("output/data", "output.tar.gz")
        return over_time

    def _write_configuration(self) -> None:
        """Write what the developer guide says of /opt/ml/input/config."""
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in self._request.get("InputDataConfig", [])
        }
        documents = {
            "hyperparameters": self._request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"},
        }
        for name, document in documents.items():
            (self._base / "input" / "config" / f"{name}.json").write_text(json.dumps(document))

    def _environment(self) -> dict[str, str]:
        """Return the job's variables, those of the platform, and those of AWS's training toolkit."""
        data = self._base / "input" / "data"
        channels = [channel["ChannelName"] for channel in self._request.get("InputDataConfig", [])]
        return {
            **self._request.get("Environment", {}),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
            "AWS_REGION": REGION,
            BASE: str(self._base),
            "SM_MODEL_DIR": str(self._base / "model"),
            "SM_OUTPUT_DATA_DIR": str(self._base / "output" / "data"),
            "SM_CHANNELS": json.dumps(sorted(channels)),
            "SM_HPS": json.dumps(self._request.get("HyperParameters", {})),
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            "SM_NUM_GPUS": "0",
            **{f"SM_CHANNEL_{name.upper()}": str(data / name) for name in channels},
        }

    def _algorithm_error(self, status: int) -> str:
        said = self._base / "output" / "failure"
        reason = said.read_text(errors="replace")[:_FAILURE_CHARACTERS] if said.is_file() else ""
        # A negative status is a signal, which a container's engine tells as 128 and its number.
        return f"AlgorithmError: {reason}, exit code: {128 - status if status < 0 else status}"

    def _upload(self, part: str, name: str) -> None:
        packed = self._base / name
        with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
            for path in sorted((self._base / part).iterdir()):
                archive.add(path, path.name)
        uri = self._place.below(name)
        key = self._request["OutputDataConfig"].get("KmsKeyId")
        try:
            with packed.open("rb") as body:
                self._objects.write(uri, body, "application/x-gzip", key)
        except StorageError as e:
            raise _Failed(f"ClientError: Artifact upload failed: {e}") from e
        if name == "model.tar.gz":
            with self._lock:
                self._artefact = uri
