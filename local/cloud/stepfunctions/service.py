"""Take Step Functions over from ministack, which keeps only the state machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local.cloud import symbols
from local.cloud.boot import Boot
from local.cloud.json_service import JsonService, Response, ServiceError, serve
from local.cloud.role_credentials import role_credentials
from local.cloud.stepfunctions.api import ExecutionApi
from local.cloud.stepfunctions.definition import InvalidDefinition, check_definition, read_definition
from local.cloud.stepfunctions.engine import Engine
from local.cloud.stepfunctions.executions import Execution, Machine
from local.cloud.stepfunctions.integrations.clients import RoleClients
from local.cloud.stepfunctions.kept_executions import KeptExecutions
from local.cloud.stepfunctions.status_events import announce
from local.records import Records

_MODULE = "services.stepfunctions"
_PROVISIONERS = "services.cloudformation.provisioners"
_KEPT = {
    "DeleteStateMachine",
    "DescribeStateMachine",
    "ListStateMachines",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
}


def install_step_functions(
    boot: Boot, count: Callable[[Execution], None], count_transition: Callable[[str], None], records: Records
) -> KeptExecutions:
    """Serve executions, and check definitions wherever ministack accepts one; return those of `records`.

    Calls `count` on every change of an execution's status, and `count_transition` with the state machine's name.
    """

    def tell(execution: Execution) -> None:
        kept.keep(execution)
        count(execution)
        announce(execution)

    clients = RoleClients(boot.gateway, lambda role: role_credentials(role, "states"))
    engine = Engine(clients, boot.settings.wait_scale, tell, count_transition)
    kept = KeptExecutions(records, engine, find_machine)
    kept.restore()
    api = ExecutionApi(engine, find_machine)
    executions = JsonService(api.actions())
    ministack = symbols.find(_MODULE, "handle_request")

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if action in _KEPT:
            return await ministack(method, path, headers, body, query)  # type: ignore[no-any-return]
        if action in ("CreateStateMachine", "UpdateStateMachine"):
            try:
                body = _checked_request(json.loads(body))
            except ServiceError as error:
                return await JsonService({action: _raiser(error)}).handle(method, path, headers, b"", query)
            return await ministack(method, path, headers, body, query)  # type: ignore[no-any-return]
        return await executions.handle(method, path, headers, body, query)

    serve("states", handle, target_prefixes=["AWSStepFunctions."])
    # EventBridge rules start executions in-process.
    symbols.replace(_MODULE, "_start_execution", api.start, parameters=("data",))
    symbols.wrap(
        "core.iam_actions",
        "extract_resource_arn",
        lambda original: (
            lambda service, method, path, headers, body, *rest: (
                _task_resource(engine, service, headers, body) or original(service, method, path, headers, body, *rest)
            )
        ),
        parameters=("service", "method", "path", "headers", "body", "query_params", "region", "account_id"),
    )
    stack_definition = symbols.find(_PROVISIONERS, "_sfn_definition")
    symbols.replace(
        _PROVISIONERS,
        "_sfn_definition",
        lambda props: _checked_properties(props, stack_definition(props)),
        parameters=("props",),
    )
    return kept


def _task_resource(engine: Engine, service: str, headers: dict[str, str], body: bytes) -> str | None:
    """Return the state machine that a callback needs permission for: the one whose task has the token."""
    if service != "states" or ".SendTask" not in headers.get("x-amz-target", ""):
        return None
    attempt = engine.tokens.find(str(json.loads(body).get("taskToken", "")))
    # A child execution's machine has its map run's label behind the name.
    return attempt.machine_arn.split("/")[0] if attempt is not None else None


def find_machine(arn: str) -> Machine | None:
    """Return the current state machine of an ARN; versions and aliases are not supported."""
    record = symbols.find(_MODULE, "_state_machines").get(arn)
    if record is None:
        return None
    text = record["definition"]
    return Machine(arn, record["name"], record["roleArn"], json.loads(text), text)


def _checked_request(request: dict[str, Any]) -> bytes:
    if request.get("type", "STANDARD") != "STANDARD":
        raise ServiceError("ValidationException", f"type {request['type']} is not supported by the embedded cloud")
    if request.get("publish"):
        raise ServiceError("ValidationException", "versions are not supported by the embedded cloud")
    if "definition" in request:
        try:
            document = json.loads(request["definition"])
            if not isinstance(document, dict):
                raise InvalidDefinition("a definition must be an object")
            check_definition(document)
        except ValueError as error:
            raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: {error}") from error
    return json.dumps(request).encode()


def _checked_properties(properties: dict[str, Any], text: str) -> str:
    """Convert a template's definition to JSON; CloudFormation also accepts YAML from S3."""
    if properties.get("StateMachineType", "STANDARD") != "STANDARD":
        raise InvalidDefinition(
            f"StateMachineType {properties['StateMachineType']} is not supported by the embedded cloud"
        )
    document = read_definition(text)
    check_definition(document)
    return json.dumps(document)


def _raiser(error: ServiceError) -> Any:
    def action(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    return action
