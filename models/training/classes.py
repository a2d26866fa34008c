"""Which output of the network stands for which class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class ClassesRefused(ValueError):
    """The classes do not fit the network's outputs; the message names them."""


def extend_classes(known: Mapping[str, str], wanted: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """Add classes that the model lacks to its class map: each takes over an output that the map does not use.

    `known`: names of outputs → classes of the taxonomy. `names`: those of all outputs, in order. The last unused output
    is taken first, so that the network keeps its shape and its server needs no change.
    """
    unknown = sorted(set(known) - set(names))
    if unknown:
        raise ClassesRefused(f"the class map names {', '.join(unknown)}, which the network has no output for")
    free = [name for name in names if name not in known]
    missing = sorted(set(wanted) - set(known.values()))
    if len(missing) > len(free):
        raise ClassesRefused(f"the network has {len(free)} unused outputs for {len(missing)} new classes")
    return {**known, **{free[-1 - at]: name for at, name in enumerate(missing)}}


def channel_of(classes: Mapping[str, str], names: Sequence[str]) -> dict[str, int]:
    """Return the output of each class of the taxonomy; the first in the network's order, where several map to it."""
    return {classes[name]: at for at, name in reversed(list(enumerate(names))) if name in classes}
