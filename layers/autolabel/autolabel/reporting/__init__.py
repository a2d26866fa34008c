"""Reports the results of a run and the reviewers' changes, as figures and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.reporting.edits import ClassEdits, EditTally, compare, summarise
    from autolabel.reporting.findings import Findings
    from autolabel.reporting.pace import worker_name
    from autolabel.reporting.pictures import Album
    from autolabel.reporting.prices import Prices, read_prices
    from autolabel.reporting.ranking import Foremost
    from autolabel.reporting.report import Gallery, render_differences, write_report
    from autolabel.reporting.sensor_errors import CameraLabel, SensorIssue, find_sensor_issues
    from autolabel.reporting.summary import MANY_REJECTED, Summary
    from autolabel.reporting.time_errors import TimedIssues, TimedLabel, TimeSearch
    from autolabel.reporting.vigilance import least_rate
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "edits": (
                "ClassEdits",
                "EditTally",
                "compare",
                "summarise",
            ),
            "findings": ("Findings",),
            "pace": ("worker_name",),
            "pictures": ("Album",),
            "prices": (
                "Prices",
                "read_prices",
            ),
            "ranking": ("Foremost",),
            "report": (
                "Gallery",
                "render_differences",
                "write_report",
            ),
            "sensor_errors": (
                "CameraLabel",
                "SensorIssue",
                "find_sensor_issues",
            ),
            "summary": (
                "MANY_REJECTED",
                "Summary",
            ),
            "time_errors": (
                "TimeSearch",
                "TimedIssues",
                "TimedLabel",
            ),
            "vigilance": ("least_rate",),
        },
    )

__all__ = [
    "MANY_REJECTED",
    "Album",
    "CameraLabel",
    "ClassEdits",
    "EditTally",
    "Findings",
    "Foremost",
    "Gallery",
    "Prices",
    "SensorIssue",
    "Summary",
    "TimeSearch",
    "TimedIssues",
    "TimedLabel",
    "compare",
    "find_sensor_issues",
    "least_rate",
    "read_prices",
    "render_differences",
    "summarise",
    "worker_name",
    "write_report",
]
