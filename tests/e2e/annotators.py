"""The annotator of these tests: keeps every box, but the first try of a `stopped…` drive's first job waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.sagemaker.annotators import Annotation, Failure, JobView, keep_every_box

PATIENCE_SECONDS = 60


def annotate(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Keep every box; a frame of camera `unlabelled` cannot be labelled."""
    if job.name.startswith("stopped") and job.name.endswith("-000-1"):
        job.stopping.wait(PATIENCE_SECONDS)
    if "/unlabelled/" in line["source-ref"]:
        return Failure("the picture is too dark")
    return keep_every_box(line, job)
