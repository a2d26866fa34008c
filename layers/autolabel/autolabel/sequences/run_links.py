"""Links the boxes of a run's pre-labels over its shards, and names the tracks.

The shards of a camera are walked forward, where each box gets a place in a path, and then backward, where the end of a
path tells how long it is and which earlier path it continues. What one shard hands to the next is bounded by the paths
of a few seconds, and by a number for each join. Each call links some shards; the next begins at its cursor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.labelling.shards import Shard, read_shards
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.sequences.linking import CONFIRMED, Linker, Sight
from autolabel.sequences.tracks import LEAST_RATE

# The version of the linker in links.json.
LINK = "1"
_NANOSECONDS = 1_000_000_000
_MILLISECOND = 1_000_000
# Longer pauses count as this long, so that the number of different ones is bounded.
_LONGEST_PAUSE = 10_000
_JSON_LINES = "application/jsonl"


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


class CameraLinks(msgspec.Struct, frozen=True):
    """The linked boxes of one camera. `rate`: frames a second, by the median of the pauses; None for one frame.

    `tracks`: the number of confirmed tracks; None if the rate is too low for linking.
    """

    rate: float | None
    tracks: int | None


class Links(msgspec.Struct, frozen=True):
    """The content of links.json."""

    version: str
    cameras: dict[str, CameraLinks]


class _PathBox(NamedTuple):
    """The place of a box: the id of its path, and how many boxes the path has so far."""

    id: str
    length: int


class _Forward(msgspec.Struct, tag="forward"):
    """What the forward walk carries. `ids`: of live paths, by their numbers; `joined`: ids, and the earlier path's.

    `pauses`: how often each number of milliseconds passed between two frames of the camera. `rates`: of cameras whose
    walk has ended.
    """

    camera: str = ""
    linker: Linker = msgspec.field(default_factory=Linker)
    ids: dict[int, str] = {}
    joined: dict[str, str] = {}
    last: int | None = None
    pauses: dict[int, int] = {}
    rates: dict[str, float | None] = {}


class _Backward(msgspec.Struct, tag="backward"):
    """What the backward walk carries. `confirmed`: open tracks, and whether they have enough boxes."""

    joined: dict[str, str]
    rates: dict[str, float | None]
    confirmed: dict[str, bool] = {}
    tracks: dict[str, int] = {}


def link_run(run: Run, cursor: LinkCursor, *, label_bucket: Bucket, is_late: Callable[[], bool]) -> LinkReport:
    """Link the shards from the cursor on, until `is_late`; at least one.

    Writes the part `tracks` of each shard: for each line of its manifest, the id of the track of each box of the
    pre-label, empty for a box in no confirmed track. A repeated call writes the same. If the state before the cursor
    is gone, because the execution was stopped for weeks, it begins again.
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

    def _link(self, line: ManifestLine, state: _Forward) -> list[_PathBox]:
        timestamp = int(line.origin.timestamp)
        if state.last is not None and timestamp > state.last:
            pause = min(round((timestamp - state.last) / _MILLISECOND), _LONGEST_PAUSE)
            state.pauses[pause] = state.pauses.get(pause, 0) + 1
        state.last = timestamp
        time = timestamp / _NANOSECONDS
        boxes = line.prelabel_boxes
        sights = [
            Sight(time, (box.left, box.top, box.left + box.width, box.top + box.height), box.name) for box in boxes
        ]
        places = []
        for index, link in enumerate(state.linker.step(time, sights)):
            if link.path not in state.ids:
                state.ids[link.path] = self._id(state.camera, line.origin.timestamp, index, sights[index])
            if link.path in state.linker.joins:
                state.joined[state.ids[link.path]] = state.ids[state.linker.joins[link.path]]
            places.append(_PathBox(state.ids[link.path], link.length))
        return places

    def _id(self, camera: str, timestamp: str, index: int, first: Sight) -> str:
        """Derive the id of a track from its first box, so that a repeated run gives the same one.

        `index`: of the box in its frame, since two boxes may be equal.
        """
        parts = [self._run.drive, camera, timestamp, index, first.name, first.box]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]

    def _backward(self, shard: Shard, state: _Backward) -> None:
        decoder = msgspec.json.Decoder(list[_PathBox])
        linked = _is_linked(state.rates[shard.camera])
        tracks = []
        for body in reversed(list(self._label_bucket.lines(self._run.folder.paths(shard.index)))):
            names = [_name(place, shard.camera, state) for place in decoder.decode(body)]
            tracks.append(msgspec.json.encode(names if linked else [""] * len(names)) + b"\n")
        key = self._run.folder.shard(shard.index, "tracks.jsonl")
        self._label_bucket.write(key, b"".join(tracks[::-1]), _JSON_LINES)

    def _go_on(self, cursor: LinkCursor, state: _Forward | _Backward) -> LinkReport:
        key = self._run.folder.link_state(cursor.shard, cursor.direction)
        self._label_bucket.write(key, msgspec.json.encode(state))
        return LinkReport(self._run.drive, self._run.run, "continue", cursor)

    def _read_state(self, cursor: LinkCursor) -> _Forward | _Backward | None:
        body = self._label_bucket.read(self._run.folder.link_state(cursor.shard, cursor.direction))
        return msgspec.json.decode(body, type=_Forward | _Backward) if body else None


def _name(place: _PathBox, camera: str, state: _Backward) -> str:
    """Return the id of a box's track, empty if it is not confirmed. Boxes of a track come in reverse."""
    first = place.id
    while first in state.joined:
        first = state.joined[first]
    confirmed = state.confirmed.setdefault(first, place.length >= CONFIRMED)
    if first == place.id and place.length == 1:
        del state.confirmed[first]
        state.tracks[camera] = state.tracks.get(camera, 0) + confirmed
    return first if confirmed else ""


def _end_camera(state: _Forward) -> None:
    """Note the rate of the camera, and begin anew for the next one."""
    if state.camera:
        state.rates[state.camera] = _rate(state.pauses)
    state.linker, state.ids, state.pauses, state.last, state.camera = Linker(), {}, {}, None, ""


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


def read_links(run: Run, label_bucket: Bucket) -> Links | None:
    """Read the counts of a run's tracks; None for a run whose boxes were not linked."""
    body = label_bucket.read(run.folder.links)
    return msgspec.json.decode(body, type=Links) if body else None


def read_tracks(run: Run, shard: int, label_bucket: Bucket) -> Iterator[list[str]]:
    """Read the track ids of each line of a shard, in the order of the boxes of its pre-label."""
    decoder = msgspec.json.Decoder(list[str])
    return map(decoder.decode, label_bucket.lines(run.folder.shard(shard, "tracks.jsonl")))
