"""Chooses the topics of a log to extract, and names their cameras and LiDARs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.frames import is_name
from autolabel.contracts.logs import LogDocument
from autolabel.logs.image_files import folder_camera
from autolabel.logs.index import VIDEO_STREAM, LogChannel, LogIndex
from autolabel.logs.schemas import IMAGE_FILE, Holds, held_by, is_other_picture, is_packets

# Parts at a topic's end that say how a picture is stored, or that it is a calibration, and not which camera made it.
_STORAGE = re.compile(r"(?:image(?:_(?:raw|rect|color|mono|compressed))*|compressed|camera_info|calibration)\Z")
# The last part of the topic of transforms that do not change.
_STATIC = "tf_static"
_DEPTH = "/compressedDepth"
_OTHERS_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_FILE_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}(?=/|\Z)")
_MOST_NAMED = 10


class Sensors(NamedTuple):
    """The chosen channels with the name of each one's camera or LiDAR; and topics of kinds that are not read.

    `poses`: the chosen channels with poses, which have no names. `calibrations`: the channels with the cameras'
    calibrations; `transforms`: those with static transforms. `unread`: the topic and the name of its messages.
    """

    cameras: dict[int, str]
    lidars: dict[int, str]
    poses: dict[int, str]
    calibrations: dict[int, str]
    transforms: frozenset[int]
    unread: tuple[tuple[str, str], ...]

    @property
    def names(self) -> dict[int, str]:
        """Return the name of each channel to extract: its camera or LiDAR, empty for poses."""
        return self.cameras | self.lidars | self.poses

    def topics(self, index: LogIndex) -> dict[str, str]:
        """Return the camera or LiDAR of each chosen topic, empty for poses."""
        names = self.names
        return {channel.topic: names[channel.id] for channel in index.channels if channel.id in names}


def choose_sensors(index: LogIndex, topics: Collection[str] = (), document: LogDocument | None = None) -> Sensors:
    """Choose the channels with pictures, and the LiDARs and poses of the document; name them.

    `topics`: those with pictures to choose, else the document's, else all. Cameras without a name in the document are
    named after their topics.

    LogRefused names the topics. It is raised for a log with none of them, for one of `topics` that it lacks, for a
    topic that holds something else or gives no name, and for two topics of one name.
    """
    document = document or LogDocument()
    wanted = {_plain(topic): topic for topic in topics or document.cameras}
    known = {_plain(channel.topic): channel for channel in index.channels}
    for plain, topic in wanted.items():
        if plain not in known and topics:
            raise LogRefused("topic-unknown", f"the log has no topic {topic!r}; its topics: {_listed(index.channels)}")
        if plain in known and not _is_picture(known[plain]):
            raise LogRefused("topic-not-pictures", f"topic {topic!r} has {known[plain].schema}, which is no picture")
    chosen = [one for one in index.channels if _is_picture(one) and (not wanted or _plain(one.topic) in wanted)]
    lidars = _named(index, document.lidars, "points")
    poses = _named(index, dict.fromkeys(document.poses, ""), "poses")
    if not (chosen or lidars or poses):
        damage = f"; {index.rebuilt}" if index.rebuilt else ""
        asked = f"none of the topics {', '.join(sorted(wanted.values()))}" if wanted else "no topic with pictures"
        raise LogRefused("no-camera", f"the log has {asked}{damage}; its topics: {_listed(index.channels)}")
    given = {_plain(topic): name for topic, name in document.cameras.items()}
    cameras = {channel.id: given.get(_plain(channel.topic)) or _own_name(channel) for channel in chosen}
    names, topic_of = cameras | lidars, dict[str, str]()
    for channel in (one for one in index.channels if one.id in names):
        name = names[channel.id]
        first = topic_of.setdefault(name, channel.topic)
        if _plain(first) != _plain(channel.topic):
            raise LogRefused(
                "camera-shared", f"topics {first!r} and {channel.topic!r} would both be named {name!r}: choose topics"
            )
        # Also where another log of the drive has the LiDAR.
        if channel.id in cameras and name in document.lidars.values():
            raise LogRefused("camera-shared", f"topic {channel.topic!r} would be named {name!r}, as a LiDAR is")
    unread = {(c.topic, c.schema) for c in index.channels if is_other_picture(c) or is_packets(c) or _is_depth(c)}
    bases = {_base(channel.topic): cameras[channel.id] for channel in chosen}
    calibrated = (c for c in index.channels if held_by(c) == "calibrations" and _base(c.topic) in bases)
    calibrations = {channel.id: bases[_base(channel.topic)] for channel in calibrated}
    static = (c for c in index.channels if held_by(c) == "transforms" and c.topic.rpartition("/")[2] == _STATIC)
    transforms = frozenset(channel.id for channel in static)
    return Sensors(cameras, lidars, poses, calibrations, transforms, tuple(sorted(unread)))


def _named(index: LogIndex, names: Mapping[str, str], holds: Holds) -> dict[int, str]:
    """Find the channels of named topics. LogRefused for one that holds something else.

    Packets of a LiDAR are refused one by one, so that they are counted.
    """
    plain = {_plain(topic): name for topic, name in names.items()}
    found = [channel for channel in index.channels if _plain(channel.topic) in plain]
    for channel in found:
        if held_by(channel) != holds and not (holds == "points" and is_packets(channel)):
            raise LogRefused(
                f"topic-not-{holds}", f"topic {channel.topic!r} has {channel.schema}, from which no {holds} are read"
            )
    return {channel.id: plain[_plain(channel.topic)] for channel in found}


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


def _is_picture(channel: LogChannel) -> bool:
    return held_by(channel) == "pictures" and not _is_depth(channel)


def _is_depth(channel: LogChannel) -> bool:
    return channel.topic.endswith(_DEPTH)


def _plain(topic: str) -> str:
    return topic.strip("/")


def _listed(channels: Sequence[LogChannel]) -> str:
    topics = sorted({f"{channel.topic} ({channel.schema})" for channel in channels})
    more = f" and {len(topics) - _MOST_NAMED:,} more" if len(topics) > _MOST_NAMED else ""
    return (", ".join(topics[:_MOST_NAMED]) or "none") + more
