"""A generated drive's listing, answers and ledger, computed page by page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import msgspec

from autolabel.contracts.frames import ListedFrame
from autolabel.contracts.ports import FailedUnit, Ledger, PendingUnit, Refusal, StoredObject, WaitingRun
from autolabel.contracts.units import Unit
from tools.bench.work.drive import CAMERA, ETAG, FOLDER, frame_key, index_of, unit_of
from tools.bench.work.generated_bucket import GeneratedBucket, NotGenerated

NOW = 1_800_000_000.0
_BYTES = 1_000_000


class Shares(NamedTuple):
    """How many of every hundred units are answered, pending, overdue and failed; the rest are unknown."""

    answered: int = 0
    pending: int = 0
    overdue: int = 0
    failed: int = 0

    @property
    def unknown(self) -> int:
        return 100 - sum(self)

    def of(self, index: int) -> str:
        """The state of a unit, by its frame's index."""
        place = index % 100
        for name, count in zip(self._fields, self, strict=True):
            if place < count:
                return name
            place -= count
        return "unknown"


class GeneratedIngest(GeneratedBucket):
    def __init__(self, frames: int) -> None:
        super().__init__()
        self._frames = frames

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        for index in range(self._frames):
            yield StoredObject(frame_key(index).key, ETAG, _BYTES)


class GeneratedLabels(GeneratedBucket):
    """The label bucket of a run whose listing is frozen or, with `frozen=False`, is not yet.

    `seen` is called for every line of the listing that a step compares.
    """

    def __init__(
        self, frames: int, shares: Shares, seen: Callable[[], None] = lambda: None, *, frozen: bool = True
    ) -> None:
        super().__init__()
        self._frames = frames
        self._shares = shares
        self._seen = seen
        self._frozen = frozen
        # Freezing reads the listing back once, to count it.
        self._silent_readings = 0 if frozen else 1

    def read(self, key: str) -> bytes | None:
        if key != FOLDER.listing_counts:
            return super().read(key)
        counts = {"objects": self._frames, "frames": self._frames, "cameras": {CAMERA: self._frames}, "refused": {}}
        return msgspec.json.encode(counts) if self._frozen else None

    def lines(self, key: str) -> Iterator[bytes]:
        if key != FOLDER.listing:
            raise NotGenerated(key)
        self._silent_readings -= 1
        seen = self._seen if self._silent_readings < 0 else lambda: None
        for index in range(self._frames):
            yield msgspec.json.encode(ListedFrame(frame_key(index).key, ETAG, _BYTES))
            seen()

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        for index in range(_first_after(after.removeprefix(prefix).removesuffix("/~")), self._frames):
            if self._shares.of(index) == "answered":
                yield StoredObject(unit_of(index).answer_key(1), ETAG, 2_000)


class Count:
    """A counter for several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, more: int) -> None:
        with self._lock:
            self.value += more


class GeneratedLedger:
    """The part of `Ledger` that reconciling, planning and assembly use; changes are only counted."""

    def __init__(self, frames: int, shares: Shares) -> None:
        self._frames = frames
        self._shares = shares
        self.changes = Count()

    @property
    def port(self) -> Ledger:
        """This ledger as the whole port; other methods raise, so that no measurement runs on less than it should."""
        return cast(Ledger, self)

    def _changed(self) -> bool:
        self.changes.add(1)
        return True

    def _units(self, after: str, *states: str) -> Iterator[int]:
        return (i for i in range(_first_after(after), self._frames) if self._shares.of(i) in states)

    def pending_of_model(self, drive: str, model: str, after: str = "") -> Iterator[PendingUnit]:
        for index in self._units(after, "pending", "overdue"):
            deadline = NOW - 1 if self._shares.of(index) == "overdue" else NOW + 1_000
            yield PendingUnit(
                unit_of(index), frame_key(index).key, ETAG, 1, 0, since=NOW, invoked=NOW - 8_000, deadline=deadline
            )

    def failed_of_model(self, drive: str, model: str, after: str = "") -> Iterator[FailedUnit]:
        return (FailedUnit(unit_of(index), "the model failed") for index in self._units(after, "failed"))

    def locations_of_model(self, drive: str, model: str, after: str = "") -> Iterator[tuple[Unit, str]]:
        return iter(())

    def refusals(self, drive: str) -> Iterator[Refusal]:
        return iter(())

    def late_drives(self) -> Iterator[tuple[str, float]]:
        return iter(())

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        return []

    def mark_frozen(self, drive: str) -> None:
        pass

    def latest_run(self, drive: str) -> None:
        return None

    def add_pending(self, pending: PendingUnit) -> bool:
        return self._changed()

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        return self._changed()


class CountingQueue:
    """A submit queue that only counts the units sent to it."""

    def __init__(self) -> None:
        self.sent = Count()

    def close(self, drive: str) -> None:
        raise AssertionError(f"asked to close {drive}: no measured step closes a drive")

    def look_at_logs(self, drive: str) -> None:
        raise AssertionError(f"asked to look at the logs of {drive}: no measured step does that")

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        self.sent.add(len(units))


def _first_after(position: str) -> int:
    """The index of the first frame after a position."""
    return index_of(position.rpartition("/")[2]) + 1 if position else 0
