"""The life of an endpoint: its status, its instances, and the thread that keeps them running."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.sagemaker.async_inference import notifications
from local.sagemaker.async_inference.backlog import Backlog
from local.sagemaker.async_inference.invocations import CODE, new_invocation
from local.sagemaker.async_inference.metrics import EndpointMetrics
from local.sagemaker.async_inference.processing import expire
from local.sagemaker.errors import ValidationFailed
from local.sagemaker.hosting.fleet import Deployment, DeploymentFailed, Fleet
from local.sagemaker.names import ACCOUNT, arn
from local.sagemaker.ports import Cloud, PublishError

_log = logging.getLogger(__name__)
_TICK_SECONDS = 0.2
_SERVING = ("InService", "Updating", "SystemUpdating", "RollingBack")


class Endpoint:
    """An asynchronous endpoint. Its supervisor thread starts, restarts, scales and stops the model servers."""

    def __init__(
        self,
        name: str,
        deployment: Deployment,
        cloud: Cloud,
        folder: Path,
        *,
        on_deleted: Callable[[Endpoint], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.arn = arn("endpoint", name)
        self.created = self.modified = time.time()
        self.metrics_counted = EndpointMetrics()
        self.backlog = Backlog(clock)
        self._roles = cloud.roles
        self._folder = folder
        self._on_deleted = on_deleted
        self._lock = threading.RLock()
        self._status = "Creating"
        self._failure_reason: str | None = None
        self._server_names = (f"{name}-{n}" for n in itertools.count(1))
        self._fleet = self._new_fleet(deployment)
        self._former: list[Fleet] = []
        self._desired = deployment.instance_count
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._orders.put(self._create)
        self._supervisor = threading.Thread(target=self._supervise, name=f"endpoint-{name}", daemon=True)

    def start(self) -> None:
        """Begin to create the endpoint."""
        self._supervisor.start()

    def update(self, deployment: Deployment) -> None:
        """Replace the instances by those of another configuration; raises ValidationFailed unless InService."""
        self._begin_update()
        self._orders.put(lambda: self._replace(deployment))

    def scale(self, variant: str, count: int) -> None:
        """Change the number of instances; raises ValidationFailed unless InService."""
        with self._lock:
            if variant != self._fleet.deployment.variant:
                raise ValidationFailed(f'Variant "{variant}" does not exist in endpoint "{self.arn}".')
            self._begin_update()
            self._desired = count
        self._orders.put(self._rescale)

    def delete(self) -> None:
        """Stop the endpoint; raises ValidationFailed while it is being created or updated."""
        with self._lock:
            if self._status not in ("InService", "Failed", "OutOfService"):
                raise ValidationFailed(f'Cannot update in-progress endpoint "{self.arn}".')
            self._set_status("Deleting")
        self.begin_stop()

    def begin_stop(self) -> None:
        """End everything at once, without notifications."""
        self._stopping.set()
        # Wakes the supervisor before its tick ends.
        self._orders.put(lambda: None)

    def await_stop(self) -> None:
        """Wait until everything has ended."""
        if self._supervisor.is_alive():
            self._supervisor.join()

    def invoke(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Enqueue a checked InvokeEndpointAsync request; raises ValidationFailed when the endpoint does not serve."""
        with self._lock:
            if self._status not in _SERVING:
                raise ValidationFailed(
                    f"Endpoint {self.name} of account {ACCOUNT} is not in service: it is {self._status}.", code=CODE
                )
            settings = self._fleet.deployment.settings
        invocation = new_invocation(request, settings)
        self.backlog.put(invocation)
        answer = {"InferenceId": invocation.inference_id, "OutputLocation": str(invocation.output)}
        return answer | ({"FailureLocation": str(invocation.failure)} if invocation.failure else {})

    @property
    def variant(self) -> str:
        """The name of its only production variant."""
        return self._fleet.deployment.variant

    def summary(self) -> dict[str, Any]:
        """Describe the endpoint as ListEndpoints shows it."""
        with self._lock:
            return {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                "EndpointStatus": self._status,
            }

    def description(self) -> dict[str, Any]:
        """Describe the endpoint as DescribeEndpoint shows it."""
        with self._lock:
            deployment = self._fleet.deployment
            described = self.summary() | {
                "EndpointConfigName": deployment.config_name,
                "AsyncInferenceConfig": dict(deployment.async_config),
            }
            if self._status not in ("Creating", "Failed"):
                described["ProductionVariants"] = [self._variant(deployment)]
            if self._failure_reason:
                described["FailureReason"] = self._failure_reason
            return described

    def metrics(self) -> dict[str, float]:
        """Return the current metrics of asynchronous inference; counters since creation, ages in seconds."""
        with self._lock:
            capacity = self._fleet.size
        size = float(self.backlog.size())
        levels = {
            "ApproximateBacklogSize": size,
            # Also at zero instances: target tracking alone can wake an endpoint with a backlog above the target.
            "ApproximateBacklogSizePerInstance": size / max(capacity, 1),
            "ApproximateAgeOfOldestRequest": self.backlog.oldest_age(),
            "HasBacklogWithoutCapacity": float(size > 0 and capacity == 0),
        }
        return levels | self.metrics_counted.snapshot()

    def _variant(self, deployment: Deployment) -> dict[str, Any]:
        return {
            "VariantName": deployment.variant,
            "DeployedImages": [{"SpecifiedImage": deployment.image, "ResolvedImage": deployment.image}],
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentInstanceCount": self._fleet.size,
            "DesiredInstanceCount": self._desired,
        }

    def _begin_update(self) -> None:
        with self._lock:
            if self._status != "InService":
                raise ValidationFailed(f'Cannot update in-progress endpoint "{self.arn}".')
            self._failure_reason = None
            self._set_status("Updating")

    def _set_status(self, status: str) -> None:
        with self._lock:
            self._status = status
            self.modified = time.time()

    def _supervise(self) -> None:
        """Run the supervisor's thread; everything below runs on it."""
        try:
            while not self._stopping.is_set():
                with contextlib.suppress(queue.Empty):
                    self._orders.get(timeout=_TICK_SECONDS)()
                self._tend()
        except Exception:
            _log.exception("endpoint %s: its supervisor failed", self.name)
            self._failure_reason = "InternalError: the endpoint's supervisor failed, see the server's log"
            self._set_status("Failed")
            self._stopping.wait()
        finally:
            self._shut_down()

    def _create(self) -> None:
        fleet = self._fleet
        try:
            self._bring_up(fleet, self._desired)
        except DeploymentFailed as e:
            self._settle("Failed", e)
        else:
            self._settle("InService")

    def _replace(self, deployment: Deployment) -> None:
        """Start the new configuration before the old one ends; after a failure the old one stays."""
        fleet = self._new_fleet(deployment)
        try:
            self._bring_up(fleet, deployment.instance_count)
        except DeploymentFailed as e:
            self._settle("InService", e)
            return
        with self._lock:
            self._fleet.resize(0, self._stopping)
            self._former.append(self._fleet)
            self._fleet = fleet
            self._desired = deployment.instance_count
            self._settle("InService")

    def _rescale(self) -> None:
        try:
            self._bring_up(self._fleet, self._desired)
        except DeploymentFailed as e:
            self._desired = self._fleet.size
            self._settle("InService", e)
        else:
            self._settle("InService")

    def _bring_up(self, fleet: Fleet, count: int) -> None:
        """Publish a test notification to the topics, then resize; raises DeploymentFailed."""
        settings = fleet.deployment.settings
        for topic in (settings.success_topic, settings.error_topic):
            if topic is None:
                continue
            try:
                fleet.access.topics.publish(topic, notifications.TEST)
            except PublishError as e:
                raise DeploymentFailed(f"Unable to publish a test notification: {e}") from e
        fleet.resize(count, self._stopping)

    def _settle(self, status: str, failure: DeploymentFailed | None = None) -> None:
        if failure:
            _log.error("endpoint %s: %s", self.name, failure)
        with self._lock:
            self._failure_reason = str(failure) if failure else None
            self._set_status(status)

    def _new_fleet(self, deployment: Deployment) -> Fleet:
        return Fleet(
            deployment,
            self.backlog,
            self._roles.assume(deployment.role),
            self.metrics_counted,
            self._folder,
            self._server_names,
        )

    def _tend(self) -> None:
        for fleet in (self._fleet, *self._former):
            fleet.tend()
        self._former = [fleet for fleet in self._former if not fleet.gone]
        for queued in self.backlog.take_expired():
            expire(queued, self._fleet.access, self.metrics_counted)

    def _shut_down(self) -> None:
        unanswered = self.backlog.close()
        if unanswered:
            _log.warning(
                "endpoint %s has ended; %d requests in its queue will never be answered", self.name, unanswered
            )
        for fleet in (self._fleet, *self._former):
            fleet.stop()
        self._on_deleted(self)
