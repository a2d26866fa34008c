"""What workers have begun and not submitted, in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

# All drafts together; the ones that were not touched for longest give way.
_BYTES = 64 << 20

Place = tuple[str, int, str]


class Drafts:
    """Drafts as JSON text by job, task and worker; for many threads."""

    def __init__(self) -> None:
        self._drafts: OrderedDict[Place, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, place: Place, draft: bytes) -> None:
        """Put a draft in the place of an earlier one."""
        with self._lock:
            self._drop(place)
            self._drafts[place] = draft
            self._bytes += len(draft)
            while self._bytes > _BYTES:
                self._drop(next(iter(self._drafts)))

    def find(self, place: Place) -> bytes | None:
        """The draft kept there."""
        with self._lock:
            return self._drafts.get(place)

    def drop(self, place: Place) -> None:
        """Forget a draft; without effect when there is none."""
        with self._lock:
            self._drop(place)

    def _drop(self, place: Place) -> None:
        self._bytes -= len(self._drafts.pop(place, b""))
