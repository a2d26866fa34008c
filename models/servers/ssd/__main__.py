"""Serves SSDLite MobileNet v2 by the container contract: `python -m models.servers.ssd --port N`.

It takes `application/x-image` and answers in the format of Hugging Face's object detection pipelines: a list, best
first, of `score`, `label` and `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the image). It runs on the whole image
and on three overlapping tiles.
"""

from __future__ import annotations

from models.servers.container import run
from models.servers.ssd.model import SsdModel

if __name__ == "__main__":
    run(SsdModel())
