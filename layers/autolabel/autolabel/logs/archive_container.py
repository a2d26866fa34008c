"""Reads archives (zip, tar, tar.gz) of images, whose folders are cameras, or of one log.

A chunk is a file of the archive, and a message's place is the file's. What an archive counts is what it lists.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.contracts.ports import ByteSource
from autolabel.logs.archive_files import Archive, ArchiveFile, UnpackedLog, refusal
from autolabel.logs.containers import LogMessage, Place
from autolabel.logs.image_files import (
    IMAGES,
    RECEIPT,
    TIMESTAMPS,
    FrameTime,
    camera_folder,
    frame_times,
    parse_receipt,
    parse_timestamps,
)
from autolabel.logs.index import Chunk, Clock, LogChannel, LogIndex, Member, PartOfSource, UnreadRange
from autolabel.logs.kinds import Container, tell_kind
from autolabel.logs.messages import inspect_log
from autolabel.logs.ranges import LOG_CHANGED, join_chunks, read_range
from autolabel.logs.schemas import IMAGE_FILE

_ARCHIVES_AND_LOGS = frozenset(
    {
        *(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst"),
        *(".mcap", ".bag", ".db3", ".mp4", ".mov", ".mkv", ".ts"),
    }
)
# A log that an archive compresses is one slice, which has ten minutes: this many bytes of a video's work.
_MAX_COMPRESSED_VIDEO = 512 * 1024 * 1024
# All files with the times of others.
_MAX_TIMES_BYTES = 32 * 1024 * 1024
# Of an archive without images, the largest files may be its log.
_MOST_LOOKED_AT = 20
_MOST_NAMED = 3


class _Sorted(NamedTuple):
    """The files of an archive by what they are. `images`: by the folder that stands for their camera."""

    images: dict[str, list[ArchiveFile]]
    times: dict[str, ArchiveFile]
    others: list[ArchiveFile]
    refused: list[UnreadRange]


class ArchiveReader:
    """Reads archives of one kind."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def inspect(self, source: ByteSource, name: str) -> LogIndex:
        try:
            archive = Archive(source, self._container)
            listing = archive.list()
            found = _sort(listing.files, listing.refused)
            return self._index_images(source, archive, found) if found.images else _index_log(source, archive, found)
        except LogRefused as e:
            raise e if e.reason == LOG_CHANGED else LogRefused(e.reason, f"{name}: {e}") from e

    def messages(
        self, source: ByteSource, chunks: Sequence[Chunk], channels: Collection[int]
    ) -> Iterator[LogMessage | UnreadRange]:
        archive = Archive(source, self._container)
        for run in join_chunks(chunks):
            start = run[0].start
            try:
                body = read_range(archive.content, start, run[-1].end - start)
            except LogRefused as e:
                if e.reason == LOG_CHANGED:
                    raise
                yield from (UnreadRange(chunk.start, chunk.end, e.reason, str(e)) for chunk in run)
                continue
            for chunk in run:
                if chunk.may_hold(channels):
                    yield _read_image(archive, chunk, body[chunk.start - start : chunk.end - start])

    def _index_images(self, source: ByteSource, archive: Archive, found: _Sorted) -> LogIndex:
        texts = _read_times(archive, found.times)
        oldest = min(file.time for files in found.images.values() for file in files)
        channels, chunks, refused = list[LogChannel](), list[Chunk](), list(found.refused)
        for number, folder in enumerate(sorted(found.images)):
            files = found.images[folder]
            channels.append(LogChannel(number, folder, IMAGE_FILE, IMAGE_FILE, "", b""))
            times = _times(folder, [file.name for file in files], texts, oldest)
            for file in files:
                if timed := times.get(file.name):
                    clock: Clock = "assumed" if timed.assumed else "name"
                    member = Member(file.name, file.size, clock, file.crc, file.stored)
                    chunks.append(Chunk(file.start, file.length, (number,), timed.time, timed.time, member=member))
                else:
                    refused.append(refusal(file, "timestamp-wrong", f"has no time in {folder}/{TIMESTAMPS}"))
        counts = Counter({channel.id: 0 for channel in channels})
        counts.update(number for chunk in chunks for number in chunk.channels or ())
        return LogIndex(
            self._container,
            source.size,
            tuple(channels),
            tuple(sorted(chunks, key=lambda chunk: chunk.start)),
            dict(counts),
            unread=tuple(sorted(refused, key=lambda one: one.start)),
            others=len(found.others),
        )


