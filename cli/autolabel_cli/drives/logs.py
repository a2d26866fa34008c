"""Drive logs on this machine: MCAP logs, ROS bags, videos and archives, read as frames of all their cameras."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import msgspec

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import LOG_DOCUMENT
from autolabel.contracts.logs import FrameSelection, LogDocument, parse_log_document
from autolabel.contracts.wording import counted
from autolabel.logs import (
    HEAD_BYTES,
    START_MISSING,
    Calibrations,
    ExtractedFrame,
    Kind,
    LogIndex,
    Selection,
    Sensors,
    Tally,
    Timestamps,
    TopicTally,
    choose_selection,
    choose_sensors,
    extract_frames,
    inspect_log,
    plan_slices,
    read_calibrations,
    set_start,
    tell_kind,
    unlinked_note,
)
from autolabel_cli.drives.recordings import RecordedFrame, Recording, find_recording
from autolabel_cli.errors import CommandError

_UNDESCRIBED = LogDocument()
_SLICE_BYTES = 256 * 1024 * 1024
_CLOCKS = {
    "header": "header stamps",
    "log": "the recorder's log times",
    "start": "the start that was given",
    "creation": "the file's time",
    "name": "names or lists of times",
    "assumed": "an assumed rate of 10 Hz",
}

# What to do about a log that is refused, by the reason.
_ADVICE = {
    "camera-shared": "; choose with --topic, which can be repeated",
    "camera-unnamed": "; rename the file",
    START_MISSING: ": --start 2026-11-22T10:00:00.25Z",
}


class FileSource:
    """Reads a file of this machine by ranges."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)


class LogRecording:
    """A drive log, whose chosen topics are cameras. The tally and the note are whole when all frames were read.

    `note`: what readers of the drive's summary should know of it. `default`: the selection of frames, if the document
    has none.
    """

    skipped: tuple[Path, ...] = ()
    skipped_sentence = ""
    # A log has the times of its frames itself.
    times: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self, path: Path, source: FileSource, index: LogIndex, sensors: Sensors, document: LogDocument
    ) -> None:
        self.path = path
        self.default: FrameSelection | None = None
        self.note = ""
        self._document = document
        self._source = source
        self._index = index
        self._sensors = sensors
        self.tally = Tally(sensors.topics(index))

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._sensors.cameras.values())))

    def keep_times(self) -> str:
        return ""

    @cached_property
    def calibrations(self) -> Calibrations:
        """Read the intrinsics and extrinsics of the cameras that the log has."""
        return read_calibrations(self._source, self._index, self._sensors)

    def rename_camera(self, name: str) -> None:
        """Give the log's only camera another name; CommandError if it has several."""
        if len(self.cameras) > 1:
            raise CommandError(
                f"--camera names one camera, and {self.path} has {', '.join(self.cameras)}: leave it out, or choose "
                "one of them with --topic"
            )
        sensors = self._sensors
        self._sensors = sensors._replace(
            cameras=dict.fromkeys(sensors.cameras, name), calibrations=dict.fromkeys(sensors.calibrations, name)
        )
        self.tally = Tally(self._sensors.topics(self._index))

    def count(self, limit: int | None = None) -> int | None:
        """Count the messages of the cameras, at most `limit`; `limit` if the number of frames is not known before."""
        if self._index.counts is None or self._selection.cameras:
            return limit
        count = sum(self._index.counts.get(channel, 0) for channel in self._sensors.names)
        return count if limit is None else min(count, limit)

    def frames(self, limit: int | None = None, first: int = 0) -> Iterator[RecordedFrame]:
        """Read at most `limit` frames of all cameras in the order of the log, from the index `first`."""
        return itertools.islice(self._frames(), first, None if limit is None else first + limit)

    @property
    def _selection(self) -> Selection:
        return choose_selection(self._document, self.default, self.cameras)

    def _frames(self) -> Iterator[RecordedFrame]:
        names, taken, selection = self._sensors.names, Timestamps(), self._selection
        self.tally = Tally(self._sensors.topics(self._index))
        try:
            parts = plan_slices(self._index, names, _SLICE_BYTES, selected=bool(selection.cameras))
            for part in parts:
                following = (chunk for later in parts[part.number + 1 :] for chunk in later.chunks)
                for item in extract_frames(self._source, self._index, part, names, taken, selection, following):
                    self.tally.add(item)
                    if isinstance(item, ExtractedFrame):
                        origin = f"{self.path.name}, {item.origin}"
                        yield RecordedFrame(item.timestamp, item.extension, item.body, origin, item.camera)
        except LogRefused as e:
            raise CommandError(f"{self.path}: {e}; start again when it does not change any more") from e
        self.tally.settle(self._index, names)
        self.note = unlinked_note(selection, taken)

    def check(self, uploaded: int, so: str, *, partial: bool) -> None:
        """CommandError if nothing was `uploaded`, or not all could be read and `partial` is not set.

        `so`: what follows from it.
        """
        if not uploaded:
            raise CommandError(f"{self.path} has no frame that can be extracted: {so}")
        if self.tally.refused and not partial:
            raise CommandError(
                f"parts of {self.path} cannot be read: {so}; give --partial to go on without them, or repair the log "
                "and upload it again"
            )

    def report(self) -> list[str]:
        """Say what was extracted, skipped and refused of each topic, and which parts could not be read."""
        lines = [_topic_line(topic, tally) for topic, tally in self.tally.topics.items()]
        lines += [f"{topic}: {schema} is not read" for topic, schema in self._sensors.unread]
        lines += self.calibrations.refused
        if self._index.rebuilt:
            lines.append(f"{self._index.rebuilt}, so an index was made from its records")
        if self._index.others:
            lines.append(f"{counted(self._index.others, 'other file')} of the archive not read")
        for reason, count in self.tally.unread.items():
            first = self.tally.first_unread[reason]
            at = f"{first.unit} {first.start:,} to {first.end:,}"
            lines.append(f"{counted(count, 'part')} not read ({reason}), the first at {at}: {first.detail}")
        lines += [self.note] if self.note else []
        if not self.tally.complete:
            lines.append("the log does not tell how many messages are in what was not read")
        return lines


