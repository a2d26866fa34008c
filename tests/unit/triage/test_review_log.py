"""The log of a run's reviews is gathered on a function's disk."""

from __future__ import annotations

import io
import tempfile
from random import Random
from typing import Any

import msgspec
import pytest

from autolabel.contracts.drive import Run, parse_drive_document
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import UNCERTAIN
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.review_log import ReviewLog
from tests.fakes.bucket import FakeBucket
from tests.fakes.lines import parsed

FRAMES = 2_000
BOXES = 20
# Bytes for each frame, so that 1,000,000 frames take 400 of the 512 MB of a function's disk.
ROOM = 400


def labelled_frame(index: int, draw: Random) -> dict[str, Any]:
    """Make a frame as a person left it: most of its boxes are unchanged."""
    boxes = [
        {"class_id": 0, "left": 100 * n, "top": draw.randrange(900), "width": 40, "height": 30} for n in range(BOXES)
    ]
    metadata = {"class-map": {"0": "car"}, "objects": [{"confidence": 0.0}] * BOXES}
    label = {"image_size": [{"width": 2_100, "height": 1_080, "depth": 3}], "annotations": boxes}
    return {
        "source-ref": f"s3://ingest/drives/drive-7/front/{1_700_000_000_000_000_000 + index * 99_971}.png",
        "provenance": {"camera": "front", "labelled-by": "model and person", "triage": UNCERTAIN},
        "prelabel": label,
        "prelabel-metadata": metadata,
        "verified": {**label, "annotations": boxes[: BOXES - index % 2]},
        "verified-metadata": {**metadata, "objects": metadata["objects"][: BOXES - index % 2]},
    }


def crowded_uncertainty(draw: Random) -> FrameUncertainty:
    boxes, candidates = (tuple(round(draw.random(), 2) for _ in range(count)) for count in (BOXES, 30))
    return FrameUncertainty(round(draw.random(), 4), boxes, candidates, 0.0, ("bicycle", "car", "person"))


def test_a_log_of_a_million_frames_fits_on_a_functions_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Disk(io.BytesIO):
        def close(self) -> None:
            sizes.append(len(self.getvalue()))
            super().close()

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda max_size: Disk())
    draw = Random(7)
    document = parse_drive_document(b'{"vehicle": "car-1", "cameras": {"front": {}}}', "drive.json")
    run = Run("drive-7", "0001", document, "etag", ("detector.0001",), "2026.1", ("car",))
    labels = FakeBucket("labels")
    with ReviewLog(run) as log:
        for index in range(FRAMES):
            log.take(parsed(labelled_frame(index, draw)), crowded_uncertainty(draw))
        log.write(labels, 0.0)
    lines = [msgspec.json.decode(line, type=Reviewed) for line in labels.lines(RunFolder("drive-7", "0001").reviewed)]
    assert [line.position for line in lines] == list(range(FRAMES))
    assert sum(line.classes["car"].deleted for line in lines) == FRAMES // 2
    assert sizes[0] < ROOM * FRAMES < len(labels.objects[RunFolder("drive-7", "0001").reviewed])
