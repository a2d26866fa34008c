"""Serve the portal's own scripts and styles, and those of the annotation component: these files and no others."""

from __future__ import annotations

from pathlib import Path

from local.portal.exchange import PageRefused, Response

_PROJECT = Path(__file__).resolve().parents[2]
_OWN = Path(__file__).parent / "static"
_COMPONENT = _PROJECT / ".node" / "portal" / "node_modules" / "@annotorious" / "annotorious" / "dist"
_COMPONENT_FILES = ("annotorious.es.js", "annotorious.css")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFiles:
    """Files by name, as they existed at the start."""

    def __init__(self) -> None:
        own = [path for path in sorted(_OWN.glob("*")) if path.suffix in _TYPES]
        self._paths = {path.name: path for path in (*own, *(_COMPONENT / name for name in _COMPONENT_FILES))}

    def serve(self, name: str) -> Response:
        """Return a file; raises PageRefused."""
        path = self._paths.get(name)
        if path is None or not path.is_file():
            hint = " Run `make setup-portal`." if name in _COMPONENT_FILES else ""
            raise PageRefused(404, f"This file does not exist.{hint}")
        return Response(200, path.read_bytes(), _TYPES[path.suffix], {"Cache-Control": "no-cache"})
