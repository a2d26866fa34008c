"""YOLOX-Nano on two overlapping tiles, for what is far away: `python -m local.model_server.yolox_tiles --port N`.

Requests and answers are those of local.model_server.yolox.
"""

from __future__ import annotations

from functools import partial

from local.model_server.container import run
from local.model_server.windows import tiles
from local.model_server.yolox import YoloxModel

LAYOUT = partial(tiles, count=2)

if __name__ == "__main__":
    run(YoloxModel(LAYOUT))
