"""Class map of an export: which class of the taxonomy becomes which exported class."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.labels import current_taxonomy
from autolabel_cli.errors import CommandError
from autolabel_cli.models import kitti
from autolabel_cli.suggestions import did_you_mean

IGNORE = "ignore"
_LONGEST_NAME = 100
_KITTI_FORMATS = ("kitti", "kitti-tracking")


class Region(Enum):
    """Target of a class whose boxes are ignored in training and scoring."""

    REGION = "region"


class ClassMap(NamedTuple):
    """`names`: exported classes by index. `targets`: for each class of the taxonomy an index, a region or None."""

    names: tuple[str, ...]
    targets: Mapping[str, int | Region | None]

    def target(self, name: str, origin: str) -> int | Region | None:
        """Return the target of a class. CommandError names the line of a class that the taxonomy does not have."""
        if name not in self.targets:
            raise CommandError(f"{origin} has the unknown class {name!r}; known are {', '.join(self.targets)}")
        return self.targets[name]


def read_class_map(path: Path | None) -> dict[str, str | None] | None:
    """Read a class map from a JSON file. CommandError for another format and for unknown classes."""
    if path is None:
        return None
    try:
        mapping = msgspec.json.decode(path.read_bytes(), type=dict[str, str | None])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise CommandError(
            f"--classes {path}: {e}; give a JSON object from the taxonomy's classes to names or null"
        ) from e
    known = current_taxonomy().names
    for name in mapping:
        if name not in known:
            raise CommandError(
                f"--classes {path} names the unknown class {name!r}{did_you_mean(name, known)}; "
                f"known are {', '.join(known)}"
            )
    return mapping


def map_classes(mapping: Mapping[str, str | None] | None, form: str) -> ClassMap:
    """Map the classes of the taxonomy to those of an export, in the taxonomy's order, so that indices are stable.

    Classes that the map does not name keep their names. Without a map, KITTI's formats get KITTI's own names, and
    nuScenes its own. In KITTI, where spaces separate columns, names get `_` in place of spaces.
    """
    if mapping is None:
        mapping = _KITTI_NAMES if form in _KITTI_FORMATS else _NUSCENES_NAMES if form == "nuscenes" else {}
    names: dict[str, str] = {}
    targets: dict[str, int | Region | None] = {}
    for ours in current_taxonomy().names:
        theirs = mapping.get(ours, ours)
        if theirs is None:
            targets[ours] = None
        elif theirs == IGNORE:
            targets[ours] = Region.REGION
        else:
            written = _written(theirs, form)
            if names.setdefault(written, theirs) != theirs:
                raise CommandError(
                    f"classes {names[written]!r} and {theirs!r} would both be {written!r} in {form}: rename one"
                )
            targets[ours] = list(names).index(written)
    if not names:
        raise CommandError("the class map leaves no class to export: map at least one class to a name")
    return ClassMap(tuple(names), targets)


def _written(name: str, form: str) -> str:
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= _LONGEST_NAME:
        raise CommandError(
            f"{name!r} cannot name a class: use 1 to {_LONGEST_NAME} printable characters, without spaces around"
        )
    written = name.replace(" ", "_") if form in _KITTI_FORMATS else name
    if form in _KITTI_FORMATS and written == kitti.REGION_TYPE:
        raise CommandError(f"{written} is KITTI's name for regions: map the class to {IGNORE!r}")
    return written


# Where two of KITTI's types are one class of the taxonomy, the first counts.
_KITTI_NAMES = {ours: theirs for theirs, ours in reversed(kitti.CLASSES.items())}

# Where one class of nuScenes is ours. Its cyclists are bicycles, so `rider` stays.
_NUSCENES_NAMES = {
    "car": "vehicle.car",
    "van": "vehicle.car",
    "truck": "vehicle.truck",
    "trailer": "vehicle.trailer",
    "bus": "vehicle.bus.rigid",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "person": "human.pedestrian.adult",
}
