"""Makes the content of the page from the lines of datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import KeyRefused
from autolabel.contracts.frames import parse_frame_key
from autolabel.labels import LabelledBox, ManifestLine, Provenance, current_taxonomy, read_line
from autolabel.reporting import compare, worker_name
from autolabel_cli.errors import CommandError


class PageBox(msgspec.Struct, frozen=True, array_like=True):
    """A box of the page; left, top, width, height in pixels of the frame.

    `name` and `track`: positions among the page's classes and tracks; `track` is -1 for a box in none. `confidence` and
    `uncertainty`: of the model's box that it comes from; 0 without one. `change`: what a reviewer did to that box.
    """

    name: int
    left: float
    top: float
    width: float
    height: float
    confidence: float = 0.0
    uncertainty: float = 0.0
    track: int = -1
    change: str = ""


class PageFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame of the page. `image`: its address relative to the page; `time`: ns since the epoch, as text.

    `boxes`: of its label, else of the pre-label; `before`: the models' boxes that a reviewer changed. `by`: whose label
    it is; `reasons`: of its uncertainty or failure. `changes`: boxes by kind of change.
    """

    image: str
    drive: str
    camera: str
    time: str
    width: int
    height: int
    boxes: tuple[PageBox, ...]
    before: tuple[PageBox, ...] = ()
    source: str = ""
    by: str = ""
    kind: str = ""
    reviewer: str = ""
    comment: str = ""
    level: float = 0.0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    changes: dict[str, int] = {}


class PageContent(msgspec.Struct, frozen=True):
    """The content of the page. `colors`: of the classes, in their order; `unreadable`: lines without boxes to show."""

    title: str
    classes: tuple[str, ...]
    colors: tuple[str, ...]
    tracks: tuple[str, ...]
    frames: tuple[PageFrame, ...]
    unreadable: int


class FramePlace(NamedTuple):
    """Where a frame's bytes are: its bucket, and the ETag that they had when they were labelled."""

    bucket: str
    etag: str


class Frames:
    """Gathers the frames of datasets. `places`: by the key of each frame."""

    def __init__(self) -> None:
        self.places: dict[str, FramePlace] = {}
        self._frames: list[PageFrame] = []
        self._classes: dict[str, int] = {}
        self._tracks: dict[str, int] = {}
        self._unreadable = 0

    def take(self, lines: Iterable[bytes], source: str) -> None:
        """Take the lines of a dataset. CommandError names a line of `source` that cannot be read."""
        for number, body in enumerate(lines, start=1):
            try:
                line = read_line(body)
                bucket, _, key = line.source_ref.removeprefix("s3://").partition("/")
                key = parse_frame_key(key).key
                origin = line.origin
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyRefused) as e:
                raise CommandError(f"{source} cannot be read in line {number}: {e}") from e
            try:
                self._frames.append(self._frame(line, origin, key))
            except msgspec.ValidationError:
                # A frame without boxes of any kind, or with segments only.
                self._unreadable += 1
            else:
                self.places[key] = FramePlace(bucket, origin.etag)

    def content(self, title: str) -> PageContent:
        colors = current_taxonomy().colors
        return PageContent(
            title,
            tuple(self._classes),
            tuple(colors.get(name, "#757575") for name in self._classes),
            tuple(self._tracks),
            tuple(self._frames),
            self._unreadable,
        )

    def _frame(self, line: ManifestLine, origin: Provenance, key: str) -> PageFrame:
        boxes, before, changes = self._boxes(line)
        review = line.review if line.review is not UNSET else None
        uncertainty = line.uncertainty if line.uncertainty is not UNSET else None
        return PageFrame(
            quote(key),
            origin.drive,
            origin.camera,
            origin.timestamp,
            line.size.width,
            line.size.height,
            boxes,
            before,
            origin.source,
            origin.labelled_by.value,
            origin.triage,
            worker_name(review.worker) if review and review.worker else "",
            review.comment if review else "",
            uncertainty.level if uncertainty else 0.0,
            round(review.seconds or 0.0, 1) if review else 0.0,
            (*(uncertainty.why if uncertainty else ()), *origin.failures, *filter(None, [origin.verification])),
            changes,
        )

    def _boxes(self, line: ManifestLine) -> tuple[tuple[PageBox, ...], tuple[PageBox, ...], dict[str, int]]:
        """Return the boxes of the label, the models' boxes that were changed, and the changes."""
        predicted = line.prelabel_boxes
        levels = line.uncertainty.boxes if line.uncertainty is not UNSET else ()
        level_of = {id(box): level for box, level in zip(predicted, levels, strict=False)}
        shown = predicted if line.verified is UNSET else line.verified_boxes
        tracks = line.tracks if line.tracks is not UNSET else ()
        track_of = {id(box): track for box, track in zip(shown, tracks, strict=False)}

        def page_box(box: LabelledBox, model: LabelledBox | None, change: str = "") -> PageBox:
            return PageBox(
                self._classes.setdefault(box.name, len(self._classes)),
                box.left,
                box.top,
                box.width,
                box.height,
                round(model.confidence, 3) if model else 0.0,
                level_of.get(id(model), 0.0),
                self._track(track_of.get(id(box), "")),
                change,
            )

        if line.verified is UNSET:
            return tuple(page_box(box, box) for box in predicted), (), {}
        boxes, before, counts = list[PageBox](), list[PageBox](), dict[str, int]()
        for kind, model, box, _ in compare(predicted, shown):
            if box:
                boxes.append(page_box(box, model, kind))
            if model and kind != "kept":
                before.append(page_box(model, model, kind))
            if kind != "kept" and line.verified_by_person:
                counts[kind] = counts.get(kind, 0) + 1
        return tuple(boxes), tuple(before), counts

    def _track(self, track: str) -> int:
        return self._tracks.setdefault(track, len(self._tracks)) if track else -1
