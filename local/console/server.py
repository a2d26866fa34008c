"""The console as an HTTP server on 127.0.0.1."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any

from local.console.application import Application
from local.web.server import ADDRESS, PageServer, hosts_of


class CloudConsole:
    """Serves the console inside a with statement, at `url`.

    `client` makes a boto3 client of a service's name: that of an embedded cloud, or of any account. `port`: 0 takes a
    free one; raises OSError for one in use.
    """

    def __init__(self, client: Callable[[str], Any], *, port: int = 0) -> None:
        listener = socket.create_server((ADDRESS, port))
        self._server = PageServer("console", listener, Application(client, hosts_of(listener)).respond)
        self.url = self._server.url

    def __enter__(self) -> CloudConsole:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
