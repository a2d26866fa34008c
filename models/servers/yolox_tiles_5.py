"""Serves YOLOX-Nano on two and on three tiles, fused: `python -m models.servers.yolox_tiles_5 --port N`.

Five looks at a frame find more pedestrians. Requests and answers are as in models.servers.yolox.
"""

from __future__ import annotations

from functools import partial

from models.servers.container import run
from models.servers.windows import tiles
from models.servers.yolox import YoloxModel

if __name__ == "__main__":
    run(YoloxModel(partial(tiles, count=2), partial(tiles, count=3)))
