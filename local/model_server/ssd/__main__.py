"""SSDLite MobileNet v2 behind the container contract: `python -m local.model_server.ssd --port N`.

Takes `application/x-image`, answers in the shape of Hugging Face's object detection pipelines: a list, best first, of
`score`, `label` and `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the image). It looks at the whole image and at
three overlapping tiles.
"""

from __future__ import annotations

from local.model_server.container import run
from local.model_server.ssd.model import SsdModel

if __name__ == "__main__":
    run(SsdModel())
