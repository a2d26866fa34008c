"""Sequences: link the detections of a camera's frames into tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.sequences.finished_tracks import FinishedFrame, link_and_finish
    from autolabel.sequences.linking import Sight
    from autolabel.sequences.run_links import LinkCursor, link_run
    from autolabel.sequences.tracks import LEAST_RATE, Track, TrackBox, link_frames
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "finished_tracks": (
                "FinishedFrame",
                "link_and_finish",
            ),
            "run_links": (
                "LinkCursor",
                "link_run",
            ),
            "linking": ("Sight",),
            "tracks": (
                "LEAST_RATE",
                "Track",
                "TrackBox",
                "link_frames",
            ),
        },
    )

__all__ = [
    "LEAST_RATE",
    "FinishedFrame",
    "LinkCursor",
    "Sight",
    "Track",
    "TrackBox",
    "link_and_finish",
    "link_frames",
    "link_run",
]
