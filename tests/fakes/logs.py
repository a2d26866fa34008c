"""Drive logs, written by the containers' own writers; and a source that counts what is read of them."""

from __future__ import annotations

import io
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.CompressedVideo_pb2 import CompressedVideo
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.Odometry_pb2 import Odometry
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from mcap.writer import CompressionType, Writer
from PIL import Image
from rosbags.interfaces import Nodetype
from rosbags.rosbag1 import Writer as BagWriter
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from tests.fakes.images import saved

Encoding = Literal["cdr", "idl", "ros1", "protobuf"]
START = 1_700_000_000_000_000_000
STEP = 100_000_000
WIDTH, HEIGHT = 24, 16
VIDEO = "foxglove_msgs/msg/CompressedVideo"
FRONT, REAR, LIDAR = "/camera/front/image_raw/compressed", "/camera/rear/image_raw", "/lidar/points"


# Numbers of sensor_msgs/PointField.
_POINT_TYPES = {"u2": 4, "f4": 7}


class Sent(NamedTuple):
    """A message to write. `stamp`: of its header. `raw`: the fields of an Image; `packed`: those of an image file.

    `info`: those of a calibration. `video`: format and data of a picture of a video. `made`: a message of protobuf, or
    the type of another ROS message and its fields; those left out are zero. A message with none of them is of another
    type, with `noise` bytes.
    """

    topic: str
    stamp: int
    log_time: int
    raw: dict[str, Any] | None = None
    packed: tuple[str, bytes] | None = None
    noise: int = 0
    info: dict[str, Any] | None = None
    video: tuple[str, bytes] | None = None
    made: tuple[str, dict[str, Any]] | Message | None = None
    frame: str = "camera"


