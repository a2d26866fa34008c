"""Unsubmitted work of the portal's workers, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

# Limit of all drafts together; the drafts that were unchanged for longest are dropped first.
_BYTES = 64 << 20

Place = tuple[str, int, str]


class Drafts:
    """Drafts as JSON text by job, task and worker; safe for threads."""

    def __init__(self) -> None:
        self._drafts: OrderedDict[Place, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, place: Place, draft: bytes) -> None:
        """Keep a draft in place of an earlier one."""
        with self._lock:
            self._drop(place)
            self._drafts[place] = draft
            self._bytes += len(draft)
            while self._bytes > _BYTES:
                self._drop(next(iter(self._drafts)))

    def find(self, place: Place) -> bytes | None:
        """Return the draft of a place, None without one."""
        with self._lock:
            return self._drafts.get(place)

    def drop(self, place: Place) -> None:
        """Drop a draft; has no effect when there is none."""
        with self._lock:
            self._drop(place)

    def _drop(self, place: Place) -> None:
        self._bytes -= len(self._drafts.pop(place, b""))
