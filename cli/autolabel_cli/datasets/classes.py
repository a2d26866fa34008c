"""Which class of the taxonomy becomes which class of an export."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.labels.taxonomy import current_taxonomy
from autolabel_cli.errors import CommandError
from autolabel_cli.models import kitti
from autolabel_cli.suggestions import did_you_mean

IGNORE = "ignore"
_LONGEST_NAME = 100


class Region(Enum):
    """What becomes of a class whose boxes count for nothing."""

    REGION = "region"


class ClassMap(NamedTuple):
    """`names`: the export's classes by index; `targets`: of each class of the taxonomy an index, a region, nothing."""

    names: tuple[str, ...]
    targets: Mapping[str, int | Region | None]

    def target(self, name: str, origin: str) -> int | Region | None:
        """What becomes of a class; CommandError, naming the line, for one that the taxonomy does not know."""
        if name not in self.targets:
            raise CommandError(f"{origin} has the unknown class {name!r}; known are {', '.join(self.targets)}")
        return self.targets[name]


def read_class_map(path: Path | None) -> dict[str, str | None] | None:
    """A class map from a file, a JSON object; CommandError for anything else, or for classes nobody knows."""
    if path is None:
        return None
    try:
        mapping = msgspec.json.decode(path.read_bytes(), type=dict[str, str | None])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise CommandError(f"--classes {path}: {e}; it is a JSON object from our classes to names, or to null") from e
    known = current_taxonomy().names
    for name in mapping:
        if name not in known:
            raise CommandError(
                f"--classes {path} names the unknown class {name!r}{did_you_mean(name, known)}; "
                f"known are {', '.join(known)}"
            )
    return mapping


def map_classes(mapping: Mapping[str, str | None] | None, form: str) -> ClassMap:
    """The classes of an export in a format, in the order of the taxonomy, so that their indices stay as they are.

    Classes that the map does not name keep their names; without a map, KITTI's own names are taken in its format. In
    KITTI, whose columns are separated by spaces, names get `_` in place of them.
    """
    if mapping is None:
        mapping = _KITTI_NAMES if form == "kitti" else {}
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
                raise CommandError(f"classes {names[written]!r} and {theirs!r} would both be {written!r} in {form}")
            targets[ours] = list(names).index(written)
    if not names:
        raise CommandError("the class map leaves no class")
    return ClassMap(tuple(names), targets)


def _written(name: str, form: str) -> str:
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= _LONGEST_NAME:
        raise CommandError(f"{name!r} cannot name a class: 1 to {_LONGEST_NAME} characters that print, no space around")
    written = name.replace(" ", "_") if form == "kitti" else name
    if form == "kitti" and written == kitti.REGION_TYPE:
        raise CommandError(f"{written} is KITTI's name for regions: map the class to {IGNORE!r}")
    return written


# Of two types that are one class of ours, the first.
_KITTI_NAMES = {ours: theirs for theirs, ours in reversed(kitti.CLASSES.items())}
