"""What keeps other web pages, open in the same browser, away from the portal."""

from __future__ import annotations

from collections.abc import Set
from types import MappingProxyType

from local.portal.exchange import Refusal, Request

# Templates bring their own scripts and styles inline; values of the manifest are escaped where they are rendered.
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
    """Raise Refusal for a host that is not the portal (a name rebound to it), and for what another site asks of it."""
    host = request.headers.get("host", "")
    if host not in hosts:
        raise Refusal(421, "This is not the address of the portal.")
    # Looking at a task leases it: other sites may lead to the list of jobs, and no further.
    if request.headers.get("sec-fetch-site") == "cross-site" and request.path != "/":
        raise Refusal(403, "The portal is only entered at its front door.")
    if request.method != "GET" and request.headers.get("origin") != f"http://{host}":
        raise Refusal(403, "Answers are only taken from the portal's own pages.")
