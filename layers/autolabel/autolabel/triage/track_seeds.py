"""Seeds over a stretch: the same error in consecutive frames of one object.

In a film, a box that is wrong in a single frame stands out. So reviewers who see the frames of a camera one after the
other get an error that goes on. Each frame of the stretch has a seed of its own, which is sown and settled as any
other. The name of the stretch makes them one seed for the count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.labelling.uncertainty_map import UncertaintyMap
from autolabel.labels.agreement import SAME_OBJECT, corners
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBox, ManifestLine
from autolabel.triage.corrections import INVENTED, OTHER_CLASS, REMOVED, SHIFTED, SWAPPED, Correction, FourNumbers
from autolabel.triage.seeds import MOST_UNCERTAIN, TRIES, Lots, PlacedBox, Seed, Swap, placed_box, seed_like

# Frames of a stretch in a job of boxes: some, because each is a frame that reviewers fix.
STRETCH = 5
# The most and the least in a strip of tracks: one key there corrects a stretch, and a shorter one flickers.
_LONGEST, _SHORTEST = 10, 3
# Reviewers' corrections do not tell how often tracks are exchanged. A crossing is rare, so each second one is used.
_SWAPS = 0.5

# The boxes of a frame by the id of their track.
Objects = Mapping[str, LabelledBox]


class StretchFrame(NamedTuple):
    """A frame that may get a seed. `failed`: the share of the models that failed on it."""

    line: ManifestLine
    failed: float = 0.0


class TrackedObject(NamedTuple):
    """An object of a strip: the id of its track. `level`: of its most uncertain box but the first and the last."""

    id: str
    level: float


def make_stretch(
    frames: Sequence[StretchFrame],
    begin: int,
    first: Seed,
    at: int,
    secret: str,
    labels: Sequence[str],
    uncertainty_map: UncertaintyMap | None = None,
) -> list[Seed]:
    """Continue a seed in the frames around its own, and return the seeds of all.

    `first` is made from the box `at` of the frame with the index `begin`. To both sides, the stretch ends before a
    frame without a certain box of the object, and before one that the error does not fit. An invented box stays alone.
    Other parameters are as in `make_seed`.
    """
    id = "".join(frames[begin].line.prelabel_ids[at : at + 1])
    found = [first]
    if not id or first.kind == INVENTED:
        return found
    correction = _correction(first)
    for side in (frames[begin + 1 :], frames[:begin][::-1]):
        for line, failed in side:
            ids = line.prelabel_ids
            place = ids.index(id) if id in ids else None
            if place is None or line.uncertainty is UNSET or line.uncertainty.boxes[place] >= MOST_UNCERTAIN:
                break
            seed = seed_like(correction, line, place, failed, Lots(secret), labels, uncertainty_map)
            if seed is None:
                break
            found.append(seed)
    return _named(found, secret) if len(found) > 1 else found


def strip_objects(strip: Iterable[ManifestLine]) -> list[TrackedObject]:
    """Find the objects of a strip that may get a seed: those with more than STRETCH boxes.

    There are none if the strip has boxes of a person, or boxes in no track.
    """
    levels: dict[str, list[float]] = {}
    for line in strip:
        ids = line.prelabel_ids
        if line.origin.labelled_by.by_person or not len(line.prelabel_boxes) == len(ids) == len({*ids} - {""}):
            return []
        for id, level in zip(ids, line.uncertainty.boxes if line.uncertainty is not UNSET else (), strict=False):
            levels.setdefault(id, []).append(level)
    # Where a track begins and ends is always uncertain.
    return [TrackedObject(id, max(of[1:-1])) for id, of in levels.items() if len(of) > STRETCH]


def make_track_seed(
    strip: Sequence[ManifestLine], id: str, secret: str, corrections: Sequence[Correction], labels: Sequence[str]
) -> list[Seed]:
    """Make a seed of an object of a strip; empty if no drawn correction fits.

    Another class is in all frames of the object, and a removed one is in none. Shifts and invented objects last some
    frames. An object that comes near another one may exchange tracks with it. Other parameters are as in `make_seed`.
    """
    frames = [(line, line.prelabel_ids.index(id)) for line in strip if id in line.prelabel_ids]
    lots = Lots(secret)
    if lots.number() < _SWAPS and (found := _exchange(strip, id)):
        return _named(found, secret)
    for _ in range(TRIES):
        correction = corrections[lots.index(len(corrections))]
        if correction.kind in (OTHER_CLASS, REMOVED):
            chosen, least = frames, len(frames)
        else:
            begin = 1 + lots.index(len(frames) - STRETCH)
            chosen, least = frames[begin:-1][:_LONGEST], _SHORTEST
        found = list(_go_on(chosen, correction, lots, labels))
        if len(found) >= least:
            return _named(found, secret)
    return []


def _go_on(
    frames: Iterable[tuple[ManifestLine, int]], correction: Correction, lots: Lots, labels: Sequence[str]
) -> Iterator[Seed]:
    """Yield the seeds of an object's frames in a row, as far as the error fits."""
    place: FourNumbers | None = None
    track = ""
    for line, at in frames:
        own = line.prelabel_boxes[at]
        if place and correction.kind == INVENTED:
            correction = msgspec.structs.replace(correction, place=_share(_placed(own, place), line))
        # The page of a strip shows no level of a frame, so the share of failed models does not matter.
        seed = seed_like(correction, line, at, 0.0, lots, labels)
        if seed is None:
            return
        if seed.kind == INVENTED and seed.shown:
            # The invented object goes with the other one.
            track = track or seed.shown.track
            place = place or _offset(own, seed.shown.labelled)
            seed = msgspec.structs.replace(seed, shown=msgspec.structs.replace(seed.shown, track=track))
        correction = _correction(seed) if correction.kind == OTHER_CLASS else correction
        yield msgspec.structs.replace(seed, shown_level=seed.right_level)


