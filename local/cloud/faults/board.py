"""The armed faults of this process, and the counts of injected ones."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from local.cloud.faults.fault import Fault


class FaultBoard:
    """Decides when a fault is injected; every point of the cloud asks it. Nothing is armed at first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._matched: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._injected: Counter[str] = Counter()
        self._random = random.Random()  # noqa: S311 - a rehearsal must be repeatable; nothing is secret
        self._releases: list[Callable[[], None]] = []

    def arm(self, seed: int, faults: Iterable[Fault]) -> None:
        """Arm these faults and reset the counts; the seed fixes the draws, not the order of the requests for them."""
        with self._lock:
            self._armed = list(faults)
            self._random = random.Random(seed)  # noqa: S311 - as above
            for counter in (self._matched, self._struck):
                counter.clear()
            self._injected.clear()

    def disarm(self) -> None:
        """Inject no further fault, and release everything that was held back."""
        with self._lock:
            self._armed = []
        for release in self._releases:
            release()

    @property
    def armed(self) -> bool:
        """Whether any faults are armed."""
        with self._lock:
            return bool(self._armed)

    def on_disarm(self, release: Callable[[], None]) -> None:
        """Call `release` whenever the faults are disarmed."""
        self._releases.append(release)

    def draw(self, point: str, matches: Callable[[Fault], bool]) -> Fault | None:
        """Return the fault to inject now, the first that matches and is not used up; None without one."""
        with self._lock:
            for position, fault in enumerate(self._armed):
                if fault.point != point or self._struck[position] >= fault.times or not matches(fault):
                    continue
                self._matched[position] += 1
                if self._matched[position] <= fault.skip or self._random.random() >= fault.probability:
                    continue
                self._struck[position] += 1
                self._injected[str(fault)] += 1
                return fault
        return None

    def injected(self) -> dict[str, int]:
        """Return how often each fault was injected since it was armed."""
        with self._lock:
            return dict(self._injected)


FAULT_BOARD = FaultBoard()
"""The board of this process; each cloud is a process of its own."""
