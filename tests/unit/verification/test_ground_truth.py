"""Reading the output of a Ground Truth labelling job: its output manifest and the reviewers' responses."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from autolabel.labels.manifest import BOX_TYPE
from autolabel.verification.ground_truth import read_output
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from tests.fakes.bucket import FakeBucket

JOB = "labels/drive-7/0001/verification/job/"
OUTPUT = JOB + "manifests/output/output.manifest"
FRAMES = ["s3://ingest/a.png", "s3://ingest/b.png"]
BOX = {"left": 1, "top": 2, "width": 30, "height": 40}


@pytest.fixture
def labels() -> FakeBucket:
    """A label bucket with the job's output: a car and a person in each frame."""
    bucket = FakeBucket("labels")
    bucket.write(OUTPUT, b"\n".join(line(source) for source in FRAMES))
    return bucket


def line(source: str, **more: Any) -> bytes:
    boxes = [{"class_id": 0, **BOX}, {"class_id": 1, **BOX, "left": 9}]
    label = {"image_size": [{"width": 64, "height": 48, "depth": 3}], "annotations": boxes}
    metadata = {"objects": [{}, {}], "class-map": {"0": "car", "1": "person"}, "type": BOX_TYPE}
    return json.dumps({"source-ref": source, "verified": label, "verified-metadata": metadata, **more}).encode()


def answer(review: Any = None, **more: Any) -> dict[str, Any]:
    drawn = [{"label": "person", **BOX, "left": 9}, {"label": "car", **BOX}]
    content = {"boundingBox": {"boundingBoxes": drawn}}
    if review is not None:
        content["review"] = review if isinstance(review, str) else json.dumps(review)
    return {"workerId": "w1", "answerContent": content, **more}


def respond(labels: FakeBucket, place: int | str, *answers: Any, time: str = "1") -> None:
    key = f"{JOB}annotations/worker-response/iteration-1/{place}/{time}.json"
    labels.write(key, json.dumps({"answers": answers}).encode())


def read(labels: FakeBucket) -> list[dict[str, Any]]:
    return [json.loads(body) for body in raw(labels)]


def raw(labels: FakeBucket) -> list[bytes]:
    one = JobRound("job", GROUND_TRUTH, 1, "s3://labels/m", len(FRAMES), labels.uri(OUTPUT))
    frames = (json.dumps({"source-ref": source}).encode() for source in FRAMES)
    return list(read_output(one, frames, labels))


def test_each_frame_has_the_review_of_its_own_response(labels: FakeBucket) -> None:
    respond(labels, 1, answer({"seconds": 4.5, "unsure": True}))
    first, second = read(labels)
    assert "review" not in first
    assert second["review"] == {"worker": "w1", "seconds": 4.5, "unsure": True}


def test_the_later_of_two_responses_to_a_frame_counts(labels: FakeBucket) -> None:
    respond(labels, 0, answer({"seconds": 1}), answer({"seconds": 2}), time="1")
    respond(labels, 0, answer({"seconds": 3}), answer({"seconds": 4}), time="2")
    assert read(labels)[0]["review"]["seconds"] == 4


def test_marks_follow_their_boxes_into_the_order_of_the_label(labels: FakeBucket) -> None:
    respond(labels, 0, answer({"boxes": [{"occluded": True}, {}]}))
    assert read(labels)[0]["review"]["boxes"] == [{}, {"occluded": True}]


@pytest.mark.parametrize(
    ("told", "known"),
    [(12.5, 12.5), (-5, None), (1e308, None), (None, None)],
    ids=["seconds", "less than none", "more than a life", "nothing"],
)
def test_without_our_page_the_seconds_are_ground_truths(labels: FakeBucket, told: Any, known: Any) -> None:
    respond(labels, 0, answer(timeSpentInSeconds=told))
    assert read(labels)[0]["review"].get("seconds") == known


@pytest.mark.parametrize(
    "review", ["", "[]", '{"seconds": "long"}', '{"x":' + "[" * 15_000, '{"comment": "\\ud800"}', "x" * 30_000]
)
def test_an_unreadable_review_leaves_the_rest_of_the_line(labels: FakeBucket, review: str) -> None:
    respond(labels, 0, answer(review, timeSpentInSeconds=7))
    assert read(labels)[0]["review"] == {"worker": "w1", "seconds": 7}


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"{}", b'{"answers": 5}', b'{"answers": []}', b'{"answers":' + b"[" * 9_999, b" " * 300_000],
)
def test_a_response_of_another_shape_leaves_the_line_unchanged(labels: FakeBucket, body: bytes) -> None:
    labels.write(f"{JOB}annotations/worker-response/iteration-1/0/1.json", body)
    assert raw(labels) == [line(source) for source in FRAMES]


@pytest.mark.parametrize("place", ["7", "-1", "x", "0x1"])
def test_a_response_to_a_frame_outside_the_job_is_ignored(labels: FakeBucket, place: str) -> None:
    respond(labels, place, answer({"seconds": 1}))
    assert raw(labels) == [line(source) for source in FRAMES]


def test_a_line_of_any_depth_passes_unchanged(labels: FakeBucket) -> None:
    respond(labels, 0, answer({"seconds": 1}))
    for depth in range(940, 1_020):
        deep = b'{"source-ref":"' + FRAMES[0].encode() + b'","x":' + b"[" * depth + b"]" * depth + b"}"
        labels.write(OUTPUT, deep)
        assert raw(labels) == [deep]


def test_answers_of_several_workers_stand_in_the_place_of_the_label(labels: FakeBucket) -> None:
    size = {"image_size": [{"width": 64, "height": 48, "depth": 3}], "annotations": []}
    nothing = {"prelabel": size, "prelabel-metadata": {"objects": [], "class-map": {}}}
    for number in (1, 2):
        respond(labels, 0, {**answer({"seconds": number}), "workerId": f"w{number}"}, time=str(number))
    respond(labels, 0, "broken", time="3")
    one = JobRound("job", GROUND_TRUTH, 1, "s3://labels/m", len(FRAMES), labels.uri(OUTPUT))
    frames = [json.dumps({"source-ref": source}).encode() for source in FRAMES]
    metadata = {"objects": [], "class-map": {}, "human-annotated": "no"}
    deep = b'{"objects":[],"class-map":{},"x":' + b"[" * 900 + b"]" * 900 + b"}"
    lines = [line(FRAMES[0], **nothing, **{"verified-metadata": metadata}), line(FRAMES[0], **nothing)]
    lines[1] = lines[1].replace(b'{"objects": [], "class-map": {}}', deep)
    labels.write(OUTPUT, b"\n".join(lines))
    told, kept = read_output(one, frames, labels, ("car", "person"), lambda frame: 3)
    found = json.loads(told)
    assert (found["asked"], [given["review"]["worker"] for given in found["answers"]]) == (3, ["w1", "w2"])
    assert [len(given["verified"]["annotations"]) for given in found["answers"]] == [2, 2]
    assert {given["verified-metadata"]["human-annotated"] for given in found["answers"]} == {"no"}
    # Such a deep line is not written again with a review.
    assert "review" not in msgspec.json.decode(kept)["answers"][0]


def test_a_broken_line_passes_so_that_settling_can_count_it(labels: FakeBucket) -> None:
    respond(labels, 0, answer({"seconds": 1}))
    labels.write(OUTPUT, b"garbage\n[]\n" + line("s3://elsewhere/c.png"))
    assert raw(labels) == [b"garbage", b"[]", line("s3://elsewhere/c.png")]
