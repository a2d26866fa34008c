"""The annotator of the chaos test: keeps every box, unless a fault strikes the job."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from typing import Any

from local import FAULT_BOARD, Annotation, Failure, JobFails, JobView, keep_every_box

_lock = threading.Lock()
_faults: dict[str, str] = {}


def annotate(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Keep every box; the first line of a job decides which fault strikes it."""
    with _lock:
        if job.name not in _faults:
            fault = FAULT_BOARD.draw("job", lambda fault: fault.target in job.name)
            _faults[job.name] = fault.kind if fault else ""
    match _faults[job.name]:
        case "failed":
            raise JobFails("the job broke down")
        case "stopped":
            job.stopping.set()
        case "unlabelled" if zlib.crc32(line["source-ref"].encode()) % 2:
            return Failure("the picture is too dark")
    return keep_every_box(line, job)
