"""Figures of steps whose memory must not grow with a drive, and whose time must be linear to its frames."""

from __future__ import annotations

import statistics

from tools.bench.figures import Figure, at_most
from tools.bench.probe import run_probe

# At most ten percent more.
LIMIT = at_most(1.1)
_MB = 1_000_000


def scaling_figures(group: str, place: str, *, short: int, long: int, stops: int) -> list[Figure]:
    """Processor time of a frame and peak memory, of one drive of `long` frames over `stops` drives of `short`.

    The limit is on processor time, which varies little on a shared machine.
    """
    measured = run_probe(place, long, short, stops)
    shorts = measured["shorts"]
    pace = statistics.mean(one["processor"] for one in shorts)
    peak = statistics.median(one["peak"] for one in shorts)
    sizes = f"{long:,} over {short:,}"
    return [
        Figure(
            group,
            f"time of one frame, {sizes}",
            f"{1e6 * measured['processor']:.0f} µs, {1e6 * pace:.0f} µs ({1 / measured['processor']:,.0f} frames/s of "
            f"processor time, {1 / measured['wall']:,.0f} by the clock)",
            measured["processor"] / pace,
            LIMIT,
        ),
        Figure(
            group,
            f"peak memory, {sizes}",
            f"{measured['peak'] / _MB:.1f} MB, {peak / _MB:.1f} MB",
            measured["peak"] / peak,
            LIMIT,
        ),
    ]
