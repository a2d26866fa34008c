"""Findings about a run's verification, gathered line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import CountMismatch
from autolabel.reporting.edits import ClassEdits
from autolabel.reporting.findings import (
    LABEL_ISSUES,
    WORST,
    Agreement,
    Findings,
    FrameJudge,
    LabelIssueLine,
    is_searched,
)
from autolabel.reporting.pace import worker_name
from autolabel.reporting.summary import Summary
from tests.fakes.lines import parsed
from tests.fakes.pipeline import DRIVE, Pipeline
from tests.unit.datasets.test_assembly import PREFIX, labelled

LABELS = ("car", "van", "person", "ignore")
Place = tuple[str, int]


def label(places: Sequence[Place]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Boxes of 100 x 100 pixels with their metadata, given as (class, left)."""
    annotations = [
        {"class_id": LABELS.index(name), "left": left, "top": 0, "width": 100, "height": 100} for name, left in places
    ]
    size = [{"width": 1_000, "height": 100, "depth": 3}]
    metadata = {
        "objects": [{"confidence": 0.0}] * len(places),
        "class-map": {str(i): name for i, name in enumerate(LABELS)},
        "type": "groundtruth/object-detection",
    }
    return {"image_size": size, "annotations": annotations}, metadata


def line(
    index: int, shown: Sequence[Place], left: Sequence[Place] | None, review: dict[str, Any] | None = None, **said: str
) -> dict[str, Any]:
    """A line of a dataset. `left`: the boxes that a reviewer left, None for a frame without a verified label."""
    prelabel, prelabel_metadata = label(shown)
    provenance = {"camera": "front", "timestamp": f"{index:019}", "labelled-by": "model and person", **said}
    found: dict[str, Any] = {
        "source-ref": f"s3://ingest/{key(index)}",
        "prelabel": prelabel,
        "prelabel-metadata": prelabel_metadata,
        "provenance": provenance,
    }
    if left is not None:
        found["verified"], found["verified-metadata"] = label(left)
    if review is not None:
        found["review"] = review
    return found


def key(index: int) -> str:
    return f"drives/d/front/{index:019}.png"


def record(index: int, *candidates: tuple[str, int, float]) -> bytes:
    """A line of detections.jsonl, of (class, left, confidence)."""
    items = [{"name": n, "box": [x, 0, x + 100, 100], "score": c, "confidence": c} for n, x, c in candidates]
    return msgspec.json.encode({"key": key(index), "detections": {"width": 1_000, "height": 100, "items": items}})


def take(findings: Findings, one: dict[str, Any], candidates: bytes = b"") -> None:
    """Judge a line of the dataset, and take it in."""
    findings.take("front", FrameJudge(LABELS).judge(parsed(one), candidates), msgspec.json.encode(one))


def gathered(*lines: dict[str, Any], frames: int | None = None) -> Findings:
    findings = Findings(frames or len(lines))
    for one in lines:
        take(findings, one)
    return findings


CAR: list[Place] = [("car", 0)]


def test_a_run_without_frames_has_empty_findings() -> None:
    findings = gathered()
    found = findings.agreement()
    assert (found.shown.frames, found.blind.frames, found.drawn.frames, found.pace.seconds) == (0, 0, 0, None)
    assert list(findings.issues()) == findings.worst() == findings.contradicted() == []


def test_frames_are_grouped_by_what_reviewers_were_shown() -> None:
    found = gathered(
        line(0, CAR, CAR),
        line(1, CAR, CAR, **{"triage": "blind audit", "labelled-by": "person"}),
        line(2, [], CAR, **{"labelled-by": "person"}),
        line(3, CAR, CAR, **{"labelled-by": "model", "triage": "accepted"}),
        line(4, CAR, None, **{"labelled-by": "nobody"}),
        line(5, CAR, CAR, {"seconds": 1.0}, **{"labelled-by": "script"}),
    ).agreement()
    assert found.shown.classes == {"car": ClassEdits(kept=1)}
    assert found.blind.classes == {"car": ClassEdits(kept=1)}
    assert found.drawn.classes == {"car": ClassEdits(added=1)}
    assert [group.frames for group in (found.shown, found.blind, found.drawn)] == [1, 1, 1]


def test_moved_and_relabelled_boxes_are_counted() -> None:
    found = gathered(line(0, [("car", 0), ("car", 300)], [("car", 20), ("van", 300)])).agreement()
    assert found.shown.relabelled == {"car": {"van": 1}}
    assert found.shown.moved_iou is not None
    assert found.shown.moved_iou.mean == pytest.approx(80 / 120, abs=0.001)


