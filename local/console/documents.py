"""Documents for the pages: times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Document = dict[str, Any]
"""An answer of an API or of the console, as JSON."""


def plain(value: Any) -> Any:
    """Return a boto3 answer as JSON, without the metadata of the response."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items() if name != "ResponseMetadata"}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(member) for member in value]
    return value
