"""Scores the linking of detections into tracks against labelled tracks, in KITTI's text formats.

`labels/<sequence>.txt` has the first ten columns of KITTI tracking: `frame track type truncated occluded alpha left top
right bottom`. `detections/<sequence>.txt` has lines `frame,class,left,top,right,bottom,score` as AB3DMOT publishes
them: class 2 is cars, and the score is a logit.
"""

from __future__ import annotations

import math
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.contracts.wording import counted
from autolabel.labels import Box, share_in
from autolabel.sequences import LEAST_RATE, Sight, Track, link_frames
from autolabel_cli.drives.recordings import first_of
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.document import TrackScores, TracksDocument
from autolabel_cli.installation import TRACKERS
from autolabel_cli.models.kitti import LEVELS, REGION_TYPE

_CAR_CLASS, CAR = "2", "Car"
# Cars that count, and what cars may be taken for: no error either way.
_LEVEL = LEVELS["whole"]
_NEIGHBOURS = frozenset({"Van", "Truck"})
# A box is on an object from this IoU on, and in a region with this share of its area, as in tracking_metrics.py.
ON_OBJECT, _IN_REGION = 0.5, 0.5
# Beyond, the exponential of a float overflows.
_MOST_LOGIT = 700.0


class TruthObject(NamedTuple):
    """A labelled object. `counts`: False for an object that is neither right nor wrong."""

    track: int
    box: Box
    counts: bool


class ScoredFrame(msgspec.Struct):
    """A frame for the metrics. `regions`: boxes that hold more objects, without labels; `tracks`: number and box."""

    objects: list[TruthObject] = []
    regions: list[Box] = []
    tracks: list[tuple[int, Box]] = []


class MetricsRequest(msgspec.Struct):
    """Request to tracking_metrics.py. `min_height`: boxes on no object that are lower, in pixels, do not count."""

    sequences: list[list[ScoredFrame]]
    min_height: float


class Sequenced(NamedTuple):
    """A sequence: its labels by frame, and the time in seconds and detections of each frame."""

    frames: list[ScoredFrame]
    sights: list[tuple[float, list[Sight]]]


def evaluate_tracks(labels: Path, detections: Path, *, min_score: float, rate: float, every: int) -> TracksDocument:
    """Link the detections of each sequence and score the tracks against its labels.

    `min_score`: detections of a lower score, 0 to 1, are left out. `rate`: frames a second; `every`: only each such
    frame is taken. CommandError for a file that cannot be read, and for frames that are too far apart to link.
    """
    if rate / every < LEAST_RATE:
        raise CommandError(
            f"{rate / every:g} frames a second are not linked, because objects move too far between them: at least "
            f"{LEAST_RATE:g} are needed (--rate, --every)"
        )
    linked, left_out = [], Counter[str]()
    for name in sequence_names(labels, detections):
        sequence = read_sequence(labels / name, detections / name, min_score, rate, every, left_out)
        linked.append((sequence.frames, link_frames(sequence.sights)))
    return TracksDocument(
        **msgspec.structs.asdict(_scores(linked, confirmed=True)),
        all=_scores(linked, confirmed=False),
        sequences=len(linked),
        frames=sum(len(frames) for frames, _ in linked),
        rate=rate / every,
        min_score=min_score,
        left_out=dict(left_out.most_common()),
    )


def sequence_names(labels: Path, detections: Path) -> list[str]:
    """List the files that both folders have. CommandError for a folder without one, or with others."""
    names = [sorted(path.name for path in folder.glob("*.txt") if path.is_file()) for folder in (labels, detections)]
    for folder, found in zip((labels, detections), names, strict=True):
        if not found:
            raise CommandError(f"{folder} has no <sequence>.txt: give a folder with one such file for each sequence")
    if alone := sorted(set(names[0]) ^ set(names[1])):
        raise CommandError(
            f"{labels} and {detections} must have the same sequences; only one of them has {first_of(alone)}"
        )
    return names[0]


