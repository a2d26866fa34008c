"""Measures the extraction of drive logs, beside the libraries' own loops over the same files."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from mcap.reader import make_reader
from rosbags.rosbag1 import Reader as BagReader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from autolabel.logs import (
    ExtractedFrame,
    LogIndex,
    Timestamps,
    choose_sensors,
    extract_frames,
    inspect_log,
    plan_slices,
    set_start,
)
from tests.fakes.logs import FRONT, LIDAR, START, STEP, Sent, bag_log, jpeg, sqlite_log, write_mcap
from tools.bench.probe import peak_memory, resident_memory

LogKind = Literal["mcap", "mcap-zstd", "bag", "sqlite3"]
# A size of the pictures that makes about 120 kB of JPEG, and a LiDAR's scan.
_WIDTH, _HEIGHT, _PICTURES = 560, 350, 10
_SCAN_BYTES = 500_000
# As ROS 2 records it.
_CHUNK_BYTES = 768 * 1024
# Each picture of the video is a key frame of noise, so that few are large.
_VIDEO_SIDE, _VIDEO_GROUP = 960, 10


class CountingFile:
    """A file that is read by ranges. `reads`: the number of requests; `read_bytes`: their bytes."""

    def __init__(self, path: str) -> None:
        self.reads = self.read_bytes = 0
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - as long as the process
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, start: int, length: int) -> bytes:
        self.reads += 1
        self.read_bytes += length
        return os.pread(self._file.fileno(), length, start)


def write_log(path: str, kind: LogKind, frames: int) -> dict[str, int]:
    """Write a log of a JPEG camera with a LiDAR between, by the container's own writer."""
    match kind:
        case "bag":
            Path(path).write_bytes(bag_log(list(_messages(frames)), chunk_size=_CHUNK_BYTES))
        case "sqlite3":
            Path(path).write_bytes(sqlite_log(_messages(frames)))
        case _:
            compression = kind.partition("-")[2]
            with Path(path).open("wb") as target:
                write_mcap(target, _messages(frames), compression=compression, chunk_size=_CHUNK_BYTES)
    return {"bytes": Path(path).stat().st_size}


