"""Differences of two datasets: what became of each frame's boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from autolabel.contracts.wording import counted
from autolabel.labels import VERIFIED, LabelledBox
from autolabel.reporting import Album, ClassEdits, EditTally, Foremost, compare, render_differences, summarise
from autolabel_cli.datasets.sources import Source
from autolabel_cli.datasets.staging import Line, chosen_label, read_line
from autolabel_cli.drives.frame_copies import read_frame
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# The most frames that are named, and that a page shows.
LISTED, PICTURES = 1_000, 24
_Place = tuple[str, str, str]


class ChangedFrame(msgspec.Struct, frozen=True):
    """A frame whose boxes changed, and how many of them."""

    drive: str
    camera: str
    timestamp: str
    added: int
    deleted: int
    relabelled: int
    moved: int

    @property
    def counts(self) -> str:
        kinds = ("added", "deleted", "relabelled", "moved")
        return ", ".join(f"{count} {kind}" for kind in kinds if (count := getattr(self, kind)))


class Relabelled(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """Boxes whose class changed."""

    old: str
    new: str
    boxes: int


class DifferencesDocument(msgspec.Struct, frozen=True):
    """The document of `autolabel diff`.

    `frames`: in both datasets with a label; `unchanged`: those with the same boxes. `only_old`, `only_new`: frames that
    only one of them labels. `classes`: boxes by the old class, and `added` ones by their own. `changed`: the frames
    with the most changes first, at most LISTED.
    """

    old: str
    new: str
    frames: int
    unchanged: int
    only_old: int
    only_new: int
    classes: dict[str, ClassEdits]
    relabelled: tuple[Relabelled, ...]
    changed: tuple[ChangedFrame, ...]

    @property
    def said(self) -> list[str]:
        """Sentences about all frames."""
        said = [f"{self.unchanged:,} of {counted(self.frames, 'frame has', 'frames have')} the same boxes"]
        for side, count in ((self.old, self.only_old), (self.new, self.only_new)):
            if count:
                said.append(f"only {side} labels {counted(count, 'more frame', 'more frames')}")
        return said


class _Labelled(NamedTuple):
    line: Line
    boxes: list[LabelledBox]


class Differences:
    """Compares two datasets frame by frame, in memory that does not grow with them."""

    def __init__(self, old: Source, new: Source, stack: Stack | None) -> None:
        """Read both. CommandError for a broken or unordered dataset, and when they have no frame in common."""
        self._sides = old, new
        self._stack = stack
        self.tally = EditTally()
        self._foremost = Foremost[tuple[Line, ChangedFrame, list[LabelledBox], list[LabelledBox]]](LISTED)
        self._only = [0, 0]
        for ones in _joined(_labelled(old, stack), _labelled(new, stack)):
            self._take(*ones)
        if not self.tally.frames:
            raise CommandError(f"{old} and {new} label no frame in common: name two runs of one drive")

    def document(self) -> DifferencesDocument:
        return DifferencesDocument(
            old=str(self._sides[0]),
            new=str(self._sides[1]),
            frames=self.tally.frames,
            unchanged=self.tally.untouched,
            only_old=self._only[0],
            only_new=self._only[1],
            classes=dict(sorted(self.tally.classes.items())),
            relabelled=tuple(Relabelled(*names, count) for names, count in self.tally.relabelled.most_common()),
            changed=tuple(changed for _, changed, *_ in self._foremost.ranked()),
        )

    def page(self) -> str:
        """Render a page with the frames that changed most."""
        shown = self._foremost.ranked()[:PICTURES]
        lines = {line.content.shown_ref: line for line, *_ in shown}

        def read(uri: str, etag: str) -> bytes:
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            # Copies beside a dataset are of the frames themselves, which those who get views are not shown.
            if uri == lines[uri].content.source_ref and (folder := lines[uri].copies):
                return (folder / key).read_bytes()
            if self._stack is None:
                raise FileNotFoundError(key)
            if bucket == self._stack.labels.name:
                return self._stack.labels.read(key) or b""
            return read_frame(self._stack.ingest, bucket, key, etag, "compare without --to")

        album = Album(read, len(shown))
        document = self.document()
        sides = document.old, document.new
        pictures = [album.changes(line.content, compare(old, new), sides) for line, _, old, new in shown]
        return render_differences(sides, document.said, self.tally, pictures, album.images)

    def _take(self, old: _Labelled | None, new: _Labelled | None) -> None:
        if old is None or new is None:
            self._only[old is None] += 1
            return
        edits = summarise(compare(old.boxes, new.boxes))
        self.tally.take(edits)
        if edits.others:
            kinds = [edit.kind for edit in edits.others]
            counts = {kind: kinds.count(kind) for kind in ("added", "deleted", "relabelled", "moved")}
            frame = new.line.frame
            changed = ChangedFrame(frame.drive, frame.camera, frame.timestamp, **counts)
            self._foremost.take(edits.cost, (new.line, changed, old.boxes, new.boxes))


def _joined(
    olds: Iterator[_Labelled], news: Iterator[_Labelled]
) -> Iterator[tuple[_Labelled | None, _Labelled | None]]:
    """Join frames of two datasets, both in the order of their frames."""
    old, new = next(olds, None), next(news, None)
    while old or new:
        before = new is None or (old is not None and _place(old) < _place(new))
        after = old is None or (new is not None and _place(new) < _place(old))
        yield None if after else old, None if before else new
        old = old if after else next(olds, None)
        new = new if before else next(news, None)


def _place(one: _Labelled) -> _Place:
    frame = one.line.frame
    return frame.drive, frame.camera, frame.timestamp


def _labelled(source: Source, stack: Stack | None) -> Iterator[_Labelled]:
    """Yield the frames of a dataset that have a label. CommandError when they are out of order."""
    last: _Place = ("", "", "")
    for number, body in enumerate(source.lines(stack), start=1):
        line = read_line(body, f"{source}, line {number}", source.copies)
        attribute, _ = chosen_label(line, "all")
        try:
            boxes = line.content.verified_boxes if attribute == VERIFIED else line.content.prelabel_boxes
            # Pictures need it.
            _ = line.content.size
        except msgspec.DecodeError as e:
            raise CommandError(f"{line.origin} has no boxes: {e}") from e
        one = _Labelled(line, boxes)
        if _place(one) <= last:
            raise CommandError(f"{line.origin} is out of order: lines must be sorted by drive, camera and timestamp")
        last = _place(one)
        if attribute:
            yield one
