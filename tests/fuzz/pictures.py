"""Makes a report of one frame, to see which picture it shows."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from autolabel.reporting.report import Gallery, write_report
from autolabel.reporting.summary import FrameCounts, Summary
from tests.fakes.bucket import FakeBucket
from tests.fakes.pipeline import frame_key


def pictures_of(body: bytes, etag: str | None = None) -> list[str]:
    """The addresses of the pictures in a report of one frame with these bytes; `etag`: of its manifest line."""
    ingest, labels = FakeBucket("ingest"), FakeBucket("labels")
    ingest.write(frame_key(0), body)
    for key in ("rejected", "failed"):
        labels.write(f"labels/d/0001/{key}.jsonl", b"")
    gallery = Gallery(1)
    gallery.take([_line(etag or ingest.etag(frame_key(0)))])
    summary = Summary("d", "0001", FrameCounts(1, 1, 0, 0), 0, {}, {}, {}, ("m.0001",), "t", ("car",), ())
    write_report(summary, gallery, ingest=ingest, label_bucket=labels)
    return re.findall(r'<image href="([^"]*)"', labels.objects["labels/d/0001/report.html"].decode())


def _line(etag: str) -> bytes:
    fields: dict[str, Any] = {
        "source-ref": f"s3://ingest/{frame_key(0)}",
        "prelabel": {"image_size": [{"width": 16, "height": 16, "depth": 3}], "annotations": []},
        "prelabel-metadata": {"objects": [], "class-map": {}},
        "provenance": {"camera": "front", "timestamp": "1" * 19, "etag": etag, "labelled-by": "model"},
    }
    return msgspec.json.encode(fields)
