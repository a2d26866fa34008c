"""Decodes the messages that are read: those of ROS 1 and ROS 2, and Foxglove's protobuf schemas."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import CameraIntrinsics, EgoPose, Quaternion, Transform, Vector
from autolabel.logs.index import MESSAGE_VIDEOS, VIDEO_STREAM, LogChannel
from autolabel.logs.transforms import checked_transform

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

# The definition of a message that is read has some kilobytes. Parsing takes time.
_MAX_DEFINITION = 16 * 1024
# What a definition in IDL has beside types, in the order in which it is taken out: texts, comments, directives and the
# marks between its files, annotations, and constants that are plain numbers.
_IDL_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_IDL_EXTRAS = re.compile(
    r"//[^\n]*|/\*[\s\S]*?\*/|^[ \t]*#[^\n]*|^=+$|^IDL: [^\n]*|@[\w:]+(?:[ \t]*\([^()]*\))?", re.MULTILINE
)
_IDL_CONSTANTS = re.compile(r"module\s+\w+_Constants\s*\{(?:\s*const\s+\w+\s+\w+\s*=\s*[-+.\w]+\s*;)*\s*\}\s*;")
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CALIBRATION, _POINTS = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
_TRANSFORMS, _VIDEO = "tf2_msgs/msg/TFMessage", "foxglove_msgs/msg/CompressedVideo"
# What rosbags does not define, of ROS 1 or at all.
_DEFINITIONS = {
    _TRANSFORMS: "geometry_msgs/TransformStamped[] transforms",
    _VIDEO: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
}
# A calibration has 30 numbers and at most some dozens of its distortion.
_MAX_NUMBERS = 100
_TIME = "builtin_interfaces/msg/Time"
# Of streams of videos.
VIDEO_CODECS = frozenset({"h264", "hevc"})
# Names of messages that hold pictures or packets of a LiDAR, and cannot be read.
_OTHER_PICTURES = re.compile(r"image|video|picture|ffmpegpacket|disparity|theora", re.IGNORECASE)
_PACKETS = re.compile(r"velodyne|ouster|hesai|pandar|rslidar|robosense|livox", re.IGNORECASE)
# The reason of pictures that are distances.
DEPTH = "depth"
# The reason of point clouds without a point, which no reader takes.
NO_POINTS = "no-points"
# The reason of satellite receivers' messages that say that they do not know where they are.
NO_FIX = "no-fix"
_STATUS_NO_FIX = -1
# The encoding of a definition that is not in the log: the name of the type tells it.
BY_NAME = "by name"
# The encoding of messages that are image files.
IMAGE_FILE = "image file"
_ENCODINGS = frozenset({"ros1", "cdr", "protobuf"})
# numpy's names of the types of a point's fields: the numbers of sensor_msgs/PointField, and of
# foxglove.PackedElementField.
_ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}


class RawPicture(NamedTuple):
    """An uncompressed picture; `step`: bytes from the start of a row to that of the next one."""

    width: int
    height: int
    encoding: str
    big_endian: bool
    step: int
    data: memoryview


class PackedPicture(NamedTuple):
    """The bytes of an image file, or of a picture of a video; `format`: what the message says of them."""

    format: str
    data: memoryview


class PointField(NamedTuple):
    """A number of each point, `offset` bytes from its start. `type`: numpy's name of it, empty for an unknown one."""

    name: str
    offset: int
    type: str


class RawPoints(NamedTuple):
    """The points of a LiDAR: `height` rows of `width`. `point_step`, `row_step`: bytes to the next point, and row.

    `pose`: where the origin of the points is in the message's frame, None if it is the same.
    """

    width: int
    height: int
    point_step: int
    row_step: int
    big_endian: bool
    fields: tuple[PointField, ...]
    data: memoryview
    pose: Transform | None = None


Content = RawPicture | PackedPicture | RawPoints | CameraIntrinsics | list[Transform] | EgoPose | None


class Decoded(NamedTuple):
    """A decoded message. `stamp`: ns since the epoch by its header, 0 if it has none; `frame`: what it is measured in.

    `content`: None of a camera that is not calibrated.
    """

    stamp: int
    content: Content
    frame: str = ""


Decoder = Callable[[memoryview], Decoded]
Holds = Literal["pictures", "points", "calibrations", "transforms", "poses"]


def held_by(channel: LogChannel) -> Holds | None:
    """Tell what the channel's messages hold; None if they are not read."""
    if channel.encoding == VIDEO_STREAM:
        return "pictures" if channel.schema.partition(" ")[0] in VIDEO_CODECS else None
    if channel.encoding == IMAGE_FILE:
        return "pictures"
    known = (_ROS | _FOXGLOVE).get(_name(channel))
    return known[0] if known else None


