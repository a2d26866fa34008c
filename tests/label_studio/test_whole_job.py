"""A job's whole way through a real Label Studio: opened, worked on by people, read back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from autolabel.label_studio.client import LabelStudioClient
from autolabel.label_studio.projects import Job, JobProject, Results, annotated, open_project, progress
from autolabel.manifest import read_boxes
from tests.fakes.lines import LABELS, line
from tests.label_studio.people import People

NOW = datetime(2026, 1, 3, tzinfo=UTC)
COLORS = {"car": "#2f7ed8", "person": "#e53935", "traffic light": "#7cb342"}
CAR = ("car", 13.0, 20.0, 101.0, 77.0)
PERSON = ("person", 300.0, 41.0, 333.0, 131.0)


class Web:
    """Frames lie on the web, for all that Label Studio knows."""

    connected = False

    def address(self, uri: str) -> str:
        return "https://frames.example/" + uri.removeprefix("s3://")


def opened(name: str, lines: list[bytes], client: LabelStudioClient) -> JobProject:
    return open_project(Job(name, LABELS), lambda: lines, client, Web(), None, colors=COLORS)


def read(reference: JobProject, lines: list[bytes], client: LabelStudioClient) -> list[dict[str, Any]]:
    return [json.loads(body) for body in Results(reference, lines, client, NOW)]


def pixels(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(box.name, box.left, box.top, box.width, box.height) for box in read_boxes(answer, "verified")]


def test_what_people_do_to_boxes_comes_back_to_the_pixel(client: LabelStudioClient, people: People, name: str) -> None:
    lines = [line(i, [CAR, PERSON]) for i in range(7)] + [line(7, [])]
    reference = opened(name, lines, client)
    assert progress(reference, client) == (0, 8)
    assert not annotated(reference, client)
    kept, moved, added, deleted, relabelled, emptied, skipped, empty = people.tasks(reference.project)

    people.accept(kept)
    car, person = people.shown(moved)
    car["value"] |= {"x": 10 * 100 / 640, "width": 50 * 100 / 640}
    people.submit(moved, [car, person])
    light = {
        **car,
        "id": "new",
        "value": {"x": 50, "y": 25, "width": 5, "height": 10, "rectanglelabels": ["traffic light"]},
    }
    people.submit(added, [*people.shown(added), light])
    people.submit(deleted, people.shown(deleted)[:1])
    car, person = people.shown(relabelled)
    car["value"]["rectanglelabels"] = ["person"]
    people.submit(relabelled, [car, person])
    people.submit(emptied, [])
    assert progress(reference, client) == (6, 8)
    people.skip(skipped)
    people.submit(empty, [])
    assert annotated(reference, client)

    answers = read(reference, lines, client)
    assert [a["source-ref"] for a in answers] == [json.loads(body)["source-ref"] for body in lines]
    whole = [("car", 13, 20, 88, 57), ("person", 300, 41, 33, 90)]
    assert [pixels(a) for a in answers if "verified" in a] == [
        whole,
        [("car", 10, 20, 50, 57), whole[1]],
        [*whole, ("traffic light", 320, 68, 32, 27)],
        whole[:1],
        [("person", 13, 20, 88, 57), whole[1]],
        [],
        [],
    ]
    assert [a["verified-metadata"].get("adjustment-status") for a in answers] == [
        "unadjusted",
        "adjusted",
        "adjusted",
        "adjusted",
        "adjusted",
        "adjusted",
        None,
        "unadjusted",
    ]
    assert answers[6]["verified-metadata"]["failure-reason"] == "a person skipped it in Label Studio"
    assert answers[0]["review"] == {"seconds": 2.5, "worker": "1"}
    assert answers[0]["verified-metadata"]["job-name"] == f"labeling-job/{name}"
