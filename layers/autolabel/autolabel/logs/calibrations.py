"""Reads where a log's sensors are, and the intrinsics of its cameras."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import CameraIntrinsics, Transform
from autolabel.contracts.ports import ByteSource
from autolabel.logs.containers import LogMessage
from autolabel.logs.index import LogIndex, LogSlice, UnreadRange
from autolabel.logs.messages import log_source, read_messages
from autolabel.logs.schemas import decoder_of
from autolabel.logs.sensors import Sensors
from autolabel.logs.transforms import TransformTree

# Calibrations come with the frames, or once at the start; static transforms once from each of their publishers.
_MOST_CHUNKS = 16
_MOST_TRANSFORMS = 10_000


class Calibrations(NamedTuple):
    """The intrinsics of cameras, and the extrinsics of cameras and LiDARs, by their names.

    `refused`: sentences on those that cannot be told.
    """

    intrinsics: dict[str, CameraIntrinsics]
    extrinsics: dict[str, Transform]
    refused: tuple[str, ...]


def read_calibrations(source: ByteSource, index: LogIndex, sensors: Sensors) -> Calibrations:
    """Read the first calibration of each camera and the static transforms, from some chunks at most.

    LogRefused if the log changes meanwhile.
    """
    intrinsics: dict[str, CameraIntrinsics] = {}
    frames: dict[str, str] = {}
    refused: list[str] = []
    channels = {channel.id: channel for channel in index.channels}
    # The first message of a sensor tells its frame.
    names = sensors.cameras | sensors.lidars
    first = sensors.calibrations | (names if sensors.transforms else {})
    source = log_source(source, index) if first else source
    for message in _messages(source, index, first):
        name = first.pop(message.channel)
        try:
            decoded = decoder_of(channels[message.channel])(message.data)
        except LogRefused as e:
            refused += [f"{name}: no intrinsics, {e}"] if message.channel in sensors.calibrations else []
            continue
        if isinstance(decoded.content, CameraIntrinsics):
            intrinsics.setdefault(name, decoded.content)
        elif message.channel not in sensors.calibrations:
            frames.setdefault(name, decoded.frame)
    if not sensors.transforms:
        return Calibrations(intrinsics, {}, tuple(refused))
    tree, extrinsics, damaged = TransformTree(), dict[str, Transform](), ""
    for message in islice(_messages(source, index, sensors.transforms), _MOST_TRANSFORMS):
        try:
            content = decoder_of(channels[message.channel])(message.data).content
        except LogRefused as e:
            damaged = damaged or f"not all static transforms can be read: {e}"
            continue
        for transform in content if isinstance(content, list) else ():
            tree.add(transform)
    for name in sorted(set(names.values())):
        try:
            extrinsics[name] = tree.place(frames.get(name, ""))
        except LogRefused as e:
            refused.append(f"{name}: no extrinsics, {e}")
    return Calibrations(intrinsics, extrinsics, (*refused, *filter(None, [damaged])))


def _messages(source: ByteSource, index: LogIndex, wanted: Collection[int]) -> Iterator[LogMessage]:
    """Yield the messages of the wanted channels in the first chunks that hold them. `wanted` may shrink meanwhile."""
    looked = 0
    for chunk in index.chunks:
        if not wanted or looked == _MOST_CHUNKS:
            return
        if not chunk.may_hold(wanted):
            continue
        looked += 1
        for message in read_messages(source, index.container, LogSlice(0, (chunk,)), set(wanted)):
            if not isinstance(message, UnreadRange) and message.channel in wanted:
                yield message