def is_other_picture(channel: LogChannel) -> bool:
    """Check whether the channel's messages are pictures by their name, of a kind that is not read yet."""
    kind = channel.schema.rpartition("/")[2]
    return held_by(channel) is None and _OTHER_PICTURES.search(kind) is not None


def is_packets(channel: LogChannel) -> bool:
    """Check whether the channel's messages are packets of a LiDAR by their name, in the form of its maker."""
    return held_by(channel) is None and _PACKETS.search(channel.schema) is not None


def decoder_of(channel: LogChannel) -> Decoder:
    """Make the decoder of a channel. LogRefused if its messages cannot be read.

    The decoder raises LogRefused for a message that is not as its schema says.
    """
    if channel.encoding == IMAGE_FILE:
        return lambda data: Decoded(0, PackedPicture("", data))
    name = _name(channel)
    if is_packets(channel):
        raise LogRefused(
            "lidar-packets", f"{channel.schema} has packets of a LiDAR, which are not read: log its points"
        )
    if channel.encoding not in _ENCODINGS or name not in (_FOXGLOVE if channel.encoding == "protobuf" else _ROS):
        raise LogRefused(
            "serialisation-unknown", f"{channel.schema} is serialised as {channel.encoding[:40]!r}, which is not read"
        )
    return _protobuf_decoder(channel) if channel.encoding == "protobuf" else _ros_decoder(channel, name)


def _name(channel: LogChannel) -> str:
    """Return the name of the channel's schema as ROS 2 writes it."""
    return re.sub(r"^([a-z]\w*)/(?=\w+$)", r"\1/msg/", channel.schema)


def holds_video(channel: LogChannel) -> bool:
    """Check whether the channel's messages are the pictures of a video, one after the other."""
    return channel.schema in MESSAGE_VIDEOS


def _packed(message: Any) -> PackedPicture:
    return PackedPicture(_typed(message.format, str), memoryview(message.data))


def _ros_raw(message: Any) -> RawPicture:
    big = bool(message.is_bigendian)
    return RawPicture(message.width, message.height, message.encoding, big, message.step, memoryview(message.data))


def _foxglove_raw(message: Any) -> RawPicture:
    sizes = (_typed(message.width, int), _typed(message.height, int))
    encoding, step = _typed(message.encoding, str), _typed(message.step, int)
    return RawPicture(*sizes, encoding, False, step, memoryview(_typed(message.data, bytes)))


def _ros_points(message: Any) -> RawPoints:
    fields = tuple(PointField(one.name, one.offset, _ROS_TYPES.get(one.datatype, "")) for one in message.fields)
    sizes = (message.width, message.height, message.point_step, message.row_step)
    return RawPoints(*sizes, bool(message.is_bigendian), fields, memoryview(message.data))


def _intrinsics(message: Any) -> CameraIntrinsics | None:
    # ROS 2 has small letters.
    matrices = {
        name: tuple(float(value) for value in getattr(message, name if hasattr(message, name) else name.lower()))
        for name in "DKRP"
    }
    width, height = (int(_typed(getattr(message, name), int)) for name in ("width", "height"))
    model = str(_typed(message.distortion_model, str))
    numbers = [value for values in matrices.values() for value in values]
    if len(numbers) > _MAX_NUMBERS or len(model) > _MAX_NUMBERS or not all(map(math.isfinite, numbers)):
        raise LogRefused("calibration-wrong", "the calibration has too many numbers, or some that are not finite")
    # ROS says so: a first focal length of 0 is an uncalibrated camera.
    if not any(matrices["K"][:1]):
        return None
    return CameraIntrinsics(width, height, model, *(matrices[name] for name in "DKRP"))


def _foxglove_points(message: Any) -> RawPoints:
    data, step = memoryview(_typed(message.data, bytes)), _typed(message.point_stride, int)
    fields = tuple(
        PointField(_typed(one.name, str), _typed(one.offset, int), _FOXGLOVE_TYPES.get(one.type, ""))
        for one in message.fields
    )
    count, rest = divmod(len(data), step) if step else (0, len(data))
    if rest:
        raise LogRefused("points-wrong", f"{len(data):,} bytes are no whole number of points of {step:,} bytes")
    pose = _foxglove_pose(message) if message.HasField("pose") else None
    return RawPoints(count, 1, step, len(data), False, fields, data, pose)


def _foxglove_pose(message: Any) -> Transform:
    """Read a pose; what it leaves out is zero, or no rotation."""
    pose, frame = message.pose, _typed(message.frame_id, str)
    return checked_transform("", frame, _vector(pose.position), _quaternion(pose.orientation))


