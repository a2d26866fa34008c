"""Tags of every resource, by ARN."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Set
from typing import Any

from local.sagemaker.errors import ResourceLimitExceeded, ValidationFailed

# SageMaker's API reference, AddTags: at most 50 tags on a resource.
_MOST = 50


class Tags:
    """The tags of the resources whose ARNs `existing` returns."""

    def __init__(self, existing: Callable[[], Set[str]]) -> None:
        self._existing = existing
        self._tags: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def replace(self, resource: str, tags: list[Mapping[str, str]]) -> None:
        """Give a new resource exactly these tags."""
        with self._lock:
            self._tags[resource] = {tag["Key"]: tag["Value"] for tag in tags}

    def add(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """AddTags."""
        resource = self._check(request["ResourceArn"])
        with self._lock:
            tags = self._tags.get(resource, {}) | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
            if len(tags) > _MOST:
                raise ResourceLimitExceeded(f"{resource} would have {len(tags)} tags, more than {_MOST}")
            self._tags[resource] = tags
        return self.list({"ResourceArn": resource})

    def remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteTags."""
        resource = self._check(request["ResourceArn"])
        with self._lock:
            for key in request["TagKeys"]:
                self._tags.get(resource, {}).pop(key, None)
        return {}

    def list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTags; all tags fit on one page."""
        resource = self._check(request["ResourceArn"])
        with self._lock:
            return {"Tags": [{"Key": k, "Value": v} for k, v in self._tags.get(resource, {}).items()]}

    def _check(self, resource: str) -> str:
        if resource not in self._existing():
            raise ValidationFailed(f'Could not find resource "{resource}".')
        return resource
