"""Reads the image of an invocation."""

from __future__ import annotations

from models.servers.container import Request, RequestRefused
from models.servers.image_headers import NotAnImage
from models.servers.images import Image, decode

CONTENT_TYPE = "application/x-image"


def read_image(request: Request) -> Image:
    """Pixels [height, width, 3] in BGR; RequestRefused for another content type or a body that is not an image."""
    if request.content_type.partition(";")[0] != CONTENT_TYPE:
        raise RequestRefused(415, f"the content type is {request.content_type!r}, not {CONTENT_TYPE}")
    try:
        return decode(request.body)
    except NotAnImage as e:
        raise RequestRefused(400, str(e)) from e
