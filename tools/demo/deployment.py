"""Builds the stack and deploys it into an embedded cloud, with the same tools and template as on AWS."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from autolabel_cli.errors import CommandError
from autolabel_cli.models.stacks import Deployment, ModelStack, fingerprint_of
from autolabel_cli.stack import Stack
from local import EmbeddedCloud

PROJECT = Path(__file__).resolve().parents[2]
STACK = "autolabel"
WORKTEAM = "autolabel"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
# Settings for one machine and a few frames: short waits, small shards.
PARAMETERS = {
    "WorkteamName": WORKTEAM,
    "Runtime": RUNTIME,
    "Architecture": ARCHITECTURE,
    "ShardFrames": "50",
    "ShardConcurrency": "2",
    # With more, submit and collect would keep taking the few worker processes from each other.
    "QueueConcurrency": "3",
    "AwaitTimeoutSeconds": "30",
    "FirstWaitSeconds": "1",
    "QueueFunctionTimeoutSeconds": "30",
    "BatchWindowSeconds": "0",
    "JobPollSeconds": "1",
    "LogRetentionDays": "1",
}
# A second model server would only share the first one's processor.
ONE_SERVER = {"MaxInstances": "1"}


class DeploymentError(RuntimeError):
    """A step of the deployment failed; the message names the step and its log."""


@dataclass(frozen=True)
class SamTools:
    """The `sam` command, from the environment that `make setup` makes for it."""

    command: Path

    @classmethod
    def find(cls) -> SamTools:
        command = Path(os.environ.get("AUTOLABEL_SAM", PROJECT / ".venv-sam" / "bin" / "sam"))
        if not command.exists():
            raise DeploymentError(f"{command} is missing: run `make setup`")
        return cls(command)

    def build(self, folder: Path, log: Path, project: Path = PROJECT) -> Path:
        """Build a checkout's template.yaml into `folder`; returns the built template. DeploymentError names the log."""
        arguments = [
            *("build", "--template-file", str(project / "template.yaml"), "--build-dir", str(folder)),
            *("--cached", "--cache-dir", str(folder.parent / "sam-cache")),
        ]
        # This Python has pip; a fresh system's Python may have none.
        environment = {
            "AUTOLABEL_RUNTIME": RUNTIME,
            "AUTOLABEL_ARCHITECTURE": ARCHITECTURE,
            "AUTOLABEL_PYTHON": sys.executable,
        }
        self._run(arguments, {**os.environ, **environment, **_QUIET}, log, "sam build")
        return folder / "template.yaml"

    def deploy(
        self, cloud: EmbeddedCloud, template: Path, log: Path, *, stack: str, parameters: Mapping[str, str], bucket: str
    ) -> None:
        """Deploy a built template into the cloud and wait until that is done. DeploymentError names the log."""
        overrides = [f"ParameterKey={key},ParameterValue={_quoted(value)}" for key, value in parameters.items()]
        arguments = [
            *("deploy", "--template-file", str(template), "--stack-name", stack, "--s3-bucket", bucket),
            *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset"),
            *("--no-progressbar", "--region", "us-east-1", "--parameter-overrides"),
            *overrides,
        ]
        try:
            self._run(arguments, {**cloud.environment(), **_QUIET}, log, f"sam deploy of {stack}")
        except DeploymentError as e:
            raise DeploymentError(first_failure(cloud, stack) or str(e)) from e

    def _run(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, step: str) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            # Not in the project's folder: its samconfig.toml is for AWS.
            ended = subprocess.run(
                [self.command, *arguments],
                cwd=log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        if ended.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
            raise DeploymentError(f"{step} failed: {last[0]}; log: {log}")


_QUIET = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_CHECK_VERSION": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"' if "," in value or " " in value else value


def deploy_stack(
    cloud: EmbeddedCloud, folder: Path, parameters: Mapping[str, str] | None = None, project: Path = PROJECT
) -> None:
    """Build the whole stack and deploy it into the cloud. Logs go to `folder`/logs.

    `project`: the checkout whose stack it is; its template must have all parameters that are given.
    """
    tools = SamTools.find()
    bucket = "deployment-artifacts"
    cloud.client("s3").create_bucket(Bucket=bucket)
    with _build_folder() as place:
        template = tools.build(place, folder / "logs" / "sam-build.log", project)
        tools.deploy(
            cloud,
            template,
            folder / "logs" / "sam-deploy.log",
            stack=STACK,
            parameters={**PARAMETERS, **(parameters or {})},
            bucket=bucket,
        )


@contextmanager
def _build_folder() -> Iterator[Path]:
    """The folder in which the stack is built, locked: other processes wait until this one has deployed it."""
    folder = PROJECT / "build" / "sam"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def image_uri(image: str) -> str:
    """The URI of an image that the cloud's settings list under this name."""
    return f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{image}:1"


def deploy_endpoint(
    cloud: EmbeddedCloud,
    outputs: Mapping[str, str],
    *,
    endpoint: str,
    image: str,
    parameters: Mapping[str, str] | None = None,
) -> None:
    """Deploy models/endpoint.yaml for an image of the cloud's settings, and wait until it is in service."""
    deployment = Deployment(image_uri(image), parameters={**ONE_SERVER, **(parameters or {})})
    pipeline = Stack(STACK, outputs, {}, cloud.client)
    try:
        ModelStack(pipeline, endpoint).deploy(deployment, endpoint, fingerprint_of(deployment), lambda text: None)
    except CommandError as e:
        raise DeploymentError(f"{e.message}; logs: {cloud.log} and {cloud.folder}") from e


def first_failure(cloud: EmbeddedCloud, stack: str) -> str:
    """The resource of a stack that failed first, and why; empty when none failed or there is no such stack."""
    try:
        events = cloud.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError:
        return ""
    failed = [e for e in reversed(events) if e["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return ""
    resource, reason = failed[0]["LogicalResourceId"], failed[0].get("ResourceStatusReason", "no reason")
    return f"stack {stack}: {resource} failed: {reason}; logs: {cloud.log} and {cloud.folder}"
