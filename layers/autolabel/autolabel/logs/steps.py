"""The steps of a log's extraction in the cloud: inspect it, extract each slice, end.

Every step may be made twice, and slices in any order and at once: names are derived, and of two frames of a camera with
one timestamp the first in the log stays. So any number of slices leaves the same objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from autolabel.contracts.drive import MAX_DOCUMENT_BYTES
from autolabel.contracts.errors import FrameChanged, LogRefused, ShardMissing
from autolabel.contracts.frames import POINT_CLOUD, SOURCE, drive_prefix, encode_source
from autolabel.contracts.logs import (
    LOG,
    PLACE,
    CameraIntrinsics,
    EgoPose,
    FrameSelection,
    LogDocument,
    LogFolder,
    LogRecord,
    LogState,
    Transform,
    log_document_key,
    parse_log_document,
)
from autolabel.contracts.ports import Announcements, Bucket, DriveMarks, Logs, ObjectHead
from autolabel.contracts.wording import counted
from autolabel.logs.calibrations import read_calibrations
from autolabel.logs.extraction import Extracted, ExtractedFrame, LeftMessage, Tally, extract_frames
from autolabel.logs.index import START_MISSING, Chunk, Clock, LogIndex, LogSlice, UnreadRange, plan_slices, set_start
from autolabel.logs.messages import inspect_log
from autolabel.logs.ranges import LOG_CHANGED
from autolabel.logs.selection import (
    EVERY_FRAME,
    SAME_TIMESTAMP,
    Selection,
    Timestamps,
    choose_selection,
    unlinked_note,
)
from autolabel.logs.sensors import choose_sensors
from autolabel.streams.ordered_map import map_in_order

# S3 takes some tens of milliseconds for a frame, in which the next ones are read and encoded.
_WRITERS = 16
# Another slice replaces an object at the same moment; each time one of the two gets further.
_TRIES = 20
# A walk over a log without an index reads at least once for each chunk. At 50 ms a read, these take ten minutes.
_WALK_READS = 12_000
_CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    POINT_CLOUD: "application/octet-stream",
}


class Inspected(msgspec.Struct, frozen=True):
    """The output of the first step. `key`: the list of slices in the label bucket; `refused`: why there is none."""

    drive: str
    name: str
    etag: str
    slices: int
    key: str
    refused: str = ""


class SliceDone(msgspec.Struct, frozen=True):
    """The output of a slice. `frames`: with point clouds. `changed`: the log was changed, so the extraction is over."""

    slice: int
    frames: int
    changed: bool = False


class TopicCounts(msgspec.Struct, frozen=True):
    """Counts of a topic in the summary: messages = extracted + skipped + refused. `examples`: one of each reason.

    `camera`: empty where the topic is of a `lidar`; both are empty where it has poses.
    """

    camera: str
    messages: int
    extracted: int
    skipped: dict[str, int]
    refused: dict[str, int]
    clocks: dict[str, int]
    notes: dict[str, int]
    examples: dict[str, str]
    lidar: str = ""


class LogSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of an extraction's summary.json.

    `complete`: whether every message of the topics is accounted for. `rebuilt`: why the log's own index was not used.
    `unread`: ranges of the log that could not be read, by reason. `other_topics`: of kinds that are not read.
    `waits`: the log waits for another recording.json than the one with the ETag `document`, empty for none.
    `other_files`: those of an archive that are neither images nor the log. `calibration`: sentences on intrinsics and
    extrinsics that cannot be told.
    """

    drive: str
    name: str
    etag: str
    topics: dict[str, TopicCounts] = {}
    complete: bool = True
    rebuilt: str = ""
    unread: dict[str, int] = {}
    other_topics: dict[str, str] = {}
    refused: str = ""
    waits: bool = False
    document: str = ""
    other_files: int = 0
    calibration: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True):
    """The output of the last step."""

    drive: str
    name: str
    outcome: LogState
    frames: int = 0


