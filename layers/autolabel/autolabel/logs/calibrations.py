"""Reads the intrinsics of a log's cameras: the first calibration of each that the log holds."""

from __future__ import annotations

from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import CameraIntrinsics
from autolabel.contracts.ports import ByteSource
from autolabel.logs.cameras import Cameras
from autolabel.logs.index import LogIndex, LogSlice, UnreadRange
from autolabel.logs.messages import log_source, read_messages
from autolabel.logs.schemas import decode_intrinsics

# Calibrations come with the frames, or once at the start.
_MOST_CHUNKS = 16


class Intrinsics(NamedTuple):
    """The intrinsics of cameras by their names; and why those of other cameras cannot be read."""

    found: dict[str, CameraIntrinsics]
    refused: dict[str, str]


def read_intrinsics(source: ByteSource, index: LogIndex, cameras: Cameras) -> Intrinsics:
    """Read the first calibration of each camera, from some chunks at most. LogRefused if the log changes meanwhile."""
    channels = {channel.id: channel for channel in index.channels}
    wanted = dict(cameras.calibrations)
    found: dict[str, CameraIntrinsics] = {}
    refused: dict[str, str] = {}
    looked = 0
    source = log_source(source, index) if wanted else source
    for chunk in index.chunks:
        if not wanted or looked == _MOST_CHUNKS:
            break
        if not chunk.may_hold(wanted):
            continue
        looked += 1
        for message in read_messages(source, index.container, LogSlice(0, (chunk,)), set(wanted)):
            if isinstance(message, UnreadRange) or message.channel not in wanted:
                continue
            camera = wanted.pop(message.channel)
            try:
                intrinsics = decode_intrinsics(channels[message.channel], message.data)
            except LogRefused as e:
                refused[camera] = str(e)
            else:
                found |= {camera: intrinsics} if intrinsics else {}
    return Intrinsics(found, refused)
