"""The amounts that a cloud was used, by service, operation and caller."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from local.cloud.gateway_paths import ask_path, serve_path

PATH = "/_meter"
_CHUNK = 64 * 1024


class Usage(NamedTuple):
    """Use of one operation by one caller.

    `caller`: the session name of a role (a function's name, `states`), the role of an endpoint or a labelling job, the
    service that delivers (`s3`, `sns`, `lambda`), the function or state machine that ran, or empty for the account.
    `units`: as AWS bills the operation (local/README.md, "Meter"). `bytes`: of requests and answers.
    """

    service: str
    operation: str
    caller: str
    calls: int
    units: float
    bytes: int


class Meter:
    """Adds up use; safe for threads. The amounts only grow: the use of a time is the difference of two readings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amounts: dict[tuple[str, str, str], tuple[int, float, int]] = defaultdict(lambda: (0, 0.0, 0))

    def add(
        self, service: str, operation: str, caller: str, *, calls: int = 1, units: float = 1.0, size: int = 0
    ) -> None:
        """Add calls with their units, and their size in bytes."""
        with self._lock:
            before = self._amounts[service, operation, caller]
            self._amounts[service, operation, caller] = (before[0] + calls, before[1] + units, before[2] + size)

    def read(self) -> list[Usage]:
        """Return all use since the start."""
        with self._lock:
            return [Usage(*place, *amounts) for place, amounts in self._amounts.items()]

    def serve(self) -> None:
        """Serve the readings at PATH of the gateway."""
        serve_path(PATH, lambda method, body: self.read())


def read_meter(gateway: str) -> list[Usage]:
    """Return all use since the start of the cloud with this gateway."""
    return [Usage(*usage) for usage in ask_path(gateway + PATH, "GET")]


def used_between(before: Iterable[Usage], after: Iterable[Usage]) -> list[Usage]:
    """Return the use between two readings."""
    known = {usage[:3]: usage for usage in before}
    return [
        Usage(*now[:3], now.calls - then.calls, now.units - then.units, now.bytes - then.bytes)
        for now in after
        if now.calls > (then := known.get(now[:3], Usage(*now[:3], 0, 0.0, 0))).calls
    ]


def chunks(size: int) -> int:
    """Return the requests of 64 KiB that a payload of `size` bytes is billed as (pricing pages of SQS, SNS, events)."""
    return max(1, math.ceil(size / _CHUNK))
