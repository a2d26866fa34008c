"""The annotator of the chaos test: keeps every box and adds one of its own, unless a fault strikes the job.

In a strip it draws an object of its own, which has a box in every frame.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from local import (
    FAULT_BOARD,
    Annotation,
    Box,
    Boxes,
    Failure,
    Fault,
    JobFails,
    JobStops,
    JobView,
    TrackedBox,
    Tracks,
    VideoSequence,
    keep_every_box,
)

_lock = threading.Lock()
_faults: dict[str, Fault | None] = {}
_begun: Counter[str] = Counter()
# Strips share it: an id belongs to its strip.
_OBJECT = "drawn"


def annotate(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Keep every box; the first line of a job decides which fault strikes it."""
    of_tracks = job.kind == "tracking"
    with _lock:
        if job.name not in _faults:
            _faults[job.name] = FAULT_BOARD.draw("job", lambda fault: fault.target in job.name)
        fault = _faults[job.name]
        _begun[job.name] += 1
        # A job has few strips. Two of three are left open, so that the next attempt can be left half way too.
        left_open = _begun[job.name] % 3 != 1 if of_tracks else _begun[job.name] % 2 == 0
    match fault.kind if fault else "":
        case "failed":
            raise JobFails("the job broke down")
        case "half-failed" if left_open:
            # The other reviewers answer first.
            job.stopping.wait(1)
            raise JobFails("the job broke down half way")
        case "stopped":
            job.stopping.set()
        # All strips of a job, so that its second round has several too.
        case "unlabelled" if of_tracks or zlib.crc32(line["source-ref"].encode()) % 2:
            return Failure("the picture is too dark")
        case ("half-answered" | "late-manifest" | "no-manifest") as kind if fault and left_open:
            while FAULT_BOARD.armed and not job.stopping.wait(0.1):
                pass
            if job.stopping.is_set():
                raise JobStops({"half-answered": 0.0, "late-manifest": fault.seconds}.get(kind))
    return _signed(keep_every_box(line, job), line, job)


def _signed(annotation: Annotation | Failure, line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Add a box that tells this answer from the models' boxes, and from the answers of other jobs.

    In some frames the first box is deleted, which may be a seeded error.
    """
    if isinstance(annotation, Tracks):
        return _signed_tracks(annotation, job.sequence(line), job)
    if not isinstance(annotation, Boxes):
        return annotation
    uri = line["source-ref"]
    return replace(annotation, boxes=(*annotation.boxes[_deleted(uri) :], _signature(uri, job)))


def _signed_tracks(shown: Tracks, sequence: VideoSequence, job: JobView) -> Tracks:
    frames = {}
    for frame in sequence.frames:
        uri = str(frame.uri)
        own = _signature(uri, job)
        drawn = TrackedBox(own.label, own.left, own.top, own.width, own.height, _OBJECT, f"{own.label}:99")
        frames[frame.name] = (*shown.frames.get(frame.name, ())[_deleted(uri) :], drawn)
    return Tracks(frames)


def _deleted(uri: str) -> int:
    """The number of boxes that are deleted in a frame."""
    return int(zlib.crc32(f"deletes {uri}".encode()) % 3 == 0)


def _signature(uri: str, job: JobView) -> Box:
    top, left = divmod(zlib.crc32(f"{job.name} {uri}".encode()) % 100_000, 600)
    return Box(job.labels[0], left, top, 8, 8)
