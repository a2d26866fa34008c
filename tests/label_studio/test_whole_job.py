"""A whole job in a real Label Studio: it is opened, reviewers work on it, and it is read back."""

from __future__ import annotations

import json

from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.projects import Results, annotated, progress
from tests.fakes.lines import line
from tests.label_studio.jobs import CAR, NOW, PERSON, opened, pixels, read, sources
from tests.label_studio.people import People


def test_edits_of_boxes_come_back_to_the_pixel(client: LabelStudioClient, people: People, name: str) -> None:
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
    assert [a["source-ref"] for a in answers] == sources(lines)
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
    assert answers[6]["verified-metadata"]["failure-reason"] == "a reviewer skipped it in Label Studio"
    assert answers[0]["review"] == {"seconds": 2.5, "worker": "1"}
    assert answers[0]["verified-metadata"]["job-name"] == f"labeling-job/{name}"


def test_marks_and_annotations_of_several_reviewers_are_read(
    client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(0, [CAR, PERSON])]
    reference = opened(name, lines, client)
    (task,) = people.tasks(reference.project)
    people.skip(task)
    first = people.submit(task, people.shown(task)[:1])
    car, person = people.shown(task)
    where = {"original_width": 640, "original_height": 272, "image_rotation": 0, "to_name": "image", "type": "choices"}
    # As the page submits it in a browser.
    truncated = {
        **where,
        "id": person["id"],
        "from_name": "marks",
        "value": {**person["value"]} | {"choices": ["truncated"]},
    }
    del truncated["value"]["rectanglelabels"]
    unsure = {
        "value": {"choices": ["unsure"]},
        "id": "0D4s",
        "from_name": "frame",
        "to_name": "image",
        "type": "choices",
    }
    people.submit(task, [car, person, truncated, unsure], seconds=7.25)
    (answer,) = read(reference, lines, client)
    assert answer["verified-metadata"]["adjustment-status"] == "unadjusted"
    assert answer["review"] == {"seconds": 7.25, "worker": "1", "unsure": True, "boxes": [{}, {"truncated": True}]}
    # The annotation that was changed last counts.
    people.call("PATCH", f"/api/annotations/{first}/", {"result": [car]})
    assert pixels(read(reference, lines, client)[0]) == [("car", 13, 20, 88, 57)]


def test_a_task_for_several_reviewers_is_done_when_all_have_answered_or_skipped(
    client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(i, [CAR, PERSON]) for i in range(2)]
    reference = opened(name, lines, client, reviewers=2)
    first, second = people.tasks(reference.project)
    assert (first["overlap"], second["overlap"]) == (2, 2)
    people.accept(first)
    people.accept(second)
    # Another answer of the same person does not count as a second one.
    people.accept(first)
    assert progress(reference, client) == (0, 2)
    other = people.another()
    people.submit(first, people.shown(first)[:1], **other)
    people.skip(second, **other)
    assert progress(reference, client) == (2, 2)
    results = Results(reference, lines, client, NOW, reviewers=lambda frame: 2)
    answers = [json.loads(body) for body in results]
    assert [(one["asked"], len(one["answers"])) for one in answers] == [(2, 3), (2, 1)]
    given = [(one["review"]["worker"], len(one["verified"]["annotations"])) for one in answers[0]["answers"]]
    assert given == [("1", 2), ("1", 2), (str(other["completed_by"]), 1)]


def test_deleted_and_foreign_tasks_do_not_affect_other_frames(
    client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(i, [CAR]) for i in range(3)]
    reference = opened(name, lines, client)
    first, second, third = people.tasks(reference.project)
    people.accept(first)
    people.call("DELETE", f"/api/tasks/{second['id']}/")
    people.call("POST", f"/api/projects/{reference.project}/import", [{"data": {"image": "https://x.example/1.png"}}])
    assert progress(reference, client) == (1, 2)
    people.accept(third)
    assert annotated(reference, client)
    results = Results(reference, lines, client, NOW)
    assert len(list(results)) == 3
    assert (results.skipped, results.deleted, results.strays) == (0, 1, 1)


def test_a_marked_contradiction_is_left_out_unless_the_reviewer_unticks_it(
    client: LabelStudioClient, people: People, name: str
) -> None:
    new = {"label": "person", "left": 300, "top": 41, "width": 33, "height": 90, "confidence": 0.8, "new": True}
    doubt = {"level": 1.0, "boxes": [0.0], "why": ["why"], "ghosts": [new, {**new, "left": 500, "new": False}]}
    lines = [line(i, [CAR], doubt=doubt) for i in range(2)]
    reference = opened(name, lines, client)
    left, taken = people.tasks(reference.project)
    car, person, check = people.shown(left)
    assert (check["id"], check["value"]["choices"]) == (person["id"], ["check"])
    people.accept(left)
    people.submit(taken, [car, person])
    answers = read(reference, lines, client)
    whole = [("car", 13, 20, 88, 57), ("person", 300, 41, 33, 90)]
    assert [pixels(a) for a in answers] == [whole[:1], whole]
    assert [a["verified-metadata"]["adjustment-status"] for a in answers] == ["unadjusted", "adjusted"]