def _exchange(strip: Sequence[ManifestLine], id: str) -> list[Seed]:
    """Exchange the tracks of two objects of one class, from where they touch to the end of the strip, if they do."""
    shown = [dict(zip(line.prelabel_ids, line.prelabel_boxes, strict=True)) for line in strip]
    for at, other in sorted(_crossings(shown, id)):
        earlier = shown[at - 1]
        if _are_apart(earlier, (id, other)):
            before = strip[at - 1].source_ref, (placed_box(earlier[id]), placed_box(earlier[other]))
            placed = [(_placed_in(of, id), _placed_in(of, other)) for of in shown[at:]]
            return [
                _exchanged(line, Swap((id, other), boxes, *before))
                for line, boxes in zip(strip[at:], placed, strict=True)
                if any(boxes)
            ]
    return []


def _crossings(shown: Sequence[Objects], id: str) -> Iterator[tuple[int, str]]:
    """Find where an object touches another one of its class: the index of the frame, and the id of the other.

    From there on the two can be told by their boxes. Each pair is compared once a frame, since strips are long.
    """
    for other in {one for of in shown for one in of} - {id}:
        most, together, names = 0.0, 0, set[str]()
        for at in range(len(shown) - 1, 0, -1):
            earlier, now = shown[at - 1], shown[at]
            names |= {now[one].name for one in (id, other) if one in now}
            if id in now and other in now:
                iou = box_iou(corners(now[id]), corners(now[other]))
                most, together = max(most, iou), together + 1
                if most >= SAME_OBJECT:
                    break
                is_long = together >= _SHORTEST and id in earlier and other in earlier
                if iou > 0 and is_long and len(names | {earlier[id].name, earlier[other].name}) == 1:
                    yield at, other


def _are_apart(of: Objects, ids: tuple[str, str]) -> bool:
    """Check whether two objects of a frame are apart from all others: settling finds them by their boxes alone."""
    return all(
        box_iou(corners(of[id]), corners(box)) < SAME_OBJECT for id in ids for one, box in of.items() if one != id
    )


def _placed_in(of: Objects, id: str) -> PlacedBox | None:
    return placed_box(of[id]) if id in of else None


def _exchanged(line: ManifestLine, swap: Swap) -> Seed:
    level = line.uncertainty.level if line.uncertainty is not UNSET else 0.0
    return Seed(line.source_ref, SWAPPED, 0, None, None, level, level, swap=swap)


def _correction(seed: Seed) -> Correction:
    """Return the correction that makes the same error of another box of the object."""
    if seed.kind == REMOVED or not (seed.right and seed.shown):
        return Correction(seed.kind)
    if seed.kind == SHIFTED:
        return Correction(SHIFTED, place=_offset(seed.right.labelled, seed.shown.labelled))
    return Correction(seed.kind, seed.shown.name, seed.right.name)


def _offset(own: LabelledBox, shown: LabelledBox) -> FourNumbers:
    """Return how far a box is from the own one, as the place of a shifted box."""
    across = shown.left + shown.width / 2 - own.left - own.width / 2
    down = shown.top + shown.height / 2 - own.top - own.height / 2
    return across / own.width, down / own.height, shown.width / own.width, shown.height / own.height


def _placed(own: LabelledBox, offset: FourNumbers) -> FourNumbers:
    """Return left, top, width and height of a box that is so far from the own one."""
    across, down, wide, high = offset
    width, height = own.width * wide, own.height * high
    left, top = own.left + (0.5 + across) * own.width - width / 2, own.top + (0.5 + down) * own.height - height / 2
    return left, top, width, height


def _share(place: FourNumbers, line: ManifestLine) -> FourNumbers:
    wide, high = line.size.width, line.size.height
    return place[0] / wide, place[1] / high, place[2] / wide, place[3] / high


def _named(seeds: Iterable[Seed], secret: str) -> list[Seed]:
    name = f"{int(Lots(f'{secret}/stretch').number() * 16**12):012x}"
    return [msgspec.structs.replace(seed, stretch=name) for seed in seeds]
