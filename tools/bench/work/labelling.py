"""Measures the label step over a generated drive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from autolabel.contracts.ports import ObjectPart
from autolabel.contracts.units import parse_answer_key
from autolabel.labelling.label_shard import ShardLabelling
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer
from tools.bench.work.drive import (
    CAMERA,
    ETAG,
    MODEL,
    SHARD_FRAMES,
    detection_answer,
    frame_key,
    index_of,
    make_run,
    png_header,
    unit_of,
)
from tools.bench.work.generated_bucket import GeneratedBucket, NotGenerated
from tools.bench.work.pace import Pace

PLACE = "tools.bench.work.labelling:label_frames"
DETECTIONS = 30
# Frames differ, but making an answer for each would take most of the measured time.
_DIFFERENT_ANSWERS = 64


class _Frames(GeneratedBucket):
    def __init__(self) -> None:
        super().__init__()
        self._header = png_header()

    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        return ObjectPart(self._header[start : start + count])


class _Labels(GeneratedBucket):
    """Shards, named by the index of their first frame, and the answers to their frames."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = [msgspec.json.encode(detection_answer(DETECTIONS, seed)) for seed in range(_DIFFERENT_ANSWERS)]

    def lines(self, key: str) -> Iterator[bytes]:
        first = int(key)
        for index in range(first, first + SHARD_FRAMES):
            answer = UnitAnswer(MODEL.id, unit_of(index).answer_key(1))
            yield msgspec.json.encode(ShardFrame(frame_key(index).key, ETAG, (answer,)))

    def stream(self, key: str) -> Iterator[bytes]:
        parsed = parse_answer_key(key)
        if parsed is None:
            raise NotGenerated(key)
        yield self._answers[index_of(parsed[0].timestamp) % _DIFFERENT_ANSWERS]


def label_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Label a drive of `frames` frames in shards of 500; `short` and `stops` as in Pace."""
    labels = _Labels()
    labelling = ShardLabelling(
        make_run(), [MODEL], ingest=_Frames(), label_bucket=labels, created="2026-01-01T00:00:00.000000"
    )

    def label(index: int) -> None:
        shard = Shard(index, CAMERA, SHARD_FRAMES, str(index * SHARD_FRAMES))
        tally = labelling.label(shard).tally
        if tally.labelled != SHARD_FRAMES or not tally.boxes:
            raise AssertionError(f"unexpected tally of shard {index}: {tally}")

    # What is loaded once, such as Pillow's plugins, must not count for a frame.
    label(0)
    pace = Pace(frames, PLACE, short=short, stops=stops)
    for index in range(frames // SHARD_FRAMES):
        label(index)
        pace.add(SHARD_FRAMES)
    return pace.stop()
