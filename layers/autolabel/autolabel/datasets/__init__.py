"""Assembles the dataset of a run for verification, and publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.datasets.assembly import assemble_run
    from autolabel.datasets.cuboid_jobs import CuboidJobs, plan_cuboid_jobs
    from autolabel.datasets.earlier_runs import Collected, take_over_earlier_runs
    from autolabel.datasets.lifting import PartLifted, lift_part
    from autolabel.datasets.parts import Part
    from autolabel.datasets.publication import Publication, plan_publication, publish_part, publish_run
    from autolabel.datasets.verified_labels import FinishedJob
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "assembly": ("assemble_run",),
            "cuboid_jobs": (
                "CuboidJobs",
                "plan_cuboid_jobs",
            ),
            "earlier_runs": (
                "Collected",
                "take_over_earlier_runs",
            ),
            "lifting": ("PartLifted", "lift_part"),
            "parts": ("Part",),
            "publication": (
                "Publication",
                "plan_publication",
                "publish_part",
                "publish_run",
            ),
            "verified_labels": ("FinishedJob",),
        },
    )

__all__ = [
    "Collected",
    "CuboidJobs",
    "FinishedJob",
    "Part",
    "PartLifted",
    "Publication",
    "assemble_run",
    "lift_part",
    "plan_cuboid_jobs",
    "plan_publication",
    "publish_part",
    "publish_run",
    "take_over_earlier_runs",
]
