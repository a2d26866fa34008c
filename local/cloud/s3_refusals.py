"""Refuse requests to S3 that AWS refuses and ministack accepts."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from local.cloud import symbols

Notification = dict[str, Any]
PART_BYTES = 5 * 1024 * 1024
"""Smallest part of a multipart upload except the last (S3 User Guide, "Amazon S3 multipart upload limits")."""
_PART_NUMBER = re.compile(rb"<PartNumber>\s*(\d+)\s*</PartNumber>")


def install_s3_refusals() -> None:
    """Refuse overlapping notifications, small parts, and stacks that delete a bucket with objects in it."""
    symbols.wrap(
        "services.s3",
        "_complete_multipart_upload",
        lambda original: (
            lambda bucket, key, body, query, headers=None: (
                _small_part_error(body, query) or original(bucket, key, body, query, headers)
            )
        ),
        parameters=("bucket_name", "key", "body", "query_params", "headers"),
    )
    symbols.wrap(
        "services.s3",
        "_validate_notification_configs",
        lambda original: lambda configs, *rest: _overlap_error(configs) or original(configs, *rest),
        parameters=("configs", "bucket_region", "bucket_name", "skip_destination_validation"),
    )
    handler = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")["AWS::S3::Bucket"]
    delete = handler["delete"]

    def delete_empty(physical_id: str, properties: dict[str, Any]) -> None:
        bucket = symbols.find("services.s3", "_buckets").get(physical_id)
        if bucket and bucket["objects"]:
            raise ValueError(
                f"The bucket you tried to delete is not empty: {physical_id} (Service: S3, BucketNotEmpty)"
            )
        delete(physical_id, properties)

    handler["delete"] = delete_empty


def overlapping(first: Notification, second: Notification) -> bool:
    """Tell whether two notifications could both match the same event of the same key."""
    events = any(_same_event(one, other) for one in first["events"] for other in second["events"])
    prefixes = _nested(first["filter_prefix"] or "", second["filter_prefix"] or "", str.startswith)
    suffixes = _nested(first["filter_suffix"] or "", second["filter_suffix"] or "", str.endswith)
    return events and prefixes and suffixes


def _overlap_error(configs: list[Notification]) -> Any:
    for first, second in combinations(configs, 2):
        if overlapping(first, second):
            return symbols.find("services.s3", "_invalid_notification_config")(
                f"Configurations overlap. Configurations on the same bucket cannot share a common event type. "
                f": {first['id']}, {second['id']}"
            )
    return None


def _small_part_error(body: bytes, query: dict[str, Any]) -> Any:
    upload = symbols.find("services.s3", "_multipart_uploads").get(
        symbols.find("services.s3", "_qp")(query, "uploadId")
    )
    parts = (upload or {}).get("parts", {})
    numbers = sorted(int(number) for number in _PART_NUMBER.findall(body))
    if any(number in parts and len(parts[number]["body"]) < PART_BYTES for number in numbers[:-1]):
        return symbols.find("services.s3", "_error")(
            "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400
        )
    return None


def _same_event(one: str, other: str) -> bool:
    return _nested(one.removesuffix("*"), other.removesuffix("*"), str.startswith) and (
        one == other or one.endswith("*") or other.endswith("*")
    )


def _nested(one: str, other: str, test: Any) -> bool:
    return bool(test(one, other) or test(other, one))
