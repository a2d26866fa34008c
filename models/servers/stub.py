"""A model server without a model, for tests and load: `python -m models.servers.stub --port N`.

It answers every input with the same detections, unless its environment says otherwise:

STUB_BOXES      detections as a JSON list of [label, score, left, top, right, bottom], coordinates 0..1
STUB_DELAY_MS   time before each answer, in milliseconds
STUB_BALLAST    bytes of masks in each answer, in addition to the boxes
STUB_BEHAVIOUR  behaviour for every input: answer (default), empty (no boxes), error (500), refuse (400), garbage
                (not JSON), truncated (half of the JSON), broken (the connection breaks), hang, exit,
                flaky (500 the first time)
STUB_SHARES     JSON object of behaviours with their share of inputs (0..1); the same input always gets the same one
STUB_STARTUP    answer (default), slow (a second), fail (exit at once), never (ping never answers 200)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.servers.container import Reply, Request, RequestRefused, run

_BEHAVIOURS = ("answer", "empty", "error", "refuse", "garbage", "truncated", "broken", "hang", "exit", "flaky")
_STARTUPS = ("answer", "slow", "fail", "never")
_BOXES: list[list[Any]] = [
    ["car", 0.9, 0.1, 0.4, 0.3, 0.7],
    ["truck", 0.7, 0.5, 0.3, 0.8, 0.75],
    ["person", 0.4, 0.85, 0.45, 0.9, 0.65],
]
_LABELS = ["person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck"]
# A row of a mask: 100 numbers as JSON text.
_MASK_ROW = b"[" + b",".join([b"0"] * 100) + b"]"


class BadSetting(ValueError):
    """An environment variable of the stub is malformed."""


@dataclass(frozen=True)
class Behaviour:
    """The settings of the environment; delays in seconds, ballast in bytes."""

    body: bytes
    delay: float
    ballast: int
    always: str
    shares: Mapping[str, float]
    startup: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Behaviour:
        """Read the variables named in the module's docstring; raises BadSetting."""
        try:
            boxes = json.loads(environment.get("STUB_BOXES", json.dumps(_BOXES)))
            shares = {name: float(s) for name, s in json.loads(environment.get("STUB_SHARES", "{}")).items()}
            behaviour = cls(
                body=detections(boxes),
                delay=float(environment.get("STUB_DELAY_MS", "0")) / 1000,
                ballast=int(environment.get("STUB_BALLAST", "0")),
                always=environment.get("STUB_BEHAVIOUR", "answer"),
                shares=shares,
                startup=environment.get("STUB_STARTUP", "answer"),
            )
        except (ValueError, TypeError, AttributeError) as e:
            raise BadSetting(f"a STUB_ variable of the environment is malformed: {e}") from e
        unknown = {behaviour.always, *shares} - set(_BEHAVIOURS) | {behaviour.startup} - set(_STARTUPS)
        if unknown:
            raise BadSetting(f"unknown behaviour in the environment: {', '.join(sorted(unknown))}")
        return behaviour

    def choose(self, body: bytes) -> str:
        """The behaviour for an input, chosen by its hash where shares are given."""
        point = int.from_bytes(hashlib.sha256(body).digest()[:8]) / 2**64
        for name, share in self.shares.items():
            if point < share:
                return name
            point -= share
        return self.always


def detections(boxes: list[list[Any]]) -> bytes:
    """An answer in the format of JumpStart's object detection models."""
    labels = [*_LABELS, *sorted({row[0] for row in boxes} - set(_LABELS))]
    ranked = sorted(boxes, key=lambda row: -row[1])
    return json.dumps(
        {
            "normalized_boxes": [row[2:6] for row in ranked],
            "classes": [float(labels.index(row[0])) for row in ranked],
            "scores": [row[1] for row in ranked],
            "labels": labels,
        }
    ).encode()


class StubModel:
    """A model that follows its Behaviour."""

    max_request_bytes = 1 << 30

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    def load(self) -> None:
        match self._behaviour.startup:
            case "slow":
                time.sleep(1)
            case "fail":
                raise RuntimeError("STUB_STARTUP is fail")
            case "never":
                threading.Event().wait()

    def predict(self, request: Request) -> Reply:
        behaviour = self._behaviour
        if behaviour.delay:
            time.sleep(behaviour.delay)
        match behaviour.choose(request.body):
            case "empty":
                return Reply(detections([]))
            case "error":
                raise RequestRefused(500, "STUB_BEHAVIOUR is error")
            case "refuse":
                raise RequestRefused(400, "STUB_BEHAVIOUR is refuse")
            case "garbage":
                return Reply(b"\x00\xffnot JSON")
            case "truncated":
                return Reply(behaviour.body[: len(behaviour.body) // 2])
            case "broken":
                return Reply(_broken_off(behaviour.body))
            case "hang":
                threading.Event().wait()
            case "exit":
                os._exit(3)
            case "flaky" if self._first_sight(request.body):
                raise RequestRefused(500, "STUB_BEHAVIOUR is flaky")
        return Reply(_with_masks(behaviour.body, behaviour.ballast) if behaviour.ballast else behaviour.body)

    def _first_sight(self, body: bytes) -> bool:
        digest = hashlib.sha256(body).digest()
        with self._lock:
            first = digest not in self._seen
            self._seen.add(digest)
            return first


def _with_masks(body: bytes, size: int) -> Iterator[bytes]:
    """The answer with `masks` of about `size` bytes before its other members, in pieces."""
    yield b'{"masks": [[' + _MASK_ROW
    rows_a_piece = 512
    piece = (b"," + _MASK_ROW) * rows_a_piece
    for _ in range(max(size // len(piece), 1)):
        yield piece
    yield b"]], " + body.removeprefix(b"{")


def _broken_off(body: bytes) -> Iterable[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionAbortedError("STUB_BEHAVIOUR is broken")


def main() -> None:
    """Serve a stub with the settings of the environment."""
    try:
        behaviour = Behaviour.read(os.environ)
    except BadSetting as e:
        sys.exit(str(e))
    run(StubModel(behaviour))


if __name__ == "__main__":
    main()
