"""Extracts logs in slices, for the tests of the room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from autolabel.contracts.logs import LogDocument
from autolabel.logs import (
    Extracted,
    ExtractedFrame,
    LogIndex,
    Selection,
    Tally,
    Timestamps,
    choose_sensors,
    extract_frames,
    inspect_log,
    plan_slices,
)
from tests.fakes.counting import Counting


class Reading(NamedTuple):
    """What came out of a log; `source` counts what was read."""

    source: Counting
    index: LogIndex
    items: list[Extracted]
    tally: Tally

    @property
    def frames(self) -> list[ExtractedFrame]:
        return [item for item in self.items if isinstance(item, ExtractedFrame)]

    @property
    def keys(self) -> list[tuple[str, int]]:
        return [(frame.camera, frame.timestamp) for frame in self.frames]

    @property
    def refused(self) -> dict[str, int]:
        """Count the refusals of all topics by reason."""
        return dict(sum((topic.refused for topic in self.tally.topics.values()), start=type(self.tally.unread)()))

    @property
    def skipped(self) -> dict[str, int]:
        return dict(sum((topic.skipped for topic in self.tally.topics.values()), start=type(self.tally.unread)()))


def read_log(
    body: bytes,
    slices: int = 1,
    topics: Sequence[str] = (),
    document: LogDocument | None = None,
    selection: Selection | None = None,
) -> Reading:
    """Extract a log in about this number of slices, and check that every message is accounted for.

    With a selection, slices have a size of their own.
    """
    source = Counting(body)
    index = inspect_log(source, "drive.log")
    sensors = choose_sensors(index, topics, document)
    names = sensors.names
    tally, taken = Tally(sensors.topics(index)), Timestamps()
    size = sum(chunk.size or chunk.length for chunk in index.chunks if chunk.may_hold(names))
    items = []
    for part in plan_slices(index, names, math.ceil(size / slices) or 1, selected=selection is not None):
        for item in extract_frames(source, index, part, names, taken, selection or Selection()):
            tally.add(item)
            items.append(item)
    tally.settle(index, names)
    if index.counts is not None:
        for name, topic in tally.topics.items():
            told = sum(index.counts.get(c.id, 0) for c in index.channels if c.topic == name and c.id in names)
            assert topic.messages == told + topic.notes["more messages than the log counts"]
    return Reading(source, index, items, tally)
