"""Export the results of a Distributed Map to S3, or shape them for the state's output."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.executions import Execution, MapRun
from local.cloud.stepfunctions.integrations.clients import Clients
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.limits import encode
from local.cloud.stepfunctions.runtime import iso

_GROUPS = {"SUCCEEDED": ("SUCCEEDED",), "FAILED": ("FAILED", "TIMED_OUT", "ABORTED"), "PENDING": ("RUNNING",)}


def map_result(writer: dict[str, Any] | None, map_run: MapRun, evaluation: Evaluation, clients: Clients) -> Any:
    """Return the result of the state; with a Resource, the place of the manifest.

    Raises StateError States.ResultWriterFailed.
    """
    writer = writer or {}
    config = writer.get("WriterConfig", {})
    if "Resource" not in writer:
        done = [child for child in map_run.children if child.status == "SUCCEEDED"]
        return _transform(done, config.get("Transformation", "COMPACT"))
    arguments = evaluation.template(writer.get("Arguments", {}))
    try:
        return _export(arguments, config, map_run, clients)
    except (ClientError, BotoCoreError, KeyError) as error:
        raise StateError("States.ResultWriterFailed", f"{arguments}: {error}") from error


def _export(arguments: dict[str, Any], config: dict[str, Any], map_run: MapRun, clients: Clients) -> dict[str, Any]:
    bucket = arguments["Bucket"]
    prefix = "/".join(part for part in (arguments.get("Prefix", "").rstrip("/"), map_run.arn.split(":")[-1]) if part)
    lines = config.get("OutputType", "JSON") == "JSONL"
    files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
    for group, statuses in _GROUPS.items():
        children = [child for child in map_run.children if child.status in statuses]
        if not children:
            continue
        # Children that did not succeed are always described in full.
        transformation = config.get("Transformation", "NONE") if group == "SUCCEEDED" else "NONE"
        rows = _transform(children, transformation)
        text = "\n".join(encode(row) for row in rows) if lines else encode(rows)
        key = f"{prefix}/{group}_0.{'jsonl' if lines else 'json'}"
        clients["s3"].put_object(Bucket=bucket, Key=key, Body=text.encode())
        files[group].append({"Key": key, "Size": len(text.encode())})
    map_run.results_written = len(map_run.children)
    manifest = {"DestinationBucket": bucket, "MapRunArn": map_run.arn, "ResultFiles": files}
    key = f"{prefix}/manifest.json"
    clients["s3"].put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    return {"MapRunArn": map_run.arn, "ResultWriterDetails": {"Bucket": bucket, "Key": key}}


def _transform(children: list[Execution], transformation: str) -> list[Any]:
    if transformation == "NONE":
        return [_describe(child) for child in children]
    outputs = [child.output for child in children]
    if transformation == "COMPACT":
        return outputs
    return [row for output in outputs for row in (output if isinstance(output, list) else [output])]


def _describe(child: Execution) -> dict[str, Any]:
    described: dict[str, Any] = {
        "ExecutionArn": child.arn,
        "Input": child.input_text,
        "InputDetails": {"Included": True},
        "Name": child.name,
        "RedriveCount": child.redrives,
        "StartDate": iso(child.started),
        "StateMachineArn": child.machine.arn,
        "Status": child.status if child.begun else "PENDING",
    }
    if child.status == "SUCCEEDED":
        described |= {"Output": encode(child.output), "OutputDetails": {"Included": True}}
    if child.error is not None:
        described |= {"Error": child.error, "Cause": child.cause or ""}
    if child.stopped is not None:
        described["StopDate"] = iso(child.stopped)
    return described
