"""Read executions of state machines, their histories and their map runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.console.documents import Document, plain

LISTED = 100
"""Executions that are listed of each state machine or map run, the newest first."""
_PAGE = 1000


class Executions:
    """Reads through a Step Functions client."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client

    def machines(self) -> Document:
        """Return all state machines with their newest executions."""
        states = self._client("stepfunctions")
        pages = states.get_paginator("list_state_machines").paginate()
        machines = [machine for page in pages for machine in page["stateMachines"]]
        return {
            "machines": [
                {
                    "arn": machine["stateMachineArn"],
                    "name": machine["name"],
                    **self._newest(stateMachineArn=machine["stateMachineArn"]),
                }
                for machine in sorted(machines, key=lambda one: str(one["name"]))
            ]
        }

    def execution(self, arn: str, after: int) -> Document:
        """Return an execution, its events after one's number, without inputs and outputs, and its map runs."""
        states = self._client("stepfunctions")
        # Described first: an execution that has ended then has all of its events in the answer.
        described = states.describe_execution(executionArn=arn)
        runs = states.get_paginator("list_map_runs").paginate(executionArn=arn)
        arns = [run["mapRunArn"] for page in runs for run in page["mapRuns"]]
        return {
            "execution": plain(described),
            "events": self._events(arn, after),
            "mapRuns": [plain(states.describe_map_run(mapRunArn=run)) for run in arns],
        }

    def definition(self, arn: str) -> Document:
        """Return the definition that an execution runs, as text."""
        machine = self._client("stepfunctions").describe_state_machine_for_execution(executionArn=arn)
        return {"definition": machine["definition"]}

    def event(self, arn: str, number: int) -> Document:
        """Return one event with its input and output; an empty document if no event has this number."""
        pages = self._client("stepfunctions").get_paginator("get_execution_history")
        # People mostly look at the newest.
        for page in pages.paginate(executionArn=arn, reverseOrder=True, PaginationConfig={"PageSize": _PAGE}):
            for event in page["events"]:
                if event["id"] == number:
                    return _document(event)
        return {}

    def map_run(self, arn: str) -> Document:
        """Return a map run with its newest child executions."""
        described = self._client("stepfunctions").describe_map_run(mapRunArn=arn)
        return {"mapRun": plain(described), **self._newest(mapRunArn=arn)}

    def _newest(self, **source: str) -> Document:
        page = self._client("stepfunctions").list_executions(**source, maxResults=LISTED)
        return {"executions": plain(page["executions"]), "more": "nextToken" in page}

    def _events(self, arn: str, after: int) -> list[Document]:
        """Read from the newest event back, so that a page that is up to date costs one call."""
        pages = self._client("stepfunctions").get_paginator("get_execution_history")
        found: list[Document] = []
        for page in pages.paginate(
            executionArn=arn,
            reverseOrder=True,
            includeExecutionData=False,
            PaginationConfig={"PageSize": 100 if after else _PAGE},
        ):
            found += [_document(event) for event in page["events"] if event["id"] > after]
            if any(event["id"] <= after for event in page["events"]):
                break
        return found[::-1]


def _document(event: Document) -> Document:
    """Bring the details of any kind of event under one name."""
    details: Document = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
    return {
        "id": event["id"],
        "previous": event.get("previousEventId", 0),
        "type": event["type"],
        "time": plain(event["timestamp"]),
        "details": plain(details),
    }
