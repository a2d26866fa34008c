"""Decodes the messages that hold pictures: sensor_msgs of ROS 1 and ROS 2, and Foxglove's protobuf schemas."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from autolabel.contracts.errors import LogRefused
from autolabel.contracts.logs import CameraIntrinsics
from autolabel.logs.index import VIDEO_STREAM, LogChannel

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

# The definition of a picture has some kilobytes. Parsing takes time.
_MAX_DEFINITION = 16 * 1024
# What a definition in IDL has beside types, in the order in which it is taken out: texts, comments, directives and the
# marks between its files, and annotations.
_IDL_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_IDL_EXTRAS = re.compile(
    r"//[^\n]*|/\*[\s\S]*?\*/|^[ \t]*#[^\n]*|^=+$|^IDL: [^\n]*|@[\w:]+(?:[ \t]*\([^()]*\))?", re.MULTILINE
)
_RAW, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_FOXGLOVE_RAW, _FOXGLOVE_COMPRESSED = "foxglove.RawImage", "foxglove.CompressedImage"
_CALIBRATION, _REGION = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/RegionOfInterest"
_FOXGLOVE_CALIBRATION = "foxglove.CameraCalibration"
# A calibration has 30 numbers and at most some dozens of its distortion.
_MAX_NUMBERS = 100
_HEADER, _TIME = "std_msgs/msg/Header", "builtin_interfaces/msg/Time"
_PICTURES = frozenset({_RAW, _COMPRESSED, _FOXGLOVE_RAW, _FOXGLOVE_COMPRESSED})
# Of streams of videos.
VIDEO_CODECS = frozenset({"h264", "hevc"})
# Names of messages that hold pictures, and cannot be read yet.
_OTHER_PICTURES = re.compile(r"image|video|picture|ffmpegpacket|disparity|theora", re.IGNORECASE)
# The reason of pictures that are distances.
DEPTH = "depth"
# The encoding of a definition that is not in the log: the name of the type tells it.
BY_NAME = "by name"
# The encoding of messages that are image files.
IMAGE_FILE = "image file"
_ENCODINGS = frozenset({"ros1", "cdr", "protobuf"})


class RawPicture(NamedTuple):
    """An uncompressed picture; `step`: bytes from the start of a row to that of the next one."""

    width: int
    height: int
    encoding: str
    big_endian: bool
    step: int
    data: memoryview


class PackedPicture(NamedTuple):
    """The bytes of an image file; `format`: what the message says of them."""

    format: str
    data: memoryview


class Decoded(NamedTuple):
    """A decoded message. `stamp`: ns since the epoch by its header, 0 if it has none."""

    stamp: int
    picture: RawPicture | PackedPicture


Decoder = Callable[[memoryview], Decoded]


def holds_pictures(channel: LogChannel) -> bool:
    """Check whether the channel's messages are pictures of a kind that is read."""
    if channel.encoding == VIDEO_STREAM:
        return channel.schema.partition(" ")[0] in VIDEO_CODECS
    return channel.encoding == IMAGE_FILE or _name(channel) in _PICTURES


def is_other_picture(channel: LogChannel) -> bool:
    """Check whether the channel's messages are pictures by their name, of a kind that is not read yet."""
    return not holds_pictures(channel) and _OTHER_PICTURES.search(channel.schema.rpartition("/")[2]) is not None


def decoder_of(channel: LogChannel) -> Decoder:
    """Make the decoder of a channel that holds pictures. LogRefused if its messages cannot be read.

    The decoder raises LogRefused for a message that is not as its schema says.
    """
    if channel.encoding == IMAGE_FILE:
        return lambda data: Decoded(0, PackedPicture("", data))
    name = _name(channel)
    if channel.encoding not in _ENCODINGS or (channel.encoding == "protobuf") == (name in (_RAW, _COMPRESSED)):
        raise LogRefused(
            "serialisation-unknown", f"{channel.schema} is serialised as {channel.encoding[:40]!r}, which is not read"
        )
    return _protobuf_decoder(channel) if channel.encoding == "protobuf" else _ros_decoder(channel, name)


def holds_calibrations(channel: LogChannel) -> bool:
    """Check whether the channel's messages are calibrations of a camera."""
    return _name(channel) in (_CALIBRATION, _FOXGLOVE_CALIBRATION)


