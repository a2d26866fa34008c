"""Queues in memory."""

from __future__ import annotations

from collections.abc import Sequence

from autolabel.contracts.errors import Unavailable
from autolabel.contracts.units import CloseRequest, LogsRequest, Unit, UnitRequest


class FakeSubmitQueue:
    """`SubmitQueue` that keeps messages in `asked`. `full`: set to True to let it refuse units."""

    def __init__(self) -> None:
        self.asked: list[UnitRequest | CloseRequest | LogsRequest] = []
        self.full = False

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        if self.full:
            raise Unavailable("the submit queue did not take the units")
        self.asked += [UnitRequest(*unit) for unit in units]

    def close(self, drive: str) -> None:
        self.asked.append(CloseRequest(drive))

    def look_at_logs(self, drive: str) -> None:
        self.asked.append(LogsRequest(drive))
