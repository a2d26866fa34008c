"""Read the items of a Distributed Map from S3."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.integrations.clients import Clients
from local.cloud.stepfunctions.jsonata_templates import Evaluation

_DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


def read_items(reader: dict[str, Any], evaluation: Evaluation, clients: Clients) -> list[Any]:
    """Read the items of an ItemReader, at most MaxItems; raises StateError States.ItemReaderFailed."""
    arguments = evaluation.template(reader.get("Arguments", {}))
    config = evaluation.template(reader.get("ReaderConfig", {}))
    most = int(evaluation.number("MaxItems", config["MaxItems"])) if config.get("MaxItems") else None
    try:
        if reader["Resource"].endswith("listObjectsV2"):
            items = _listing(arguments, clients)
        else:
            items = _parse(_fetch(arguments, clients), config)
        return list(islice(items, most))
    except (ClientError, BotoCoreError, ValueError, KeyError, csv.Error, OSError) as error:
        raise StateError("States.ItemReaderFailed", f"{arguments}: {type(error).__name__}: {error}") from error


def _fetch(arguments: dict[str, Any], clients: Clients) -> str:
    body: bytes = clients["s3"].get_object(**arguments)["Body"].read()
    if arguments["Key"].endswith(".gz"):
        body = gzip.decompress(body)
    return body.decode("utf-8-sig")


def _listing(arguments: dict[str, Any], clients: Clients) -> Iterator[dict[str, Any]]:
    for page in clients["s3"].get_paginator("list_objects_v2").paginate(**arguments):
        for entry in page.get("Contents", []):
            yield {
                "Etag": entry["ETag"],
                "Key": entry["Key"],
                "LastModified": int(entry["LastModified"].timestamp()),
                "Size": entry["Size"],
                "StorageClass": entry.get("StorageClass", "STANDARD"),
            }


def _parse(text: str, config: dict[str, Any]) -> Iterator[Any]:
    if config["InputType"] == "JSON":
        items = json.loads(text)
        if not isinstance(items, list):
            raise ValueError("the JSON file must contain an array")
        yield from items
    elif config["InputType"] == "JSONL":
        # Not splitlines(): JSON strings may contain other characters at which it splits.
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
    else:
        rows = csv.reader(io.StringIO(text), delimiter=_DELIMITERS[config.get("CSVDelimiter", "COMMA")])
        header = config["CSVHeaders"] if config["CSVHeaderLocation"] == "GIVEN" else next(rows, [])
        yield from (dict(zip(header, row, strict=False)) for row in rows if row)