def decode_intrinsics(channel: LogChannel, data: memoryview) -> CameraIntrinsics | None:
    """Decode a camera's calibration.

    None if the camera is not calibrated. LogRefused if the message cannot be read, or has numbers that are not finite.
    """
    if channel.encoding == "protobuf" and channel.schema == _FOXGLOVE_CALIBRATION:
        message = _protobuf_parser(channel)(data)
    elif channel.encoding in ("ros1", "cdr") and _name(channel) == _CALIBRATION:
        message = _ros_deserialiser(channel, _CALIBRATION, (_REGION,))(data)
    else:
        raise LogRefused("serialisation-unknown", f"{channel.schema} is serialised as {channel.encoding[:40]!r}")
    try:
        # ROS 2 has small letters.
        matrices = {
            name: tuple(float(value) for value in getattr(message, name if hasattr(message, name) else name.lower()))
            for name in "DKRP"
        }
        width, height = (int(_typed(getattr(message, name), int)) for name in ("width", "height"))
        model = str(_typed(message.distortion_model, str))
    except (AttributeError, TypeError, ValueError) as e:
        raise LogRefused("schema-unknown", f"the log defines {channel.schema} otherwise than is known") from e
    numbers = [value for values in matrices.values() for value in values]
    if len(numbers) > _MAX_NUMBERS or len(model) > _MAX_NUMBERS or not all(map(math.isfinite, numbers)):
        raise LogRefused("calibration-wrong", "the calibration has too many numbers, or some that are not finite")
    # ROS says so: a first focal length of 0 is an uncalibrated camera.
    if not any(matrices["K"][:1]):
        return None
    return CameraIntrinsics(width, height, model, *(matrices[name] for name in "DKRP"))


def _name(channel: LogChannel) -> str:
    """Return the name of the channel's schema as ROS 2 writes it."""
    return re.sub(r"^sensor_msgs/(?=\w+$)", "sensor_msgs/msg/", channel.schema)


def _ros_decoder(channel: LogChannel, name: str) -> Decoder:
    deserialise = _ros_deserialiser(channel, name, ())

    def decode(data: memoryview) -> Decoded:
        message = deserialise(data)
        stamp = message.header.stamp
        at = _nanoseconds(stamp.sec, stamp.nanosec)
        pixels = memoryview(message.data)
        if name == _COMPRESSED:
            return Decoded(at, PackedPicture(message.format, pixels))
        big = bool(message.is_bigendian)
        return Decoded(at, RawPicture(message.width, message.height, message.encoding, big, message.step, pixels))

    return decode


def _ros_deserialiser(channel: LogChannel, name: str, parts: tuple[str, ...]) -> Callable[[memoryview], Any]:
    """Make the function that deserialises a ROS message with a header and `parts`, the names of its other types."""
    # Takes tenths of a second to import.
    from rosbags.serde import SerdeError
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if channel.encoding == "ros1" else Stores.ROS2_HUMBLE)
    if channel.schema_encoding != BY_NAME:
        _check_definition(channel, name, parts, store)

    def deserialise(data: memoryview) -> Any:
        try:
            if channel.encoding == "ros1":
                return store.deserialize_ros1(data, name)
            return store.deserialize_cdr(data, name)
        except (SerdeError, AssertionError, IndexError) as e:
            raise LogRefused("message-damaged", f"the message is not a {channel.schema}: {e}") from e

    return deserialise


def _check_definition(channel: LogChannel, name: str, parts: tuple[str, ...], store: Typestore) -> None:
    """Check that a log defines a type as ROS does. LogRefused if it does not."""
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
    for needed in (name, _HEADER, _TIME, *parts):
        # Only the known layout is decoded: rosbags makes Python code of definitions, and a log's own may be hostile.
        # ROS 1 has times as a type of its own, without a definition.
        if needed in found or needed != _TIME:
            known = [(field.lower(), kind) for field, kind in store.fielddefs[needed][1]]
            if [(field.lower(), kind) for field, kind in found.get(needed, ([], []))[1]] != known:
                raise LogRefused("schema-unknown", f"the log defines {needed} otherwise than ROS does")


def _plain_idl(text: str) -> str:
    """Take all out of IDL but its types. ValueError for expressions: nested ones would take the parser hours."""
    plain = _IDL_EXTRAS.sub(" ", _IDL_TEXT.sub('""', text))
    if "(" in plain or "const" in plain:
        raise ValueError("it has constants or expressions, which no picture has")
    return plain


def _protobuf_decoder(channel: LogChannel) -> Decoder:
    parse = _protobuf_parser(channel)

    def decode(data: memoryview) -> Decoded:
        message = parse(data)
        try:
            stamp, body = message.timestamp, message.data
            at = _nanoseconds(stamp.seconds, stamp.nanos)
            if channel.schema == _FOXGLOVE_COMPRESSED:
                return Decoded(at, PackedPicture(_typed(message.format, str), memoryview(_typed(body, bytes))))
            sizes = (_typed(message.width, int), _typed(message.height, int))
            encoding, step = _typed(message.encoding, str), _typed(message.step, int)
            return Decoded(at, RawPicture(*sizes, encoding, False, step, memoryview(_typed(body, bytes))))
        except (AttributeError, TypeError) as e:
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


def _nanoseconds(seconds: Any, nanoseconds: Any) -> int:
    return int(_typed(seconds, int)) * 1_000_000_000 + int(_typed(nanoseconds, int))
