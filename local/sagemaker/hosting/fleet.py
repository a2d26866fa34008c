"""The instances that serve one configuration of an endpoint."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.sagemaker.async_inference.backlog import Backlog
from local.sagemaker.async_inference.invocations import OutputSettings
from local.sagemaker.async_inference.metrics import EndpointMetrics
from local.sagemaker.containers import BASE, BadArtefact, unpack
from local.sagemaker.hosting.instances import Instance
from local.sagemaker.hosting.model_servers import ModelServer, ModelServerFailed
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import Access, StorageError

_log = logging.getLogger(__name__)


class DeploymentFailed(Exception):
    """An endpoint's configuration could not be brought into service; the message is its FailureReason."""


@dataclass(frozen=True)
class Deployment:
    """An endpoint configuration, resolved against its model."""

    config_name: str
    variant: str
    image: str
    command: Sequence[str] | None
    model_data: str
    role: str
    environment: Mapping[str, str]
    instance_count: int
    startup_seconds: float
    concurrency: int
    settings: OutputSettings
    async_config: Mapping[str, Any]


class Fleet:
    """The instances of one deployment. Use it from one long-lived thread: the model servers end with that thread.

    `access`: the rights of the deployment's role.
    """

    def __init__(
        self,
        deployment: Deployment,
        backlog: Backlog,
        access: Access,
        metrics: EndpointMetrics,
        folder: Path,
        names: Iterator[str],
    ) -> None:
        self.deployment = deployment
        self._backlog = backlog
        self.access = access
        self._metrics = metrics
        self._folder = folder
        self._names = names
        self._serving: list[Instance] = []
        self._retiring: list[Instance] = []

    @property
    def size(self) -> int:
        """The number of instances that take requests."""
        return len(self._serving)

    @property
    def gone(self) -> bool:
        """Whether no instance is left, neither serving nor finishing its work."""
        return not self._serving and not self._retiring

    def resize(self, count: int, cancelled: threading.Event) -> None:
        """Start instances and wait until all are healthy, or retire some; raises DeploymentFailed without a change."""
        if count < self.size:
            self._retiring += self._serving[count:]
            for instance in self._serving[count:]:
                instance.retire()
            del self._serving[count:]
        elif count > self.size:
            self._serving += self._launch(count - self.size, cancelled)

    def tend(self) -> None:
        """Restart servers that have ended, and stop retired instances that have finished."""
        for instance in self._serving:
            server = instance.server
            reason = None if server.healthy else server.restart_reason()
            if reason:
                _log.warning("%s %s and is restarted; its log: %s", server.name, reason, server.log)
                server.stop()
                server.start()
        for instance in [i for i in self._retiring if i.idle]:
            instance.server.stop()
            self._retiring.remove(instance)

    def stop(self) -> None:
        """End every instance at once, also in the middle of a request."""
        instances = [*self._serving, *self._retiring]
        for instance in instances:
            instance.retire()
        _abandon_all([instance.server for instance in instances])
        self._serving.clear()
        self._retiring.clear()

    def _launch(self, count: int, cancelled: threading.Event) -> list[Instance]:
        servers = [self._new_server() for _ in range(count)]
        try:
            for server in servers:
                server.start()
            for server in servers:
                server.wait_until_healthy(cancelled)
        except (ModelServerFailed, OSError) as e:
            _abandon_all(servers)
            raise DeploymentFailed(str(e)) from e
        instances = [
            Instance(server, self.deployment.concurrency, self._backlog, self.access, self._metrics)
            for server in servers
        ]
        for instance in instances:
            instance.open()
        return instances

    def _take_model_data(self, name: str) -> dict[str, str]:
        """Unpack the artefact as SageMaker does before it starts the container; return the variable that names it."""
        uri = self.deployment.model_data
        if not uri:
            return {}
        base = self._folder / "models" / name
        try:
            unpack(self.access.objects, S3Uri.parse(uri), base / "model")
        except (StorageError, ValueError) as e:
            raise DeploymentFailed(
                f"Could not access model data at {uri}: ensure that the role {self.deployment.role} has s3:GetObject "
                f"and that the object is there ({e})"
            ) from e
        except BadArtefact as e:
            raise DeploymentFailed(f"Failed to extract model data archive: {e}") from e
        return {BASE: str(base.resolve())}

    def _new_server(self) -> ModelServer:
        deployment = self.deployment
        if deployment.command is None:
            raise DeploymentFailed(
                f"The image {deployment.image!r} is not known to the embedded cloud: "
                "add the command of its model server to CloudSettings.images."
            )
        name = next(self._names)
        log = self._folder / "models" / f"{name}.log"
        environment = {**deployment.environment, **self._take_model_data(name)}
        return ModelServer(name, deployment.command, environment, log, deployment.startup_seconds)


def _abandon_all(servers: Sequence[ModelServer]) -> None:
    stoppers = [threading.Thread(target=server.abandon) for server in servers]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join()