def _ros_transforms(message: Any) -> list[Transform]:
    return [
        Transform(
            one.child_frame_id,
            one.header.frame_id,
            _vector(one.transform.translation),
            _quaternion(one.transform.rotation),
        )
        for one in message.transforms
    ]


def _foxglove_transform(message: Any) -> list[Transform]:
    frames = (_typed(message.child_frame_id, str), _typed(message.parent_frame_id, str))
    return [Transform(*frames, _vector(message.translation), _quaternion(message.rotation))]


def _foxglove_transforms(message: Any) -> list[Transform]:
    return [made for one in message.transforms for made in _foxglove_transform(one)]


def _ros_location(message: Any) -> EgoPose:
    if message.status.status == _STATUS_NO_FIX:
        raise LogRefused(NO_FIX, "the receiver has no fix")
    return _location(message)


def _location(message: Any) -> EgoPose:
    latitude, longitude, altitude = (_number(getattr(message, name)) for name in ("latitude", "longitude", "altitude"))
    if not (abs(latitude) <= 90 and abs(longitude) <= 360):
        raise LogRefused("pose-wrong", f"its latitude is {latitude} and its longitude {longitude}")
    # ROS says so: an altitude that is not a number is not known.
    known = altitude if math.isfinite(altitude) else None
    return EgoPose("location", latitude=latitude, longitude=longitude, altitude=known)


def _pose(message: Any) -> EgoPose:
    return _posed("pose", message.pose)


def _ros_odometry(message: Any) -> EgoPose:
    return _posed("odometry", message.pose.pose, message.child_frame_id)


def _foxglove_odometry(message: Any) -> EgoPose:
    return _posed("odometry", message.pose, _typed(message.body_frame_id, str))


def _posed(kind: Literal["pose", "odometry"], pose: Any, child: str = "") -> EgoPose:
    rotation = _quaternion(pose.orientation)
    checked = checked_transform(child, "", _vector(pose.position), rotation)
    return EgoPose(
        kind,
        child=child,
        position=checked.translation,
        # Zeros stand for one that was left out.
        orientation=checked.rotation if any(rotation) else None,
    )


def _vector(of: Any) -> Vector:
    return (_number(of.x), _number(of.y), _number(of.z))


def _quaternion(of: Any) -> Quaternion:
    return (_number(of.x), _number(of.y), _number(of.z), _number(of.w))


# What messages hold, by the name of their type, and how it is read.
_ROS: dict[str, tuple[Holds, Callable[[Any], Content]]] = {
    _RAW: ("pictures", _ros_raw),
    _COMPRESSED: ("pictures", _packed),
    _VIDEO: ("pictures", _packed),
    _CALIBRATION: ("calibrations", _intrinsics),
    _POINTS: ("points", _ros_points),
    _TRANSFORMS: ("transforms", _ros_transforms),
    "sensor_msgs/msg/NavSatFix": ("poses", _ros_location),
    "geometry_msgs/msg/PoseStamped": ("poses", _pose),
    "nav_msgs/msg/Odometry": ("poses", _ros_odometry),
}
_FOXGLOVE: dict[str, tuple[Holds, Callable[[Any], Content]]] = {
    "foxglove.RawImage": ("pictures", _foxglove_raw),
    "foxglove.CompressedImage": ("pictures", _packed),
    "foxglove.CompressedVideo": ("pictures", _packed),
    "foxglove.CameraCalibration": ("calibrations", _intrinsics),
    "foxglove.PointCloud": ("points", _foxglove_points),
    "foxglove.FrameTransform": ("transforms", _foxglove_transform),
    "foxglove.FrameTransforms": ("transforms", _foxglove_transforms),
    "foxglove.LocationFix": ("poses", _location),
    "foxglove.PoseInFrame": ("poses", _pose),
    "foxglove.Odometry": ("poses", _foxglove_odometry),
}


def _ros_decoder(channel: LogChannel, name: str) -> Decoder:
    # Takes tenths of a second to import.
    from rosbags.serde import SerdeError

    store = _known_types(ros1=channel.encoding == "ros1")
    if channel.schema_encoding != BY_NAME:
        _check_definition(channel, name, store)
    holds, read = _ROS[name]

    def decode(data: memoryview) -> Decoded:
        try:
            deserialise = store.deserialize_ros1 if channel.encoding == "ros1" else store.deserialize_cdr
            message: Any = deserialise(data, name)
        except (SerdeError, AssertionError, IndexError) as e:
            raise LogRefused("message-damaged", f"the message is not a {channel.schema}: {e}") from e
        if holds == "transforms":
            return Decoded(0, read(message))
        if name == _VIDEO:
            return Decoded(_nanoseconds(message.timestamp.sec, message.timestamp.nanosec), read(message))
        header = message.header
        return Decoded(_nanoseconds(header.stamp.sec, header.stamp.nanosec), read(message), header.frame_id)

    return decode


