"""Tracking tasks over HTTP: the sequence that the page gets, drafts, and answers as they reach the SeqLabel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.portal.browser import Answer, Browser
from local.tests.sagemaker.jobs import ended_job, manifest_line, output_lines, start_job
from local.tests.sagemaker.sequences import (
    CAR,
    PERSON,
    frame_name,
    seq_label,
    sequence_file,
    sequence_line,
    start_sequences,
    tracking_request,
)
from local.tests.sagemaker.stand_in import StandIn, eventually

OpenBrowser = Callable[[], Browser]
TASK = "/jobs/Drive-1/tasks/0"
TRACKS: list[dict[str, Any]] = [
    {
        "id": "id-car",
        "name": "car:car",
        "label": "car",
        "boxes": [[n, 10 + n, 20, 30, 40, {"uncertainty": f"0.{n}"}] for n in range(4)],
    },
    {"id": "id-person", "name": "person:person", "label": "person", "boxes": [[n, 99 + n, 50, 10, 30] for n in (1, 2)]},
]


def submit(browser: Browser, tracks: list[dict[str, Any]], task: str = TASK, **inputs: Any) -> Answer:
    content = {"tracks": tracks, "inputImageProperties": {"width": 640, "height": 272}, **inputs}
    return browser.write("POST", f"{task}/answer", {"answerContent": content})


def sent(stand_in: StandIn) -> dict[str, Any]:
    """End the job; return its first SeqLabel."""
    stand_in.sagemaker.stop_labeling_job(LabelingJobName="Drive-1")
    line = output_lines(stand_in, ended_job(stand_in))[0]
    found: dict[str, Any] = json.loads(stand_in.objects.contents[line["verified-ref"]][0])
    return found


def test_the_page_gets_frames_labels_and_tracks(stand_in: StandIn, browser: Browser) -> None:
    start_sequences(stand_in, sequence_line())
    assert browser.next_task() == TASK
    assert "/static/sequence-page.js" in browser.get(TASK).text
    given = browser.get(f"{TASK}/sequence").document
    assert given["tracks"] == TRACKS
    assert given["labels"] == ["person", "car"]
    assert given["instructions"] == {"shortInstruction": "Follow each object", "fullInstruction": "All of it"}
    assert [frame["name"] for frame in given["frames"]] == [frame_name(n) for n in range(4)]
    assert given["frames"][1]["time"] == pytest.approx(1_700_000_000.1)
    assert browser.get(given["frames"][3]["image"]).body == b"jpg"


def test_what_the_page_sends_unchanged_is_unadjusted(stand_in: StandIn, browser: Browser) -> None:
    start_sequences(stand_in, sequence_line())
    browser.next_task()
    assert submit(browser, TRACKS, review=json.dumps({"seconds": 12.5})).document == {"next": None}
    job = ended_job(stand_in)
    (line,) = output_lines(stand_in, job)
    assert "adjustment-status" not in line["verified-ref-metadata"]
    assert json.loads(stand_in.objects.contents[line["verified-ref"]][0]) == seq_label((*CAR, *PERSON))
    (response,) = (body for uri, (body, _) in stand_in.objects.contents.items() if "/worker-response/" in uri)
    answer = json.loads(response)["answers"][0]
    assert answer["timeSpentInSeconds"] == 12.5
    assert answer["answerContent"]["tracking-annotations"] == seq_label((*CAR, *PERSON))["tracking-annotations"]


def test_a_sent_strip_is_shown_as_it_was_sent_and_can_be_changed(stand_in: StandIn, browser: Browser) -> None:
    start_sequences(stand_in, sequence_line(1), sequence_line(2))
    browser.next_task()
    browser.write("PUT", f"{TASK}/draft", {"edits": [["delete", 1]]})
    assert browser.get(f"{TASK}/context").document["draft"] == {"edits": [["delete", 1]]}
    submit(browser, TRACKS[:1], review='{"seconds": 3}')
    browser.get(TASK)
    context = browser.get(f"{TASK}/context").document
    assert (context["draft"], context["sent"]) == (None, {"review": '{"seconds": 3}'})
    assert browser.get(f"{TASK}/sequence").document["tracks"] == TRACKS[:1]
    submit(browser, TRACKS[1:])
    assert sent(stand_in) == seq_label(PERSON)


def test_the_page_gets_the_candidates_of_a_strip(stand_in: StandIn, browser: Browser) -> None:
    hint = "s3://labels/1/candidates.json"
    stand_in.objects.put(hint, json.dumps(seq_label(PERSON[:1])).encode())
    # Of the line's own class map, only the classes of the boxes that are shown are known.
    line = sequence_line(**{"candidates-ref": hint})
    start_sequences(stand_in, line)
    given = browser.get(f"{TASK}/sequence").document
    assert given["tracks"] == TRACKS
    assert [(one["label"], one["boxes"]) for one in given["candidates"]] == [("person", [[1, 100, 50, 10, 30]])]


def test_the_second_look_at_a_strip_is_for_another_worker(stand_in: StandIn, open_browser: OpenBrowser) -> None:
    start_sequences(stand_in, sequence_line(1), sequence_line(2))
    first, second = open_browser(), open_browser()
    assert (first.next_task(), second.next_task()) == (TASK, "/jobs/Drive-1/tasks/1")
    assert submit(first, TRACKS).status == 200
    submit(second, TRACKS, task="/jobs/Drive-1/tasks/1")
    ended_job(stand_in)
    # The strips are cut anew: the same frames in other sequence files.
    again = sequence_line(1, **{"source-ref": "s3://labels/again/seq.json"})
    stand_in.objects.put("s3://labels/again/seq.json", json.dumps(sequence_file(1)).encode())
    stand_in.objects.put("s3://labels/in.manifest", json.dumps(again).encode())
    tags = [{"Key": "second-look-at", "Value": "Drive"}]
    stand_in.sagemaker.create_labeling_job(**tracking_request(LabelingJobName="Drive-again-1", Tags=tags))
    eventually(lambda: second.get("/jobs/Drive-again-1/").status == 303)
    assert first.next_task("Drive-again-1") is None
    assert "You gave these strips their first look" in first.get("/jobs/Drive-again-1/").text
    assert first.get("/jobs/Drive-again-1/tasks/0").status == 409


def test_another_worker_gets_the_next_strip(stand_in: StandIn, open_browser: OpenBrowser) -> None:
    start_sequences(stand_in, sequence_line(1), sequence_line(2))
    first, second = open_browser(), open_browser()
    assert first.next_task() == TASK
    assert second.next_task() == "/jobs/Drive-1/tasks/1"
    assert submit(first, TRACKS).status == 200
    assert submit(second, TRACKS).status == 409


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        ({"label": "tram"}, "no label 'tram'"),
        ({"boxes": [[4, 0, 0, 1, 1]]}, "frame 4, which does not exist"),
        ({"boxes": [[0, 620, 0, 30, 1]]}, "not inside the image"),
        ({"boxes": [[0, 0, 0, 0, 1]]}, "not inside the image"),
        ({"boxes": [[0, 0, 0, 1.5, 1]]}, "Expected `int`"),
        ({"boxes": [[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]}, "two boxes of one object"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    stand_in: StandIn, browser: Browser, track: dict[str, Any], reason: str
) -> None:
    start_sequences(stand_in, sequence_line())
    browser.next_task()
    refused = submit(browser, [{**TRACKS[0], **track}])
    assert refused.status == 422
    assert reason in refused.document["error"]


def test_a_task_of_frames_has_no_sequence(stand_in: StandIn, browser: Browser) -> None:
    start_job(stand_in, manifest_line())
    assert browser.get(f"{TASK}/sequence").document == {"error": "This task is not a sequence."}
