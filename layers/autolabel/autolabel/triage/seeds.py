"""Seeds: errors that vigilance puts into boxes before reviewers see them, to measure how many errors they catch.

A seed changes one box of a frame's line: it shifts the box, gives it another class, adds one or takes it away. The rest
of the line is made to match, so that nothing but the picture tells a seed. All of it can be undone exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.labelling.uncertainty import FLOOR, frame_level
from autolabel.labelling.uncertainty_map import UncertaintyMap, calibrated
from autolabel.labels.agreement import IGNORE, corners
from autolabel.labels.detections import Box, box_iou
from autolabel.labels.manifest import (
    CandidateBox,
    LabelledBox,
    LabelledBy,
    LineTooLong,
    ManifestLine,
    Origin,
    ShownUncertainty,
    encode_line,
    raw,
    read_line,
    whole_pixels,
)
from autolabel.triage.corrections import (
    INVENTED,
    OTHER_CLASS,
    REMOVED,
    SHIFTED,
    Correction,
    ErrorKind,
    lot,
)

# Only boxes of less uncertainty are seeded: a reviewer looks at the others anyway.
MOST_UNCERTAIN = FLOOR
# A seed is at least this far from the right box, so that no reviewer leaves it in good faith.
_MOST_LIKE = 0.9
_LEAST_PIXELS = 4
# A seed or a removed box overlaps other boxes by less, so that it is clear which box a reviewer drew in its place.
_APART = 0.3
# An invented box overlaps other boxes and candidates by less: it must not be an object.
_ALONE = 0.1
# Corrections that are tried for a box, and places for an invented one.
TRIES = 8
# Without a correction's place, an invented box stands as far from the drawn one, in its widths.
_NEAREST, _FARTHEST = 1.2, 4.0

PlacedBox = tuple[str, float, float, float, float]


class SeedBox(msgspec.Struct, frozen=True, array_like=True):
    """A box of a line with all that the line says of it. Sides in whole pixels; `level`: its uncertainty."""

    class_id: int
    name: str
    left: int
    top: int
    width: int
    height: int
    confidence: float
    level: float
    track: str = ""

    @property
    def placed(self) -> PlacedBox:
        return self.name, self.left, self.top, self.width, self.height

    @property
    def labelled(self) -> LabelledBox:
        return LabelledBox(*self.placed, self.confidence)

    def as_given(self, tracks: bool) -> GivenBox:
        """Return the box as a label has it; `tracks`: whether its boxes have the ids of their tracks."""
        return GivenBox(self.class_id, *self.placed, track=self.track if tracks else "")


class GivenBox(NamedTuple):
    """A box that is put into a label."""

    class_id: int
    name: str
    left: float
    top: float
    width: float
    height: float
    confidence: float = 0.0
    track: str = ""

    @property
    def placed(self) -> PlacedBox:
        return self.name, self.left, self.top, self.width, self.height


class Swap(msgspec.Struct, frozen=True, array_like=True):
    """Two tracks that exchange their objects from a frame on, where these are near each other.

    `tracks`: the ids of the two; `boxes`: those of the models in this frame, None for one that it lacks. `before`: the
    S3 URI of the last frame before the exchange; `boxes_before`: of that frame.
    """

    tracks: tuple[str, str]
    boxes: tuple[PlacedBox | None, PlacedBox | None]
    before: str
    boxes_before: tuple[PlacedBox, PlacedBox]


class Seed(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source_ref": "source-ref"}):
    """A seeded error of a frame.

    `at`: the index of the box. `right`: the models' box, None if the shown one is invented; `shown`: what reviewers
    see, None if the right one is removed. `right_level`, `shown_level`: uncertainty of the frame; `shown_own`: before a
    map. `hidden`: candidates that reviewers do not see, with their indexes. `stretch`: the name of the stretch whose
    frames have the same error, and count as one seed; empty for a seed of a single frame. `swap`: of tracks, instead of
    `right` and `shown`.
    """

    source_ref: str
    kind: ErrorKind
    at: int
    right: SeedBox | None
    shown: SeedBox | None
    right_level: float
    shown_level: float
    hidden: tuple[tuple[int, CandidateBox], ...] = ()
    stretch: str = ""
    swap: Swap | None = None
    shown_own: float = 0.0


class SeedVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reviewer made of a seed. `right`: the models' box, that the reviewer did not see.

    `counts`: whether a person decided it; a script, and a person who was unsure of the frame, did not. `stretch`: that
    of the seed.
    """

    kind: ErrorKind
    caught: bool
    right: PlacedBox | None = None
    worker: str = ""
    counts: bool = True
    stretch: str = ""


