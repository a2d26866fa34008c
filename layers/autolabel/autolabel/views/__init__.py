"""Views: the pictures of frames that people see, with number plates and heads covered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.views.covering import MAX_CELLS, NOISE, cover
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "covering": (
                "MAX_CELLS",
                "NOISE",
                "cover",
            ),
        },
    )

__all__ = [
    "MAX_CELLS",
    "NOISE",
    "cover",
]
