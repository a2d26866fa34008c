"""EventBridge, SNS and SQS: objects in a message are sent as JSON text."""

from __future__ import annotations

import json
from typing import Any

from local.cloud.stepfunctions.cancellation import Cancellation
from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.integrations.answers import ask
from local.cloud.stepfunctions.integrations.clients import Clients


def put_events(clients: Clients, arguments: Any, _: Cancellation) -> Any:
    """events:putEvents; an entry that EventBridge refuses raises EventBridge.FailedEntry."""
    entries = [{**entry, "Detail": _text(entry.get("Detail", {}))} for entry in arguments["Entries"]]
    answer = ask("EventBridge", lambda: clients["events"].put_events(**{**arguments, "Entries": entries}))
    if answer.get("FailedEntryCount"):
        raise StateError("EventBridge.FailedEntry", json.dumps(answer))
    return answer


def publish(clients: Clients, arguments: Any, _: Cancellation) -> Any:
    """sns:publish."""
    request = {**arguments, "Message": _text(arguments.get("Message", ""))}
    return ask("SNS", lambda: clients["sns"].publish(**request))


def send_message(clients: Clients, arguments: Any, _: Cancellation) -> Any:
    """sqs:sendMessage."""
    request = {**arguments, "MessageBody": _text(arguments.get("MessageBody", ""))}
    return ask("SQS", lambda: clients["sqs"].send_message(**request))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
