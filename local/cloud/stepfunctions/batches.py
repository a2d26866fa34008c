"""Group the items of a map into inputs of child executions."""

from __future__ import annotations

from typing import Any

from local.cloud.stepfunctions.errors import StateError
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from local.cloud.stepfunctions.limits import PAYLOAD_BYTES, encode


def child_inputs(batcher: dict[str, Any] | None, items: list[Any], evaluation: Evaluation) -> list[tuple[Any, int]]:
    """Return the input of each child execution and its number of items."""
    if batcher is None:
        return [(item, 1) for item in items]
    most = _limit(batcher, "MaxItemsPerBatch", evaluation) or len(items)
    room = min(_limit(batcher, "MaxInputBytesPerBatch", evaluation) or PAYLOAD_BYTES, PAYLOAD_BYTES)
    frame: dict[str, Any] = {}
    if "BatchInput" in batcher:
        frame["BatchInput"] = evaluation.template(batcher["BatchInput"])
    overhead = len(encode({**frame, "Items": []}).encode())
    batches: list[list[Any]] = []
    used = 0
    for item in items:
        size = len(encode(item).encode()) + 1
        if overhead + size > room:
            raise StateError(
                "States.DataLimitExceeded", f"an item of {size} bytes does not fit into a batch of {room} bytes"
            )
        if not batches or len(batches[-1]) >= most or used + size > room:
            batches.append([])
            used = overhead
        batches[-1].append(item)
        used += size
    return [({**frame, "Items": batch}, len(batch)) for batch in batches]


def _limit(batcher: dict[str, Any], field: str, evaluation: Evaluation) -> int:
    return int(evaluation.number(field, batcher[field])) if field in batcher else 0