def test_untouched_frames_in_little_time_are_counted_by_reviewer() -> None:
    found = gathered(
        *(line(i, CAR, CAR, {"worker": "a@b.example", "seconds": 0.8}) for i in range(3)),
        line(3, CAR, CAR, {"worker": "w2", "seconds": 4.0}),
        line(4, CAR, [("car", 9)], {"worker": "w2", "seconds": 1.0, "keys": 3}),
        line(5, CAR, CAR, {"worker": "w2"}),
    ).agreement()
    assert found.pace.hasty == 3
    assert {one.worker: one.hasty for one in found.workers} == {worker_name("a@b.example"): 3, worker_name("w2"): 0}
    assert found.pace.seconds is not None
    assert (found.pace.seconds.frames, found.pace.seconds.median, found.pace.frames) == (5, 0.8, 6)
    assert found.pace.keys_per_change == 3
    assert b"example" not in msgspec.json.encode(found)


def test_haste_is_unknown_without_seconds() -> None:
    found = gathered(line(0, CAR, CAR, {"worker": "w1"})).agreement()
    assert (found.pace.hasty, found.workers[0].hasty) == (None, None)


def test_a_frame_of_a_strip_is_hasty_only_if_the_strip_was() -> None:
    shares = [{"worker": "w1", "seconds": 0.1, "strip": strip} for strip in (30, 10)]
    found = gathered(*(line(i, CAR, CAR, review) for i, review in enumerate(shares))).agreement()
    assert found.pace.hasty == 1


def test_blind_frames_do_not_count_for_haste() -> None:
    found = gathered(line(0, [], [], {"worker": "w1", "seconds": 0.5}, triage="blind audit")).agreement()
    assert (found.pace.frames, found.workers) == (0, ())
    assert found.blind.seconds is not None


def test_efforts_are_added_up_for_known_kinds_only() -> None:
    edits = {"add": {"count": 2, "seconds": 5.0}, "<b>": {"count": 1}, "move": {"count": -5, "seconds": -1e300}}
    found = gathered(*(line(i, CAR, CAR, {"edits": edits}) for i in range(2))).agreement()
    assert {kind: (one.count, one.seconds) for kind, one in found.efforts.items()} == {"add": (4, 10.0)}


def test_absurd_numbers_from_a_browser_stay_encodable_as_json() -> None:
    hostile = {
        "worker": "\\ud800",
        "seconds": 1e300,
        "keys": 2**62,
        "edits": {"add": {"count": 2**62, "seconds": 1e300}},
    }
    found = gathered(*(line(i, CAR, [], hostile) for i in range(9))).agreement()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Agreement) == found


def test_the_worst_frames_are_of_different_stretches() -> None:
    lines = [line(i, CAR, [("car", 0), ("car", 300), *([("car", 500)] if i % 10 == 3 else [])]) for i in range(2_000)]
    worst = [msgspec.json.decode(one.line) for one in gathered(*lines).worst()]
    assert len(worst) == WORST
    assert [int(one["provenance"]["timestamp"]) for one in worst] == [3 + 10 * i for i in range(WORST)]


def test_an_object_missed_in_many_frames_is_one_label_issue() -> None:
    findings = Findings(frames=20)
    for index in range(20):
        one = line(index, [], [])
        candidate = ("car", 5 * index, 0.5 + index / 100)
        # From frame 10 on, the models do not find the object.
        take(findings, one, record(index, *([candidate] if index < 10 else [])))
    (row,) = [msgspec.json.decode(body, type=LabelIssueLine) for body in findings.issues()]
    assert (row.frames, row.timestamp, row.issue.kind) == (10, f"{9:019}", "overlooked")
    found = findings.agreement()
    assert (found.searched, found.issues) == (20, 1)
    (frame,) = findings.contradicted()
    assert msgspec.json.decode(frame.line)["provenance"]["timestamp"] == row.timestamp


def test_an_issue_of_low_confidence_has_a_line_but_no_picture() -> None:
    findings = Findings(frames=1)
    one = line(0, [], [])
    take(findings, one, record(0, ("car", 0, 0.4)))
    assert len(list(findings.issues())) == 1
    assert findings.contradicted() == []