def read_sequence(
    labels: Path, detections: Path | None, min_score: float, rate: float, every: int, left_out: Counter[str]
) -> Sequenced:
    """Read the labels of a sequence, and its detections if there are any. CommandError names a broken line.

    `every`: only each such frame is taken. `left_out`: counts what is not usable, by the reason.
    """
    frames = dict[int, ScoredFrame]()
    for row in read_rows(labels, None, 10):
        frame = frames.setdefault(row.frame, ScoredFrame())
        kind, occluded, box = row.cells[2], row.number(4), row.box(6)
        if box is None:
            left_out["labels without an area"] += 1
        elif kind == REGION_TYPE:
            frame.regions.append(box)
        elif kind == CAR or kind in _NEIGHBOURS:
            visible = occluded <= _LEVEL.max_occlusion and box[3] - box[1] >= _LEVEL.min_height
            frame.objects.append(TruthObject(int(row.number(1)), box, kind == CAR and visible))
    sights = dict[int, list[Sight]]()
    for row in read_rows(detections, ",", 7) if detections else ():
        found = sights.setdefault(row.frame, [])
        box, logit = row.box(2), min(max(row.number(6), -_MOST_LOGIT), _MOST_LOGIT)
        if box is None:
            left_out["detections without an area"] += 1
        elif row.cells[1] != _CAR_CLASS:
            left_out["detections of other classes"] += 1
        elif 1 / (1 + math.exp(-logit)) >= min_score:
            found.append(Sight(row.frame / rate, box, CAR))
    taken = range(0, max([*frames, *sights], default=-1) + 1, every)
    return Sequenced(
        [frames.get(index, ScoredFrame()) for index in taken],
        [(index / rate, sights.get(index, [])) for index in taken],
    )


def is_false(box: Box, regions: Sequence[Box]) -> bool:
    """Check whether a box on no object is wrong: it is not low, and in no region that holds more objects."""
    return box[3] - box[1] >= _LEVEL.min_height and not any(share_in(box, of) >= _IN_REGION for of in regions)


class Row(NamedTuple):
    """A line of a text file in columns. `place`: names it in messages."""

    place: str
    cells: list[str]

    @property
    def frame(self) -> int:
        """Read the number of the frame, in the first column. CommandError if it is not one."""
        if not self.cells[0].isdecimal():
            raise CommandError(f"{self.place}: {self.cells[0]!r} is not the number of a frame")
        return int(self.cells[0])

    def number(self, at: int) -> float:
        """Read a number. CommandError if it is not one."""
        try:
            value = float(self.cells[at])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise CommandError(f"{self.place}: column {at + 1} is {self.cells[at]!r}, not a number")
        return value

    def box(self, at: int) -> Box | None:
        """Read four sides; None if the box has no area."""
        left, top, right, bottom = (self.number(at + side) for side in range(4))
        return (left, top, right, bottom) if left < right and top < bottom else None


def read_rows(path: Path, separator: str | None, columns: int) -> Sequence[Row]:
    """Read the lines of a file that are not empty. CommandError for one with fewer columns."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise CommandError(f"{path} cannot be read: {e}") from e
    rows = []
    for number, line in enumerate(lines, start=1):
        cells = line.split(separator)
        if len(cells) < columns and line.strip():
            raise CommandError(f"{path}:{number} has {counted(len(cells), 'column')}, not {columns} or more")
        if line.strip():
            rows.append(Row(f"{path}:{number}", cells))
    return rows


def _scores(linked: Sequence[tuple[list[ScoredFrame], list[Track]]], *, confirmed: bool) -> TrackScores:
    sequences = []
    for frames, tracks in linked:
        sequence = [ScoredFrame(frame.objects, frame.regions, []) for frame in frames]
        for number, track in enumerate(tracks):
            if confirmed and not track.confirmed:
                continue
            for box in track.boxes:
                sequence[box.frame].tracks.append((number, box.box))
        sequences.append(sequence)
    request = msgspec.json.encode(MetricsRequest(sequences, _LEVEL.min_height))
    command = [*TRACKERS.python(), str(Path(__file__).with_name("tracking_metrics.py"))]
    ended = subprocess.run(command, input=request, capture_output=True, check=False)
    if ended.returncode:
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise CommandError(f"the metrics of {TRACKERS.name} failed: {last[0]}")
    return msgspec.json.decode(ended.stdout, type=TrackScores)
