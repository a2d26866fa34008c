"""Arm a cloud's faults from outside: a path of the gateway, and its client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from local.cloud.faults.board import FaultBoard
from local.cloud.faults.fault import Fault
from local.cloud.gateway_paths import ask_path, serve_path

PATH = "/_faults"


class FaultControl:
    """The faults of a running cloud that was started with `CloudSettings.faults`."""

    def __init__(self, gateway: str) -> None:
        self._url = gateway + PATH

    def arm(self, seed: int, faults: Iterable[Fault]) -> None:
        """Inject these faults from now on; counts start at 0."""
        self._ask("PUT", {"seed": seed, "faults": [fault.as_json() for fault in faults]})

    def disarm(self) -> None:
        """Inject no further fault, and release everything that was held back."""
        self._ask("DELETE")

    def injected(self) -> dict[str, int]:
        """Return how often each fault was injected since the last `arm`."""
        return self._ask("GET")

    def _ask(self, method: str, document: Mapping[str, Any] | None = None) -> dict[str, int]:
        counts: dict[str, int] = ask_path(self._url, method, document)
        return counts


def install_control(board: FaultBoard) -> None:
    """Serve PATH: PUT arms, DELETE disarms, and each answers with the counts."""

    def answer(method: str, body: bytes) -> dict[str, int]:
        if method == "PUT":
            order = json.loads(body)
            board.arm(order["seed"], [Fault(**fault) for fault in order["faults"]])
        elif method == "DELETE":
            board.disarm()
        return board.injected()

    serve_path(PATH, answer)
