"""Names the cameras of a log after their topics, and chooses the topics to extract."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import is_name
from autolabel.contracts.logs import LogDocument
from autolabel.logs.image_files import folder_camera
from autolabel.logs.index import VIDEO_STREAM, LogChannel, LogIndex
from autolabel.logs.schemas import IMAGE_FILE, holds_calibrations, holds_pictures, is_other_picture

# Parts at a topic's end that say how a picture is stored, or that it is a calibration, and not which camera made it.
_STORAGE = re.compile(r"(?:image(?:_(?:raw|rect|color|mono|compressed))*|compressed|camera_info|calibration)\Z")
_DEPTH = "/compressedDepth"
_OTHERS_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_FILE_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}(?=/|\Z)")
_MOST_NAMED = 10


class Cameras(NamedTuple):
    """The chosen channels with the name of each one's camera; and topics with pictures that are not read yet.

    `calibrations`: the channels with the cameras' calibrations. `unread`: the topic and the name of its messages.
    """

    names: dict[int, str]
    calibrations: dict[int, str]
    unread: tuple[tuple[str, str], ...]

    def topics(self, index: LogIndex) -> dict[str, str]:
        """Return the camera of each chosen topic."""
        return {channel.topic: self.names[channel.id] for channel in index.channels if channel.id in self.names}


def choose_cameras(index: LogIndex, topics: Collection[str] = (), given: Mapping[str, str] | None = None) -> Cameras:
    """Choose the channels with pictures, all or those of `topics`, and name their cameras.

    `given`: names of cameras by topic; others are named after their topics.

    LogRefused names the topics. It is raised for a log without pictures, for a topic of `topics` that the log lacks or
    that has no pictures, for a topic that gives no name, and for two topics of one name.
    """
    wanted = {_plain(topic): topic for topic in topics}
    known = {_plain(channel.topic): channel for channel in index.channels}
    for plain, topic in wanted.items():
        if plain not in known:
            raise LogRefused("topic-unknown", f"the log has no topic {topic!r}; its topics: {_listed(index.channels)}")
        if not holds_pictures(known[plain]) or _is_depth(known[plain]):
            raise LogRefused("topic-not-pictures", f"topic {topic!r} has {known[plain].schema}, which is not read")
    pictures = [channel for channel in index.channels if holds_pictures(channel) and not _is_depth(channel)]
    chosen = [channel for channel in pictures if not wanted or _plain(channel.topic) in wanted]
    if not chosen:
        damage = f"; {index.rebuilt}" if index.rebuilt else ""
        message = f"the log has no topic with pictures{damage}; its topics: {_listed(index.channels)}"
        raise LogRefused("no-camera", message)
    named = {_plain(topic): name for topic, name in (given or {}).items()}
    names = {channel.id: named.get(_plain(channel.topic)) or _own_name(channel) for channel in chosen}
    topic_of: dict[str, str] = {}
    for channel in chosen:
        first = topic_of.setdefault(names[channel.id], channel.topic)
        if _plain(first) != _plain(channel.topic):
            raise LogRefused(
                "camera-shared",
                f"topics {first!r} and {channel.topic!r} would both be camera {names[channel.id]!r}: choose topics",
            )
    unread = {(c.topic, c.schema) for c in index.channels if is_other_picture(c) or _is_depth(c)}
    bases = {_base(channel.topic): names[channel.id] for channel in chosen}
    calibrated = (c for c in index.channels if holds_calibrations(c) and _base(c.topic) in bases)
    calibrations = {channel.id: bases[_base(channel.topic)] for channel in calibrated}
    return Cameras(names, calibrations, tuple(sorted(unread)))


def choose_described(index: LogIndex, document: LogDocument, topics: Collection[str] = ()) -> Cameras:
    """Choose the cameras of a log, as its document maps and picks them. `topics`: those to pick instead.

    LogRefused as of choose_cameras, and for a log that has none of the document's topics.
    """
    named = {_plain(topic) for topic in document.cameras}
    # Other logs of the drive have the other topics.
    topics = topics or sorted({channel.topic for channel in index.channels if _plain(channel.topic) in named})
    if named and not topics:
        raise LogRefused(
            "no-camera", f"the log has none of the document's topics: {', '.join(sorted(document.cameras))}"
        )
    return choose_cameras(index, topics, document.cameras)


def _own_name(channel: LogChannel) -> str:
    """Name the camera of a channel; that of a video's stream after the file, without what its name ends with."""
    if channel.encoding == IMAGE_FILE:
        return folder_camera(channel.topic)
    video = channel.encoding == VIDEO_STREAM
    return camera_name(_FILE_ENDING.sub("", channel.topic) if video else channel.topic)


def camera_name(topic: str) -> str:
    """Name the camera of a topic: its parts joined by `-`, without those at its end that name a way of storage.

    `/camera/front/image_raw/compressed` is `camera-front`; `/image_raw` alone keeps its name. LogRefused if the result
    cannot name a camera.
    """
    parts = _base(topic) or tuple(_plain(topic).split("/")[:1])
    name = _OTHERS_IN_NAMES.sub("_", "-".join(parts)).lstrip("_-")
    if not is_name(name):
        raise LogRefused("camera-unnamed", f"topic {topic!r} gives no name of a camera: {name!r} is not allowed")
    return name


def _base(topic: str) -> tuple[str, ...]:
    """Return the parts of a topic before those that name a way of storage."""
    parts = [part for part in topic.split("/") if part]
    while parts and _STORAGE.match(parts[-1]):
        parts.pop()
    return tuple(parts)


def _is_depth(channel: LogChannel) -> bool:
    return channel.topic.endswith(_DEPTH)


def _plain(topic: str) -> str:
    return topic.strip("/")


def _listed(channels: Sequence[LogChannel]) -> str:
    topics = sorted({f"{channel.topic} ({channel.schema})" for channel in channels})
    more = f" and {len(topics) - _MOST_NAMED:,} more" if len(topics) > _MOST_NAMED else ""
    return (", ".join(topics[:_MOST_NAMED]) or "none") + more
