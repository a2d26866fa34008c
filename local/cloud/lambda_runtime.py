"""Run ministack's Python functions in real Lambda runtime processes."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from local.cloud import symbols
from local.cloud.boot import Boot
from local.cloud.functions.embedded_metrics import read_metrics
from local.cloud.functions.environment import RESERVED, function_environment, own_variables
from local.cloud.functions.invocation import Invocation, Outcome, failure
from local.cloud.functions.packages import PackageStore
from local.cloud.functions.pool import Throttled, WorkerPool
from local.cloud.functions.runtime_libraries import link_runtime_libraries
from local.cloud.functions.worker import InitError, Worker, WorkerOrder

Document = dict[str, Any]
HOST_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
HOST_ARCHITECTURE = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
_COUNTED = ("function_name", "duration_ms", "error", "throttle")
_VOLATILE = {"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason", "LastModified"}


class LambdaRuntime:
    """Executes functions for ministack's Lambda service; `invoke` passes an invocation to a worker."""

    def __init__(self, boot: Boot, invoke: Callable[[Worker, Invocation], Outcome] = Worker.invoke) -> None:
        self._invoke = invoke
        self._gateway = boot.gateway
        self._logs = boot.folder / "functions"
        self._logs.mkdir(exist_ok=True)
        work = boot.folder / "work"
        self._temporary = work / "tmp"
        self._packages = PackageStore(work / "packages")
        self._runtime = link_runtime_libraries(work / "runtime")
        self._pool = WorkerPool(boot.settings.max_workers)
        self._layer_zip = symbols.find("services.lambda_svc", "_resolve_layer_zip")
        self._credentials = symbols.find("core.lambda_runtime", "execution_credentials")
        self._scope = symbols.find("core.lambda_runtime", "_account_region_from_function_config")
        self._trace_id = symbols.find("services.lambda_svc", "_xray_trace_id_for_invocation")
        self._error_response = symbols.find("core.responses", "error_response_json")
        self._record_metric = symbols.find("services.cloudwatch", "record_metric")
        self._count = symbols.find("services.lambda_svc", "_emit_lambda_metrics")
        self._throttle = symbols.find("services.lambda_svc", "_throttle_response")

    def install(self) -> None:
        """Take over execution, and refuse functions that cannot run here."""
        service = "services.lambda_svc"
        # ministack counts only the calls of Invoke, and of asynchronous ones no error.
        symbols.wrap(service, "_emit_lambda_metrics", _only_throttles, parameters=_COUNTED)
        symbols.replace(service, "_execute_function_warm", self.execute, parameters=("func", "event", "request_id"))
        symbols.wrap(
            service,
            "_create_function",
            lambda create: lambda data: self._creation_refusal(data) or create(data),
            parameters=("data",),
        )
        symbols.wrap(
            service,
            "_update_config",
            lambda update: lambda name, data: self._refusal(data) or update(name, data),
            parameters=("name", "data"),
        )
        symbols.wrap(
            service,
            "invalidate_worker",
            self._also_retire,
            parameters=("func_name", "qualifier", "account", "region"),
        )

    def execute(self, func: Document, event: Any, request_id: str) -> Document:
        """Run one invocation; return the result in the shape that ministack's callers read."""
        config = func.get("config") or func
        archive = func.get("code_zip")
        if not archive:
            return _answer(Outcome(error=failure("Runtime.InvalidEntrypoint", "the function has no code")))
        name = str(config["FunctionName"])
        try:
            lease = self._pool.acquire(name, _revision(config, archive), partial(self._start, config, archive))
        except Throttled as throttled:
            return dict(self._throttle(reason_code="ConcurrentInvocationLimitExceeded", msg=str(throttled)))
        began = ready = time.monotonic()
        try:
            if lease.fresh:
                lease.worker.initialise()
                ready = time.monotonic()
            invocation = Invocation(
                request_id=request_id,
                payload=json.dumps(event).encode(),
                deadline=time.time() + float(config.get("Timeout", 3)),
                function_arn=str(config.get("FunctionArn", "")),
                trace_id=self._trace_id(config),
                memory=int(config.get("MemorySize", 128)),
            )
            outcome = self._invoke(lease.worker, invocation)
            for datapoint in read_metrics(outcome.log):
                self._record_metric(*datapoint)
        except InitError as error:
            outcome = error.outcome
        finally:
            self._pool.release(lease)
            self._report(name, request_id, time.monotonic() - ready, ready - began)
        self._count(name, 1000 * (time.monotonic() - ready), outcome.error is not None, False)
        return _answer(outcome)

    def close(self) -> None:
        """End the function processes."""
        self._pool.close()

    def _report(self, name: str, request_id: str, took: float, init: float) -> None:
        """Write Lambda's REPORT line of an invocation into the function's log; times in seconds."""
        line = f"REPORT RequestId: {request_id}\tDuration: {1000 * took:.2f} ms"
        if init:
            line += f"\tInit Duration: {1000 * init:.2f} ms"
        with (self._logs / f"{name}.log").open("a") as log:
            log.write(line + "\n")

    def _start(self, config: Document, archive: bytes) -> Worker:
        code = self._packages.unpack(archive)
        layers = [self._packages.unpack(self._layer_zip(layer)) for layer in config.get("Layers") or []]
        _account, region = self._scope(config)

        def environment(runtime_api: str, temporary: Path) -> dict[str, str]:
            return function_environment(
                config,
                code=code,
                layers=layers,
                runtime=self._runtime,
                temporary=temporary,
                runtime_api=runtime_api,
                gateway=self._gateway,
                region=region,
                credentials=self._credentials(config),
            )

        name = str(config["FunctionName"])
        return Worker(
            WorkerOrder(
                name=name,
                handler=str(config["Handler"]),
                code=code,
                timeout=float(config.get("Timeout", 3)),
                log_file=self._logs / f"{name}.log",
                temporary=self._temporary / uuid.uuid4().hex,
                environment=environment,
            )
        )

    def _also_retire(self, invalidate: Any) -> Any:
        def both(func_name: str, *args: Any, **keys: Any) -> None:
            self._pool.retire(func_name)
            invalidate(func_name, *args, **keys)

        return both

    def _creation_refusal(self, data: Document) -> Any:
        architectures = data.get("Architectures") or ["x86_64"]
        if architectures != [HOST_ARCHITECTURE]:
            return self._invalid(
                f"{data.get('FunctionName')}: Architectures {architectures} do not run in the embedded cloud, "
                f"whose processor is {HOST_ARCHITECTURE}"
            )
        return self._refusal(data)

    def _refusal(self, data: Document) -> Any:
        """Return the error response to a function that this machine cannot run as declared, or None."""
        runtime = data.get("Runtime")
        if data.get("PackageType") == "Image" or "ImageUri" in (data.get("Code") or {}):
            return self._invalid(f"{data.get('FunctionName')}: container images do not run in the embedded cloud")
        if runtime is not None and runtime != HOST_RUNTIME:
            return self._invalid(
                f"{data.get('FunctionName', 'function')}: Runtime {runtime} does not run in the embedded cloud, "
                f"whose Python is {HOST_RUNTIME}"
            )
        if reserved := sorted(RESERVED & own_variables(data).keys()):
            return self._invalid(
                "Lambda was unable to configure your environment variables because the environment variables you "
                f"have provided contains reserved keys: {', '.join(reserved)}"
            )
        return None

    def _invalid(self, message: str) -> Any:
        return self._error_response("InvalidParameterValueException", message, 400)


def _revision(config: Document, archive: bytes) -> str:
    """Hash the things that a process is started from: new code, layers, variables or limits need a new process."""
    stable = {key: value for key, value in config.items() if key not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(stable, sort_keys=True, default=str).encode())
    digest.update(str(config.get("CodeSha256") or hashlib.sha256(archive).hexdigest()).encode())
    return digest.hexdigest()


def _only_throttles(count: Callable[..., None]) -> Callable[[str, float, bool, bool], None]:
    def counted(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        if throttle:
            count(function_name, duration_ms, error, throttle)

    return counted


def _answer(outcome: Outcome) -> Document:
    if outcome.error is None:
        return {"body": outcome.result, "log": outcome.log}
    return {"body": outcome.error, "error": True, "log": outcome.log}
