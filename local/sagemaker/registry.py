"""Named resources of one kind, and the listing that all List operations share."""

from __future__ import annotations

import base64
import binascii
import datetime
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from local.sagemaker.errors import ValidationFailed

T = TypeVar("T")


class Registry(Generic[T]):
    """Resources by name; safe for threads. Names that differ only in case are the same name."""

    def __init__(self) -> None:
        self._items: dict[str, T] = {}
        self._lock = threading.RLock()

    def add(self, name: str, item: T, *, taken: Exception) -> None:
        """Keep `item` under `name`; raises `taken` when the name is in use."""
        with self._lock:
            if name.lower() in self._items:
                raise taken
            self._items[name.lower()] = item

    def get(self, name: str, *, missing: Exception) -> T:
        """Return the resource called `name`; raises `missing`."""
        with self._lock:
            if name.lower() not in self._items:
                raise missing
            return self._items[name.lower()]

    def pop(self, name: str, *, missing: Exception) -> T:
        """Remove and return the resource called `name`; raises `missing`."""
        with self._lock:
            item = self.get(name, missing=missing)
            del self._items[name.lower()]
            return item

    def __contains__(self, name: str) -> bool:
        with self._lock:
            return name.lower() in self._items

    def __iter__(self) -> Iterator[T]:
        with self._lock:
            return iter(list(self._items.values()))


def list_page(
    summaries: Iterable[Mapping[str, Any]],
    request: Mapping[str, Any],
    *,
    result: str,
    name: str,
    status: str = "",
    sort_keys: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return one page of a List operation, with the request's filters, order and paging.

    `result`: the name of the answer's list. `name`, `status`: the members that NameContains and StatusEquals test.
    `sort_keys` maps values of SortBy to members. Raises ValidationFailed for an unknown NextToken.
    """
    chosen = [dict(summary) for summary in summaries if _passes(summary, request, name, status)]
    keys = {"CreationTime": "CreationTime", "Name": name, "Status": status, **(sort_keys or {})}
    member = keys[request.get("SortBy", "CreationTime")]
    chosen.sort(key=lambda s: s[member], reverse=request.get("SortOrder", "Descending") == "Descending")
    start = _offset(request.get("NextToken"))
    end = start + request.get("MaxResults", 100)
    page: dict[str, Any] = {result: chosen[start:end]}
    if end < len(chosen):
        page["NextToken"] = base64.b64encode(str(end).encode()).decode()
    return page


def _passes(summary: Mapping[str, Any], request: Mapping[str, Any], name: str, status: str) -> bool:
    tests: list[tuple[str, Callable[[Any], bool]]] = [
        ("NameContains", lambda v: v.lower() in summary[name].lower()),
        ("StatusEquals", lambda v: v == summary[status]),
        ("CreationTimeAfter", lambda v: summary["CreationTime"] > _seconds(v)),
        ("CreationTimeBefore", lambda v: summary["CreationTime"] < _seconds(v)),
        ("LastModifiedTimeAfter", lambda v: summary["LastModifiedTime"] > _seconds(v)),
        ("LastModifiedTimeBefore", lambda v: summary["LastModifiedTime"] < _seconds(v)),
    ]
    return all(test(request[member]) for member, test in tests if request.get(member) is not None)


def _seconds(value: float | str | datetime.datetime) -> float:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    return value.timestamp() if isinstance(value, datetime.datetime) else float(value)


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError) as e:
        raise ValidationFailed(f"Invalid NextToken: {token!r}") from e
