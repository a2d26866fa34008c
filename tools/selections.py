"""Shows what selections keep of a drive log: `.venv/bin/python -m tools.selections LOG [SELECTION ...]`.

A selection is written as in the parameter LogSelection: rate=5, or visual_change=3,longest_gap=5.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

from autolabel.contracts.logs import LogDocument, parse_selection
from autolabel_cli.drives.logs import LogRecording, find_source
from autolabel_cli.errors import CommandError

_SELECTIONS = ("", "rate=2", "rate=5", "rate=7", "visual_change=1", "visual_change=3", "visual_change=6")


def main(path: Path, selections: list[str]) -> None:
    """Print a line for each selection, with tracks and without. CommandError if the file is not a log."""
    print(f"{'selection':32} {'tracks':6} {'kept':>7} {'of':>7} {'share':>6} {'longest pause':>13} {'seconds':>8}")
    for text in selections or _SELECTIONS:
        for tracks in (True, False):
            # A video that does not tell its start begins at 1 s here.
            log = find_source(path, else_start=1_000_000_000, document=LogDocument(tracks=tracks))
            if not isinstance(log, LogRecording):
                raise CommandError(f"{path} is not a drive log: give an MCAP log, a bag, a video or an archive")
            log.default = parse_selection(text)
            since = time.process_time()
            times: dict[str, list[int]] = {}
            for frame in log.frames():
                times.setdefault(frame.camera, []).append(frame.timestamp)
            took = time.process_time() - since
            kept, messages = sum(map(len, times.values())), sum(of.messages for of in log.tally.topics.values())
            pause = max((b - a for at in times.values() for a, b in pairwise(sorted(at))), default=0) / 1e9
            line = f"{kept:7,} {messages:7,} {kept / max(1, messages):6.0%} {pause:11.2f} s {took:8.2f}"
            print(f"{text or 'every frame':32} {'yes' if tracks else 'no':6} {line}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except (CommandError, ValueError, IndexError) as e:
        sys.exit(f"{e}\n{__doc__}")
