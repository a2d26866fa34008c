"""Keep other web pages in the same browser away from these."""

from __future__ import annotations

from collections.abc import Set
from types import MappingProxyType

from local.web.exchange import PageRefused, Request

# Templates bring inline scripts and styles; the manifest's values are escaped when they are rendered.
HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)


def check_origin(request: Request, hosts: Set[str]) -> None:
    """Raise PageRefused for requests of other sites, and for a foreign host name, which may be rebound to here."""
    host = request.headers.get("host", "")
    if host not in hosts:
        raise PageRefused(421, "This is not the address of these pages.")
    # A request for a task of the portal leases it: other sites may only link to the list of jobs.
    if request.headers.get("sec-fetch-site") == "cross-site" and request.path != "/":
        raise PageRefused(403, "Other sites may only link to the start page.")
    if request.method != "GET" and request.headers.get("origin") != f"http://{host}":
        raise PageRefused(403, "Requests that change something are taken only from these pages.")