def find_source(
    path: Path,
    topics: Collection[str] = (),
    start: int = 0,
    else_start: int = 0,
    document: LogDocument = _UNDESCRIBED,
) -> Recording | LogRecording:
    """Find the recording at a path: a drive log or a video by its first bytes, or a folder of images.

    `topics`: those of a log to read; empty: those of its document, or all with pictures. `start`: the time of a video's
    first frame, in ns since the epoch; `else_start`: that of a video whose start neither its document nor itself tells.
    CommandError for another kind of file, and for a log that cannot be read or has no camera.
    """
    if not path.is_file():
        return find_recording(path)
    refuse_unmerged(path, tell_kind(read_head(path)))
    try:
        source = FileSource(path)
        index = inspect_log(source, str(path))
        if start and not index.video:
            raise CommandError(f"{path} is not a video, and has the times of its frames itself: leave out --start")
        index = set_start(index, start or document.start_of(path.name), str(path), else_start)
        # Only frames are read here.
        pictured = msgspec.structs.replace(document, lidars={}, poses=())
        return LogRecording(path, source, index, choose_sensors(index, topics, pictured), document)
    except LogRefused as e:
        advice = _ADVICE.get(e.reason, "")
        message = str(e) if str(path) in str(e) else f"{path}: {e}"
        raise CommandError(f"{message}{advice}") from e
    except OSError as e:
        raise CommandError(f"{path} cannot be read ({e.strerror}): make it readable for you") from e
    except ImportError as e:
        raise CommandError(
            f"{path} is a drive log, and the libraries that read logs are not installed: "
            "install autolabel with its extra logs (pip install '<checkout>[logs]')"
        ) from e


def read_document(path: Path) -> LogDocument | None:
    """Read the recording.json beside a log, if it names the log or no logs. DocumentRefused if it breaks a rule."""
    own = path.parent / LOG_DOCUMENT
    if not path.is_file() or not own.is_file():
        return None
    document = parse_log_document(own.read_bytes(), str(own))
    return document if not document.logs or path.name in document.logs else None


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file, by which its kind is told; empty for a folder."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as e:
        raise CommandError(f"{path} cannot be read ({e.strerror}): make it readable for you") from e


def refuse_unmerged(path: Path, kind: Kind) -> None:
    """CommandError for an SQLite bag whose recorder left messages in a -wal file beside it."""
    beside = path.with_name(path.name + "-wal")
    if kind.container == "sqlite3" and beside.is_file() and beside.stat().st_size:
        raise CommandError(
            f"messages of {path} are still in {beside.name}: run `sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'`"
        )


def _topic_line(topic: str, tally: TopicTally) -> str:
    clocks = " and ".join(f"{count:,} by {_CLOCKS[clock]}" for clock, count in tally.clocks.items())
    parts = [f"{tally.extracted:,} extracted" + (f" (times: {clocks})" if clocks else "")]
    parts += [f"{count:,} {note}" for note, count in tally.notes.items()]
    parts += [f"{count:,} skipped ({reason})" for reason, count in tally.skipped.items()]
    parts += [
        f"{count:,} refused ({reason}), the first: {tally.examples[reason]}" for reason, count in tally.refused.items()
    ]
    return f"{topic} as camera {tally.name}: {'; '.join(parts)}"
