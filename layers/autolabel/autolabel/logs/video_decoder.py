"""Decodes groups of pictures of H.264 and H.265, each from a fresh start, and makes the image files of their frames."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autolabel.contracts.errors import LogRefused
from autolabel.labels.image_header import MAX_PIXELS
from autolabel.logs.selection import THUMBNAIL

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from autolabel.logs.pictures import ImageFile

# The most that is decoded of one group: ten minutes of 1920x1080 at 30 Hz without a key frame, and eight of a core.
GROUP_PIXELS = 40_000_000_000


def check_reader(what: str) -> None:
    """Check that videos can be read here. LogRefused names `what`, which needs it."""
    try:
        import av  # noqa: F401
    except ImportError as e:
        raise LogRefused(
            "no-video-reader",
            f"{what}, and the package av, which reads videos, is not here: deploy the stack with the parameter "
            "Video=yes, or install autolabel with its extra video",
        ) from e


def set_strict(decoder: VideoCodecContext) -> None:
    """Set a decoder, before its first packet, so that any number of slices gives the same pictures."""
    # A slice has one core. The size of a picture is checked before memory is taken for it. Strictly, the decoder waits
    # for all pictures that may be shown first, and does not learn from drops how many those are.
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS), "strict": "strict"}


@dataclass
class Damage:
    """The first packet of a group, in the order of decoding, that is damaged. Later ones may need its picture."""

    first: int = 1 << 62
    detail: str = ""

    def add(self, n: int, detail: str) -> None:
        if n < self.first:
            self.first, self.detail = n, detail

    def why(self, n: int) -> tuple[str, str]:
        """Say why a packet of the group gave no frame: a stable word, and a sentence."""
        if n >= self.first:
            return "frame-damaged", self.detail or "it is damaged, or needs a damaged picture"
        return "not-decoded", "the decoder gives no picture of it"


class GroupDecoder:
    """Decodes one group of pictures.

    `decoder`: in a fresh state. `waiting`: the numbers of the packets that are wanted, by their pts; they are taken
    out.
    """

    def __init__(self, decoder: VideoCodecContext, waiting: Mapping[int, list[int]], damage: Damage) -> None:
        self._decoder = decoder
        self._waiting = waiting
        self._damage = damage
        self._held: deque[tuple[int, VideoFrame]] = deque()

    def feed(self, n: int, packet: Packet[VideoStream] | Packet[Stream] | None) -> Iterator[tuple[int, VideoFrame]]:
        """Decode the packet with the number `n`, None for the group's end.

        Yields the undamaged pictures that are known to be whole, with the numbers of their packets, in the order in
        which they are shown.
        """
        import av

        frames: list[VideoFrame] = []
        if packet is not None and packet.is_corrupt:
            self._damage.add(n, "the file ends inside it, or a part of it was lost")
        else:
            try:
                frames = self._decoder.decode(packet)
            except av.error.FFmpegError as e:
                self._damage.add(n, f"it cannot be decoded: {e.strerror}")
        for frame in frames:
            numbers = self._waiting.get(frame.pts) if frame.pts is not None else None
            if numbers:
                number = numbers.pop(0)
                if frame.is_corrupt:
                    self._damage.add(number, "it was completed from other pictures")
                self._held.append((number, frame))
        # Pictures that need a damaged one may be shown before it.
        most = 0 if packet is None else self._decoder.reorder_depth + 1
        while len(self._held) > most:
            number, frame = self._held.popleft()
            if number < self._damage.first:
                yield number, frame


class Photos:
    """Makes the image files of a stream's frames, turned as players show them."""

    def __init__(self) -> None:
        self._turns: dict[int, int | None] = {}

    def file(self, frame: VideoFrame) -> ImageFile:
        """Make the JPEG of a frame. LogRefused if it is shown mirrored or askew."""
        # numpy takes tenths of a second to import, and the command is often run for something else.
        from autolabel.logs.pictures import photo_file

        return photo_file(frame.to_ndarray(format="rgb24"), self._turns_of(frame))

    def _turns_of(self, frame: VideoFrame) -> int:
        # The library ties a frame and its side data into a cycle, so that each that is asked for it stays in memory.
        rotation = frame.rotation
        if rotation not in self._turns:
            self._turns[rotation] = _turns(frame)
        turns = self._turns[rotation]
        if turns is None:
            raise LogRefused("rotated", "the video says that its frames are shown mirrored or askew")
        return turns


def video_thumbnail(frame: VideoFrame) -> bytes:
    """Make the thumbnail that a selection compares: grey, a byte for each pixel."""
    width, height = THUMBNAIL
    return frame.reformat(width, height, "gray", interpolation="AREA").to_ndarray().tobytes()


def _turns(frame: VideoFrame) -> int | None:
    """Return how many quarters a picture must be turned left to be shown upright; None if it is mirrored or askew."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if not data:
        return 0
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    scale = max(abs(a), abs(b)) or 1
    turns = {(1, 0, 0, 1): 0, (0, -1, 1, 0): 1, (-1, 0, 0, -1): 2, (0, 1, -1, 0): 3}
    return turns.get(tuple(round(value / scale, 3) for value in (a, b, c, d)))