def test_a_frame_with_two_label_issues_is_one_picture() -> None:
    findings = Findings(frames=1)
    one = line(0, [], [])
    take(findings, one, record(0, ("car", 0, 0.9), ("person", 300, 0.8)))
    (frame,) = findings.contradicted()
    assert [issue.models.label for issue in frame.issues] == ["car", "person"]


def test_the_most_suspicious_labels_are_kept() -> None:
    findings = Findings(frames=200)
    for index in range(200):
        one = line(index, [], [])
        # Far from the box in the frame before, so that each is an object of its own.
        take(findings, one, record(index, ("car", 450 * (index % 2), 0.4 + index / 400)))
    rows = [msgspec.json.decode(body, type=LabelIssueLine) for body in findings.issues()]
    assert [int(row.timestamp) for row in rows] == list(range(199, 199 - LABEL_ISSUES, -1))
    assert findings.agreement().issues == 200


def tracked(index: int, left: Sequence[Place], **said: str) -> dict[str, Any]:
    """A line of a run whose boxes were linked, at 10 Hz."""
    one = line(index, left, left, **said) | {"tracks": ["t"] * len(left)}
    one["provenance"]["timestamp"] = f"{1_700_000_000_000_000_000 + 100_000_000 * index:019}"
    return one


def test_what_neighbouring_frames_contradict_is_in_one_ranking_with_the_rest() -> None:
    lines = [tracked(index, [] if index == 5 else CAR) for index in range(11)]
    findings = Findings(frames=11)
    for index, one in enumerate(lines):
        take(findings, one, record(index, *([("person", 600, 0.8)] if index == 8 else [])))
    rows = [msgspec.json.decode(body, type=LabelIssueLine) for body in findings.issues()]
    assert [(row.issue.kind, row.timestamp) for row in rows] == [
        ("missing between", lines[5]["provenance"]["timestamp"]),
        ("overlooked", lines[8]["provenance"]["timestamp"]),
    ]
    assert rows[0].issue.models is None
    found = findings.agreement()
    assert (found.issues, found.issues_by_time) == (1, 1)
    [frame] = findings.out_of_time()
    assert [msgspec.json.decode(one or b"") for one in (frame.before, frame.line, frame.after)] == lines[4:7]


@pytest.mark.parametrize("change", ["not linked", "script", "another camera"])
def test_frames_that_tell_nothing_by_time_are_left_out(change: str) -> None:
    findings = Findings(frames=11)
    for index in range(11):
        one = tracked(index, [] if index == 5 else CAR, **({"labelled-by": "script"} if change == "script" else {}))
        if change == "not linked":
            del one["tracks"]
        findings.take("rear" if change == "another camera" and index > 5 else "front", None, msgspec.json.encode(one))
    assert (findings.agreement().issues_by_time, findings.out_of_time()) == (0, [])


def test_candidates_of_another_frame_are_an_error() -> None:
    findings = Findings(frames=1)
    one = line(0, CAR, CAR)
    with pytest.raises(CountMismatch, match="found those of drives/d/front/"):
        take(findings, one, record(1))


def test_only_some_shards_of_a_very_long_run_are_searched() -> None:
    assert sum(is_searched(shard, 1_000_000) for shard in range(2_000)) == 200
    assert all(is_searched(shard, 100_000) for shard in range(200))


# In a whole run


def test_a_published_run_reports_changes_and_label_issues(pipeline: Pipeline) -> None:
    labelled(pipeline, 4)

    def left(lines: list[bytes]) -> list[bytes]:
        first = msgspec.json.decode(lines[0])
        first["verified"] = {**first["verified"], "annotations": []}
        first["verified-metadata"] |= {"objects": [], "adjustment-status": "adjusted"}
        return [msgspec.json.encode(first), *lines[1:]]

    pipeline.publish(pipeline.verify(pipeline.assemble(), left))
    found = msgspec.json.decode(pipeline.labels.objects[PREFIX + "summary.json"], type=Summary).agreement
    assert found is not None
    assert found.shown.classes == {"car": ClassEdits(kept=3, deleted=1)}
    assert (found.shown.frames, found.shown.untouched, found.searched, found.issues) == (4, 3, 4, 1)
    (row,) = [
        msgspec.json.decode(body, type=LabelIssueLine) for body in pipeline.labels.lines(PREFIX + "suspects.jsonl")
    ]
    assert (row.issue.kind, row.issue.decided, row.source_ref.split("/")[4]) == ("overlooked", True, DRIVE)
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "Reviewers kept 3 of 4 boxes" in page
    assert "Possible label issues" in page
