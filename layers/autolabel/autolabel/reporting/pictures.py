"""Pictures of a report: frames as small JPEGs, each once, and the boxes drawn over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Sensors
from autolabel.contracts.errors import ImageRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import ACCEPTED, BETWEEN
from autolabel.labels.agreement import IGNORE
from autolabel.labels.image_header import MAX_PIXELS
from autolabel.labels.image_pixels import MAX_SCANS, as_rgb, open_pixels
from autolabel.labels.manifest import LabelledBox, ManifestLine
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.reporting.cuboid_pictures import CuboidPicture, cuboid_picture
from autolabel.reporting.edits import ADDED, DELETED, IGNORED, KEPT, MOVED, RELABELLED, Change, compare
from autolabel.reporting.label_errors import LabelIssue, PixelBox

PICTURE_WIDTH = 1280
# The most bytes of all pictures of a page (2.8 million in base64), and of one picture. A frame is saved in the first of
# these ways, as (width, quality), that makes it small enough, or else in the last one.
_PAGE_BYTES = 2_100_000
_MAX_PICTURE_BYTES = 150_000
_SAVED = ((PICTURE_WIDTH, 80), (960, 80), (880, 65), (720, 60), (560, 45), (480, 30))
_NO_COLOR = "#757575"
# The most boxes drawn in a frame of a comparison, and the most label issues named below it.
_MAX_DRAWN = 150
_MAX_ISSUES = 8
# A close-up is this many times as wide and as high as its box, and at least this share of the frame, because the
# pictures have few pixels.
_WIDER, _HIGHER = 3.0, 1.6
_LEAST_VIEW = 0.25


ReadFrame = Callable[[str, str], bytes]


def frames_of(ingest: Bucket, label_bucket: Bucket) -> ReadFrame:
    """Return what reads the frames of the ingest bucket, and their views in the label bucket."""

    def read(uri: str, etag: str) -> bytes:
        if uri.startswith(ingest.uri("")):
            return ingest.read_range(uri.removeprefix(ingest.uri("")), 0, MAX_FRAME_BYTES, etag).body
        # Of a view that has expired there is no picture.
        return label_bucket.read(uri.removeprefix(label_bucket.uri(""))) or b""

    return read


class PictureBox(msgspec.Struct, frozen=True):
    """A box of a picture: left, top, width, height in pixels of the frame."""

    name: str
    color: str
    confidence: float
    left: float
    top: float
    width: float
    height: float


class Picture(msgspec.Struct, frozen=True):
    """A frame with its boxes. `image`: its name in the album, empty if it could not be read. `label`: "accepted",
    "by its key frames", "verified" or "labelled by a script"; empty without a verified label."""

    title: str
    width: int
    height: int
    image: str
    boxes: tuple[PictureBox, ...]
    failures: tuple[str, ...]
    label: str


class Outline(msgspec.Struct, frozen=True):
    """A box of a comparison. `kind`: a CSS class of the page. `text`: empty if the box has no caption."""

    kind: str
    text: str
    left: float
    top: float
    width: float
    height: float


class View(msgspec.Struct, frozen=True):
    """The part of a frame that a pane shows, in its pixels."""

    left: float
    top: float
    width: float
    height: float


class Pane(msgspec.Struct, frozen=True):
    """One view of a comparison's frame, with outlines. `name`: its caption. `image`: of another frame, if not empty."""

    name: str
    view: View
    outlines: tuple[Outline, ...]
    image: str = ""


class Comparison(msgspec.Struct, frozen=True):
    """A frame in panes side by side. `said`: the parts of its caption."""

    title: str
    width: int
    height: int
    image: str
    panes: tuple[Pane, ...]
    said: tuple[str, ...]


