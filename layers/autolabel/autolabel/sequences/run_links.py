"""Links the boxes of a run's pre-labels over its shards, and writes the shards' lines again with their tracks.

The shards of a camera are walked forward, where each box gets a place in a path, and then backward, where the end of a
path tells what the whole track is: its length, its class, and the earlier path that it continues. To finish the boxes
of a shard, the boxes of the second before and after it are enough. What one shard hands to the next is bounded by the
paths of a few seconds, and by a number for each join. Each call links some shards; the next begins at its cursor.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import LINK
from autolabel.contracts.verification import KEPT
from autolabel.labelling.earlier_labels import EarlierFrame
from autolabel.labelling.shards import AskedLines, Shard, read_shards
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labelling.uncertainty_map import read_map
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.sequences.finished_tracks import (
    FinishedFrame,
    PathBox,
    PathFrame,
    TrackFacts,
    facts_of_last,
    finish_frames,
)
from autolabel.sequences.linked_lines import link_line
from autolabel.sequences.linked_shards import CameraLinks, LinkedResult, Links
from autolabel.sequences.linking import Linker, Sight
from autolabel.sequences.tracks import CONTEXT_SECONDS, LEAST_RATE

_NANOSECONDS = 1_000_000_000
_MILLISECOND = 1_000_000
# Longer pauses count as this long, so that the number of different ones is bounded.
_LONGEST_PAUSE = 10_000
_JSON_LINES = "application/jsonl"
# Shards whose places are kept: those around the one that is finished.
_SHARDS_AROUND = 4
_frames = msgspec.json.Decoder(PathFrame)
_uncertainties = msgspec.json.Decoder(FrameUncertainty)
_earlier = msgspec.json.Decoder(EarlierFrame)


class LinkCursor(msgspec.Struct, frozen=True):
    """Where the next call begins: before the shard with this index, counted from the last one when it is backward."""

    shard: int = 0
    direction: Literal["forward", "backward"] = "forward"


class LinkReport(msgspec.Struct, frozen=True):
    """The output of a call. With the verdict `continue`, another call goes on at the `cursor`."""

    drive: str
    run: str
    verdict: Literal["continue", "done"]
    cursor: LinkCursor


class _Forward(msgspec.Struct, tag="forward"):
    """What the forward walk carries. `ids`: of live paths, by their numbers; `joined`: ids, and the earlier path's.

    `start`, `last`: the times of the camera's first and latest frame, in nanoseconds. `pauses`: how often each number
    of milliseconds passed between two frames of the camera. `rates`: of cameras whose walk has ended.
    """

    camera: str = ""
    linker: Linker = msgspec.field(default_factory=Linker)
    ids: dict[int, str] = {}
    joined: dict[str, str] = {}
    start: int | None = None
    last: int | None = None
    pauses: dict[int, int] = {}
    rates: dict[str, float | None] = {}


class _Backward(msgspec.Struct, tag="backward"):
    """What the backward walk carries. `open`: tracks that have boxes on both sides; `tracks`: the number by camera."""

    joined: dict[str, str]
    rates: dict[str, float | None]
    open: dict[str, TrackFacts] = {}
    tracks: dict[str, int] = {}

    def first(self, path: str) -> str:
        """Return the id of a path's track: that of the first path, to which all others lead back."""
        while path in self.joined:
            path = self.joined[path]
        return path


def link_run(run: Run, cursor: LinkCursor, *, label_bucket: Bucket, is_late: Callable[[], bool]) -> LinkReport:
    """Link the shards from the cursor on, until `is_late`; at least one.

    Writes the linked parts of each shard, of cameras with a sufficient rate. A repeated call writes the same. If the
    state before the cursor is gone, because the execution was stopped for weeks, it begins again.
    """
    if not run.document.tracks:
        return LinkReport(run.drive, run.run, "done", cursor)
    return _Linking(run, label_bucket, is_late).walk(cursor)


