"""Corrections that reviewers made of models' boxes. Seeded errors are drawn from them, so that they look alike."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.labels.exclusions import read_exclusions
from autolabel.streams.ordered_map import map_in_order

# What was wrong with a box of the models.
ErrorKind = Literal["shifted", "other class", "invented", "removed", "swapped"]
SHIFTED: ErrorKind = "shifted"
OTHER_CLASS: ErrorKind = "other class"
INVENTED: ErrorKind = "invented"
REMOVED: ErrorKind = "removed"
# Two tracks exchange their objects. No correction of a box has this kind.
SWAPPED: ErrorKind = "swapped"
# From this IoU on a box counts as unchanged. Two people's boxes differ more (0.88), a browser's rounding less.
UNCHANGED = 0.95
# Corrections that a run keeps, and runs of a recipe that are read: enough to draw from, and read in a second.
MOST_KEPT = 200
_MOST_RUNS = 100
# With fewer corrections, seeded errors are drawn from DEFAULTS.
_ENOUGH = 50
_READERS = 16

FourNumbers = tuple[float, float, float, float]


class Correction(msgspec.Struct, frozen=True, array_like=True):
    """An error of the models that a reviewer corrected.

    `shown`: the class of the models' box; `right`: the reviewer's class, of `other class` and `removed`. `place` of a
    `shifted` box: how far its centre was off, in widths and heights of the right box, and its width and height as
    multiples of the right ones. `place` of an `invented` box: left, top, width and height as shares of the frame.
    """

    kind: ErrorKind
    shown: str = ""
    right: str = ""
    place: FourNumbers | None = None


def _shift(across: float, down: float, width: float, height: float) -> Correction:
    return Correction(SHIFTED, place=(across, down, width, height))


# A guess, until reviewers of the recipe have made corrections: 8 shifts, 5 invented and 5 removed boxes, 2 classes.
DEFAULTS: tuple[Correction, ...] = (
    _shift(0.15, 0.0, 1.0, 1.0),
    _shift(-0.15, 0.05, 1.0, 1.0),
    _shift(0.25, 0.0, 1.0, 1.0),
    _shift(-0.25, -0.05, 1.0, 1.0),
    _shift(0.1, 0.0, 1.25, 1.0),
    _shift(-0.15, 0.0, 0.7, 1.0),
    _shift(0.0, 0.15, 1.0, 0.7),
    _shift(0.0, -0.1, 1.15, 1.25),
    *[Correction(INVENTED)] * 5,
    *[Correction(REMOVED)] * 5,
    *[Correction(OTHER_CLASS)] * 2,
)


class RunCorrections(msgspec.Struct, frozen=True):
    """The corrections of a published run, at most MOST_KEPT, drawn by lot."""

    drive: str
    run: str
    corrections: tuple[Correction, ...]


def write_corrections(label_bucket: Bucket, recipe: str, found: RunCorrections) -> None:
    """Write the corrections of a published run, if there are any."""
    if found.corrections:
        label_bucket.write(f"{_prefix(recipe)}{found.drive}-{found.run}.json", msgspec.json.encode(found))


def read_corrections(label_bucket: Bucket, recipe: str) -> tuple[Correction, ...]:
    """Return the corrections of a recipe's published runs without excluded ones, or DEFAULTS if these are too few."""
    keys = sorted((one.key for one in label_bucket.list(_prefix(recipe))), key=lot)[:_MOST_RUNS]
    bodies = [body for body in map_in_order(label_bucket.read, keys, _READERS) if body is not None]
    exclusions = read_exclusions(label_bucket)
    runs = (msgspec.json.decode(body, type=RunCorrections) for body in bodies)
    found = tuple(one for run in runs if not exclusions.covers(run.drive, run.run) for one in run.corrections)
    return found if len(found) >= _ENOUGH else DEFAULTS


def lot(name: str) -> float:
    """Return the lot of a name, from 0 to 1, by which things are drawn."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) / 2**48


def _prefix(recipe: str) -> str:
    return f"corrections/1/{recipe}/"
