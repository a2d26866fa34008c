"""Asks a segmenter's container over HTTP, as its endpoint does."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import urllib3

from autolabel.contracts.errors import AnswerRefused
from autolabel.labels import Box
from autolabel.models import MAX_ANSWER_BYTES, Mask, SegmenterRequest, decode_masks, segmenter_request
from autolabel_cli.errors import CommandError

ACCEPT = "application/json"
_MAX_REASON = 200
_PING_SECONDS = 2.0


class Unanswered(Exception):
    """The container gave no answer that can be used; the message says why."""


class Reply(NamedTuple):
    """What the container sent: the status, the content type, and at most MAX_ANSWER_BYTES + 1 of the body."""

    status: int
    content_type: str
    body: bytes

    @property
    def said(self) -> str:
        """Return the status and the beginning of the body, for a message."""
        text = " ".join(self.body[:_MAX_REASON].decode(errors="replace").split())
        return f"status {self.status}{': ' + text if text else ''}"


class Segmenter:
    """A container at an address such as http://127.0.0.1:8080. Several threads may ask it."""

    def __init__(self, url: str, timeout: float) -> None:
        """Remember the address; nothing is asked yet. CommandError if it is not one of HTTP."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{url!r} is not the address of a container: give one such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._http = urllib3.PoolManager(retries=False, maxsize=8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.clear()

    def ping(self) -> Reply:
        """Ask whether the model is loaded. Unanswered without an answer."""
        return self._send("GET", "/ping", None, {}, min(_PING_SECONDS, self._timeout))

    def invoke(self, request: SegmenterRequest) -> Reply:
        """Send a request as it is. Unanswered without an answer."""
        headers = {"Content-Type": request.content_type, "Accept": ACCEPT}
        return self._send("POST", "/invocations", request.body, headers, self._timeout)

    def segment(self, image: bytes, media_type: str, boxes: Sequence[Box], width: int, height: int) -> tuple[Mask, ...]:
        """Return the mask of each box. Unanswered if the status is not 200 or the answer breaks the contract."""
        reply = self.invoke(segmenter_request(image, media_type, boxes, width, height))
        if reply.status != 200:
            raise Unanswered(reply.said)
        if reply.content_type.partition(";")[0].strip().lower() != ACCEPT:
            raise Unanswered(f"the content type of the answer is {reply.content_type!r}, not {ACCEPT}")
        try:
            return decode_masks([reply.body], len(boxes), width, height)
        except AnswerRefused as e:
            raise Unanswered(str(e)) from e

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout: float) -> Reply:
        try:
            response = self._http.request(
                method, self.url + path, body=body, headers=headers, timeout=timeout, preload_content=False
            )
            try:
                sent = response.read(MAX_ANSWER_BYTES + 1)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise Unanswered(f"no answer from {self.url}{path}: {e}") from e
        return Reply(response.status, response.headers.get("Content-Type", ""), sent)