class _Plan(msgspec.Struct, frozen=True):
    """The content of index.json: the index, with the chosen channels alone and without the chunks of the slices.

    `names`: the camera or LiDAR of each channel, empty for poses; `lidars`: those names that are of LiDARs.
    `calibration`: as in the summary.
    """

    index: LogIndex
    names: dict[int, str]
    unread: tuple[tuple[str, str], ...]
    intrinsics: dict[str, CameraIntrinsics] = {}
    selection: Selection = EVERY_FRAME
    lidars: frozenset[str] = frozenset()
    extrinsics: dict[str, Transform] = {}
    calibration: tuple[str, ...] = ()

    @property
    def has_poses(self) -> bool:
        return "" in self.names.values()

    @property
    def topics(self) -> dict[str, str]:
        return {channel.topic: self.names[channel.id] for channel in self.index.channels if channel.id in self.names}


class _FrameLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame or a point cloud that a slice wrote or found written, in the order of places."""

    camera: str
    timestamp: int
    topic: str
    place: str
    clock: Clock
    note: str = ""
    dropped: int = 0


class _LeftLine(msgspec.Struct, frozen=True):
    topic: str
    reason: str
    detail: str
    place: str


class _SliceResult(msgspec.Struct, frozen=True, omit_defaults=True):
    frames: int
    left: int
    unread: tuple[UnreadRange, ...]
    changed: bool = False


class BucketSource:
    """Reads an object by ranges, as long as it has this ETag. `most`: the reads after which LogRefused is raised."""

    def __init__(self, bucket: Bucket, key: str, etag: str, size: int, most: int | None = None) -> None:
        self.size = size
        self._left = most
        self._bucket = bucket
        self._key = key
        self._etag = etag

    def read(self, start: int, length: int) -> bytes:
        if self._left is not None:
            if not self._left:
                raise LogRefused("walk-too-long", f"the log has no index, and a walk has only come to byte {start:,}")
            self._left -= 1
        try:
            return self._bucket.read_range(self._key, start, length, self._etag).body
        except FrameChanged as e:
            raise LogRefused(LOG_CHANGED, f"{self._key} was changed or deleted during its extraction") from e


class LogExtraction:
    """The steps of one log's extraction. `slice_bytes`: the most bytes of a slice, if no frames are selected.

    `selection`: for drives whose document has none.
    """

    def __init__(
        self,
        log: LogFolder,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        marks: DriveMarks,
        slice_bytes: int,
        selection: FrameSelection | None = None,
    ) -> None:
        self._log = log
        self._key = f"drives/{log.drive}/logs/{log.name}"
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._marks = marks
        self._slice_bytes = slice_bytes
        self._selection = selection

    def inspect(self) -> Inspected:
        """Read the log's index, choose its topics and write the slices. Raises DocumentRefused for recording.json."""
        log = self._log
        document, document_etag = self._document()
        head = self._ingest.head(self._key)
        try:
            if head is None or head.etag != log.etag:
                raise LogRefused(LOG_CHANGED, f"{self._key} was changed or deleted before its extraction")
            walked = BucketSource(self._ingest, self._key, log.etag, head.size, _WALK_READS)
            index = inspect_log(walked, self._key)
            sensors = choose_sensors(index, document=document)
            index = set_start(index, document.start_of(log.name), self._key)
            source = BucketSource(self._ingest, self._key, log.etag, head.size)
            known = read_calibrations(source, index, sensors)
        except LogRefused as e:
            waits = e.reason == START_MISSING
            refused = f"{e}: add it to logs/recording.json as start" if waits else str(e)
            summary = LogSummary(log.drive, log.name, log.etag, refused=refused, waits=waits, document=document_etag)
            self._write(log.summary, summary)
            refused = f"{LOG_CHANGED}: {e}" if e.reason == LOG_CHANGED else refused
            return Inspected(log.drive, log.name, log.etag, 0, log.slice_list, refused)
        names = sensors.names
        selection = choose_selection(document, self._selection, sensors.cameras.values())
        slices = plan_slices(index, names, self._slice_bytes, selected=bool(selection.cameras))
        for part in slices:
            self._write(log.slice(part.number, "chunks.json"), part)
        # The slices have the chunks. One of unknown channels tells the end that messages of it are not counted.
        unknown = tuple(chunk for chunk in index.chunks if chunk.channels is None)[:1]
        channels = tuple(channel for channel in index.channels if channel.id in names)
        kept = msgspec.structs.replace(index, chunks=unknown, channels=channels)
        lidars = frozenset(sensors.lidars.values())
        plan = _Plan(kept, names, sensors.unread, known.intrinsics, selection, lidars, known.extrinsics, known.refused)
        self._write(log.index, plan)
        lines = (msgspec.json.encode({"slice": part.number}) + b"\n" for part in slices)
        self._label_bucket.write_stream(log.slice_list, lines, "application/jsonl")
        return Inspected(log.drive, log.name, log.etag, len(slices), log.slice_list)

    def extract(self, number: int) -> SliceDone:
        """Write the frames of a slice into the drive's folder, and what became of its messages."""
        log, plan = self._log, self._plan()
        part = self._slice(number)
        source = BucketSource(self._ingest, self._key, log.etag, plan.index.size)
        following = self._following(number)
        items = extract_frames(source, plan.index, part, plan.names, Timestamps(), plan.selection, following)
        frames, poses, left, unread = list[bytes](), list[bytes](), list[bytes](), list[UnreadRange]()
        try:
            for item in map_in_order(self._keep, items, _WRITERS):
                if isinstance(item, UnreadRange):
                    unread.append(item)
                elif isinstance(item, LeftMessage):
                    line = _LeftLine(item.topic, item.reason, item.detail, str(item.place))
                    left.append(msgspec.json.encode(line) + b"\n")
                else:
                    (poses if isinstance(item, EgoPose) else frames).append(msgspec.json.encode(item) + b"\n")
        except LogRefused as e:
            if e.reason != LOG_CHANGED:
                raise
            self._write(log.slice(number, "result.json"), _SliceResult(0, 0, (), changed=True))
            return SliceDone(number, 0, changed=True)
        parts = {"frames": frames, "left": left} | ({"poses": poses} if plan.has_poses else {})
        for name, lines in parts.items():
            self._label_bucket.write(log.slice(number, f"{name}.jsonl"), b"".join(lines), "application/jsonl")
        self._write(log.slice(number, "result.json"), _SliceResult(len(frames), len(left), tuple(unread)))
        return SliceDone(number, len(frames))

    def end(self, *, ledger: Logs, announcements: Announcements, refused: str, now: float, attempt: int = 0) -> Ended:
        """Count what became of all messages, record that the log has ended, and tell operators what was refused.

        `refused`: why the log was not extracted; `attempt`: the one that ends, 0 for the latest. Raises ShardMissing if
        a slice has no result. `now`: seconds since the epoch.
        """
        log = self._log
        head = self._ingest.head(self._key)
        known = {(one.name, one.etag): one.attempt for one in ledger.logs(log.drive)}
        latest = known.get((log.name, log.etag), 1)
        if attempt and attempt < latest:
            # A repeated call; a later attempt has begun.
            return Ended(log.drive, log.name, "replaced")
        attempt = latest
        changed = head is None or head.etag != log.etag or refused.startswith(LOG_CHANGED)
        record = None if changed or refused else self._count(now)
        if changed or (record is None and not refused):
            # If these bytes are there again, a look begins another attempt.
            ledger.end_log(LogRecord(log.drive, log.name, log.etag, "replaced", now, attempt))
            return Ended(log.drive, log.name, "replaced")
        if record is None:
            summary = msgspec.json.decode(self._read(log.summary), type=LogSummary)
            record = LogRecord(log.drive, log.name, log.etag, "refused", now, detail=refused)
            if summary.waits:
                record = msgspec.structs.replace(record, state="waiting", document=summary.document)
        record = msgspec.structs.replace(record, attempt=attempt)
        ledger.end_log(record)
        if record.detail:
            waits = record.state == "waiting"
            announcements.tell_ops(
                f"Log {log.name} of drive {log.drive} waits for its start"
                if waits
                else f"Not all of log {log.name} of drive {log.drive} was extracted",
                f"{self._key}: {record.detail}. {self._label_bucket.uri(log.summary)} has the counts.",
            )
        return Ended(log.drive, log.name, record.state, sum(record.cameras.values()))

    def _count(self, now: float) -> LogRecord | None:
        """Count the results of all slices; None if the log was changed during one of them."""
        log, plan = self._log, self._plan()
        tally, taken, counts = Tally(plan.topics), Timestamps(), Counter[str]()
        try:
            self._label_bucket.write_stream(log.left, self._take_slices(tally, taken, counts), "application/jsonl")
            if plan.has_poses:
                self._label_bucket.write_stream(log.poses, self._take_poses(tally), "application/jsonl")
        except LogRefused:
            return None
        tally.settle(plan.index, plan.names)
        self._write(log.summary, _summary(log, plan, tally))
        topics = tally.topics.values()
        return LogRecord(
            log.drive,
            log.name,
            log.etag,
            "extracted",
            now,
            cameras={name: count for name, count in sorted(counts.items()) if name not in plan.lidars},
            lidars={name: count for name, count in sorted(counts.items()) if name in plan.lidars},
            messages=sum(topic.messages for topic in topics),
            skipped=sum(topic.skipped.total() for topic in topics),
            left=sum(topic.refused.total() for topic in topics),
            detail=_detail(tally),
            intrinsics=plan.intrinsics,
            note=unlinked_note(plan.selection, taken),
            extrinsics=plan.extrinsics,
            poses=sum(topic.extracted for topic in topics if not topic.name),
        )

    def _take_slices(self, tally: Tally, taken: Timestamps, counts: Counter[str]) -> Iterator[bytes]:
        """Count the results of all slices, and yield the lines of the messages that were not extracted."""
        log, frames, left = self._log, msgspec.json.Decoder(_FrameLine), msgspec.json.Decoder(_LeftLine)
        for line in self._label_bucket.lines(log.slice_list):
            number = msgspec.json.decode(line)["slice"]
            result = msgspec.json.decode(self._read(log.slice(number, "result.json")), type=_SliceResult)
            if result.changed:
                raise LogRefused(LOG_CHANGED, f"{self._key} was changed while slice {number} was extracted")
            for item in result.unread:
                tally.add(item)
            for body in self._label_bucket.lines(log.slice(number, "left.jsonl")):
                _take_left(tally, left.decode(body))
                yield body + b"\n"
            for body in self._label_bucket.lines(log.slice(number, "frames.jsonl")):
                frame = frames.decode(body)
                # In the order of the log, so the first frame of a timestamp is the one that stays.
                if not taken.add(frame.camera, frame.timestamp):
                    detail = f"an earlier message of {frame.camera!r} has time {frame.timestamp}"
                    doubled = _LeftLine(frame.topic, SAME_TIMESTAMP, detail, frame.place)
                    _take_left(tally, doubled)
                    yield msgspec.json.encode(doubled) + b"\n"
                    continue
                tally.topics[frame.topic].extract(frame.clock, frame.note, frame.dropped)
                counts[frame.camera] += 1

    def _take_poses(self, tally: Tally) -> Iterator[bytes]:
        """Count the poses of all slices, and yield their lines."""
        log, poses = self._log, msgspec.json.Decoder(EgoPose)
        for line in self._label_bucket.lines(log.slice_list):
            number = msgspec.json.decode(line)["slice"]
            for body in self._label_bucket.lines(log.slice(number, "poses.jsonl")):
                pose = poses.decode(body)
                tally.topics[pose.topic].extract(pose.clock)
                yield body + b"\n"

    def _keep(self, item: Extracted) -> _FrameLine | EgoPose | LeftMessage | UnreadRange:
        """Write a frame or a point cloud unless its place is taken by another one."""
        if not isinstance(item, ExtractedFrame):
            return item
        key = f"{drive_prefix(self._log.drive)}{item.camera}/{item.timestamp:019d}.{item.extension}"
        place = f"{item.place.start:020d}.{item.place.offset:012d}"
        source = encode_source(f"{self._log.name}, {item.origin}")
        metadata = {SOURCE: source, LOG: self._log.id, PLACE: place}
        line = _FrameLine(item.camera, item.timestamp, item.topic, str(item.place), item.clock, item.note, item.dropped)
        for _ in range(_TRIES):
            if self._ingest.write_once(key, item.body, _CONTENT_TYPES[item.extension], metadata):
                return line
            there = self._ingest.head(key)
            if there is None:
                continue
            if there.metadata.get(LOG) != self._log.id:
                # The ETag does not tell: where a KMS key encrypts the bucket, it is not an MD5.
                if there.size == len(item.body) and self._ingest.read(key) == item.body:
                    return line
                return LeftMessage(item.topic, SAME_TIMESTAMP, f"{key} is there with other bytes", item.place)
            if self._stays(there, place):
                return line
            if self._ingest.write_over(key, item.body, there.etag, _CONTENT_TYPES[item.extension], metadata):
                return line
        raise LogRefused("frame-contended", f"{key} is written by others again and again")

    def _stays(self, there: ObjectHead, place: str) -> bool:
        """Whether a frame of this log stays for one at `place`: it comes first, or a run has frozen its listing."""
        return there.metadata.get(PLACE, "") <= place or self._marks.is_frozen(self._log.drive)

    def _document(self) -> tuple[LogDocument, str]:
        """Read the document of the drive's logs, and its ETag; one without fields and "" if there is none."""
        key = log_document_key(self._log.drive)
        found = self._ingest.read_tagged(key, MAX_DOCUMENT_BYTES + 1)
        return (parse_log_document(found[0], key), found[1]) if found else (LogDocument(), "")

    def _slice(self, number: int) -> LogSlice:
        return msgspec.json.decode(self._read(self._log.slice(number, "chunks.json")), type=LogSlice)

    def _following(self, number: int) -> Iterator[Chunk]:
        """Yield the chunks of the slices behind one."""
        for line in self._label_bucket.lines(self._log.slice_list):
            later = msgspec.json.decode(line)["slice"]
            if later > number:
                yield from self._slice(later).chunks

    def _plan(self) -> _Plan:
        return msgspec.json.decode(self._read(self._log.index), type=_Plan)

    def _read(self, key: str) -> bytes:
        body = self._label_bucket.read(key)
        if body is None:
            raise ShardMissing(f"the extraction of {self._key} has no {key}")
        return body

    def _write(self, key: str, content: msgspec.Struct) -> None:
        self._label_bucket.write(key, msgspec.json.encode(content))


