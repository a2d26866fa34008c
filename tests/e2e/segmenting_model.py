"""A model server that answers each frame with the mask of a car: `python -m tests.e2e.segmenting_model --port N`.

643 pixels: an error of the model.
"""

from __future__ import annotations

import base64
import io
import json

from PIL import Image

from models.servers.container import Reply, Request, RequestRefused, run


class SegmentingModel:
    max_request_bytes = 100_000_000

    def load(self) -> None:
        """Does nothing: there is nothing to load."""

    def predict(self, request: Request) -> Reply:
        with Image.open(io.BytesIO(request.body)) as frame:
            width, height = frame.size
        if width == 643:
            raise RequestRefused(500, "out of memory")
        mask = Image.new("L", (width, height))
        mask.paste(255, (width // 4, height // 4, width // 2, height // 2))
        out = io.BytesIO()
        mask.save(out, "PNG")
        picture = base64.b64encode(out.getvalue()).decode()
        return Reply(json.dumps([{"score": 0.9, "label": "car", "mask": picture}]).encode())


if __name__ == "__main__":
    run(SegmentingModel())
