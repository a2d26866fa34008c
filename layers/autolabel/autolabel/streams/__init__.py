"""Ordered parallel reading and bounded JSON; all other rooms may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.streams.json_depth import is_deep
    from autolabel.streams.ordered_map import map_in_order
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "json_depth": ("is_deep",),
            "ordered_map": ("map_in_order",),
        },
    )

__all__ = ["is_deep", "map_in_order"]