@cache
def pixels(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB pixels that differ in all rows, columns and channels."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


@cache
def jpeg(number: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return saved(Image.fromarray(pixels(number, width, height)), "JPEG")


def raw(
    data: bytes,
    encoding: str = "rgb8",
    step: int | None = None,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    **more: Any,
) -> dict[str, Any]:
    step = len(data) // height if step is None else step
    return {
        "width": width,
        "height": height,
        "encoding": encoding,
        "step": step,
        "data": data,
        "is_bigendian": 0,
        **more,
    }


def xyzi(number: int, points: int = 30) -> np.ndarray:
    return np.random.default_rng(number).normal(0, 20, (points, 4)).astype("<f4")


def ros_cloud(number: int, points: int = 30) -> tuple[str, dict[str, Any]]:
    """A message as Velodyne's driver makes it: x, y, z, intensity, a gap, ring."""
    fields = [("x", 0, "f4"), ("y", 4, "f4"), ("z", 8, "f4"), ("intensity", 16, "f4"), ("ring", 20, "u2")]
    body = bytearray(points * 24)
    for at, (x, y, z, strength) in enumerate(xyzi(number, points)):
        struct.pack_into("<3f4xfH", body, at * 24, x, y, z, strength, at % 32)
    described = [
        {"name": name, "offset": offset, "datatype": _POINT_TYPES[kind], "count": 1} for name, offset, kind in fields
    ]
    sizes = {"height": 1, "width": points, "point_step": 24, "row_step": points * 24, "is_dense": True}
    return "sensor_msgs/msg/PointCloud2", {**sizes, "fields": described, "data": bytes(body)}


def drive(frames: int = 6, noise: int = 0, width: int = WIDTH, height: int = HEIGHT) -> list[Sent]:
    """Messages of a drive: a compressed front camera, a raw rear camera, and a LiDAR with `noise` bytes between."""
    sent = []
    for number in range(frames):
        stamp = START + number * STEP
        log_time = stamp + 7_000_000
        sent += [
            Sent(FRONT, stamp, log_time, packed=("jpeg", jpeg(number, width, height))),
            Sent(LIDAR, stamp, log_time + 1, noise=noise),
            Sent(
                REAR,
                stamp + 5,
                log_time + 2,
                raw=raw(pixels(number, width, height).tobytes(), width=width, height=height),
            ),
        ]
    return sent


def mcap_log(
    messages: Iterable[Sent],
    encoding: Encoding = "cdr",
    compression: str = "zstd",
    chunk_size: int = 4096,
    **options: Any,
) -> bytes:
    """Write an MCAP log. `options`: of the writer."""
    target = io.BytesIO()
    write_mcap(target, messages, encoding, compression, chunk_size, **options)
    return target.getvalue()


def write_mcap(
    target: BinaryIO,
    messages: Iterable[Sent],
    encoding: Encoding = "cdr",
    compression: str = "zstd",
    chunk_size: int = 4096,
    **options: Any,
) -> None:
    """Write an MCAP log into a file, message by message."""
    kinds = {"": CompressionType.NONE, "lz4": CompressionType.LZ4, "zstd": CompressionType.ZSTD}
    writer = Writer(target, chunk_size=chunk_size, compression=kinds[compression], **options)
    writer.start(profile="", library="test")
    channels: dict[str, int] = {}
    for message in messages:
        name, data = serialised(message, encoding)
        if message.topic not in channels:
            schema_encoding, definition = definition_of(name, encoding)
            schema = writer.register_schema(name, schema_encoding, definition)
            wire = "cdr" if encoding == "idl" else encoding
            channels[message.topic] = writer.register_channel(message.topic, wire, schema)
        writer.add_message(channels[message.topic], message.log_time, data, message.log_time)
    writer.finish()  # type: ignore[no-untyped-call]


def bag_log(messages: Sequence[Sent], compression: str = "none", chunk_size: int = 4096) -> bytes:
    """Write a ROS 1 bag."""
    store = typestore("ros1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.bag"
        writer = BagWriter(path)
        writer.chunk_threshold = chunk_size
        if compression != "none":
            writer.set_compression(BagWriter.CompressionFormat[compression.upper()])
        with writer:
            connections: dict[str, Any] = {}
            for message in messages:
                name, data = serialised(message, "ros1")
                if message.topic not in connections:
                    kind = name.replace("/", "/msg/")
                    connections[message.topic] = writer.add_connection(message.topic, kind, typestore=store)
                writer.write(connections[message.topic], message.log_time, data)
        return path.read_bytes()


def sqlite_log(messages: Iterable[Sent], encoding: Encoding = "cdr", change: str = "") -> bytes:
    """Write a ROS 2 bag in an SQLite file. `change`: SQL that is run on it then."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with Ros2Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
            connections: dict[str, Any] = {}
            for message in messages:
                name, data = serialised(message, "cdr")
                if message.topic not in connections:
                    text = definition_of(name, encoding)[1].decode()
                    connections[message.topic] = writer.add_connection(message.topic, name, msgdef=text, rihs01="-")
                writer.write(connections[message.topic], message.log_time, data)
        file = path / "log.db3"
        if change:
            with closing(sqlite3.connect(file)) as database:
                database.executescript(change)
        return file.read_bytes()


def serialised(message: Sent, encoding: Encoding) -> tuple[str, bytes]:
    """Return the name of a message's type, and its bytes."""
    if encoding == "protobuf":
        return _protobuf(message)
    ros1 = encoding == "ros1"
    store = typestore(encoding)
    if message.made is not None:
        kind, given = cast("tuple[str, dict[str, Any]]", message.made)
        stamp = {"sec": message.stamp // 10**9, "nanosec": message.stamp % 10**9}
        made = _built(store, kind, {"header": {"stamp": stamp, "frame_id": message.frame}} | given)
        data = bytes(store.serialize_ros1(made, kind) if ros1 else store.serialize_cdr(made, kind))
        return kind.replace("/msg/", "/") if ros1 else kind, data
    time = store.types["builtin_interfaces/msg/Time"](sec=message.stamp // 10**9, nanosec=message.stamp % 10**9)
    header = store.types["std_msgs/msg/Header"](**{"seq": 1} if ros1 else {}, stamp=time, frame_id=message.frame)
    if message.raw is not None:
        kind = "Image"
        fields = {**message.raw, "data": np.frombuffer(message.raw["data"], np.uint8)}
    elif message.packed is not None:
        kind = "CompressedImage"
        fields = {"format": message.packed[0], "data": np.frombuffer(message.packed[1], np.uint8)}
    elif message.info is not None:
        kind = "CameraInfo"
        region = store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        arrays = {(n if ros1 else n.lower()): np.array(v) for n, v in message.info.items() if n in "DKRP"}
        others = {n: v for n, v in message.info.items() if n not in "DKRP"}
        fields = {**others, **arrays, "binning_x": 0, "binning_y": 0, "roi": region}
    else:
        kind = "CompressedImage"
        fields = {"format": "noise", "data": np.random.default_rng(0).integers(0, 256, message.noise, np.uint8)}
    name = f"sensor_msgs/msg/{kind}"
    made = store.types[name](header=header, **fields)
    if message.video is not None:
        name = VIDEO
        picture = np.frombuffer(message.video[1], np.uint8)
        made = store.types[name](timestamp=time, frame_id="camera", data=picture, format=message.video[0])
    data = bytes(store.serialize_ros1(made, name) if ros1 else store.serialize_cdr(made, name))
    if message.raw is None and message.packed is None and message.info is None and message.video is None:
        name = "std_msgs/msg/ByteMultiArray"
    return name.replace("/msg/", "/") if ros1 else name, data


@cache
def typestore(encoding: Encoding) -> Typestore:
    store = get_typestore(Stores.ROS1_NOETIC if encoding == "ros1" else Stores.ROS2_HUMBLE)
    if encoding == "ros1":
        store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))
    fields = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format"
    store.register(get_types_from_msg(fields, VIDEO))
    return store


def _built(store: Typestore, name: str, given: dict[str, Any]) -> Any:
    """Make a ROS message of dictionaries, lists and numbers."""
    made: dict[str, Any] = {}
    for field, described in store.fielddefs[name][1]:
        node, kind = cast("tuple[Nodetype, Any]", described)
        value = given.get(field)
        if node is Nodetype.NAME:
            made[field] = _built(store, kind, value or {})
        elif node is Nodetype.BASE:
            made[field] = ("" if kind[0] == "string" else 0) if value is None else value
        elif kind[0][0] is Nodetype.NAME:
            made[field] = [_built(store, kind[0][1], one) for one in value or ()]
        else:
            made[field] = np.array([0] * kind[1] if value is None else list(value), kind[0][1][0])
    return store.types[name](**made)


def _protobuf(message: Sent) -> tuple[str, bytes]:
    if isinstance(message.made, Message):
        return message.made.DESCRIPTOR.full_name, message.made.SerializeToString()
    made: Any = CompressedImage()
    if message.raw is not None:
        made = RawImage()
    if message.info is not None:
        made = CameraCalibration()
    if message.video is not None:
        made = CompressedVideo()
    made.timestamp.FromNanoseconds(message.stamp)
    if message.raw is not None:
        for name, value in message.raw.items():
            if name != "is_bigendian":
                setattr(made, name, value)
    elif message.info is not None:
        for name, value in message.info.items():
            if name in "DKRP":
                getattr(made, name).extend(value)
            else:
                setattr(made, name, value)
    elif message.packed is not None:
        made.format, made.data = message.packed
    elif message.video is not None:
        made.format, made.data = message.video
    else:
        made.data = bytes(message.noise)
        return "foxglove.PointCloud", made.SerializeToString()
    return made.DESCRIPTOR.full_name, made.SerializeToString()


@cache
def definition_of(name: str, encoding: Encoding) -> tuple[str, bytes]:
    if encoding == "protobuf":
        files: dict[str, FileDescriptor] = {}

        def add(file: FileDescriptor) -> None:
            for needed in file.dependencies:
                add(needed)
            files[file.name] = file

        images = (RawImage, CompressedImage, CompressedVideo, CameraCalibration)
        places = (LocationFix, PoseInFrame, Odometry)
        written = (*images, *places, PointCloud, FrameTransform, FrameTransforms)
        kinds = {kind.DESCRIPTOR.full_name: kind for kind in written}
        add(kinds.get(name, CompressedImage).DESCRIPTOR.file)
        described = FileDescriptorSet()
        for file in files.values():
            file.CopyToProto(described.file.add())
        return "protobuf", described.SerializeToString()
    if encoding == "idl":
        return "ros2idl", IDL.replace("KIND", name.rpartition("/")[2]).encode()
    store = typestore(encoding)
    full = name if "/msg/" in name else name.replace("/", "/msg/")
    text, _ = store.generate_msgdef(full, ros_version=1 if encoding == "ros1" else 2)
    return f"{'ros1' if encoding == 'ros1' else 'ros2'}msg", text.encode()


# As rosbag2 writes the definition of a type in IDL: one file after the other.
IDL = """================================================================================
IDL: sensor_msgs/msg/KIND
// generated from rosidl_adapter/resource/msg.idl.em
#include "std_msgs/msg/Header.idl"

module sensor_msgs {
  module msg {
    @verbatim (language="comment", text=
      "This message contains an uncompressed image" "\n"
      "((0, 0) is at its top-left corner)")
    struct Image {
      @unit (value="s") // of its acquisition
      std_msgs::msg::Header header;
      uint32 height;
      uint32 width;
      string encoding;
      uint8 is_bigendian;
      uint32 step;
      sequence<uint8> data;
    };
    struct CompressedImage {
      std_msgs::msg::Header header;
      string format;
      sequence<uint8> data;
    };
    struct ByteMultiArray {
      sequence<uint8> data;
    };
  };
};
================================================================================
IDL: std_msgs/msg/Header
module std_msgs {
  module msg {
    struct Header {
      builtin_interfaces::msg::Time stamp;
      string frame_id;
    };
  };
};
================================================================================
IDL: builtin_interfaces/msg/Time
module builtin_interfaces {
  module msg {
    struct Time {
      int32 sec;
      uint32 nanosec;
    };
  };
};
"""
