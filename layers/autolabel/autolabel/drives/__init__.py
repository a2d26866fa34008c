"""Drives: logs, closing, frozen listings, late frames and the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.drives.canary import hours_of_canary, is_canary, start_canary
    from autolabel.drives.closing import Closing
    from autolabel.drives.drive_logs import DriveLogs, logs_left_out, recorded_logs
    from autolabel.drives.late_frames import ChangedObject, changed_objects
    from autolabel.drives.listing import ListingSummary, frozen_listing, read_listing
    from autolabel.drives.sweep import Sweep
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "canary": (
                "hours_of_canary",
                "is_canary",
                "start_canary",
            ),
            "closing": ("Closing",),
            "drive_logs": (
                "DriveLogs",
                "logs_left_out",
                "recorded_logs",
            ),
            "late_frames": (
                "ChangedObject",
                "changed_objects",
            ),
            "listing": (
                "ListingSummary",
                "frozen_listing",
                "read_listing",
            ),
            "sweep": ("Sweep",),
        },
    )

__all__ = [
    "ChangedObject",
    "Closing",
    "DriveLogs",
    "ListingSummary",
    "Sweep",
    "changed_objects",
    "frozen_listing",
    "hours_of_canary",
    "is_canary",
    "logs_left_out",
    "read_listing",
    "recorded_logs",
    "start_canary",
]
