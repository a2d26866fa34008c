"""Figures of decoding an answer, over `json.loads` of the same body."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tools.bench.figures import Figure, at_least, at_most
from tools.bench.probe import run_probe

_WORK = "tools.bench.work.decoding"
_SEGMENTING = "tools.bench.work.segmenting"
_MB = 1_000_000


def box_figures(rounds: int, calls: int = 200) -> list[Figure]:
    """Figures of a body of 100 detections and 80 labels.

    The limit compares reading with reading: after `json.loads`, both ways run Python on lists. The other figures show
    the gain on the whole way to detections.
    """
    took = run_probe(f"{_WORK}:time_boxes", rounds, calls)
    micro = {name: 1e6 * took[name] for name in ("json", "schema", "plain", "decode")}
    size = f"{took['bytes'] / 1000:.0f} kB"

    def figure(name: str, reference: str, own: str) -> tuple[str, str, float]:
        return name, f"{size}: {micro[reference]:.0f} µs, {micro[own]:.0f} µs", micro[reference] / micro[own]

    return [
        Figure("boxes", *figure("reading: json.loads over the decoder's schema", "json", "schema"), at_least(4)),
        Figure("boxes", *figure("to detections: json.loads and a loop over decode_answer", "plain", "decode")),
        Figure("boxes", *figure("json.loads alone over decode_answer", "json", "decode")),
    ]


def mask_figures(rounds: int) -> list[Figure]:
    """Figures of the whole decode_answer over json.loads, for 36 MB of masks, each run in a fresh interpreter."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for kind in ("hard", "soft"):
            path = str(Path(folder) / f"{kind}.json")
            size = run_probe(f"{_WORK}:write_masks", path, kind)["bytes"]
            taken: dict[str, list[dict[str, float]]] = {"json": [], "decode": []}
            for _ in range(rounds):
                for way, runs in taken.items():
                    runs.append(run_probe(f"{_WORK}:read_masks", path, way))
            plain, own = (_median(runs) for runs in taken.values())
            figures += [
                Figure(
                    "masks",
                    f"{kind}: json.loads over decode_answer",
                    f"{size / _MB:.0f} MB: {1000 * plain['seconds']:.0f} ms, {1000 * own['seconds']:.0f} ms",
                    plain["seconds"] / own["seconds"],
                    at_least(12),
                ),
                Figure(
                    "masks",
                    f"{kind}: extra memory, decode_answer over json.loads",
                    f"{own['growth'] / _MB:.1f} MB, {plain['growth'] / _MB:.0f} MB with the body",
                    own["growth"] / plain["growth"],
                    at_most(0.1),
                ),
            ]
    return figures


def segment_figures(rounds: int, sizes: tuple[int, ...]) -> list[Figure]:
    """Figures of answers of segmentation models, with masks skipped and read, each run in a fresh interpreter.

    `sizes` are megabytes. When masks are skipped, memory must not grow with the answer; when they are read, it holds
    one mask at a time.
    """
    figures = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for shape in ("lists", "pictures"):
            for megabytes in sizes:
                path = str(Path(folder) / "answer.json")
                wrote = run_probe(f"{_SEGMENTING}:write_answer", path, shape, megabytes)
                took = {
                    way: _median([run_probe(f"{_SEGMENTING}:read_answer", path, shape, way) for _ in range(rounds)])
                    for way in ("bare", "boxes", "masks")
                }
                bare, boxes, masks = took["bare"], took["boxes"], took["masks"]
                size, name = f"{wrote['bytes'] / _MB:.0f} MB", f"{shape}, {wrote['bytes'] / _MB:.0f} MB"
                each = 1000 * masks["seconds"] / wrote["masks"]
                figures += [
                    Figure(
                        "segments",
                        f"{name}: masks skipped, over reading the bytes only",
                        f"{1000 * boxes['seconds']:.0f} ms, {1000 * bare['seconds']:.0f} ms",
                        boxes["seconds"] / bare["seconds"],
                    ),
                    Figure(
                        "segments",
                        f"{name}: extra memory without masks, over the body",
                        f"{boxes['growth'] / _MB:.1f} MB of {size}",
                        boxes["growth"] / wrote["bytes"],
                        at_most(10 * _MB / wrote["bytes"]),
                    ),
                    Figure(
                        "segments",
                        f"{name}: {wrote['masks']} masks read, over skipped",
                        f"{1000 * masks['seconds']:.0f} ms, {each:.0f} ms a mask",
                        masks["seconds"] / boxes["seconds"],
                    ),
                    Figure(
                        "segments",
                        f"{name}: extra memory with masks, over the body",
                        f"{masks['growth'] / _MB:.1f} MB of {size}",
                        masks["growth"] / wrote["bytes"],
                        at_most(60 * _MB / wrote["bytes"]),
                    ),
                ]
    return figures


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