def _take_left(tally: Tally, line: _LeftLine) -> None:
    tally.topics[line.topic].leave(line.reason, f"{line.place}: {line.detail}")


def _summary(log: LogFolder, plan: _Plan, tally: Tally) -> LogSummary:
    topics = {
        name: TopicCounts(
            "" if of.name in plan.lidars else of.name,
            of.messages,
            of.extracted,
            dict(of.skipped),
            dict(of.refused),
            {str(clock): count for clock, count in of.clocks.items()},
            dict(of.notes),
            of.examples,
            of.name if of.name in plan.lidars else "",
        )
        for name, of in tally.topics.items()
    }
    return LogSummary(
        log.drive,
        log.name,
        log.etag,
        topics,
        tally.complete,
        plan.index.rebuilt,
        dict(tally.unread),
        dict(plan.unread),
        other_files=plan.index.others,
        calibration=plan.calibration,
    )


def _detail(tally: Tally) -> str:
    """Say what of the log was refused; empty if nothing was."""
    refused = sum((of.refused for of in tally.topics.values()), Counter[str]())
    said = []
    if refused:
        messages = sum(of.messages for of in tally.topics.values())
        said.append(f"{refused.total():,} of {counted(messages, 'message')} refused ({_reasons(refused)})")
    if tally.unread:
        said.append(f"{counted(tally.unread.total(), 'part')} not read ({_reasons(tally.unread)})")
    return "; ".join(said)


def _reasons(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
