"""The stand-in's entry: operations by name for this process, boto3's wire formats for all others."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from local.records import Records
from local.sagemaker.async_inference.invocations import CODE, read_request
from local.sagemaker.errors import SageMakerError, UnsupportedHere
from local.sagemaker.ground_truth.labeling_jobs import LabelingJobs
from local.sagemaker.ground_truth.workteams import Workteams
from local.sagemaker.hosting.endpoint import Endpoint
from local.sagemaker.hosting.endpoint_configs import EndpointConfigs
from local.sagemaker.hosting.endpoints import Endpoints
from local.sagemaker.hosting.models import Models
from local.sagemaker.ports import Cloud
from local.sagemaker.shapes import check_request, input_shape
from local.sagemaker.tags import Tags
from local.sagemaker.training.training_jobs import TrainingJobs
from local.settings import CloudSettings

Answer = tuple[int, dict[str, str], bytes]

_RUNTIME_PATH = re.compile(r"/endpoints/([^/]+)/(async-invocations|invocations|invocations-response-stream)")
_JSON_11 = "application/x-amz-json-1.1"


class Service:
    """SageMaker on one machine; `cloud`: the rest of the cloud. Labelling jobs are kept in `records`."""

    def __init__(
        self,
        settings: CloudSettings,
        cloud: Cloud,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
        records: Records | None = None,
    ) -> None:
        models = Models()
        configs = EndpointConfigs(models, settings.images)
        self.endpoints = endpoints = Endpoints(configs, cloud, folder)
        self.workteams = teams = Workteams()
        self.jobs = jobs = LabelingJobs(cloud, teams.arns, settings, clock, records or Records())
        self.training = training = TrainingJobs(cloud, settings.training_images, folder)
        kinds = (models, configs, endpoints, teams, jobs, training)
        self.tags = tags = Tags(lambda: set().union(*(kind.arns() for kind in kinds)))
        # Control-plane calls wait for S3 and IAM of this same process: they must not block its event loop.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="sagemaker")
        self._operations: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "CreateModel": models.create,
            "DescribeModel": models.describe,
            "DeleteModel": models.delete,
            "ListModels": models.list,
            "CreateEndpointConfig": configs.create,
            "DescribeEndpointConfig": configs.describe,
            "DeleteEndpointConfig": configs.delete,
            "ListEndpointConfigs": configs.list,
            "CreateEndpoint": endpoints.create,
            "DescribeEndpoint": endpoints.describe,
            "UpdateEndpoint": endpoints.update,
            "UpdateEndpointWeightsAndCapacities": endpoints.scale,
            "DeleteEndpoint": endpoints.delete,
            "ListEndpoints": endpoints.list,
            "CreateWorkteam": teams.create,
            "DescribeWorkteam": teams.describe,
            "DeleteWorkteam": teams.delete,
            "ListWorkteams": teams.list,
            "CreateLabelingJob": jobs.create,
            "DescribeLabelingJob": jobs.describe,
            "StopLabelingJob": jobs.stop_job,
            "ListLabelingJobs": jobs.list,
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": training.describe,
            "StopTrainingJob": training.stop_job,
            "ListTrainingJobs": training.list,
            "AddTags": tags.add,
            "DeleteTags": tags.remove,
            "ListTags": tags.list,
        }

    def stop(self) -> None:
        """Stop jobs and model servers, and wait for their end."""
        self.training.stop()
        self.jobs.stop()
        self.endpoints.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call a control-plane operation; times are seconds since the epoch. Raises SageMakerError."""
        input_shape("sagemaker", operation)
        if operation not in self._operations:
            raise UnsupportedHere(f"the operation {operation}")
        check_request("sagemaker", operation, request)
        answer = self._operations[operation](request)
        if operation.startswith("Create"):
            (resource,) = answer.values()
            self.tags.replace(resource, request.get("Tags", []))
        return answer

    async def handle_request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Answer:
        """Answer one HTTP request of boto3: the runtime by its path, the control plane by its x-amz-target."""
        headers = {name.lower(): value for name, value in headers.items()}
        runtime = _RUNTIME_PATH.fullmatch(path)
        if runtime:
            return self._runtime(method, unquote(runtime[1]), runtime[2], headers, body)
        target = headers.get("x-amz-target", "")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._control, target, body)

    def _control(self, target: str, body: bytes) -> Answer:
        prefix, _, operation = target.partition(".")
        try:
            if prefix != "SageMaker" or not operation:
                raise UnsupportedHere(f"a request without a SageMaker target (x-amz-target: {target!r})")
            answer = self.call(operation, _json_object(body))
        except SageMakerError as e:
            error = {"__type": e.code, "message": e.message}
            return e.status, {"Content-Type": _JSON_11}, json.dumps(error).encode()
        return 200, {"Content-Type": _JSON_11}, json.dumps(answer).encode()

    def _runtime(self, method: str, endpoint: str, operation: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            if method != "POST":
                raise UnsupportedHere(f"{method} on {operation}", code=CODE)
            if operation != "async-invocations":
                raise self.endpoints.refuse_synchronous(endpoint)
            answer = self.endpoints.invoke_async(read_request(endpoint, headers, body))
        except SageMakerError as e:
            error = {"Message": e.message, "message": e.message}
            return (
                e.status,
                {"Content-Type": "application/json", "x-amzn-ErrorType": e.code},
                json.dumps(error).encode(),
            )
        locations = {
            f"X-Amzn-SageMaker-{name}": answer[name] for name in ("OutputLocation", "FailureLocation") if name in answer
        }
        answered = json.dumps({"InferenceId": answer["InferenceId"]}).encode()
        return 202, {"Content-Type": "application/json", **locations}, answered


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as e:
        raise SageMakerError("SerializationException", f"The body is not JSON: {e}") from e
    if not isinstance(document, dict):
        raise SageMakerError("SerializationException", "The body is not a JSON object")
    return document


_running: Service | None = None


def start(settings: CloudSettings, cloud: Cloud, folder: Path, records: Records) -> None:
    """Start this process's service against `cloud`; logs go below `folder`."""
    global _running
    if _running is not None:
        raise RuntimeError("the SageMaker stand-in is already running")
    _running = Service(settings, cloud, folder, records=records)


def stop() -> None:
    """Stop model servers and jobs; has no effect when nothing was started."""
    global _running
    service, _running = _running, None
    if service is not None:
        service.stop()


def current() -> Service:
    """Return this process's service; raises RuntimeError before `start`."""
    if _running is None:
        raise RuntimeError("the SageMaker stand-in has not been started")
    return _running


def call(action: str, request: dict[str, Any]) -> dict[str, Any]:
    """Call a control-plane operation of the running service; raises SageMakerError."""
    return current().call(action, request)


def endpoints() -> Iterator[Endpoint]:
    """Iterate over the running service's endpoints."""
    return iter(current().endpoints)


async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
    """Answer one HTTP request with the running service."""
    return await current().handle_request(method, path, headers, body, query)