class DrawnBox(NamedTuple):
    """A box that gets a seed: `at` is its index in the frame at this position of the camera."""

    camera: str
    position: int
    at: int


def draw_boxes(
    secret: str, frames: Iterable[tuple[str, int, Sequence[float]]], share: float, strip: int
) -> list[DrawnBox]:
    """Draw the boxes of a run that get a seed: a `share` of all, at least one, and at most one of `strip` frames.

    `frames`: camera, position and the uncertainty of each box, of frames that may be seeded. `secret`: what decides the
    lots; reviewers do not know it.
    """
    best: dict[tuple[str, int], tuple[float, DrawnBox]] = {}
    boxes = 0
    for camera, position, levels in frames:
        boxes += len(levels)
        for at, level in enumerate(levels):
            if level < MOST_UNCERTAIN:
                number, of = lot(f"{secret}/{camera}/{position}/{at}"), (camera, position // strip)
                if of not in best or number < best[of][0]:
                    best[of] = number, DrawnBox(camera, position, at)
    return [drawn for _, drawn in sorted(best.values())[: max(1, round(share * boxes))]]


class Lots:
    """Numbers from 0 to 1, drawn by hash."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._drawn = 0

    def number(self) -> float:
        self._drawn += 1
        return lot(f"{self._secret}#{self._drawn}")

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self.number()

    def index(self, count: int) -> int:
        return int(self.number() * count)


def make_seed(
    line: ManifestLine,
    at: int,
    failed: float,
    secret: str,
    corrections: Sequence[Correction],
    labels: Sequence[str],
    uncertainty_map: UncertaintyMap | None = None,
) -> Seed | None:
    """Make a seed from the box with index `at` of a line; None if no drawn correction fits.

    `failed`: the share of the models that failed on the frame. `labels`: the job's, whose positions are the class ids.
    `uncertainty_map`: the run's, if it has one.
    """
    lots = Lots(secret)
    for _ in range(TRIES):
        correction = corrections[lots.index(len(corrections))]
        if seed := seed_like(correction, line, at, failed, lots, labels, uncertainty_map):
            return seed
    return None


def seed_like(
    correction: Correction,
    line: ManifestLine,
    at: int,
    failed: float,
    lots: Lots,
    labels: Sequence[str],
    uncertainty_map: UncertaintyMap | None = None,
) -> Seed | None:
    """Make a seed that is like a correction; None if it does not fit the box. Parameters are as in `make_seed`."""
    if line.uncertainty is UNSET or line.origin.labelled_by != LabelledBy.MODEL:
        return None
    tracks = line.prelabel_tracks
    if tracks is not UNSET and (tracks.origins[at] != Origin.MODEL or (tracks.classes and tracks.classes[at])):
        return None
    seed = _Drawing(line, line.uncertainty, at, lots, labels).seed(correction, failed)
    if seed:
        own = seed.shown_level
        seed = msgspec.structs.replace(seed, shown_level=calibrated(own, uncertainty_map), shown_own=own)
    return seed if seed and _fits(line, seed) else None


def _fits(line: ManifestLine, seed: Seed) -> bool:
    try:
        encode_line(sow(line, seed))
    except LineTooLong:
        return False
    return True


class _Drawing:
    """Draws the seed of one box of a line."""

    def __init__(
        self, line: ManifestLine, uncertainty: ShownUncertainty, at: int, lots: Lots, labels: Sequence[str]
    ) -> None:
        self._line = line
        self._at = at
        self._lots = lots
        self._labels = labels
        self._uncertainty = uncertainty
        self._boxes = line.prelabel_boxes
        self._own = self._box(at)

    def seed(self, correction: Correction, failed: float) -> Seed | None:
        """Make a seed like a correction; None if it does not fit."""
        own, at, shown = self._own, self._at, None
        right: SeedBox | None = own
        if self._overlaps(corners(own.labelled), but=at) >= _APART:
            return None
        if correction.kind == SHIFTED:
            shown = self._shifted(correction)
        elif correction.kind == OTHER_CLASS:
            shown = self._renamed(correction)
        elif correction.kind == INVENTED:
            shown, right = self._invented(correction), None
            at = self._rank(shown) if shown else at
        if shown is None and correction.kind != REMOVED:
            return None
        uncertainty = self._uncertainty
        hidden: tuple[tuple[int, CandidateBox], ...] = ()
        if right is not None:
            place = corners(right.labelled)
            hidden = tuple(
                (index, candidate)
                for index, candidate in enumerate(uncertainty.candidates)
                if box_iou(_place(candidate), place) >= _APART
            )
            # The reasons of the frame's uncertainty stay, so none of them may be hidden.
            if any(candidate.confidence >= FLOOR for _, candidate in hidden):
                return None
        # In the order of the boxes: in another order, the last digit could differ, and would tell.
        levels = list(uncertainty.boxes)
        levels[at : at + (right is not None)] = [shown.level] if shown else []
        left_out = {index for index, _ in hidden}
        candidates = [one.confidence for index, one in enumerate(uncertainty.candidates) if index not in left_out]
        return Seed(
            source_ref=self._line.source_ref,
            kind=correction.kind,
            at=at,
            right=right,
            shown=shown,
            right_level=uncertainty.level,
            shown_level=frame_level(levels, candidates, failed),
            hidden=hidden,
        )

    def _box(self, at: int) -> SeedBox:
        box, tracks = self._boxes[at], self._line.prelabel_tracks
        return SeedBox(
            class_id=self._labels.index(box.name),
            name=box.name,
            left=int(box.left),
            top=int(box.top),
            width=int(box.width),
            height=int(box.height),
            confidence=box.confidence,
            level=self._uncertainty.boxes[at],
            track=tracks.ids[at] if tracks is not UNSET else "",
        )

    def _shifted(self, correction: Correction) -> SeedBox | None:
        if correction.place is None:
            return None
        own, (across, down, wide, high) = self._own, correction.place
        width, height = own.width * wide, own.height * high
        left = own.left + own.width / 2 + across * own.width - width / 2
        top = own.top + own.height / 2 + down * own.height - height / 2
        shown = self._placed(own, (left, top, left + width, top + height))
        place = corners(shown.labelled)
        right = corners(own.labelled)
        off = max(abs(one - other) for one, other in zip(place, right, strict=True))
        is_error = off >= _LEAST_PIXELS and _APART <= box_iou(place, right) < _MOST_LIKE
        return shown if is_error and self._overlaps(place, self._at) < _APART else None

    def _renamed(self, correction: Correction) -> SeedBox | None:
        own = self._own
        names = [name for name in self._labels if name not in (own.name, IGNORE)]
        if correction.right == own.name and correction.shown in names:
            names = [correction.shown]
        elif correction.right or not names:
            return None
        name = names[self._lots.index(len(names))]
        return msgspec.structs.replace(own, class_id=self._labels.index(name), name=name)

    def _invented(self, correction: Correction) -> SeedBox | None:
        own, size = self._own, self._line.size
        name = correction.shown or own.name
        if name not in self._labels:
            return None
        if correction.place:
            left, top, width, height = correction.place
            places = [(left * size.width, top * size.height, width * size.width, height * size.height)]
        else:
            places = [self._beside() for _ in range(TRIES)]
        # As sure as a box of this frame, but not equal to it: equal boxes would stand out.
        sure = own.confidence + self._lots.between(-0.02, 0.02)
        confidence = round(min(max(sure, 1 - MOST_UNCERTAIN + 0.01), 0.9999), 4)
        like = SeedBox(
            class_id=self._labels.index(name),
            name=name,
            left=0,
            top=0,
            width=1,
            height=1,
            confidence=confidence,
            level=max(own.level, round(1 - confidence, 2)),
            # As long as the hashes of other tracks.
            track=f"{int(self._lots.number() * 16**12):012x}" if own.track else "",
        )
        for left, top, width, height in places:
            if min(left, top) >= 0 and left + width <= size.width and top + height <= size.height:
                shown = self._placed(like, (left, top, left + width, top + height))
                place = corners(shown.labelled)
                candidates = (box_iou(_place(one), place) for one in self._uncertainty.candidates)
                if max(self._overlaps(place), *candidates, 0.0) < _ALONE:
                    return shown
        return None

    def _beside(self) -> tuple[float, float, float, float]:
        """Draw a place at the height of the drawn box, where an object of its size could stand."""
        own, scale = self._own, self._lots.between(0.8, 1.25)
        width, height = own.width * scale, own.height * scale
        across = self._lots.between(_NEAREST, _FARTHEST) * own.width * (1 if self._lots.number() < 0.5 else -1)
        return own.left + across, own.top + own.height - height, width, height

    def _placed(self, box: SeedBox, place: Box) -> SeedBox:
        size = self._line.size
        inside = max(0.0, place[0]), max(0.0, place[1]), min(size.width, place[2]), min(size.height, place[3])
        left, top, width, height = whole_pixels(inside, size.width, size.height)
        return msgspec.structs.replace(box, left=left, top=top, width=width, height=height)

    def _overlaps(self, place: Box, but: int = -1) -> float:
        """Return the greatest IoU of a place with the boxes of the line, without the one with index `but`."""
        return max((box_iou(place, corners(box)) for i, box in enumerate(self._boxes) if i != but), default=0.0)

    def _rank(self, shown: SeedBox) -> int:
        """Return the index of a new box: boxes of models stand in the order of their confidence."""
        less = (index for index, box in enumerate(self._boxes) if box.confidence < shown.confidence)
        return next(less, len(self._boxes))


def _place(candidate: CandidateBox) -> Box:
    left, top = candidate.left, candidate.top
    return left, top, left + candidate.width, top + candidate.height


def sow(line: ManifestLine, seed: Seed) -> ManifestLine:
    """Return a line as reviewers see it, with its seed."""
    return _with_box(line, seed, seed.right, seed.shown)


def unsow(line: ManifestLine, seed: Seed) -> ManifestLine:
    """Return the line of the models that a seed was put into."""
    return _with_box(line, seed, seed.shown, seed.right)


def sow_body(body: bytes, seed: Seed) -> bytes:
    """Return the encoded line with its seed, without a line feed."""
    return encode_line(sow(read_line(body), seed)).rstrip(b"\n")


def unsown(line: ManifestLine, seeds: Mapping[str, Seed]) -> ManifestLine:
    """Return the line of a job's manifest as the models made it."""
    seed = seeds.get(line.source_ref)
    return unsow(line, seed) if seed else line


def _swapped(line: ManifestLine, swap: Swap) -> ManifestLine:
    """Exchange the ids of two tracks; a second call undoes it."""
    if line.prelabel_tracks is UNSET:
        return line
    other = dict(zip(swap.tracks, reversed(swap.tracks), strict=True))
    ids = tuple(other.get(id, id) for id in line.prelabel_tracks.ids)
    return msgspec.structs.replace(line, prelabel_tracks=msgspec.structs.replace(line.prelabel_tracks, ids=ids))


def _with_box(line: ManifestLine, seed: Seed, takes: SeedBox | None, gives: SeedBox | None) -> ManifestLine:
    """Replace the box of a seed in all lists of a line."""
    if seed.swap:
        return _swapped(line, seed.swap)
    span = slice(seed.at, seed.at + (takes is not None))
    given = gives.as_given(False)._replace(confidence=gives.confidence) if gives else None
    prelabel, metadata = replace_boxes(line.prelabel, line.prelabel_metadata, span, given)
    tracks, uncertainty = line.prelabel_tracks, line.uncertainty
    if tracks is not UNSET:
        classes = list(tracks.classes) or [""] * len(tracks.ids)
        ids, origins = list(tracks.ids), list(tracks.origins)
        ids[span] = [gives.track] if gives else []
        origins[span] = [Origin.MODEL] if gives else []
        classes[span] = [""] if gives else []
        renamed = tuple(classes) if any(classes) else ()
        tracks = msgspec.structs.replace(tracks, ids=tuple(ids), origins=tuple(origins), classes=renamed)
    if uncertainty is not UNSET:
        levels, candidates = list(uncertainty.boxes), list(uncertainty.candidates)
        levels[span] = [gives.level] if gives else []
        restores = gives == seed.right
        for index, candidate in seed.hidden if restores else reversed(seed.hidden):
            candidates[index : index + (not restores)] = [candidate] if restores else []
        uncertainty = msgspec.structs.replace(
            uncertainty,
            level=seed.right_level if restores else seed.shown_level,
            boxes=tuple(levels),
            candidates=tuple(candidates),
        )
    return msgspec.structs.replace(
        line, prelabel=prelabel, prelabel_metadata=metadata, prelabel_tracks=tracks, uncertainty=uncertainty
    )


def replace_boxes(
    label: msgspec.Raw | msgspec.UnsetType,
    metadata: msgspec.Raw | msgspec.UnsetType,
    span: slice,
    gives: GivenBox | None,
) -> tuple[msgspec.Raw, msgspec.Raw]:
    """Replace a span of a label's boxes by one box or none; the class map names the classes that are there."""
    # `Any`: keys that are the back-end's own stay as they are.
    value: dict[str, Any] = msgspec.json.decode(label or b"null")
    about: dict[str, Any] = msgspec.json.decode(metadata or b"null")
    # A label without boxes may lack both.
    names: dict[str, str] = dict(about.get("class-map", {}))
    annotations, objects = list(value["annotations"]), list(about.get("objects", []))
    taken = {str(one["class_id"]) for one in annotations[span]}
    annotations[span], objects[span] = [], []
    if gives:
        # A back-end may number the classes in its own way.
        numbers = chain((gives.class_id,), count())
        number = next(one for one in numbers if names.get(str(one), gives.name) == gives.name)
        names[str(number)] = gives.name
        sides = {"left": gives.left, "top": gives.top, "width": gives.width, "height": gives.height}
        annotations.insert(span.start, {"class_id": number, **sides})
        track = {"object-id": gives.track} if gives.track else {}
        objects.insert(span.start, {"confidence": gives.confidence, **track})
    gone = taken - {str(one["class_id"]) for one in annotations}
    # In the order of numbers. Foreign keys need not be numbers.
    names = {key: names[key] for key in sorted(names, key=lambda key: (len(key), key)) if key not in gone}
    return (
        raw(value | {"annotations": annotations}),
        raw(about | {"objects": objects, "class-map": names}),
    )


def placed_box(box: LabelledBox) -> PlacedBox:
    """Return a box's class, left, top, width and height."""
    return box.name, box.left, box.top, box.width, box.height
