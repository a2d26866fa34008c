"""Makers of the resources that conformance tests need in an embedded cloud."""

from __future__ import annotations

import io
import json
import sys
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

from local.cloud.lambda_runtime import HOST_ARCHITECTURE
from local.cloud.launcher import EmbeddedCloud

ROLE = "arn:aws:iam::000000000000:role/conformance"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Names that Python or a method of the workbench already uses.
_CLIENTS = {"functions": "lambda", "eventbridge": "events"}


def eventually(check: Callable[[], Any], within: float = 10.0) -> Any:
    """Return the first true result of `check`; fails when there is none in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(0.03)
    raise AssertionError(f"not within {within} s: {check}")


def zipped(files: dict[str, str]) -> bytes:
    """Make a deployment package of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, textwrap.dedent(text))
    return buffer.getvalue()


def policy(statements: list[dict[str, Any]]) -> str:
    """Make a policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def unique(prefix: str) -> str:
    """Make a name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Workbench:
    """The cloud's clients, and makers of resources."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud = cloud
        self._clients: dict[str, Any] = {}

    def __getattr__(self, service: str) -> Any:
        if service not in self._clients:
            name = _CLIENTS.get(service, service.replace("_", "-"))
            self._clients[service] = self.cloud.client(name)
        return self._clients[service]

    def role(self, service: str, *allowed: tuple[str, str]) -> str:
        """Create a role for a service with one statement for each (action, resource); return its ARN."""
        name = unique("role")
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        created = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy([trust]))
        statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(statements))
        return str(created["Role"]["Arn"])

    def function(self, code: str, **settings: Any) -> str:
        """Create a function with the handler `app.handler`; return its name."""
        name = unique("f")
        self.functions.create_function(
            **{
                "FunctionName": name,
                "Runtime": RUNTIME,
                "Handler": "app.handler",
                "Architectures": [HOST_ARCHITECTURE],
                "Role": ROLE,
                "Timeout": 10,
                "Code": {"ZipFile": zipped({"app.py": code})},
            }
            | settings
        )
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """Invoke a function; return its result and its FunctionError."""
        answer = self.functions.invoke(FunctionName=name, Payload=json.dumps(event or {}))
        return json.loads(answer["Payload"].read() or b"null"), answer.get("FunctionError")

    def queue(self, **attributes: Any) -> tuple[str, str]:
        """Create a queue; return its URL and ARN."""
        url = self.sqs.create_queue(
            QueueName=unique("q"), Attributes={name: str(value) for name, value in attributes.items()}
        )["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return url, arn

    def open_queue(self, service: str, source: str = "*", **attributes: Any) -> tuple[str, str]:
        """Create a queue to which a service may send on behalf of matching sources; return its URL and ARN."""
        url, arn = self.queue(**attributes)
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnLike": {"aws:SourceArn": source}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url, arn

    def receive(self, url: str, within: float = 10.0) -> list[dict[str, Any]]:
        """Receive at least one message of a queue."""
        messages: list[dict[str, Any]] = eventually(
            lambda: self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", []),
            within,
        )
        return messages

    def bucket(self) -> str:
        """Create a bucket; return its name."""
        name = unique("b")
        self.s3.create_bucket(Bucket=name)
        return name

    def machine(self, states: dict[str, Any], start: str | None = None, **top: Any) -> str:
        """Create a JSONata state machine that starts at the first of `states`; return its ARN."""
        definition = {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states, **top}
        return str(
            self.stepfunctions.create_state_machine(name=unique("m"), roleArn=ROLE, definition=json.dumps(definition))[
                "stateMachineArn"
            ]
        )

    def start(self, machine: str, data: Any = None, **more: Any) -> str:
        """Start an execution; return its ARN."""
        return str(
            self.stepfunctions.start_execution(
                stateMachineArn=machine, input=json.dumps({} if data is None else data), **more
            )["executionArn"]
        )

    def outcome(self, execution: str, within: float = 15.0) -> dict[str, Any]:
        """Return the description of an execution once it has ended."""

        def ended() -> dict[str, Any] | None:
            described = self.stepfunctions.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        return dict(eventually(ended, within))

    def run(self, states: dict[str, Any], data: Any = None, **top: Any) -> Any:
        """Create and run a state machine that must succeed; return its output."""
        described = self.outcome(self.start(self.machine(states, **top), data))
        assert described["status"] == "SUCCEEDED", described
        return json.loads(described["output"])

    def failure(self, states: dict[str, Any], data: Any = None, **top: Any) -> tuple[str, str]:
        """Create and run a state machine that must fail; return its error and cause."""
        described = self.outcome(self.start(self.machine(states, **top), data))
        assert described["status"] == "FAILED", described
        return described["error"], described["cause"]

    def events(self, execution: str) -> list[dict[str, Any]]:
        """Return the history of an execution."""
        pages = self.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def kinds(self, execution: str) -> list[str]:
        """Return the types of the events in an execution's history."""
        return [event["type"] for event in self.events(execution)]
