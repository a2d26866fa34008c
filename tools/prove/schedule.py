"""Prints schedules: one step a line, with the calls made in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from tools.prove.replay import Call, Position
from tools.prove.world import Step


def described(schedule: Iterable[Step]) -> str:
    """The steps of a schedule as numbered lines; each call with its item or key, and its answer."""
    return "\n".join(f"{number:3}. {line}" for number, step in enumerate(schedule, 1) for line in _lines(step))


def subject(position: Position) -> str:
    """A process and its argument, such as `collect(Completed d/front/1.png)`."""
    argument = position.argument
    if position.function == "submit":
        argument = _asked(json.loads(argument[0]))
    elif position.function == "collect":
        argument = " and ".join(_reported(json.loads(body)) for body in argument)
    elif position.function == "wait":
        argument = argument[1]
    return f"{position.function}({argument})"


def _lines(step: Step) -> Iterator[str]:
    if step.begin is None:
        yield step.what
        return
    note = f" {step.what.strip()}" if step.what else ""
    ends = " and ends" if step.end is not None and step.end.call is None else ""
    calls = "; ".join(_calls(step.begin, step.end)) if step.end else ""
    yield f"{subject(step.begin)}{note}{ends}: {calls}" if calls else f"{subject(step.begin)}{note}{ends}"


def _calls(begin: Position, end: Position) -> Iterator[str]:
    path = end.path()
    for at, behind in zip(path[path.index(begin) :], path[path.index(begin) + 1 :], strict=False):
        assert at.call is not None
        found = behind.answer
        # An empty answer to a query matters only for pending units and waiting runs.
        empty = at.call.operation == "query" and not found["Items"]
        if at.call.service == "clock" or (empty and not _about(at.call).startswith(("pending#", "drive#"))):
            continue
        yield f"{at.call.operation} {_about(at.call)} -> {_answer(found)}"


def _about(call: Call) -> str:
    asked = call.parameters
    if "KeyConditionExpression" in asked:
        values = asked["ExpressionAttributeValues"]
        return f"{values[':pk']['S']} {values.get(':prefix', {}).get('S', '')}"
    keys = asked.get("Key") or asked.get("Item") or asked.get("Prefix") or asked.get("InferenceId")
    if isinstance(keys, dict):
        return f"{keys['pk']['S']} {keys['sk']['S']}"
    return str(keys or asked.get("name") or asked.get("taskToken") or "")


def _answer(answer: Any) -> str:
    if isinstance(answer, ClientError):
        return str(answer.response["Error"]["Code"])
    if "Items" in answer:
        return ", ".join(_item(item) for item in answer["Items"]) or "nothing"
    if "Contents" in answer:
        return ", ".join(thing["Key"].split("/", 2)[-1] for thing in answer["Contents"]) or "nothing"
    return "ok"


def _item(item: Any) -> str:
    shown = str(item["sk"]["S"])
    for name in ("attempt", "token"):
        if name in item:
            shown += f" {name} {next(iter(item[name].values()))}"
    return shown


def _asked(message: Any) -> str:
    if message.get("kind") == "unit":
        return f"unit of {message['key']}"
    return str(message["Records"][0]["s3"]["object"]["key"])


def _reported(message: Any) -> str:
    where = message["responseParameters"]
    name = (where.get("outputLocation") or where["failureLocation"]).rsplit("/", 1)[-1]
    frame = message["requestParameters"]["inputLocation"].split("/drives/")[-1]
    return f"{message['invocationStatus']} {frame} {name}"
