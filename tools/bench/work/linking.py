"""Measures linking the boxes of a run over generated shards: fifteen boxes a frame that move for some seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from autolabel.labelling.shards import Shard
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.sequences.linked_shards import read_links
from autolabel.sequences.run_links import LinkCursor, link_run
from tools.bench.work.assembling import BOXES, manifest_line
from tools.bench.work.drive import CAMERA, CLASSES, FOLDER, SHARD_FRAMES, frame_key, make_run
from tools.bench.work.generated_bucket import GeneratedBucket, NotGenerated
from tools.bench.work.pace import Pace

# An object moves by two pixels a frame, for this many frames; then another takes its row.
_LASTS = 200
_ROW = 60
_UNCERTAINTY = msgspec.json.encode(FrameUncertainty(0.5, (0.05,) * BOXES, claims=("car",)))


class _Labels(GeneratedBucket):
    """The label bucket of a run whose shards are labelled. It keeps what linking writes."""

    def __init__(self, frames: int, pace: Pace) -> None:
        super().__init__()
        self._frames = frames
        self._pace = pace
        # On disk, so that it does not count as linking's memory.
        self._folder = tempfile.TemporaryDirectory()
        self._line = msgspec.json.decode(manifest_line())

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        super().write(key, body, content_type)
        if key.endswith(".linked.manifest.jsonl"):
            # Nothing here reads them again.
            self._pace.add(body.count(b"\n"))
        elif ".linked." not in key:
            self._file(key).write_bytes(body)

    def read(self, key: str) -> bytes | None:
        return self._file(key).read_bytes() if self._file(key).exists() else None

    def lines(self, key: str) -> Iterator[bytes]:
        if body := self.read(key):
            return iter(body.splitlines())
        if key == FOLDER.shard_list:
            return (
                msgspec.json.encode(Shard(index, CAMERA, SHARD_FRAMES, FOLDER.shard(index, "frames.jsonl")))
                for index in range(self._frames // SHARD_FRAMES)
            )
        if key.endswith(".doubts.jsonl"):
            return iter([_UNCERTAINTY] * SHARD_FRAMES)
        if not key.endswith(".manifest.jsonl"):
            raise NotGenerated(key)
        first = int(key.rpartition("/")[2].partition(".")[0]) * SHARD_FRAMES
        return map(self._frame, range(first, first + SHARD_FRAMES))

    def _file(self, key: str) -> Path:
        return Path(self._folder.name, key.rpartition("/")[2])

    def _frame(self, index: int) -> bytes:
        self._line["provenance"]["timestamp"] = frame_key(index).timestamp
        self._line["prelabel"]["annotations"] = [
            {
                "class_id": CLASSES.index("car"),
                "left": 2 * ((index + 13 * box) % _LASTS),
                "top": _ROW * box,
                "width": 90,
                "height": 50,
            }
            for box in range(BOXES)
        ]
        return msgspec.json.encode(self._line)


def link_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Link a drive of `frames` frames; `short` and `stops` as in Pace."""
    pace = Pace(frames, "tools.bench.work.linking:link_frames", short=short, stops=stops)
    labels, run = _Labels(frames, pace), make_run()
    report = link_run(run, LinkCursor(), label_bucket=labels, is_late=lambda: False)
    links = read_links(run, labels)
    if report.verdict != "done" or not links or not links.cameras[CAMERA].tracks:
        raise AssertionError(f"unexpected tracks of {frames} frames: {links}")
    return pace.stop()
