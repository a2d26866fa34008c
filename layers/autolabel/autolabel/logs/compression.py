"""Decompresses chunks within the size that they state, so that no chunk can fill the memory."""

from __future__ import annotations

import bz2
import io

import lz4.frame
import zstandard

from autolabel.contracts.errors import LogRefused
from autolabel.logs.ranges import MAX_CHUNK_BYTES, check_size

ZSTD = b"\x28\xb5\x2f\xfd"


def decompress(compression: str, data: memoryview, size: int) -> memoryview:
    """Decompress a chunk's data to exactly `size` bytes; LogRefused if it has another size or cannot be read."""
    check_size(size)
    try:
        if compression in ("", "none"):
            unpacked: bytes | memoryview = data
        elif compression == "zstd":
            unpacked = _zstd(data, size)
        elif compression == "lz4":
            # One byte more shows data that are longer than stated.
            unpacked = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
        elif compression == "bz2":
            unpacked = bz2.BZ2Decompressor().decompress(data, max_length=size + 1)
        else:
            raise LogRefused("compression-unknown", f"the chunk is compressed by {compression[:40]!r}")
    except (zstandard.ZstdError, RuntimeError, OSError, EOFError, ValueError) as e:
        raise LogRefused("chunk-damaged", f"the chunk cannot be decompressed as {compression}: {e}") from e
    if len(unpacked) != size:
        raise LogRefused("chunk-size-wrong", f"the chunk states {size:,} bytes and has {_many(len(unpacked), size)}")
    return memoryview(unpacked)


def decompress_zstd(data: memoryview) -> memoryview:
    """Decompress data of an unknown size. LogRefused if they are too large or cannot be read."""
    try:
        unpacked = _zstd(data, MAX_CHUNK_BYTES)
    except (zstandard.ZstdError, EOFError, ValueError) as e:
        raise LogRefused("message-damaged", f"it cannot be decompressed as zstd: {e}") from e
    check_size(len(unpacked))
    return memoryview(unpacked)


def _zstd(data: memoryview, size: int) -> bytes:
    if zstandard.frame_content_size(data) == size:
        # In one piece, which is twice as fast. It fails if the content has another size, or more follows.
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    # Read as a stream: a frame's own size would replace a limit on the output.
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as stream:
        unpacked = stream.read(size + 1)
        return unpacked if isinstance(unpacked, bytes) else bytes(unpacked)


def _many(found: int, size: int) -> str:
    return f"{found:,}" if found <= size else "more"
