"""Serve scripts and styles: those of a folder and of installed libraries, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from local.web.exchange import PageRefused, Response

# Where `make setup-portal` installs libraries for browsers.
LIBRARIES = Path(__file__).resolve().parents[2] / ".node" / "portal" / "node_modules"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFiles:
    """Files by name: those of `folder` as they existed at the start, and `installed` ones of LIBRARIES."""

    def __init__(self, folder: Path, installed: Sequence[Path]) -> None:
        own = [path for path in sorted(folder.glob("*")) if path.suffix in _TYPES]
        self._installed = {path.name for path in installed}
        self._paths = {path.name: path for path in (*own, *installed)}

    def serve(self, name: str) -> Response:
        """Return a file; raises PageRefused."""
        path = self._paths.get(name)
        if path is None or not path.is_file():
            hint = " Run `make setup-portal`." if name in self._installed else ""
            raise PageRefused(404, f"This file does not exist.{hint}")
        return Response(200, path.read_bytes(), _TYPES[path.suffix], {"Cache-Control": "no-cache"})
