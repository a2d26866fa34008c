"""Serves YOLOX-Nano on two overlapping tiles, for distant objects: `python -m models.servers.yolox_tiles --port N`.

Requests and answers are as in models.servers.yolox.
"""

from __future__ import annotations

from functools import partial

from models.servers.container import run
from models.servers.windows import tiles
from models.servers.yolox import YoloxModel

LAYOUT = partial(tiles, count=2)

if __name__ == "__main__":
    run(YoloxModel(LAYOUT))
