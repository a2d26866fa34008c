"""Checks a container against the contract of segmenters (docs/ml-engineers/segmenters.md), rule by rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import msgspec
import numpy as np
from PIL import Image, ImageDraw

from autolabel.labels import Box, read_bitmap
from autolabel.models import Mask, SegmenterRequest, segmenter_request
from autolabel_cli.models.segmenter_client import Segmenter, Unanswered

_WIDTH, _HEIGHT = 320, 200
_LARGE = (3840, 2160)
_MANY = 20
_AT_ONCE = 4
# EXIF's tag of the orientation, and its value for a picture that viewers turn by a quarter.
_ORIENTATION, _TURNED = 0x0112, 6
# So much of a mask is in its box, which a model may leave a little.
_INSIDE = 0.5


class CheckedRule(msgspec.Struct, frozen=True):
    """A rule of the contract, and whether the container keeps it; `broken` says how not, and is empty otherwise."""

    name: str
    kept: bool
    broken: str


class SegmenterCheck(msgspec.Struct, frozen=True):
    """The document of `models check-segmenter`. `drafts`: how many of its `masks` have the mark `draft`."""

    url: str
    seconds: float
    masks: int
    drafts: int
    rules: list[CheckedRule]


class _Broken(Exception):
    """A rule is broken; the message says how, and with which input."""


def check_segmenter(segmenter: Segmenter, tell: Callable[[str], None]) -> SegmenterCheck:
    """Ask a container with generated pictures and boxes. `tell` gets the name of each rule before it is checked.

    A rule that is broken does not end the check, unless it is the first: without a loaded model none can be checked.
    """
    began, checked, seen = time.monotonic(), list[CheckedRule](), list[Mask]()
    asked = _Asked(segmenter, seen)
    for name, rule in _RULES.items():
        tell(name)
        try:
            rule(asked)
            broken = ""
        except (_Broken, Unanswered) as e:
            broken = str(e)
        checked.append(CheckedRule(name, not broken, broken))
        if broken and name == "ping":
            break
    drafts = sum(mask.draft for mask in seen)
    return SegmenterCheck(segmenter.url, round(time.monotonic() - began, 1), len(seen), drafts, checked)


class _Asked:
    """The container, with all masks that it gave."""

    def __init__(self, segmenter: Segmenter, seen: list[Mask]) -> None:
        self.segmenter = segmenter
        self._seen = seen

    def masks(self, what: str, picture: Image.Image, boxes: Sequence[Box], kind: str = "PNG") -> tuple[Mask, ...]:
        """Ask for the masks of boxes in a picture. `what` names the input in messages."""
        written = BytesIO()
        # Even empty EXIF data would be written.
        picture.save(written, kind, **({"exif": exif} if (exif := picture.getexif()) else {}))
        try:
            found = self.segmenter.segment(
                written.getvalue(), f"image/{kind.lower()}", boxes, picture.width, picture.height
            )
        except Unanswered as e:
            raise _Broken(f"{what}: {e}") from e
        self._seen.extend(found)
        return found


def _picture(width: int, height: int) -> tuple[Image.Image, list[Box]]:
    """Draw three discs that stand free, of different sizes, and return the boxes around them."""
    levels = np.random.default_rng(0).integers(90, 120, (height, width, 3), np.uint8)
    picture, boxes = Image.fromarray(levels), list[Box]()
    for x, y, size, color in ((0.2, 0.3, 0.3, "red"), (0.75, 0.25, 0.2, "yellow"), (0.65, 0.75, 0.35, "blue")):
        half = size * min(width, height) / 2
        box = (x * width - half, y * height - half, x * width + half, y * height + half)
        ImageDraw.Draw(picture).ellipse(box, fill=color)
        boxes.append(box)
    return picture, boxes


def _ping(asked: _Asked) -> None:
    if (reply := asked.segmenter.ping()).status != 200:
        raise _Broken(f"GET /ping: {reply.said}")


def _answer(asked: _Asked) -> None:
    if all(_is_empty(mask) for mask in asked.masks("three discs that stand free", *_picture(_WIDTH, _HEIGHT))):
        raise _Broken("three discs that stand free: all masks are empty")


def _size(asked: _Asked) -> None:
    for width, height in ((200, 320), (317, 211), (64, 64)):
        asked.masks(f"a picture of {width} x {height}", *_picture(width, height))


def _order(asked: _Asked) -> None:
    for width, height in ((_WIDTH, _HEIGHT), (_HEIGHT, _WIDTH)):
        picture, boxes = _picture(width, height)
        for ordered in (boxes, boxes[::-1]):
            for place, (box, mask) in enumerate(
                zip(ordered, asked.masks("three discs", picture, ordered), strict=True)
            ):
                pixels = read_bitmap(mask.rle.counts, width, height)
                left, top, right, bottom = (round(side) for side in box)
                if pixels[top:bottom, left:right].sum() < _INSIDE * pixels.sum():
                    raise _Broken(
                        f"masks[{place}] of three discs is mostly outside of its box: masks stand in the order of the "
                        "boxes, and an RLE goes down the columns"
                    )


def _number(asked: _Asked) -> None:
    picture, boxes = _picture(_WIDTH, _HEIGHT)
    for count in (0, 1, _MANY):
        asked.masks(f"{count} boxes", picture, (boxes * _MANY)[:count])


def _edges(asked: _Asked) -> None:
    picture, boxes = _picture(_WIDTH, _HEIGHT)
    inputs: dict[str, list[Box]] = {
        "a box that is the whole picture": [(0, 0, _WIDTH, _HEIGHT)],
        "boxes in two corners": [(0, 0, 30, 20), (_WIDTH - 30, _HEIGHT - 20, _WIDTH, _HEIGHT)],
        "a box of one pixel": [(100, 100, 101, 101)],
        "a box of less than a pixel": [(100.2, 100.2, 100.6, 100.7)],
        "a box of one row": [(0, 50, _WIDTH, 51)],
        "the same box twice": [boxes[0], boxes[0]],
    }
    for what, given in inputs.items():
        asked.masks(what, picture, given)


def _formats(asked: _Asked) -> None:
    picture, boxes = _picture(_WIDTH, _HEIGHT)
    inputs = {
        "a JPEG": (picture, "JPEG"),
        "a grey JPEG": (picture.convert("L"), "JPEG"),
        "a grey PNG": (picture.convert("L"), "PNG"),
        "a PNG with a palette": (picture.convert("P"), "PNG"),
    }
    for what, (shown, kind) in inputs.items():
        asked.masks(what, shown, boxes[:1], kind)


def _orientation(asked: _Asked) -> None:
    picture, boxes = _picture(_WIDTH, _HEIGHT)
    picture.getexif()[_ORIENTATION] = _TURNED
    asked.masks("a JPEG that EXIF turns, whose pixels count as they are stored", picture, boxes, "JPEG")


def _large(asked: _Asked) -> None:
    asked.masks("a JPEG of {} x {}".format(*_LARGE), *_picture(*_LARGE), "JPEG")


def _at_once(asked: _Asked) -> None:
    def ask(place: int) -> None:
        # Other sizes and numbers of boxes: an answer to another request would be refused.
        picture, boxes = _picture(_WIDTH + 8 * place, _HEIGHT)
        asked.masks(f"{_AT_ONCE} pictures at once", picture, (boxes * 2)[: place + 1])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(ask, range(_AT_ONCE)))


def _refusals(asked: _Asked) -> None:
    for what, request in _wrong_requests():
        if not 400 <= (reply := asked.segmenter.invoke(request)).status < 500:
            raise _Broken(f"{what} is answered with {reply.said}, not with a status of 400 to 499")
    asked.masks("a good request after wrong ones", *_picture(_WIDTH, _HEIGHT))


def _wrong_requests() -> Iterator[tuple[str, SegmenterRequest]]:
    picture, _ = _picture(_WIDTH, _HEIGHT)
    written = BytesIO()
    picture.save(written, "PNG")
    image, box = written.getvalue(), b"[1.0,2.0,30.0,40.0]"

    def form(image: bytes = image, prompt: bytes = box, version: bytes = b"1") -> SegmenterRequest:
        good = segmenter_request(image, "image/png", [(1.0, 2.0, 30.0, 40.0)], _WIDTH, _HEIGHT)
        body = good.body.replace(box, prompt).replace(b'"version":1', b'"version":' + version)
        return msgspec.structs.replace(good, body=body)

    good = form()
    yield "an image without a form", SegmenterRequest(image, "image/png")
    yield "a form that ends early", msgspec.structs.replace(good, body=good.body[: len(image) // 2])
    yield "a form without a prompt", msgspec.structs.replace(good, body=good.body.replace(b'"prompt"', b'"other"'))
    yield "a form without an image", msgspec.structs.replace(good, body=good.body.replace(b'"image";', b'"other";'))
    yield "a text in the place of the image", form(image=b"no image")
    yield "a prompt that is not JSON", form(prompt=b"]")
    yield "a prompt of another version", form(version=b"999")
    yield "a box of three numbers", form(prompt=b"[1.0,2.0,30.0]")
    yield "a box with its sides in the wrong order", form(prompt=b"[30.0,2.0,1.0,40.0]")
    yield "a box outside of the image", form(prompt=b"[1.0,2.0,30.0,4000.0]")
    yield "a box with a text", form(prompt=b'[1.0,2.0,"30",40.0]')


def _is_empty(mask: Mask) -> bool:
    height, width = mask.rle.size
    return not read_bitmap(mask.rle.counts, width, height).any()


# In the order of the contract. The name is what messages and the JSON object have.
_RULES: dict[str, Callable[[_Asked], None]] = {
    "ping": _ping,
    "answer": _answer,
    "size": _size,
    "order": _order,
    "number": _number,
    "edges": _edges,
    "formats": _formats,
    "orientation": _orientation,
    "large": _large,
    "at-once": _at_once,
    "refusals": _refusals,
}
