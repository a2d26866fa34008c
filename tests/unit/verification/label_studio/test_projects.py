"""A job in Label Studio stays correct after interrupted, repeated and concurrent calls, and after manual changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from autolabel.contracts.errors import VerificationUnavailable
from autolabel.verification.label_studio.projects import (
    BATCH,
    Job,
    JobProject,
    Results,
    StorageImages,
    Webhook,
    annotated,
    open_project,
    progress,
    renew_images,
)
from autolabel.verification.label_studio.results import Annotation
from tests.fakes.label_studio import FakeLabelStudio, Killed
from tests.fakes.lines import LABELS, line

JOB = Job("drive-7-0a1b2c3d-0001-000", LABELS)
WEBHOOK = Webhook("https://hook.example/", "a secret of webhooks")
NOW = datetime(2026, 1, 3, 4, 5, 6, tzinfo=UTC)
# Enough lines for three imports.
LINES = [line(i, [("car", 10, 10, 50, 40)]) for i in range(2 * BATCH + 3)]
SOURCES = [json.loads(body)["source-ref"] for body in LINES]


def opened(studio: FakeLabelStudio, lines: Sequence[bytes] = LINES, job: Job = JOB) -> JobProject:
    return open_project(job, lambda: lines, studio, StorageImages(), WEBHOOK, colors={})


def frames(studio: FakeLabelStudio, project: int) -> list[str]:
    return [row["data"]["source-ref"] for _, row in sorted(studio.rows.items()) if row["project"] == project]


def assert_whole(studio: FakeLabelStudio, reference: JobProject) -> None:
    """Check for one project with one task for each frame, in order, one webhook and one storage."""
    assert list(studio.projects) == [reference.project]
    assert frames(studio, reference.project) == SOURCES
    assert len(studio.hooks[reference.project]) == len(studio.connected[reference.project]) == 1
    assert reference.frames == len(LINES)


def answer(number: int, *, minute: int = 0, skipped: bool = False) -> Annotation:
    return Annotation(number, datetime(2026, 1, 2, 0, minute, tzinfo=UTC), [], skipped, 7, 3.0)


def read(results: Results) -> list[dict[str, Any]]:
    return [json.loads(body) for body in results]


def reasons(lines: Sequence[dict[str, Any]]) -> list[str | None]:
    return [one["verified-metadata"].get("failure-reason") for one in lines]


def test_a_job_without_frames_is_done_at_once() -> None:
    studio = FakeLabelStudio()
    reference = opened(studio, [])
    assert progress(reference, studio) == (0, 0)
    assert annotated(reference, studio)
    assert read(Results(reference, [], studio, NOW)) == []


def test_opening_twice_changes_nothing() -> None:
    studio = FakeLabelStudio()
    first = opened(studio)
    assert_whole(studio, first)
    studio.calls.clear()
    assert opened(studio) == first
    assert set(studio.calls) == {"find_projects", "webhooks", "storages", "tasks"}
    assert_whole(studio, first)


def calls_of_opening() -> int:
    studio = FakeLabelStudio()
    opened(studio)
    return len(studio.calls)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, calls_of_opening() + 1))
def test_a_job_is_complete_after_a_kill_at_any_call_and_a_repeat(call: int, when: str) -> None:
    studio = FakeLabelStudio()

    def kill(number: int, name: str) -> None:
        if number == call:
            raise Killed

    setattr(studio, when, kill)
    with pytest.raises(Killed):
        opened(studio)
    setattr(studio, when, lambda number, name: None)
    assert_whole(studio, opened(studio))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, calls_of_opening() + 1))
def test_concurrent_calls_make_one_project_with_each_frame_once(call: int, when: str) -> None:
    studio = FakeLabelStudio()
    others: list[JobProject] = []

    def meet(number: int, name: str) -> None:
        if number == call:
            others.append(opened(studio))

    setattr(studio, when, meet)
    reference = opened(studio)
    assert others == [reference]
    assert list(studio.projects) == [reference.project]
    # The tasks may have another order if the other call was faster.
    assert sorted(frames(studio, reference.project)) == SOURCES


def test_a_call_that_label_studio_carries_out_twice_counts_once() -> None:
    studio = FakeLabelStudio()
    studio.times = 2
    assert_whole(studio, opened(studio))


def test_the_older_project_is_used_if_ours_was_deleted() -> None:
    studio = FakeLabelStudio()

    def clear(number: int, name: str) -> None:
        if name == "import_tasks" and 0 not in studio.projects:
            studio.projects.clear()
            studio.projects[0] = {"title": JOB.name}

    studio.before = clear
    assert_whole(studio, reference := opened(studio))
    assert reference.project == 0


def test_a_younger_project_may_be_deleted_by_another_call_first() -> None:
    studio = FakeLabelStudio()
    studio.times = 2

    def clear(number: int, name: str) -> None:
        if name == "count_tasks":
            studio.projects.pop(max(studio.projects))

    studio.before = clear
    assert_whole(studio, opened(studio))


def test_a_project_that_is_listed_but_gone_is_an_error() -> None:
    studio = FakeLabelStudio()

    def vanish(number: int, name: str) -> None:
        studio.projects.clear()

    studio.after = lambda number, name: vanish(number, name) if name in ("create_project", "storages") else None
    with pytest.raises(VerificationUnavailable, match="have not agreed on one project"):
        opened(studio)


def test_an_older_project_that_appears_late_is_used() -> None:
    studio = FakeLabelStudio()

    def appear(number: int, name: str) -> None:
        if name == "import_tasks" and 0 not in studio.projects:
            studio.projects[0] = {"title": JOB.name}

    studio.before = appear
    assert_whole(studio, reference := opened(studio))
    assert reference.project == 0


def test_a_project_in_which_reviewers_worked_is_never_deleted() -> None:
    studio = FakeLabelStudio()

    def appear(number: int, name: str) -> None:
        if name == "import_tasks" and 0 not in studio.projects:
            studio.projects[0] = {"title": JOB.name}
        if studio.rows:
            studio.annotate(min(studio.rows), answer(1))

    studio.before = appear
    assert opened(studio).project == 0
    assert len(studio.projects) == 2


def test_titles_of_long_job_names_are_short_enough_and_differ() -> None:
    stem = "a-drive-of-thirty-characters-x-0a1b2c3d-0001-000"
    titles = {Job(stem + end, LABELS).title for end in ("", "-again", "-again2")}
    assert len(titles) == 3
    assert all(title.startswith(stem[:40]) and len(title) <= 50 for title in titles)


def test_tasks_that_label_studio_loses_are_an_error() -> None:
    studio = FakeLabelStudio()

    def lose(number: int, name: str) -> None:
        if name == "import_tasks":
            studio.rows.pop(max(studio.rows))

    studio.after = lose
    with pytest.raises(VerificationUnavailable, match="lacks 3 of 203 tasks"):
        opened(studio)


def test_a_webhook_gets_a_new_signature_when_the_secret_changes() -> None:
    studio = FakeLabelStudio()
    first = opened(studio)
    (before,) = studio.hooks[first.project]
    open_project(JOB, lambda: LINES, studio, StorageImages(), WEBHOOK._replace(secret="another secret"), colors={})
    (after,) = studio.hooks[first.project]
    assert (after.id, after.url) == (before.id, before.url)
    assert after.headers != before.headers


def test_skipped_deleted_and_stray_tasks_are_counted() -> None:
    studio = FakeLabelStudio()
    reference = opened(studio)
    tasks = sorted(studio.rows)
    for number, task in enumerate(tasks):
        studio.annotate(task, answer(number, skipped=number == 1))
    studio.delete_task(tasks[2])
    # A person imported other tasks.
    strays = [{"source-ref": "s3://x/y"}, {"source-ref": 7}, {"image": "s3://x/z"}]
    studio.import_tasks(reference.project, [{"data": data} for data in strays])
    assert progress(reference, studio) == (len(LINES) - 1, len(LINES) - 1)
    results = Results(reference, LINES, studio, NOW)
    lines = read(results)
    assert [one["source-ref"] for one in lines] == SOURCES
    assert reasons(lines)[:4] == [
        None,
        "a reviewer skipped it in Label Studio",
        "its task was deleted in Label Studio",
        None,
    ]
    assert lines[2]["verified-metadata"] == {
        "failure-reason": "its task was deleted in Label Studio",
        "human-annotated": "yes",
        "creation-date": "2026-01-03T04:05:06.000000",
        "job-name": f"labeling-job/{JOB.name}",
    }
    assert not any(reasons(lines)[3:])
    assert (results.skipped, results.deleted, results.strays) == (1, 1, 3)


def test_the_answered_one_of_two_tasks_of_a_frame_counts() -> None:
    studio = FakeLabelStudio()
    reference = opened(studio, LINES[:1])
    studio.import_tasks(reference.project, [{"data": studio.rows[max(studio.rows)]["data"]}])
    studio.annotate(max(studio.rows), answer(1))
    assert opened(studio, LINES[:1]) == reference
    assert len(studio.rows) == 2
    assert reasons(read(Results(reference, LINES[:1], studio, NOW))) == [None]


def test_open_tasks_are_renewed_in_the_order_of_the_review_queue() -> None:
    class Fresh:
        connected = False

        def address(self, uri: str) -> str:
            return uri + "?fresh"

    studio = FakeLabelStudio()
    reference = opened(studio)
    first, second, third, fourth, *_ = sorted(studio.rows)
    studio.annotate(second, answer(1))
    assert renew_images(reference, studio, Fresh(), 2) == 2
    fresh = [studio.rows[i]["data"]["image"].endswith("?fresh") for i in (first, second, third, fourth)]
    assert fresh == [True, False, True, False]
    assert frames(studio, reference.project) == SOURCES
