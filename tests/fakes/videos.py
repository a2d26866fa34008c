"""Video files, written by the encoders of av."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT, RATE = 96, 64, 30
GROUP = 6
# One thread, so that the same bytes come each time.
ENCODER = {"libx264": "threads=1", "libx265": "pools=none:frame-threads=1"}
CLOSED = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes=3"
OPEN = CLOSED + ":open-gop=1"
FRAGMENTED = "frag_keyframe+empty_moov+default_base_moof"
# Half a second at 30 Hz, a pause of two, and then 7 Hz.
UNEVEN = tuple(range(0, 500, 33)) + tuple(range(2_500, 5_000, 143))


def scene(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray[Any, Any]:
    """RGB pixels of a scene that moves with the number."""
    blocks = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.roll(blocks.repeat(8, axis=0).repeat(8, axis=1), 2 * number, axis=1)


@cache
def video(
    frames: int = 20,
    codec: str = "libx264",
    params: str = CLOSED,
    container: str = "mp4",
    *,
    pixel_format: str = "yuv420p",
    times: Sequence[int] = (),
    created: str = "",
    streams: int = 1,
    late: int = 0,
    movflags: str = "",
) -> bytes:
    """Write a video. `times`: of its frames, in ms; else they come at 30 Hz. `late`: frames that other streams lack."""
    with tempfile.TemporaryDirectory() as folder:
        # To write the index first, the muxer opens the file a second time.
        path = Path(folder) / "video"
        _write(path, frames, codec, params, container, pixel_format, times, created, streams, late, movflags)
        return path.read_bytes()


def _write(
    path: Path,
    frames: int,
    codec: str,
    params: str,
    container: str,
    pixel_format: str,
    times: Sequence[int],
    created: str,
    streams: int,
    late: int,
    movflags: str,
) -> None:
    output = av.open(str(path), "w", format=container, options={"movflags": movflags} if movflags else {})
    if created:
        output.metadata["creation_time"] = created
    made = []
    for _ in range(streams):
        stream: Any = output.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        if params and codec in ENCODER:
            stream.options = {f"{codec.removeprefix('lib')}-params": f"{params}:log-level=none:" + ENCODER[codec]}
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        made.append(stream)
    for number in range(frames):
        for index, stream in enumerate(made):
            if index and number < late:
                continue
            frame = av.VideoFrame.from_ndarray(scene(number + 7 * index), "rgb24").reformat(format=pixel_format)
            frame.pts = times[number] if times else number
            frame.time_base = Fraction(1, 1000) if times else Fraction(1, RATE)
            output.mux(stream.encode(frame))
    for stream in made:
        output.mux(stream.encode(None))
    output.close()


def remuxed(body: bytes, change: Callable[[Any], Any]) -> bytes:
    """Write the packets of an MP4 file's first stream again, each as `change` returns it, or without those of None."""
    target = io.BytesIO()
    with av.open(io.BytesIO(body), "r") as source, av.open(target, "w", format="mp4") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            kept = change(packet) if packet.size else None
            if kept is not None:
                kept.stream = stream
                output.mux(kept)
    return target.getvalue()


def cut_without_encoding(body: bytes, frames: int) -> bytes:
    """Cut the first frames off by an edit list: they are in the file and are not shown."""

    def earlier(packet: Any) -> Any:
        ticks = round(frames / RATE / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        return packet

    return remuxed(body, earlier)


@cache
def pictures(frames: int = 20, codec: str = "libx264", params: str = CLOSED) -> tuple[tuple[int, bytes], ...]:
    """Encode a video as messages have it (Annex B): each picture with its number among those that are shown."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, RATE), Fraction(RATE)
    told = f"{params}:repeat-headers=1:log-level=none:{ENCODER[codec]}"
    context.options = {f"{codec.removeprefix('lib')}-params": told}
    made = []
    for number in range(frames):
        frame = av.VideoFrame.from_ndarray(scene(number), "rgb24").reformat(format="yuv420p")
        frame.pts = number
        made += context.encode(frame)
    made += context.encode(None)
    return tuple((packet.pts or 0, bytes(packet)) for packet in made)