def write_video(path: str, megabytes: int) -> dict[str, int]:
    """Write an MP4 of one second of noise, over and over, until it has this size; its index comes last."""
    noise = np.random.default_rng(0)
    with av.open(path, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=_VIDEO_GROUP)
        stream.width = stream.height = _VIDEO_SIDE
        stream.pix_fmt = "yuv420p"
        params = f"keyint={_VIDEO_GROUP}:min-keyint={_VIDEO_GROUP}:scenecut=0:bframes=0:qp=8:log-level=none:threads=1"
        stream.options = {"preset": "ultrafast", "x264-params": params}
        packets = []
        for number in range(_VIDEO_GROUP):
            planes = noise.integers(0, 256, (_VIDEO_SIDE * 3 // 2, _VIDEO_SIDE), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = number
            packets += stream.encode(frame)
        packets += stream.encode(None)
        kept = [(bytes(packet), packet.is_keyframe, packet.pts or 0) for packet in packets]
        time_base = packets[0].time_base
        step = kept[1][2] - kept[0][2]
        written, number = 0, 0
        while written < megabytes * 1_000_000 or number % _VIDEO_GROUP:
            body, is_key, _ = kept[number % _VIDEO_GROUP]
            packet = av.Packet(body)
            packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, is_key
            packet.pts = packet.dts = number * step
            packet.duration = step
            output.mux(packet)
            written, number = written + len(body), number + 1
    return {"bytes": Path(path).stat().st_size, "payload": written, "frames": number}


def plan_log(path: str) -> dict[str, int]:
    """Count the requests that planning takes."""
    source = CountingFile(path)
    index = _index(source, path)
    slices = plan_slices(index, choose_sensors(index).names, 2**27)
    return {"reads": source.reads, "bytes": source.read_bytes, "slices": len(slices)}


def read_log(path: str, slice_bytes: int) -> dict[str, int]:
    """Extract a log, slice by slice, and count what is read.

    `bytes`: of planning and all slices; `payload`: of the frames; `chunks`: of the chunks that hold them. `peak`: the
    most memory; `growth`: of it over what the process has before.
    """
    before = resident_memory()
    source = CountingFile(path)
    frames, payload, chunks = _extract(source, path, slice_bytes)
    peak = peak_memory()
    read = {"frames": frames, "payload": payload, "chunks": chunks, "bytes": source.read_bytes}
    return {**read, "peak": peak, "growth": peak - before}


def time_log(path: str, kind: LogKind, rounds: int) -> dict[str, Any]:
    """Median processor seconds of the library's loop, of the extraction in one slice, and in two, in turns.

    The library's loop reads the file itself, checks CRCs where it can, and decodes each message of the camera.
    """
    size = Path(path).stat().st_size
    ways: dict[str, Callable[[], tuple[int, int]]] = {
        "bare": lambda: _loop(path, kind),
        "one": lambda: _extract(CountingFile(path), path, 2 * size)[:2],
        "two": lambda: _extract(CountingFile(path), path, -(-size // 2))[:2],
    }
    found = {name: way() for name, way in ways.items()}
    if len(set(found.values())) != 1:
        raise AssertionError(f"the ways read different frames: {found}")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            taken[name].append(time.process_time() - started)
    return {"frames": found["one"][0], **{name: statistics.median(seconds) for name, seconds in taken.items()}}


def _messages(frames: int) -> Iterator[Sent]:
    for number in range(frames):
        stamp = START + number * STEP
        yield Sent(FRONT, stamp, stamp, packed=("jpeg", jpeg(number % _PICTURES, _WIDTH, _HEIGHT)))
        yield Sent(LIDAR, stamp, stamp + 1, noise=_SCAN_BYTES)


@cache
def _types(store: Stores) -> Typestore:
    return get_typestore(store)


def _index(source: CountingFile, path: str) -> LogIndex:
    return set_start(inspect_log(source, path), START, path)


def _extract(source: CountingFile, path: str, slice_bytes: int) -> tuple[int, int, int]:
    """Return the number of frames, their bytes, and the bytes of the chunks that hold them."""
    index = _index(source, path)
    cameras = choose_sensors(index).names
    frames = payload = chunks = 0
    for part in plan_slices(index, cameras, slice_bytes):
        chunks += sum(chunk.length for chunk in part.chunks)
        for item in extract_frames(source, index, part, cameras, Timestamps()):
            if not isinstance(item, ExtractedFrame):
                raise AssertionError(f"not a frame: {item}")
            frames, payload = frames + 1, payload + len(item.body)
    return frames, payload, chunks


def _loop(path: str, kind: LogKind) -> tuple[int, int]:
    """Return the number of pictures and their bytes, as the container's library reads and decodes them."""
    pictures = 0
    payload = 0
    name = "sensor_msgs/msg/CompressedImage"
    ros1, ros2 = _types(Stores.ROS1_NOETIC), _types(Stores.ROS2_HUMBLE)
    # The library's types are made at run time.
    decoded: Any
    match kind:
        case "bag":
            with BagReader(path) as bag:
                wanted = [connection for connection in bag.connections if connection.topic == FRONT]
                for _, _, data in bag.messages(wanted):
                    decoded = ros1.deserialize_ros1(data, name)
                    pictures, payload = pictures + 1, payload + len(decoded.data.tobytes())
        case "sqlite3":
            with Ros2Reader(path) as reader:
                wanted2 = [connection for connection in reader.connections if connection.topic == FRONT]
                for _, _, data in reader.messages(wanted2):
                    decoded = ros2.deserialize_cdr(data, name)
                    pictures, payload = pictures + 1, payload + len(decoded.data.tobytes())
        case _:
            with Path(path).open("rb") as file:
                for _, _, message in make_reader(file, validate_crcs=True).iter_messages(topics=[FRONT]):
                    decoded = ros2.deserialize_cdr(message.data, name)
                    pictures, payload = pictures + 1, payload + len(decoded.data.tobytes())
    return pictures, payload
