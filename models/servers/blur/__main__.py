"""Serves the regions that views cover by the container contract: `python -m models.servers.blur --port N`.

Requests are as in models.servers.yolox, and so are answers, with the labels `plate` and `head`.
"""

from __future__ import annotations

from models.servers.blur.model import BlurModel
from models.servers.container import run

if __name__ == "__main__":
    run(BlurModel())
