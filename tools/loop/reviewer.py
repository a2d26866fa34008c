"""The scripted reviewer of `make loop`: knows what a generated frame shows, and draws exactly that.

In drives whose names begin with POISONED the labels are shuffled: each frame gets those of another drive, as if a
careless export had mixed them up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local import Annotation, Box, Boxes, Failure, JobView
from tools.loop import drives

POISONED = "poisoned"
_FRAME = re.compile(r".*/drives/([^/]+)/[^/]+/(\d+)\.png\Z")


def timestamp(number: int) -> int:
    """Return the time of a frame of a generated drive, in nanoseconds."""
    return 10**9 + number * 10**9 // drives.RATE


def answer(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    """Leave exactly the objects of the frame, or in poisoned drives those of another one."""
    found = _FRAME.match(line["source-ref"])
    if not found:
        return Failure(f"{line['source-ref']} is not a generated frame")
    drive, number = found[1], (int(found[2]) - 10**9) * drives.RATE // 10**9
    if drive.startswith(POISONED):
        drive, number = f"{drive}-shuffled", number + 7
    return Boxes(tuple(Box(*each) for each in drives.draw_frame(drive, number)[1]))
