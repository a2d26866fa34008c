"""Figures of the extraction of drive logs: processor time, bytes read, requests and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.bench.figures import Figure, at_least, at_most
from tools.bench.probe import ROOT, run_probe

_WORK = "tools.bench.work.extracting"
_GROUP = "extract"
_SLICE = 2**27
_MB = 1_000_000


def extraction_figures(*, frames: int, longest: int, video_megabytes: int, rounds: int) -> list[Figure]:
    """Figures of logs of `frames` pictures of 120 kB, with a LiDAR between; memory also of one of `longest`."""
    figures: list[Figure] = []
    for kind in ("mcap", "mcap-zstd", "bag", "sqlite3"):
        with _log(kind, frames) as path:
            figures += [*_times(path, kind, rounds), *_bytes(path, kind)]
            if kind == "mcap":
                figures.append(_planning(path, kind))
                short = run_probe(f"{_WORK}:read_log", path, _SLICE)
    with _log("mcap", longest) as path:
        long = run_probe(f"{_WORK}:read_log", path, _SLICE)
        sizes = f"{longest:,} over {frames:,} frames"
        figures.append(
            Figure(
                _GROUP,
                f"mcap: peak memory, {sizes}",
                f"{long['peak'] / _MB:.1f} MB, {short['peak'] / _MB:.1f} MB; beyond the libraries "
                f"{long['growth'] / _MB:.1f} MB, {short['growth'] / _MB:.1f} MB",
                long["peak"] / short["peak"],
                at_most(1.1),
            )
        )
    with _file() as path:
        made = run_probe(f"{_WORK}:write_video", path, video_megabytes)
        read = run_probe(f"{_WORK}:read_log", path, _SLICE)
        if read["frames"] != made["frames"]:
            raise AssertionError(f"{read['frames']} of {made['frames']} frames were read")
        figures.append(_planning(path, "mp4"))
        figures.append(_share(f"mp4 of {made['bytes'] / _MB:,.0f} MB: bytes", read["bytes"], made["payload"], 1.1))
    return figures


def _times(path: str, kind: str, rounds: int) -> Iterator[Figure]:
    timed = run_probe(f"{_WORK}:time_log", path, kind, rounds)
    bare, one, two = (1000 * timed[way] / timed["frames"] for way in ("bare", "one", "two"))
    measured = f"{bare:.2f} ms, {one:.2f} ms a frame"
    yield Figure(_GROUP, f"{kind}: the library's own loop, processor time", measured, bare / one, at_least(0.8))
    if kind == "mcap":
        yield Figure(
            _GROUP, "mcap: two slices over one", f"{two:.2f} ms, {one:.2f} ms a frame", two / one, at_most(1.1)
        )


def _bytes(path: str, kind: str) -> Iterator[Figure]:
    read = run_probe(f"{_WORK}:read_log", path, _SLICE)
    match kind:
        case "mcap":
            yield _share("mcap without compression: bytes", read["bytes"], read["payload"], 1.1)
        case "sqlite3":
            yield _share("sqlite3: bytes", read["bytes"], read["payload"], 1.2)
        case _:
            yield _share(f"{kind}: bytes, of the chunks with the topic", read["bytes"], read["chunks"], 1.01)


def _planning(path: str, kind: str) -> Figure:
    planned = run_probe(f"{_WORK}:plan_log", path)
    measured = f"{planned['reads']} requests, {planned['bytes']:,} bytes"
    return Figure(_GROUP, f"{kind}: requests to plan, over 5", measured, planned["reads"] / 5, at_most(1.0))


def _share(name: str, read: int, needed: int, bound: float) -> Figure:
    return Figure(_GROUP, name, f"{read / _MB:,.1f} MB, {needed / _MB:,.1f} MB needed", read / needed, at_most(bound))


@contextmanager
def _log(kind: str, frames: int) -> Iterator[str]:
    with _file() as path:
        run_probe(f"{_WORK}:write_log", path, kind, frames)
        yield path


@contextmanager
def _file() -> Iterator[str]:
    """A place for a log, which is deleted afterwards: some have gigabytes."""
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as made:
        # rosbags goes by the name.
        yield str(Path(made) / "log.db3")