@cache
def _known_types(*, ros1: bool) -> Typestore:
    """Return the known types. To make them takes as long as tens of messages, and a slice may have few."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    for name, fields in _DEFINITIONS.items():
        if name not in store.fielddefs:
            store.register(get_types_from_msg(fields, name))
    return store


def _check_definition(channel: LogChannel, name: str, store: Typestore) -> None:
    """Check that a log defines a type as ROS or Foxglove does. LogRefused if it does not."""
    from rosbags.typesys import get_types_from_idl, get_types_from_msg

    if len(channel.definition) > _MAX_DEFINITION:
        raise LogRefused("schema-unknown", f"the definition of {channel.schema} has {len(channel.definition):,} bytes")
    try:
        text = channel.definition.decode()
        found = (
            get_types_from_idl(_plain_idl(text))
            if channel.schema_encoding == "ros2idl"
            else get_types_from_msg(text, name)
        )
    except Exception as e:
        # The parsers raise errors of many kinds for a text that is not in their language.
        raise LogRefused("schema-unknown", f"the definition of {channel.schema} cannot be parsed: {e}") from e
    for needed in _types_in(name, store):
        # Only the known layout is decoded: rosbags makes Python code of definitions, and a log's own may be hostile.
        # ROS 1 has times as a type of its own, without a definition.
        if needed in found or needed != _TIME:
            known = [(field.lower(), kind) for field, kind in store.fielddefs[needed][1]]
            if [(field.lower(), kind) for field, kind in found.get(needed, ([], []))[1]] != known:
                raise LogRefused("schema-unknown", f"the log defines {needed} otherwise than is known")


def _types_in(name: str, store: Typestore) -> list[str]:
    """List a known type and those that it is made of, each once."""
    names = [name]
    for one in names:
        for _, (_, kind) in store.fielddefs[one][1]:
            # Of arrays and sequences, the type of their elements.
            inner = kind[0][1] if isinstance(kind, tuple) and isinstance(kind[0], tuple) else kind
            if isinstance(inner, str) and inner not in names:
                names.append(inner)
    return names


def _plain_idl(text: str) -> str:
    """Take all out of IDL but its types. ValueError for expressions: nested ones would take the parser hours."""
    plain = _IDL_CONSTANTS.sub(" ", _IDL_EXTRAS.sub(" ", _IDL_TEXT.sub('""', text)))
    if "(" in plain or "const" in plain:
        raise ValueError("it has expressions, which no message that is read has")
    return plain


def _protobuf_decoder(channel: LogChannel) -> Decoder:
    parse, (holds, read) = _protobuf_parser(channel), _FOXGLOVE[channel.schema]

    def decode(data: memoryview) -> Decoded:
        message = parse(data)
        try:
            if holds == "transforms":
                return Decoded(0, read(message))
            stamp, frame = message.timestamp, _typed(message.frame_id, str)
            return Decoded(_nanoseconds(stamp.seconds, stamp.nanos), read(message), frame)
        except (AttributeError, TypeError, ValueError) as e:
            raise LogRefused("schema-unknown", f"the log defines {channel.schema} otherwise than Foxglove does") from e

    return decode


def _protobuf_parser(channel: LogChannel) -> Callable[[memoryview], Any]:
    from mcap.records import Schema
    from mcap_protobuf.decoder import DecoderFactory

    schema = Schema(id=channel.id, data=channel.definition, encoding=channel.schema_encoding, name=channel.schema)
    try:
        decode = DecoderFactory().decoder_for("protobuf", schema)
    except Exception as e:
        # Descriptors come from the log, and the library raises errors of many kinds for damaged ones.
        raise LogRefused("schema-unknown", f"the descriptor of {channel.schema} cannot be used: {e}") from e
    if decode is None:
        raise LogRefused("schema-unknown", f"the descriptor of {channel.schema} is {channel.schema_encoding[:40]!r}")

    def parse(data: memoryview) -> Any:
        try:
            return decode(bytes(data))
        except Exception as e:
            # DecodeError, which has other bases in other builds of protobuf.
            raise LogRefused("message-damaged", f"the message is not a {channel.schema}: {e}") from e

    return parse


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is not of type {kind.__name__}")
    return value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, float) else _typed(value, int)


def _nanoseconds(seconds: Any, nanoseconds: Any) -> int:
    return int(_typed(seconds, int)) * 1_000_000_000 + int(_typed(nanoseconds, int))
