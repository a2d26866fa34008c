"""Inject faults into requests to the gateway, in the error codes and wire format of the requested service.

microburst writes the error by botocore's models. This module kills callers.
"""

from __future__ import annotations

import logging
from typing import Any

from microburst.core.context import RequestContext
from microburst.protocols import render_error

from local.cloud import symbols
from local.cloud.faults.board import FaultBoard
from local.cloud.faults.fault import Fault
from local.cloud.faults.invocations import Invocations
from local.cloud.json_service import Handler, Response
from local.cloud.requests import caller_of, read_request

_log = logging.getLogger("embedded-cloud")
_SERVICES = ("dynamodb", "events", "lambda", "s3", "sagemaker", "sns", "sqs", "states")
# Transient errors that botocore's models do not contain; the status decides whether an SDK retries.
_STATUS = {
    "SlowDown": 503,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "ServiceException": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ThrottlingException": 400,
    "TooManyRequestsException": 429,
}
_CONFLICT = {"CancellationReasons": [{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}]}


class CallFaults:
    """Injects the board's faults into requests of functions, state machines, endpoints and labelling jobs.

    Callers that act as the account itself (operators, fleets, tests) get no faults.
    """

    def __init__(self, board: FaultBoard, invocations: Invocations) -> None:
        self._board = board
        self._invocations = invocations

    def install(self) -> None:
        """Wrap the services below the gateway; requests without permission are refused before."""
        handlers = symbols.find("app", "SERVICE_HANDLERS")
        for service in _SERVICES:
            handlers[service] = self.faulty(handlers[service])

    def faulty(self, handle: Handler) -> Handler:
        """Wrap a service so that the board's faults apply to it."""

        async def handler(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
        ) -> Response:
            caller = caller_of(headers, query)
            if not caller:
                return await handle(method, path, headers, body, query)
            call = read_request(method, path, headers, body, query)
            fault = self._board.draw("call", lambda fault: _matches(fault, call, caller))
            if fault is None:
                return await handle(method, path, headers, body, query)
            _log.info("fault: %s injected into a call of %s", fault, caller)
            if fault.kind == "kill-before":
                # The caller is dead and does not read this.
                self._invocations.kill_caller(headers.get("x-amzn-trace-id", ""))
            if fault.kind in ("error", "kill-before"):
                return _error(fault.code or "InternalFailure", call)
            answer = await handle(method, path, headers, body, query)
            if fault.kind == "lost":
                return _error(fault.code, call)
            self._invocations.kill_caller(headers.get("x-amzn-trace-id", ""))
            return answer

        return handler


def _matches(fault: Fault, call: RequestContext, caller: str) -> bool:
    return fault.target in caller and fault.service in ("", call.service) and fault.operation in ("", call.operation)


def _error(code: str, call: RequestContext) -> Response:
    status, headers, body = render_error(
        call.service,
        code,
        "injected",
        _STATUS.get(code),
        protocol=call.protocol,
        query_compat=call.query_compat,
        request_ct=call.headers.get("Content-Type"),
        fields=_CONFLICT if code == "TransactionCanceledException" else None,
        resource=call.path,
    )
    return status, headers, b"" if call.method == "HEAD" else body
