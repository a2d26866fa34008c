"""Opening a job's project in a real Label Studio: twice, interrupted, and with bad requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable
from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.projects import BATCH, JobProject, annotated, progress
from tests.fakes.label_studio import Killed
from tests.fakes.lines import line
from tests.label_studio.jobs import CAR, opened, read, sources
from tests.label_studio.people import People


class Mortal(LabelStudioClient):
    """A client that is killed after its first import."""

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        super().import_tasks(project, tasks)
        raise Killed


def test_frames_have_one_task_in_order_after_an_interrupted_opening(
    client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(i, [CAR]) for i in range(BATCH + 5)]
    with pytest.raises(Killed):
        opened(name, lines, Mortal(client.connection, "ls"))
    references = [opened(name, lines, client) for _ in range(2)]
    assert references[0] == references[1]
    assert [project.id for project in client.find_projects(name)] == [references[0].project]
    tasks = people.tasks(references[0].project)
    assert [task["data"]["source-ref"] for task in tasks] == sources(lines)
    assert all(len(task["predictions"]) == 1 for task in tasks)
    # The page shows frames in this order.
    shown = people.call("GET", f"/api/projects/{references[0].project}/next/")
    assert shown["id"] == tasks[0]["id"]


def test_concurrent_openings_make_one_project_with_every_frame_once(
    client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(i, [CAR]) for i in range(BATCH + 5)]
    begin = threading.Barrier(2)

    def call() -> JobProject:
        begin.wait()
        while True:
            try:
                return opened(name, lines, LabelStudioClient(client.connection, "ls"))
            except VerificationUnavailable:
                # SQLite takes one writer at a time; the state machine would call again.
                continue

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(call) for _ in range(2))
        references = {first.result(), second.result()}
    (reference,) = references
    assert [project.id for project in client.find_projects(name)] == [reference.project]
    assert sorted(task["data"]["source-ref"] for task in people.tasks(reference.project)) == sources(lines)


def test_two_projects_with_one_title_become_one(client: LabelStudioClient, name: str) -> None:
    lines = [line(0, [CAR])]
    reference = opened(name, lines, client)
    client.create_project({"title": name})
    # A project with a longer name is another one.
    client.create_project({"title": name + "-more"})
    assert len(client.find_projects(name)) == 2
    assert opened(name, lines, client) == reference


def test_a_deleted_project_is_refused(client: LabelStudioClient, name: str) -> None:
    lines = [line(0, [CAR])]
    reference = opened(name, lines, client)
    for _ in range(2):
        client.delete_project(reference.project)
    with pytest.raises(VerificationRefused, match="was the project deleted"):
        annotated(reference, client)
    with pytest.raises(VerificationRefused, match="was the project deleted"):
        read(reference, lines, client)


def test_a_refusal_quotes_label_studio(client: LabelStudioClient) -> None:
    with pytest.raises(VerificationRefused, match="no more than 50 characters") as error:
        client.create_project({"title": "x" * 51})
    assert error.value.reason == "request"


def test_a_job_with_a_long_name_is_found_again(client: LabelStudioClient) -> None:
    lines = [line(0, [CAR])]
    name = "a-drive-of-thirty-characters-x-0a1b2c3d-0001-000-again"
    reference = opened(name, lines, client)
    assert opened(name, lines, client) == reference
    assert progress(reference, client) == (0, 1)
