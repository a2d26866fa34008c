"""Measures how steady the boxes of a manifest are over time, as the models gave them and as tracks: without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from autolabel.labels import Box, box_iou, read_line
from autolabel.sequences import Sight, link_frames
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import Steadiness, SteadinessDocument

_NANOSECONDS = 1_000_000_000
# From this IoU on, boxes of neighbouring frames continue each other where no track says it.
_CONTINUES = 0.3
Run = list[tuple[int, Box]]
"""The boxes of an object in frames without a gap: the index of the frame, and the box."""


def measure_steadiness(manifest: Path, *, every: int) -> SteadinessDocument:
    """Measure the pre-labels of a manifest of frames that were not linked, and again after linking them.

    `every`: only each such frame of a camera is taken. CommandError for a manifest that cannot be read or is linked.
    """
    frames = list[tuple[float, list[Sight]]]()
    raw, tracks, count, last = _Counts(), _Counts(), 0, ""

    def close() -> None:
        raw.take(list(_raw_runs(frames)), len(frames))
        tracks.take(list(_track_runs(frames)), len(frames))

    for number, (camera, time, sights) in enumerate(sorted(_read(manifest), key=lambda row: row[:2])):
        if camera != last:
            close()
            frames, last, number_of = [], camera, number
        if (number - number_of) % every == 0:
            frames.append((time, sights))
            count += 1
    close()
    return SteadinessDocument(frames=count, raw=raw.result(count), tracks=tracks.result(count))


def _read(manifest: Path) -> Iterator[tuple[str, float, list[Sight]]]:
    try:
        bodies = manifest.read_bytes().splitlines()
    except OSError as e:
        raise CommandError(f"{manifest} cannot be read: {e}") from e
    for number, body in enumerate(bodies, start=1):
        try:
            line = read_line(body)
            boxes, origin = line.prelabel_boxes, line.origin
            time = int(origin.timestamp) / _NANOSECONDS
        except (msgspec.DecodeError, ValueError) as e:
            raise CommandError(f"{manifest}:{number} is not a line with a pre-label: {e}") from e
        if line.prelabel_tracks is not UNSET:
            raise CommandError(
                f'{manifest}:{number} is linked already: label the drive with "tracks": false in drive.json'
            )
        corners = [(box.left, box.top, box.left + box.width, box.top + box.height) for box in boxes]
        yield origin.camera, time, [Sight(time, at, box.name) for at, box in zip(corners, boxes, strict=True)]


def _raw_runs(frames: Sequence[tuple[float, Sequence[Sight]]]) -> Iterator[Run]:
    """Yield runs of boxes of one class: a box goes on a run if it overlaps with the last one."""
    open_runs = list[tuple[str, Run]]()
    for index, (_, sights) in enumerate(frames):
        pairs = sorted(
            (-box_iou(run[-1][1], sight.box), at, number)
            for at, (name, run) in enumerate(open_runs)
            for number, sight in enumerate(sights)
            if name == sight.name and box_iou(run[-1][1], sight.box) >= _CONTINUES
        )
        going_on = dict[int, tuple[str, Run]]()
        followed = set[int]()
        for _, at, number in pairs:
            if at not in followed and number not in going_on:
                followed.add(at)
                open_runs[at][1].append((index, sights[number].box))
                going_on[number] = open_runs[at]
        yield from (run for at, (_, run) in enumerate(open_runs) if at not in followed)
        open_runs = [going_on.get(n, (sight.name, [(index, sight.box)])) for n, sight in enumerate(sights)]
    yield from (run for _, run in open_runs)


def _track_runs(frames: Sequence[tuple[float, Sequence[Sight]]]) -> Iterator[Run]:
    for track in link_frames(frames):
        run = Run()
        for box in track.boxes if track.confirmed else ():
            if run and box.frame != run[-1][0] + 1:
                yield run
                run = []
            run.append((box.frame, box.box))
        if run:
            yield run


class _Counts:
    def __init__(self) -> None:
        self._boxes = self._ends = self._gaps = self._sides = 0
        self._noise = 0.0

    def take(self, runs: Sequence[Run], frames: int) -> None:
        """Take the runs of a camera."""
        begun = dict[int, list[Box]]()
        for run in runs:
            self._boxes += len(run)
            self._ends += (run[0][0] > 0) + (run[-1][0] < frames - 1)
            begun.setdefault(run[0][0], []).append(run[0][1])
            for (_, before), (_, box), (_, after) in zip(run, run[1:], run[2:], strict=False):
                for side in range(4):
                    size = box[2 + side % 2] - box[side % 2]
                    # Of noise that is alone in each box, this has 1.5 times the variance.
                    self._noise += ((box[side] - (before[side] + after[side]) / 2) / size) ** 2 / 1.5
                    self._sides += 1
        for run in runs:
            self._gaps += any(box_iou(run[-1][1], box) >= _CONTINUES for box in begun.get(run[-1][0] + 2, ()))

    def result(self, frames: int) -> Steadiness:
        return Steadiness(
            boxes=self._boxes / frames if frames else None,
            ends=self._ends / frames if frames else None,
            gaps=self._gaps,
            jitter=math.sqrt(self._noise / self._sides) if self._sides else None,
        )
