"""The model server of the chaos test: answers by a frame's width (tests/e2e/choosy_model.py), or fails by its moods.

`python -m tools.chaos.model --port N --moods FILE`. The file is a JSON object of moods with their share of requests;
it may change at any time. slow: answers after 0.67 s. error: status 500. garbage: not JSON. truncated: half of the
JSON. broken: the connection breaks. hang: no answer. exit: the server ends.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from models.servers.container import Reply, Request, RequestRefused, run
from tests.e2e.choosy_model import ChoosyModel

# Longer than the time-out of any invocation here.
HANG_SECONDS = 15


class MoodyModel(ChoosyModel):
    """A choosy model that fails a share of its requests."""

    def __init__(self, moods: Path) -> None:
        self._moods = moods

    def predict(self, request: Request) -> Reply:
        match self._mood():
            case "slow":
                # Long enough that a run has to wait for answers.
                time.sleep(0.67)
            case "error":
                raise RequestRefused(500, "out of memory")
            case "garbage":
                return Reply(b"\x00\xffno JSON at all")
            case "truncated":
                return Reply(b'{"normalized_boxes": [[0.1, 0.2')
            case "broken":
                return Reply(_broken_off())
            case "hang":
                # A container that is stuck.
                time.sleep(HANG_SECONDS)
            case "exit":
                os._exit(3)
        return super().predict(request)

    def _mood(self) -> str:
        try:
            moods: dict[str, float] = json.loads(self._moods.read_bytes())
        except FileNotFoundError:
            return ""
        point = random.random()
        for mood, share in moods.items():
            if point < share:
                return mood
            point -= share
        return ""


def _broken_off() -> Iterator[bytes]:
    yield b'{"normalized'
    raise ConnectionAbortedError("the model's mood is broken")


if __name__ == "__main__":
    position = sys.argv.index("--moods")
    moods = Path(sys.argv[position + 1])
    del sys.argv[position : position + 2]
    run(MoodyModel(moods))
