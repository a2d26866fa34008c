"""The annotator of the rehearsals: keeps every box, unless a job's fault strikes."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from typing import Any

from local import FAULT_BOARD, Annotation, Failure, JobFails, JobView, keep_every_box

_lock = threading.Lock()
_fates: dict[str, str] = {}


def annotate(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Keep every box; a job's fate is drawn at its first line."""
    with _lock:
        if job.name not in _fates:
            fault = FAULT_BOARD.draw("job", lambda fault: fault.target in job.name)
            _fates[job.name] = fault.kind if fault else ""
    match _fates[job.name]:
        case "failed":
            raise JobFails("the job broke down")
        case "stopped":
            job.stopping.set()
        case "unlabelled" if zlib.crc32(line["source-ref"].encode()) % 2:
            return Failure("the picture is too dark")
    return keep_every_box(line, job)
