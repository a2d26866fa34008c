"""Opens jobs and reads their results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from autolabel.verification.label_studio.projects import (
    Images,
    Job,
    JobProject,
    LabelStudio,
    Results,
    Webhook,
    open_project,
)
from tests.fakes.lines import LABELS, boxes_of

NOW = datetime(2026, 1, 3, tzinfo=UTC)
COLORS = {"car": "#2f7ed8", "person": "#e53935", "traffic light": "#7cb342"}
CAR = ("car", 13.0, 20.0, 101.0, 77.0)
PERSON = ("person", 300.0, 41.0, 333.0, 131.0)


class Web:
    """`Images` with frames on the web: Label Studio needs no access to S3."""

    connected = False

    def address(self, uri: str) -> str:
        return "https://frames.example/" + uri.removeprefix("s3://")


def opened(
    name: str,
    lines: Sequence[bytes],
    client: LabelStudio,
    *,
    images: Images | None = None,
    webhook: Webhook | None = None,
    reviewers: int = 1,
) -> JobProject:
    return open_project(Job(name, LABELS, reviewers), lambda: lines, client, images or Web(), webhook, colors=COLORS)


def read(reference: JobProject, lines: Sequence[bytes], client: LabelStudio) -> list[dict[str, Any]]:
    return [json.loads(body) for body in Results(reference, lines, client, NOW)]


def sources(lines: Sequence[bytes]) -> list[str]:
    return [json.loads(body)["source-ref"] for body in lines]


def pixels(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(box.name, box.left, box.top, box.width, box.height) for box in boxes_of(answer, "verified")]
