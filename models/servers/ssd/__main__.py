"""SSDLite MobileNet v2 behind the container contract: `python -m models.servers.ssd --port N`.

Takes `application/x-image`, answers in the shape of Hugging Face's object detection pipelines: a list, best first, of
`score`, `label` and `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the image). It looks at the whole image and at
three overlapping tiles.
"""

from __future__ import annotations

from models.servers.container import run
from models.servers.ssd.model import SsdModel

if __name__ == "__main__":
    run(SsdModel())
