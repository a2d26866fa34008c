"""A model server that chooses its answer by a frame's width: `python -m tests.e2e.choosy_model --port N`.

640 pixels: two boxes. 641: not JSON. 642: half of the JSON. 643: an error of the model. 644: a class that is in no
class map, and one that no job has. Other widths: no boxes.
"""

from __future__ import annotations

import io
import json

from PIL import Image

from models.servers.container import Reply, Request, RequestRefused, run

LABELS = ["car", "person", "zebra", "train"]


def _answer(*boxes: tuple[int, float, list[float]]) -> bytes:
    return json.dumps(
        {
            "normalized_boxes": [box for _, _, box in boxes],
            "classes": [float(index) for index, _, _ in boxes],
            "scores": [score for _, score, _ in boxes],
            "labels": LABELS,
        }
    ).encode()


class ChoosyModel:
    max_request_bytes = 100_000_000

    def load(self) -> None:
        """Does nothing: there is nothing to load."""

    def predict(self, request: Request) -> Reply:
        try:
            with Image.open(io.BytesIO(request.body)) as image:
                width = image.width
        except OSError as e:
            raise RequestRefused(400, "no image") from e
        whole = _answer((0, 0.9, [0.1, 0.2, 0.5, 0.6]), (1, 0.6, [0.7, 0.2, 0.8, 0.9]))
        if width == 641:
            return Reply(b"<html>not a model's answer</html>")
        if width == 642:
            return Reply(whole[:40])
        if width == 643:
            raise RequestRefused(500, "out of memory")
        if width == 644:
            return Reply(_answer((2, 0.9, [0.1, 0.2, 0.5, 0.6]), (3, 0.8, [0.1, 0.2, 0.5, 0.6])))
        return Reply(whole if width == 640 else _answer())


if __name__ == "__main__":
    run(ChoosyModel())
