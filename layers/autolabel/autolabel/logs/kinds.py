"""Tells what kind of file a recording is by its first bytes, never by its name."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from autolabel.contracts.errors import LogRefused

Container = Literal["mcap", "rosbag", "sqlite3", "zip", "tar", "gzip", "mp4", "matroska", "mpegts"]
VIDEOS: frozenset[Container | None] = frozenset({"mp4", "matroska", "mpegts"})
ARCHIVES: frozenset[Container | None] = frozenset({"zip", "tar", "gzip"})
# A tar archive has its mark behind the first entry's name.
HEAD_BYTES = 512
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89MCAP0\r\n", "mcap"),
    (0, b"#ROSBAG V2.0\n", "rosbag"),
    (0, b"#ROSBAG V", "ROS bag of an old version"),
    (0, b"SQLite format 3\0", "sqlite3"),
    (0, b"\x89MCAP", "MCAP log of another version"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd file"),
    (0, b"\x04\x22\x4d\x18", "lz4 file"),
    (0, b"BZh", "bzip2 file"),
    (0, b"\xfd7zXZ\0", "xz file"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (257, b"ustar", "tar"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    (0, b"PAR1", "Parquet file"),
    (4, b"ftyp", "mp4"),
    (4, b"moov", "mp4"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (8, b"AVI ", "AVI video"),
    (8, b"WEBP", "WebP image"),
    (0, b"\x00\x00\x00\x01", "H.264 or H.265 video"),
)
_ADVICE = {
    "ROS bag of an old version": "convert it with `rosbag fix`",
    "AVI video": "copy its stream into an MP4 file (`ffmpeg -i <file> -c copy <name>.mp4`) if it is H.264 or H.265",
    "H.264 or H.265 video": "it has no times; give the MP4 file that it comes from",
    "PNG image": "put images into a folder, or upload them as frames",
    "JPEG image": "put images into a folder, or upload them as frames",
}

# Every packet of an MPEG transport stream has this length, and begins with this byte.
_TS_PACKET, _TS_SYNC = 188, 0x47


class Kind(NamedTuple):
    """Kind of a file. `container`: how the room reads it, None if it does not. `name`: for messages; empty: unknown."""

    container: Container | None
    name: str

    @property
    def is_archive(self) -> bool:
        return self.container in ARCHIVES

    @property
    def has_frames(self) -> bool:
        """Whether the file is a video or an image."""
        return self.container in VIDEOS or self.name.endswith((" video", " image"))


def tell_kind(head: bytes) -> Kind:
    """Tell the kind of a file from its first HEAD_BYTES bytes."""
    found = next((name for at, mark, name in _MARKS if head[at : at + len(mark)] == mark), "")
    if not found and len(head) > 2 * _TS_PACKET and all(byte == _TS_SYNC for byte in head[::_TS_PACKET]):
        found = "mpegts"
    for container in get_args(Container):
        if found == container:
            return Kind(container, found)
    return Kind(None, found)


def container_of(head: bytes, name: str) -> Container:
    """Return the container of a log; LogRefused, which names the file and its kind, for anything else."""
    kind = tell_kind(head)
    if kind.container:
        return kind.container
    if not head:
        raise LogRefused("log-empty", f"{name} is empty")
    what = f"cannot be read yet ({kind.name})" if kind.name else "begins as no known log does"
    known = "an MCAP log, a ROS bag, an MP4, Matroska or MPEG-TS video, or an archive of images or of one log"
    advice = _ADVICE.get(kind.name, f"give {known}")
    raise LogRefused("log-kind", f"{name} {what}: {advice}")