class Album:
    """Makes pictures of a dataset's lines, of at most `frames` frames. `images`: the frames as data URIs by name.

    `read` gets the S3 URI of a frame or its view, and the frame's ETag, and returns the bytes; it raises ImageRefused.
    """

    def __init__(self, read: ReadFrame, frames: int) -> None:
        self._read = read
        self._limit = min(_MAX_PICTURE_BYTES, _PAGE_BYTES // max(1, frames))
        self._names: dict[str, str] = {}
        self.images: dict[str, str] = {}

    def picture(self, line: ManifestLine) -> Picture:
        """Make a picture of a frame with its verified boxes, or with the models' boxes if it has no verified label."""
        shown = line.prelabel_boxes if line.verified is UNSET else line.verified_boxes
        scores = {_place(box): box.confidence for box in line.prelabel_boxes}
        colors = current_taxonomy().colors
        boxes = tuple(
            PictureBox(
                box.name,
                colors.get(box.name, _NO_COLOR),
                # A reviewer's box has no confidence; an untouched box keeps the models'.
                scores.get(_place(box), box.confidence),
                box.left,
                box.top,
                box.width,
                box.height,
            )
            for box in shown
        )
        width, height = _size(line)
        return Picture(
            title=_title(line),
            width=width,
            height=height,
            image=self._image(line),
            boxes=boxes,
            failures=line.origin.failures,
            label=_label(line),
        )

    def cuboids(self, line: ManifestLine, sensors: Sensors) -> CuboidPicture:
        """Draw the cuboids of a frame."""
        return cuboid_picture(line, sensors, _title(line), self._image(line))

    def edits(self, line: ManifestLine) -> Comparison:
        """Show the pre-label beside the verified label."""
        return self.changes(line, compare(line.prelabel_boxes, line.verified_boxes), ("pre-label", "verified"))

    def changes(self, line: ManifestLine, changes: Sequence[Change], names: tuple[str, str]) -> Comparison:
        """Show two labels of a frame side by side: before its changes, and after them."""
        # Kept boxes are drawn first, below the others, and left out first if there are too many boxes.
        changes = sorted(changes, key=lambda change: change.kind != KEPT)
        said, changes = _counted(changes), changes[-_MAX_DRAWN:]
        whole = View(0, 0, *_size(line))
        before = tuple(_outline(c.kind, c.predicted, c.predicted.name) for c in changes if c.predicted)
        after = tuple(outline for c in changes for outline in _after(c))
        return self._comparison(line, (Pane(names[0], whole, before), Pane(names[1], whole, after)), said)

    def issues(self, line: ManifestLine, issues: Sequence[LabelIssue]) -> Comparison:
        """Show the verified label with the models' boxes that contradict it, and a close-up of the most suspicious."""
        verified = tuple(
            _outline(IGNORED if box.name == IGNORE else KEPT, box, box.name) for box in line.verified_boxes[:_MAX_DRAWN]
        )
        first = issues[:_MAX_ISSUES]
        boxes = [(s.models, s.confidence) for s in first if s.models]
        models = tuple(_outline("issue", box, f"{box.label} {confidence:.2f}") for box, confidence in boxes)
        said = [_said(s) for s in first]
        if len(issues) > len(first):
            said.append(f"and {len(issues) - len(first)} more")
        whole = View(0, 0, *_size(line))
        closer = _around(boxes[0][0], whole)
        visible = tuple(one for one in verified + models if _is_visible(one, closer))
        panes = (Pane("verified", whole, verified + models), Pane("first issue, close-up", closer, visible))
        return self._comparison(line, panes, said)

    def in_time(
        self, issue: LabelIssue, before: ManifestLine | None, here: ManifestLine, after: ManifestLine | None
    ) -> Comparison:
        """Show the place of an issue by time in the frame before, here, and after."""
        box = issue.expected or issue.verified
        if box is None:
            raise AssertionError("an issue by time has a box")
        view, panes = _around(box, View(0, 0, *_size(here))), list[Pane]()
        for name, line in (("before", before), ("here", here), ("after", after)):
            if line is None:
                continue
            outlines = [_outline(KEPT, one, one.name) for one in line.verified_boxes[:_MAX_DRAWN]]
            if line is here:
                outlines += [_outline("issue", issue.expected, issue.expected.label)] if issue.expected else []
                outlines += [_outline(MOVED, issue.verified, issue.verified.label)] if issue.verified else []
            visible = tuple(one for one in outlines if _is_visible(one, view))
            panes.append(Pane(name, view, visible, self._image(line)))
        labels = [one.label for one in (issue.verified, issue.expected) if one]
        said = f"{issue.kind}: {' or '.join(dict.fromkeys(labels))}, {issue.suspicion:.2f}"
        return self._comparison(here, tuple(panes), [said])

    def _comparison(self, line: ManifestLine, panes: tuple[Pane, ...], said: Sequence[str]) -> Comparison:
        width, height = _size(line)
        return Comparison(_title(line), width, height, self._image(line), panes, tuple(said))

    def _image(self, line: ManifestLine) -> str:
        """Return the name of a line's frame in the album. The frame is read once, at its first use."""
        source = line.shown_ref
        if source not in self._names:
            data = _data_uri(source, line.origin.etag, self._read, self._limit)
            name = f"frame-{len(self.images)}" if data else ""
            self._names[source] = name
            if data:
                self.images[name] = data
        return self._names[source]


def _after(change: Change) -> list[Outline]:
    kind, predicted, verified, iou = change
    if verified is None:
        return [_outline(kind, predicted, "")] if predicted else []
    if predicted is None or kind == KEPT:
        return [_outline(kind, verified, verified.name)]
    if kind == MOVED:
        return [_outline("before", predicted, ""), _outline(MOVED, verified, f"{verified.name}, IoU {iou:.2f}")]
    return [_outline("before", predicted, ""), _outline(kind, verified, f"{predicted.name} → {verified.name}")]


def _counted(changes: Sequence[Change]) -> list[str]:
    kinds = [change.kind for change in changes]
    return [f"{kinds.count(k)} {k}" for k in (ADDED, DELETED, RELABELLED, MOVED, IGNORED, KEPT) if k in kinds]


def _said(issue: LabelIssue) -> str:
    said = f"{issue.kind}: {issue.models.label if issue.models else ''} {issue.confidence:.2f}"
    if issue.verified and issue.models and issue.verified.label != issue.models.label:
        said += f" or {issue.verified.label}"
    return said + (" (a reviewer changed this box)" if issue.decided else "")


def _around(box: PixelBox, frame: View) -> View:
    """Return a part of the frame with the frame's proportions, with the box in its middle and a margin around it."""
    share = min(1.0, max(_WIDER * box.width / frame.width, _HIGHER * box.height / frame.height, _LEAST_VIEW))
    width, height = share * frame.width, share * frame.height
    left = min(max(box.left + box.width / 2 - width / 2, 0.0), frame.width - width)
    top = min(max(box.top + box.height / 2 - height / 2, 0.0), frame.height - height)
    return View(round(left, 1), round(top, 1), round(width, 1), round(height, 1))


def _is_visible(outline: Outline, view: View) -> bool:
    across = outline.left < view.left + view.width and outline.left + outline.width > view.left
    return across and outline.top < view.top + view.height and outline.top + outline.height > view.top


def _outline(kind: str, box: LabelledBox | PixelBox, text: str) -> Outline:
    return Outline(kind, text, box.left, box.top, box.width, box.height)


def _title(line: ManifestLine) -> str:
    return f"{line.origin.camera} {line.origin.timestamp}"


def _size(line: ManifestLine) -> tuple[int, int]:
    return line.size.width, line.size.height


def _place(box: LabelledBox) -> tuple[str, float, float, float, float]:
    return box.name, box.left, box.top, box.width, box.height


def _data_uri(source: str, etag: str, read: ReadFrame, limit: int) -> str:
    """Encode the frame as a JPEG of about `limit` bytes; empty if it cannot be read or decoded, or has changed."""
    from PIL import Image

    try:
        body = read(source, etag)
        with open_pixels(body, source) as image:
            if image.width * image.height > MAX_PIXELS or (
                image.format != "PNG" and body.count(b"\xff\xda") > MAX_SCANS
            ):
                return ""
            # Makes Pillow decode a JPEG at a reduced size: a frame of 100 megapixels takes megabytes, not hundreds.
            image.draft("RGB", (PICTURE_WIDTH, PICTURE_WIDTH))
            small = as_rgb(image)
        for width, quality in _SAVED:
            small.thumbnail((width, width * 4), Image.Resampling.LANCZOS)
            out = io.BytesIO()
            small.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= limit:
                break
    except (ImageRefused, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _label(line: ManifestLine) -> str:
    if line.verified is UNSET:
        return ""
    if line.labelled_by_script:
        return "labelled by a script"
    return {ACCEPTED: "accepted", BETWEEN: "by its key frames"}.get(line.origin.triage, "verified")
