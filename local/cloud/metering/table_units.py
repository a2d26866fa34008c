"""Read and write units of DynamoDB's operations, by the sizes of items (DynamoDB Developer Guide, "Read and write
operations")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from local.cloud import symbols

Document = Mapping[str, Any]
_MODULE = "services.dynamodb"
_WRITE, _READ = 1024, 4096


def written_sizes(operation: str, request: Document) -> list[int]:
    """Return the present sizes in bytes of the items that a request writes; empty for a request that writes none.

    A write costs the larger of the sizes before and after it, also when its condition fails.
    """
    size = symbols.find(_MODULE, "_item_size_bytes")
    return [size(_stored(table, attributes)) for table, attributes in _written(operation, request)]


def write_units(operation: str, before: Iterable[int], after: Iterable[int]) -> int:
    """Return the write units of items with these sizes before and after the request; a transaction costs twice."""
    units = sum(max(1, math.ceil(max(sizes) / _WRITE)) for sizes in zip(before, after, strict=True))
    return 2 * units if operation == "TransactWriteItems" else units


def read_units(request: Document, answer: Document) -> float:
    """Return the read units of GetItem, Query or Scan: by the sum of the items' sizes, half if eventually consistent.

    Items that a filter leaves out are not counted.
    """
    size = symbols.find(_MODULE, "_item_size_bytes")
    read: int = sum(size(item) for item in answer.get("Items", [answer.get("Item") or {}]))
    units = max(1, math.ceil(read / _READ))
    return units if request.get("ConsistentRead") else units / 2


def _written(operation: str, request: Document) -> Iterator[tuple[str, Document]]:
    """Yield the table, and the key or the item, of each item that a request writes."""
    match operation:
        case "PutItem":
            yield request["TableName"], request["Item"]
        case "UpdateItem" | "DeleteItem":
            yield request["TableName"], request["Key"]
        case "BatchWriteItem":
            for table, writes in request["RequestItems"].items():
                for write in writes:
                    yield table, write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]
        case "TransactWriteItems":
            for change in request["TransactItems"]:
                for write in change.values():
                    yield write["TableName"], write.get("Item") or write["Key"]


def _stored(name: str, attributes: Document) -> Document:
    table = symbols.find(_MODULE, "_tables").get(name)
    if table is None:
        return {}
    key = symbols.find(_MODULE, "_extract_key_from_item")(table, attributes)
    return symbols.find(_MODULE, "_get_item_by_key")(table, key) or {}
