"""The checker finds frames that are lost or doubled, and every other fault of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tools.chaos.checker import Evidence, judge

GOOD, REJECTED, FAILED = "drives/d/front/1.png", "drives/d/front/2.png", "drives/d/front/3.png"
MANIFEST = "s3://labels/labels/d/0001/manifests/verify-000.manifest"
EVIDENCE = Evidence(
    drive="d",
    versions=frozenset({(GOOD, "a"), (REJECTED, "b"), (FAILED, "c")}),
    promised=frozenset({GOOD, REJECTED, FAILED}),
    listing=[{"key": GOOD, "etag": "a"}, {"key": REJECTED, "etag": "b"}, {"key": FAILED, "etag": "c"}],
    manifest=[GOOD, FAILED],
    rejected=[REJECTED],
    failed=[FAILED],
    dataset=[GOOD, FAILED],
    summary={"frames": {"uploaded": 3, "labelled": 1, "failed": 1, "rejected": 1}},
    executions=[("d-0001", "SUCCEEDED")],
    jobs=[(MANIFEST, "Failed"), (MANIFEST, "Completed")],
    manifests=[MANIFEST],
)


def test_a_run_without_faults_is_good() -> None:
    verdict = judge(EVIDENCE)
    assert verdict.good
    assert (verdict.frames, verdict.lost, verdict.doubled) == (3, [], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": [FAILED], "dataset": [FAILED]},
        {"dataset": [FAILED]},
        {"listing": EVIDENCE.listing[1:], "manifest": [FAILED], "dataset": [FAILED]},
    ],
    ids=["no line in the manifest", "no line in the dataset", "not in the listing"],
)
def test_a_missing_line_is_a_lost_frame(changes: dict[str, Any]) -> None:
    verdict = judge(replace(EVIDENCE, **changes))
    assert verdict.lost == [GOOD]
    assert not verdict.good


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": [GOOD, GOOD, FAILED]},
        {"rejected": [REJECTED, GOOD]},
        {"dataset": [GOOD, GOOD, FAILED]},
        {"listing": [*EVIDENCE.listing, EVIDENCE.listing[0]]},
    ],
    ids=["two lines in the manifest", "rejected and labelled", "two lines in the dataset", "listed twice"],
)
def test_a_second_line_is_a_doubled_frame(changes: dict[str, Any]) -> None:
    verdict = judge(replace(EVIDENCE, **changes))
    assert verdict.doubled == [GOOD]
    assert not verdict.good


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"versions": frozenset({(GOOD, "other"), (REJECTED, "b"), (FAILED, "c")})}, "never put"),
        ({"manifest": [GOOD, FAILED, "drives/d/front/9.png"], "dataset": [GOOD, FAILED]}, "not listed"),
        ({"summary": {"frames": {"uploaded": 4}}}, "summary"),
        ({"executions": [("d-0001", "SUCCEEDED"), ("d-0002", "RUNNING")]}, "executions"),
        ({"jobs": [(MANIFEST, "Completed"), (MANIFEST, "InProgress")]}, "labelling jobs"),
        ({"jobs": []}, "labelling jobs"),
        ({"unasked": [FAILED]}, "too early"),
        ({"pending": [GOOD]}, "pending"),
        ({"waiting": 1}, "tokens"),
    ],
)
def test_any_other_fault_is_a_problem(changes: dict[str, Any], problem: str) -> None:
    verdict = judge(replace(EVIDENCE, **changes))
    assert not verdict.good
    assert problem in "\n".join(verdict.problems)
