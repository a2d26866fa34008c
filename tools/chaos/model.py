"""The model of the rehearsals: answers as a frame's width asks (tests/e2e/choosy_model.py), and misbehaves for a while.

`python -m tools.chaos.model --port N --moods FILE`: the file, which may change at any time, is a JSON object of mood to
share of requests. slow: two thirds of a second. error: 500. garbage: no JSON. truncated: JSON cut off. broken: the
connection is cut off. hang: no answer. exit: the server ends.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from models.servers.container import Refusal, Reply, Request, run
from tests.e2e.choosy_model import ChoosyModel

# Longer than any invocation of these tests may take.
HANG_SECONDS = 15


class MoodyModel(ChoosyModel):
    """A choosy model with moods."""

    def __init__(self, moods: Path) -> None:
        self._moods = moods

    def predict(self, request: Request) -> Reply:
        match self._mood():
            case "slow":
                # So that a run has answers to wait for.
                time.sleep(0.67)
            case "error":
                raise Refusal(500, "out of memory")
            case "garbage":
                return Reply(b"\x00\xffno JSON at all")
            case "truncated":
                return Reply(b'{"normalized_boxes": [[0.1, 0.2')
            case "broken":
                return Reply(_broken_off())
            case "hang":
                # A container that is stuck: nothing here waits for anything.
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