class _Linking:
    def __init__(self, run: Run, label_bucket: Bucket, is_late: Callable[[], bool]) -> None:
        self._run = run
        self._label_bucket = label_bucket
        self._is_late = is_late
        self._shards = list(read_shards(label_bucket, run.folder))
        self._uncertainty_map = read_map(run, label_bucket)
        self._places = lru_cache(_SHARDS_AROUND)(self._read_places)

    def walk(self, cursor: LinkCursor) -> LinkReport:
        state = self._read_state(cursor)
        if state is None:
            cursor, state = LinkCursor(), _Forward()
        if isinstance(state, _Forward):
            for index in range(cursor.shard, len(self._shards)):
                self._forward(self._shards[index], state)
                if self._is_late() and index + 1 < len(self._shards):
                    return self._go_on(LinkCursor(index + 1), state)
            _end_camera(state)
            cursor, state = LinkCursor(0, "backward"), _Backward(state.joined, state.rates)
            if self._is_late():
                return self._go_on(cursor, state)
        for done in range(cursor.shard, len(self._shards)):
            self._backward(self._shards[-1 - done], state)
            if self._is_late() and done + 1 < len(self._shards):
                return self._go_on(LinkCursor(done + 1, "backward"), state)
        cameras = {
            camera: CameraLinks(rate, state.tracks.get(camera, 0) if _is_linked(rate) else None)
            for camera, rate in state.rates.items()
        }
        self._label_bucket.write(self._run.folder.links, msgspec.json.encode(Links(LINK, cameras)))
        return LinkReport(self._run.drive, self._run.run, "done", cursor)

    def _forward(self, shard: Shard, state: _Forward) -> None:
        if shard.camera != state.camera:
            _end_camera(state)
            state.camera = shard.camera
        places = []
        for body in self._label_bucket.lines(self._run.folder.shard(shard.index, "manifest.jsonl")):
            places.append(msgspec.json.encode(self._link(read_line(body), state)) + b"\n")
        self._label_bucket.write(self._run.folder.paths(shard.index), b"".join(places), _JSON_LINES)
        live = state.linker.live
        state.ids = {number: id for number, id in state.ids.items() if number in live}
        state.linker.joins.clear()

    def _link(self, line: ManifestLine, state: _Forward) -> PathFrame:
        timestamp = int(line.origin.timestamp)
        if state.last is not None and timestamp > state.last:
            pause = min(round((timestamp - state.last) / _MILLISECOND), _LONGEST_PAUSE)
            state.pauses[pause] = state.pauses.get(pause, 0) + 1
        state.last = timestamp
        # Of nanoseconds since 1970, a float would lose the digits that tell fast frames apart.
        state.start = timestamp if state.start is None else state.start
        time = (timestamp - state.start) / _NANOSECONDS
        boxes = line.prelabel_boxes
        sights = [
            Sight(time, (box.left, box.top, box.left + box.width, box.top + box.height), box.name) for box in boxes
        ]
        places = []
        for index, link in enumerate(state.linker.step(time, sights, (line.size.width, line.size.height))):
            if link.path not in state.ids:
                state.ids[link.path] = self._id(state.camera, line.origin.timestamp, index, sights[index])
            if link.path in state.linker.joins:
                state.joined[state.ids[link.path]] = state.ids[state.linker.joins[link.path]]
            box = sights[index]
            places.append(
                PathBox(state.ids[link.path], link.length, link.began, link.name, link.votes, box.box, box.name)
            )
        return PathFrame(time, line.size.width, line.size.height, places)

    def _id(self, camera: str, timestamp: str, index: int, first: Sight) -> str:
        """Derive the id of a track from its first box, so that a repeated run gives the same one.

        `index`: of the box in its frame, since two boxes may be equal.
        """
        parts = [self._run.drive, camera, timestamp, index, first.name, first.box]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]

    def _backward(self, shard: Shard, state: _Backward) -> None:
        if not _is_linked(state.rates[shard.camera]):
            return
        own = self._places(shard.index)
        facts = dict(state.open)
        for frame in reversed(own):
            for place in frame.places:
                _learn(place, frame.time, shard.camera, state, facts)
        before = self._around(shard, own, range(shard.index - 1, -1, -1))[::-1]
        after = self._around(shard, own, range(shard.index + 1, len(self._shards)))
        frames = [*before, *own, *after]
        first_of = {place.path: state.first(place.path) for frame in frames for place in frame.places}
        self._write(shard, finish_frames(frames, range(len(before), len(before) + len(own)), facts, first_of))

    def _around(self, shard: Shard, own: Sequence[PathFrame], indexes: Iterable[int]) -> list[PathFrame]:
        """Return the frames before or after a shard that its own ones depend on, the nearest first."""
        frames = list[PathFrame]()
        for index in indexes if own else ():
            if self._shards[index].camera != shard.camera:
                break
            ahead = index > shard.index
            for frame in self._places(index) if ahead else reversed(self._places(index)):
                if abs(frame.time - own[-1 if ahead else 0].time) > CONTEXT_SECONDS:
                    return frames
                frames.append(frame)
        return frames

    def _read_places(self, index: int) -> list[PathFrame]:
        return list(map(_frames.decode, self._label_bucket.lines(self._run.folder.paths(index))))

    def _write(self, shard: Shard, finished: Sequence[FinishedFrame]) -> None:
        """Write the linked parts of a shard, the result last."""
        lines, uncertainties, more = list[bytes](), list[bytes](), Counter[str]()
        given = zip(self._lines(shard, "manifest"), self._lines(shard, "doubts"), finished, strict=True)
        for body, uncertainty, frame in given:
            linked = link_line(
                body,
                _uncertainties.decode(uncertainty),
                frame.seen,
                frame.filled,
                self._run.labels,
                self._uncertainty_map,
            )
            lines.append(linked.body)
            uncertainties.append(msgspec.json.encode(linked.uncertainty) + b"\n")
            more.update(linked.more)
        self._write_part(shard, "manifest", lines)
        self._write_part(shard, "doubts", uncertainties)
        counts = {name: count for name, count in more.items() if count}
        result = LinkedResult(sum(map(len, lines)), counts, self._write_asked(shard, lines))
        key = self._run.folder.shard(shard.index, "linked.result.json")
        self._label_bucket.write(key, msgspec.json.encode(result))

    def _write_asked(self, shard: Shard, lines: Sequence[bytes]) -> AskedLines | None:
        """Write the lines that reviewers get of a shard with earlier labels. A line with such a label stays."""
        kept = self._label_bucket.read(self._run.folder.shard(shard.index, "kept.jsonl"))
        if kept is None:
            return None
        asked = [
            one.asked.encode() + b"\n" if one.asked else line
            for line, one in zip(lines, map(_earlier.decode, kept.splitlines()), strict=True)
            if one.kind != KEPT
        ]
        self._write_part(shard, "asked", asked)
        return AskedLines(len(asked), sum(map(len, asked)))

    def _lines(self, shard: Shard, part: str) -> Iterator[bytes]:
        return self._label_bucket.lines(self._run.folder.shard(shard.index, f"{part}.jsonl"))

    def _write_part(self, shard: Shard, part: str, lines: Sequence[bytes]) -> None:
        key = self._run.folder.shard(shard.index, f"linked.{part}.jsonl")
        self._label_bucket.write(key, b"".join(lines), _JSON_LINES)

    def _go_on(self, cursor: LinkCursor, state: _Forward | _Backward) -> LinkReport:
        key = self._run.folder.link_state(cursor.shard, cursor.direction)
        self._label_bucket.write(key, msgspec.json.encode(state))
        return LinkReport(self._run.drive, self._run.run, "continue", cursor)

    def _read_state(self, cursor: LinkCursor) -> _Forward | _Backward | None:
        body = self._label_bucket.read(self._run.folder.link_state(cursor.shard, cursor.direction))
        return msgspec.json.decode(body, type=_Forward | _Backward) if body else None


def _learn(place: PathBox, time: float, camera: str, state: _Backward, facts: dict[str, TrackFacts]) -> None:
    """Take in what a box tells of its track. Boxes of a track come in reverse, so the first one knows it whole."""
    first = state.first(place.path)
    if first not in state.open:
        state.open[first] = facts[first] = facts_of_last(first, place, time)
    if first == place.path and place.length == 1:
        state.tracks[camera] = state.tracks.get(camera, 0) + state.open.pop(first).confirmed


def _end_camera(state: _Forward) -> None:
    """Note the rate of the camera, and begin anew for the next one."""
    if state.camera:
        state.rates[state.camera] = _rate(state.pauses)
    state.linker, state.ids, state.pauses, state.camera = Linker(), {}, {}, ""
    state.start = state.last = None


def _rate(pauses: dict[int, int]) -> float | None:
    """Return the frames a second by the median pause, given in milliseconds; None without a pause."""
    half, passed = sum(pauses.values()) / 2, 0
    for pause in sorted(pauses):
        passed += pauses[pause]
        if passed >= half:
            return round(1000 / max(pause, 1), 2)
    return None


def _is_linked(rate: float | None) -> bool:
    return rate is not None and rate >= LEAST_RATE
