"""Reads frames as the listing froze them."""

from __future__ import annotations

from autolabel.contracts.frames import SOURCE, decode_source
from autolabel.contracts.ports import Bucket


class FrameReader:
    """Reads parts of one frame: `reader(start, count)`.

    `source`: the name of its source file, from the answer to a read; empty before the first one, and if the uploader
    did not give it.
    """

    def __init__(self, ingest: Bucket, key: str, etag: str) -> None:
        self._ingest = ingest
        self._key = key
        self._etag = etag
        self.source = ""

    def __call__(self, start: int, count: int) -> bytes:
        part = self._ingest.read_range(self._key, start, count, self._etag)
        self.source = self.source or decode_source(part.metadata.get(SOURCE, ""))
        return part.body