def _sort(files: Sequence[ArchiveFile], refused: Sequence[UnreadRange]) -> _Sorted:
    found = _Sorted(defaultdict(list), {}, [], list(refused))
    for file in files:
        path = PurePosixPath(file.name)
        if path.name in (RECEIPT, TIMESTAMPS):
            found.times[file.name] = file
        elif any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            # Of hidden files a folder's upload does not speak either.
            continue
        elif path.suffix.lower() not in IMAGES:
            found.others.append(file)
        elif not file.size:
            found.refused.append(refusal(file, "not-an-image", "is empty"))
        elif file.size > MAX_FRAME_BYTES:
            found.refused.append(
                refusal(file, "frame-too-large", f"has {file.size:,} bytes, the limit is {MAX_FRAME_BYTES:,}")
            )
        else:
            found.images[camera_folder(file.name)].append(file)
    if not found.images:
        return found
    beside = [file for file in found.others if PurePosixPath(file.name).suffix.lower() in _ARCHIVES_AND_LOGS]
    why = "is a log or an archive beside images: upload it by itself"
    found.refused.extend(refusal(file, "log-in-archive", why) for file in beside)
    taken = {file.name for file in beside}
    return found._replace(others=[file for file in found.others if file.name not in taken])


def _read_times(archive: Archive, files: dict[str, ArchiveFile]) -> dict[str, bytes]:
    """Read the files that hold times, in the order of their places, since a tar.gz is read from its start."""
    if sum(max(file.size, file.length) for file in files.values()) > _MAX_TIMES_BYTES:
        raise LogRefused("index-too-large", f"its files {TIMESTAMPS} and {RECEIPT} have too many bytes")
    ordered = sorted(files.items(), key=lambda item: item[1].start)
    return {name: bytes(archive.read(file)) for name, file in ordered}


def _times(folder: str, names: Sequence[str], texts: dict[str, bytes], oldest: int) -> dict[str, FrameTime]:
    """Return the time of each image of a camera by its name. Those that a list of times lacks have none.

    LogRefused for a damaged receipt.
    """
    listed = texts.get(_joined(folder, TIMESTAMPS))
    kept: dict[str, int] = {}
    for parent in sorted({str(PurePosixPath(name).parent) for name in names}):
        if body := texts.get(_joined(parent, RECEIPT)):
            try:
                kept |= {_joined(parent, name): time for name, time in parse_receipt(body).items()}
            except ValueError as e:
                raise LogRefused("archive-damaged", f"{_joined(parent, RECEIPT)} is damaged: {e}") from e
    return frame_times(names, None if listed is None else parse_timestamps(listed), kept, oldest)


def _joined(folder: str, name: str) -> str:
    return str(PurePosixPath(folder, name))


def _read_image(archive: Archive, chunk: Chunk, body: memoryview) -> LogMessage | UnreadRange:
    member = chunk.member
    if member is None or not chunk.channels:
        raise LogRefused("log-damaged", "the plan of an archive names no files")
    try:
        data = archive.unpack(member, body)
    except LogRefused as e:
        return UnreadRange(chunk.start, chunk.end, e.reason, str(e))
    return LogMessage(chunk.channels[0], chunk.first, Place(chunk.start, chunk.end, 0, member.name), data, member.clock)


def _index_log(source: ByteSource, archive: Archive, found: _Sorted) -> LogIndex:
    """Index the only log of an archive without images."""
    logs: list[ArchiveFile] = []
    for file in sorted(found.others, key=lambda file: -file.size)[:_MOST_LOOKED_AT]:
        kind = tell_kind(archive.head(file))
        if kind.container in ("zip", "tar", "gzip") or kind.name.endswith(" archive"):
            raise LogRefused("archive-in-archive", f"{file.name!r} in it is an archive too: unpack one of the two")
        logs += [file] if kind.container else []
    names = ", ".join(repr(file.name) for file in logs[:_MOST_NAMED])
    if not logs:
        said = f"; {found.refused[0].detail}" if found.refused else ""
        raise LogRefused("no-camera", f"the archive has neither images (.png, .jpg, .jpeg) nor a log{said}")
    if len(logs) > 1:
        raise LogRefused("archive-of-logs", f"the archive has {len(logs)} logs ({names}): upload them as they are")
    (log,) = logs
    wal = next((file for file in found.others if file.name == f"{log.name}-wal" and file.size), None)
    if wal:
        raise LogRefused(
            "log-without-wal",
            f"{wal.name!r} has messages that are not merged into {log.name!r}: open and close the bag with "
            f'`sqlite3 {PurePosixPath(log.name).name} "PRAGMA wal_checkpoint(TRUNCATE)"`, and pack it again',
        )
    within = archive.place_of(log)
    content = UnpackedLog(source, within) if within.compressed else PartOfSource(source, within)
    index = inspect_log(content, log.name)
    if index.video and within.compressed and sum(chunk.cost for chunk in index.chunks) > _MAX_COMPRESSED_VIDEO:
        raise LogRefused(
            "log-compressed",
            f"the video {log.name!r} is compressed in the archive, and too long to be read at once: upload it as it "
            "is, or store it (`zip -0`)",
        )
    damage = content.damage if isinstance(content, UnpackedLog) else ()
    unread = (*index.unread, *damage, *found.refused)
    return msgspec.structs.replace(index, size=source.size, within=within, unread=unread, others=len(found.others) - 1)
