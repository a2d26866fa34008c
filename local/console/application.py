"""Answer the console's requests: the page, its files, and what it reads as JSON."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from botocore.exceptions import BotoCoreError, ClientError

from local.console.alarms import Alarms
from local.console.charts import Charts
from local.console.documents import Document
from local.console.executions import Executions
from local.console.queues import Queues
from local.web.exchange import PageRefused, Request, Response, json_response
from local.web.files import LIBRARIES, StaticFiles
from local.web.protection import check_origin

_STATIC = Path(__file__).parent / "static"
_LIBRARIES = ("@dagrejs/dagre/dist/dagre.esm.js", "uplot/dist/uPlot.esm.js", "uplot/dist/uPlot.min.css")
# Two weeks.
_LONGEST_MINUTES = 20_160
_HEADERS = {
    # Names and documents of others are shown here, so no script and no style may be in the page itself.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


class Application:
    """The console of an account; `hosts`: the hosts with ports under which browsers may reach it."""

    def __init__(self, client: Callable[[str], Any], hosts: Set[str]) -> None:
        self._hosts = hosts
        self._files = StaticFiles(_STATIC, [LIBRARIES / path for path in _LIBRARIES])
        kept = _kept(client)
        executions = Executions(kept)
        # Each takes the address's ARN and its number: of an event, or minutes.
        self._readers: Mapping[str, Callable[[str, int], Document]] = {
            "/api/executions": lambda arn, number: executions.machines(),
            "/api/execution": executions.execution,
            "/api/definition": lambda arn, number: executions.definition(arn),
            "/api/event": executions.event,
            "/api/map-run": lambda arn, number: executions.map_run(arn),
            "/api/queues": lambda arn, number: Queues(kept).queues(),
            "/api/alarms": lambda arn, number: Alarms(kept).alarms(),
            "/api/charts": lambda arn, number: Charts(kept).charts(min(max(number, 1), _LONGEST_MINUTES)),
        }

    def respond(self, request: Request) -> Response:
        """Answer a request, or refuse it with the reason as JSON."""
        try:
            check_origin(request, self._hosts)
            if request.method != "GET":
                raise PageRefused(405, f"This address does not accept {request.method}.")
            return self._route(request)
        except PageRefused as e:
            return json_response(e.status, {"error": e.message})

    def _route(self, request: Request) -> Response:
        if request.path == "/":
            return Response(200, (_STATIC / "console.html").read_bytes(), headers=_HEADERS)
        if request.path.startswith("/static/"):
            return self._files.serve(request.path.removeprefix("/static/"))
        read = self._readers.get(request.path)
        if read is None:
            raise PageRefused(404, "This page does not exist.")
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        number = query.get("number", "0")
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            raise PageRefused(400, f"The number in the address consists of digits, got {number!r}.")
        try:
            return json_response(200, read(query.get("arn", ""), int(number)))
        except (ClientError, BotoCoreError) as e:
            raise PageRefused(502, str(e)) from e
        except (KeyError, TypeError, ValueError) as e:
            # Dashboards and histories are documents that others wrote.
            raise PageRefused(502, f"An answer cannot be read: {e!r}") from e


def _kept(client: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a client of each service once, and only when it is first used: making one takes a tenth of a second."""
    clients: dict[str, Any] = {}
    lock = threading.Lock()

    def find(service: str) -> Any:
        with lock:
            if service not in clients:
                clients[service] = client(service)
            return clients[service]

    return find
