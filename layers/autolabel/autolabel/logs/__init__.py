"""Drive logs: index, slices, messages and frames of MCAP logs, ROS bags, videos and archives, read by ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.logs.calibrations import Calibrations, read_calibrations
    from autolabel.logs.containers import LogMessage, Place
    from autolabel.logs.extraction import (
        Extracted,
        ExtractedFrame,
        LeftMessage,
        Tally,
        TopicTally,
        extract_frames,
    )
    from autolabel.logs.image_files import (
        IMAGES,
        RECEIPT,
        TIMESTAMPS,
        FrameTime,
        camera_folder,
        folder_camera,
        frame_times,
        natural_order,
        parse_timestamps,
    )
    from autolabel.logs.index import (
        START_MISSING,
        Chunk,
        LogChannel,
        LogIndex,
        LogSlice,
        UnreadRange,
        plan_slices,
        set_start,
    )
    from autolabel.logs.kinds import HEAD_BYTES, Kind, tell_kind
    from autolabel.logs.messages import inspect_log, read_messages
    from autolabel.logs.selection import Selection, Timestamps, choose_selection, unlinked_note
    from autolabel.logs.sensors import Sensors, camera_name, choose_sensors
    from autolabel.logs.steps import LogExtraction
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "calibrations": (
                "Calibrations",
                "read_calibrations",
            ),
            "containers": (
                "LogMessage",
                "Place",
            ),
            "extraction": (
                "Extracted",
                "ExtractedFrame",
                "LeftMessage",
                "Tally",
                "TopicTally",
                "extract_frames",
            ),
            "image_files": (
                "IMAGES",
                "RECEIPT",
                "TIMESTAMPS",
                "FrameTime",
                "camera_folder",
                "folder_camera",
                "frame_times",
                "natural_order",
                "parse_timestamps",
            ),
            "index": (
                "START_MISSING",
                "Chunk",
                "LogChannel",
                "LogIndex",
                "LogSlice",
                "UnreadRange",
                "plan_slices",
                "set_start",
            ),
            "kinds": (
                "HEAD_BYTES",
                "Kind",
                "tell_kind",
            ),
            "messages": (
                "inspect_log",
                "read_messages",
            ),
            "selection": (
                "Selection",
                "Timestamps",
                "choose_selection",
                "unlinked_note",
            ),
            "sensors": (
                "Sensors",
                "camera_name",
                "choose_sensors",
            ),
            "steps": ("LogExtraction",),
        },
    )

__all__ = [
    "HEAD_BYTES",
    "IMAGES",
    "RECEIPT",
    "START_MISSING",
    "TIMESTAMPS",
    "Calibrations",
    "Chunk",
    "Extracted",
    "ExtractedFrame",
    "FrameTime",
    "Kind",
    "LeftMessage",
    "LogChannel",
    "LogExtraction",
    "LogIndex",
    "LogMessage",
    "LogSlice",
    "Place",
    "Selection",
    "Sensors",
    "Tally",
    "Timestamps",
    "TopicTally",
    "UnreadRange",
    "camera_folder",
    "camera_name",
    "choose_selection",
    "choose_sensors",
    "extract_frames",
    "folder_camera",
    "frame_times",
    "inspect_log",
    "natural_order",
    "parse_timestamps",
    "plan_slices",
    "read_calibrations",
    "read_messages",
    "set_start",
    "tell_kind",
    "unlinked_note",
]
