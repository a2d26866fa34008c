"""The logs of a plan's drives: the fleet writes and uploads them, and remembers the frames that must come of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.e2e.pipeline import image
from tests.fakes.logs import Sent, bag_log, mcap_log
from tools.chaos.plans import CAMERAS, LogsPlan
from tools.chaos.stage import MODELS, Stage, until

START, STEP = 1_700_000_000_000_000_000, 100_000_000
# A chunk holds two pictures, and a slice of 2^20 bytes one chunk.
_PICTURE_BYTES = 350_000
_CHUNK_BYTES = 600_000
# Of each camera.
_FRAMES = {"a.mcap": 6, "b.bag": 4}
# How long the fleet waits for the record of a log that it then overwrites.
_RECORDED_SECONDS = 4.0


@dataclass(frozen=True)
class SentLog:
    """A log as the fleet put it. `pictures`: by the name of each frame (`camera/timestamp.jpg`) the ETag that it has.

    `messages`: by topic. `repeated`: the frames whose timestamp two pictures have; the first one in the log counts.
    """

    name: str
    body: bytes
    pictures: Mapping[str, str]
    messages: Mapping[str, int]
    repeated: frozenset[str]

    @property
    def etag(self) -> str:
        return _md5(self.body)


def write_log(name: str, version: int = 0) -> SentLog:
    """Write a log of two cameras. Its last pictures have the timestamp of its second ones.

    b.bag begins with the last frame of a.mcap, as recorders that overlap write it. Pictures differ in each `version`.
    """
    first = _FRAMES["a.mcap"] - 1 if name == "b.bag" else 0
    numbers = range(first, first + _FRAMES[name])
    messages = []
    pictures: dict[str, str] = {}
    for place, number in enumerate((*numbers, numbers[1])):
        again = f" again in {name}" if place == len(numbers) else ""
        for camera in CAMERAS:
            stamp = START + number * STEP
            body = _picture(f"{camera} {number} {version}{again}")
            pictures.setdefault(f"{camera}/{stamp}.jpg", _md5(body))
            messages.append(Sent(f"/{camera}/image_raw/compressed", stamp, START + place, packed=("jpeg", body)))
    if name == "b.bag":
        written = bag_log(messages, chunk_size=_CHUNK_BYTES)
    else:
        written = mcap_log(messages, compression="", chunk_size=_CHUNK_BYTES)
    repeated = frozenset(f"{camera}/{START + numbers[1] * STEP}.jpg" for camera in CAMERAS)
    return SentLog(name, written, pictures, Counter(message.topic for message in messages), repeated)


class LogUpload:
    """Uploads the logs of one drive. `promised`: keys of the frames that must come of them; `sent`: all logs, in order.

    The last of each name is the log that counts.
    """

    def __init__(self, stage: Stage, drive: str, plan: LogsPlan, models: int) -> None:
        self.drive = drive
        self.promised: set[str] = set()
        self.sent: list[SentLog] = []
        self._stage = stage
        self._plan = plan
        self._models = models

    def run(self) -> None:
        """Upload the logs, and the document that names them."""
        if self._plan.document == "early":
            self._describe()
        original = write_log("a.mcap")
        for log in (original, write_log("b.bag")):
            self._send(log)
        for version in range(1, self._plan.overwritten + 1):
            self._await_record(self.sent[-1] if version > 1 else original)
            # The plan says how far the extraction is.
            time.sleep(self._plan.pause)
            self._send(original if version == 2 else write_log("a.mcap", version))
        if self._plan.document == "late":
            self._describe()
        last = {log.name: log for log in self.sent}
        self.promised |= {f"drives/{self.drive}/{name}" for log in last.values() for name in log.pictures}

    def _send(self, log: SentLog) -> None:
        self.sent.append(log)
        self._put(log.name, log.body)

    def _describe(self) -> None:
        document = {"vehicle": "chaos", "logs": list(_FRAMES), "models": MODELS[: self._models]}
        self._put("recording.json", json.dumps(document).encode())

    def _put(self, name: str, body: bytes) -> None:
        ingest = self._stage.stack.ingest.name
        self._stage.client("s3").put_object(Bucket=ingest, Key=f"drives/{self.drive}/logs/{name}", Body=body)

    def _await_record(self, log: SentLog) -> None:
        """Wait until the extraction of a log begins, unless its event is lost."""
        ledger = self._stage.stack.ledger
        until(
            lambda: any((one.name, one.etag) == (log.name, log.etag) for one in ledger.logs(self.drive)),
            _RECORDED_SECONDS,
        )


def _picture(text: str) -> bytes:
    """A picture in which the model finds two objects. What follows its end tells it from others."""
    return image(640, 200, "JPEG") + text.encode().ljust(_PICTURE_BYTES)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
