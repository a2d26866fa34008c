"""The report of a run: one self-contained page with its counts and pictures of its frames with their boxes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from autolabel.errors import FrameChanged
from autolabel.findings import Findings
from autolabel.frames import MAX_FRAME_BYTES
from autolabel.images import MAX_PIXELS
from autolabel.manifest import PRELABEL, PROVENANCE, VERIFIED, LabelledBox, metadata_of, read_boxes
from autolabel.ports import Bucket
from autolabel.summary import Summary, failed_key, rejected_key, report_key
from autolabel.taxonomy import current_taxonomy

if TYPE_CHECKING:
    import jinja2

PICTURES = 24
PICTURE_WIDTH = 880
# Cameras write a dozen scans at most. Each is a pass over all pixels that costs a file some bytes: a megabyte of them
# would take longer than the function may.
MAX_SCANS = 100
# So many rejected and failed frames are named in the page; their files hold all.
NAMED_ISSUES = 20


class Gallery:
    """Chooses lines spread evenly over a run of `frames` lines as they pass by."""

    def __init__(self, frames: int, pictures: int = PICTURES) -> None:
        self._wanted = {round(i * (frames - 1) / max(1, pictures - 1)) for i in range(pictures)}
        self._seen = 0
        self.lines: list[bytes] = []

    def take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._seen in self._wanted:
                self.lines.append(line)
            self._seen += 1

    def skip(self, count: int) -> bool:
        """Pass over the next `count` lines without reading them; False, and nothing is passed, when one is chosen."""
        if not self._wanted.isdisjoint(range(self._seen, self._seen + count)):
            return False
        self._seen += count
        return True


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
    """A frame with its boxes. `data`: the frame as a data URI, or empty when it could not be read."""

    title: str
    width: int
    height: int
    data: str
    boxes: tuple[PictureBox, ...]
    failures: tuple[str, ...]
    verified: bool


def write_report(
    summary: Summary, gallery: Gallery, findings: Findings | None = None, *, ingest: Bucket, labels: Bucket
) -> str:
    """Write the run's report into the label bucket; its S3 URI."""
    pictures = [_picture(msgspec.json.decode(line), ingest) for line in gallery.lines]
    issues = {
        name: _first_lines(labels, key(summary.drive, summary.run))
        for name, key in (("Rejected", rejected_key), ("Failed", failed_key))
    }
    page = render_report(summary, pictures, issues)
    key = report_key(summary.drive, summary.run)
    labels.write(key, page.encode(), "text/html; charset=utf-8")
    return labels.uri(key)


def render_report(summary: Summary, pictures: list[Picture], issues: dict[str, list[dict[str, str]]]) -> str:
    """The page as HTML. `issues`: rejected and failed frames with key, reason and detail."""
    return _template().render(
        summary=summary,
        pictures=pictures,
        issues=issues,
        colors=current_taxonomy().colors,
        most=max(summary.classes.values(), default=1),
        verified=bool(summary.verification),
    )


@cache
def _template() -> jinja2.Template:
    # Here and not above: a function that starts pays for it only when it writes a report.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autolabel", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")


def _first_lines(labels: Bucket, key: str) -> list[dict[str, str]]:
    first = []
    for line in labels.lines(key):
        first.append(msgspec.json.decode(line, type=dict[str, str]))
        if len(first) == NAMED_ISSUES:
            break
    return first


def _picture(line: dict[str, Any], ingest: Bucket) -> Picture:
    size = line[PRELABEL]["image_size"][0]
    scores = _scores(line)
    shown = VERIFIED if VERIFIED in line else PRELABEL
    colors = current_taxonomy().colors
    boxes = tuple(
        PictureBox(
            box.name,
            colors.get(box.name, "#757575"),
            # A person's box has no confidence of its own: an untouched one keeps the model's.
            scores.get(_place(box), box.confidence),
            box.left,
            box.top,
            box.width,
            box.height,
        )
        for box in read_boxes(line, shown)
    )
    provenance = line[PROVENANCE]
    metadata = line.get(metadata_of(VERIFIED), {})
    return Picture(
        title=f"{provenance['camera']} {provenance['timestamp']}",
        width=size["width"],
        height=size["height"],
        data=_data_uri(line["source-ref"].removeprefix(ingest.uri("")), provenance["etag"], ingest),
        boxes=boxes,
        failures=tuple(provenance.get("failures", ())),
        verified=VERIFIED in line and "failure-reason" not in metadata,
    )


def _scores(line: dict[str, Any]) -> dict[tuple[str, float, float, float, float], float]:
    return {_place(box): box.confidence for box in read_boxes(line, PRELABEL)}


def _place(box: LabelledBox) -> tuple[str, float, float, float, float]:
    return box.name, box.left, box.top, box.width, box.height


def _data_uri(key: str, etag: str, ingest: Bucket) -> str:
    """The frame as a JPEG of at most PICTURE_WIDTH pixels' width; empty when it cannot be decoded or has changed."""
    from PIL import Image, UnidentifiedImageError

    try:
        body = ingest.read_first(key, MAX_FRAME_BYTES, etag)
        with Image.open(io.BytesIO(body), formats=["PNG", "JPEG"]) as image:
            if image.width * image.height > MAX_PIXELS or (
                image.format != "PNG" and body.count(b"\xff\xda") > MAX_SCANS
            ):
                return ""
            # For JPEG, decodes at a reduced size at once: a 100-megapixel frame takes megabytes, not hundreds.
            image.draft("RGB", (PICTURE_WIDTH, PICTURE_WIDTH))
            small = image.convert("RGB")
        small.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH * 4), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=80, optimize=True)
    except (FrameChanged, UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
