"""The checker finds frames that are lost or doubled, and every other fault of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tools.chaos.checker import Evidence, Frame, Job, SeededBox, judge

GOOD, REJECTED, FAILED = "drives/d/front/1.png", "drives/d/front/2.png", "drives/d/front/3.png"
ROUND, ROUND_2 = "labels/d/0001/manifests/verify-000.manifest", "labels/d/0002/manifests/verify-000.manifest"
FRAME, OPEN = (GOOD, "a"), (FAILED, "c")
LABEL, OTHER = ("car 1 2 3 4",), ("car 5 6 7 8",)


def job(name: str, status: str, frames: list[Frame], answers: dict[Frame, tuple[str, ...]], **more: Any) -> Job:
    run = "0002" if name.startswith("d-0002") else "0001"
    more = {"round": ROUND_2 if run == "0002" else ROUND, "strips": tuple((frame,) for frame in frames), **more}
    return Job(name, run, status=status, frames=tuple(frames), answers=answers, **more)


# A job that was stopped when one of two frames was answered, and the attempt that got the other one.
STOPPED = job("d-0001-000-1", "Stopped", [FRAME, OPEN], {FRAME: LABEL})
COMPLETED = job("d-0001-000-2", "Completed", [OPEN], {OPEN: OTHER})
EVIDENCE = Evidence(
    drive="d",
    versions=frozenset({FRAME, (REJECTED, "b"), OPEN}),
    promised=frozenset({GOOD, REJECTED, FAILED}),
    listing=[{"key": GOOD, "etag": "a"}, {"key": REJECTED, "etag": "b"}, {"key": FAILED, "etag": "c"}],
    manifest=[GOOD, FAILED],
    rejected=[REJECTED],
    failed=[FAILED],
    dataset=[GOOD, FAILED],
    summary={"frames": {"uploaded": 3, "labelled": 1, "failed": 1, "rejected": 1}},
    executions=[("d-0001", "SUCCEEDED")],
    jobs=[STOPPED, COMPLETED],
    labels={FRAME: LABEL, OPEN: OTHER},
    rounds={ROUND: [FRAME, OPEN]},
)
# The same drive, stopped and relabelled: the second run keeps the answer and asks for the open frame.
RELABELLED = replace(
    EVIDENCE,
    runs=2,
    executions=[("d-0001", "ABORTED"), ("d-0002", "SUCCEEDED")],
    jobs=[STOPPED, job("d-0002-000-1", "Completed", [OPEN], {OPEN: OTHER})],
    manifest=[FAILED],
    spared=[GOOD],
    kinds={"0002": {FRAME: "kept", OPEN: "everything"}},
    rounds={ROUND_2: [OPEN]},
)


def test_a_run_without_faults_is_good() -> None:
    verdict = judge(EVIDENCE)
    assert verdict.good
    assert (verdict.frames, verdict.lost, verdict.doubled) == (3, [], [])


def test_a_relabelled_drive_without_faults_is_good() -> None:
    assert judge(RELABELLED).problems == []
    assert judge(RELABELLED).good


@pytest.mark.parametrize("labels", [{OPEN: OTHER}, {FRAME: (), OPEN: OTHER}, {FRAME: OTHER, OPEN: OTHER}])
@pytest.mark.parametrize("evidence", [EVIDENCE, RELABELLED], ids=["redriven", "relabelled"])
def test_a_label_that_no_reviewer_left_is_a_lost_answer(evidence: Evidence, labels: dict[Frame, Any]) -> None:
    verdict = judge(replace(evidence, labels=labels))
    assert verdict.problems == [f"the answer to {GOOD} in d-0001-000-1 is lost: the label is {labels.get(FRAME)}"]


def test_the_newest_answer_counts() -> None:
    again = job("d-0002-000-1", "Completed", [FRAME, OPEN], {FRAME: OTHER, OPEN: OTHER})
    asked = replace(
        RELABELLED,
        jobs=[STOPPED, again],
        kinds={"0002": {FRAME: "again"}},
        rounds={ROUND_2: [FRAME, OPEN]},
        manifest=[GOOD, FAILED],
        spared=[],
    )
    assert "is lost" in "\n".join(judge(asked).problems)
    assert judge(replace(asked, labels={FRAME: OTHER, OPEN: OTHER})).good


def test_answers_to_other_bytes_and_to_rejected_frames_need_no_label() -> None:
    before = job(
        "d-0001-001-1", "Stopped", [(GOOD, "old"), (REJECTED, "b")], {(GOOD, "old"): LABEL, (REJECTED, "b"): LABEL}
    )
    assert judge(replace(RELABELLED, jobs=[before, *RELABELLED.jobs])).good


@pytest.mark.parametrize(
    ("kind", "good"), [("kept", False), ("everything", False), ("again", True), ("audit", True), ("blind audit", True)]
)
def test_a_later_run_asks_for_an_answered_frame_only_by_the_rules(kind: str, good: bool) -> None:
    later = job("d-0002-000-1", "Completed", [FRAME, OPEN], {FRAME: LABEL, OPEN: OTHER})
    verdict = judge(
        replace(
            RELABELLED,
            jobs=[STOPPED, later],
            kinds={"0002": {FRAME: kind}},
            rounds={ROUND_2: [FRAME, OPEN]},
            manifest=[GOOD, FAILED],
            spared=[],
        )
    )
    assert verdict.problems == ([] if good else [f"d-0002-000-1 asks for {GOOD}, which was answered in d-0001-000-1"])


def test_an_attempt_does_not_ask_for_an_answered_frame() -> None:
    second = job("d-0001-000-2", "Completed", [FRAME, OPEN], {FRAME: LABEL, OPEN: OTHER})
    kinds = {"0001": {FRAME: "again"}}
    asked = f"d-0001-000-2 asks for {GOOD}, which was answered in d-0001-000-1"
    assert asked in judge(replace(EVIDENCE, jobs=[STOPPED, second], kinds=kinds)).problems


def test_a_second_round_has_only_frames_that_the_first_left_open() -> None:
    again = ROUND.replace(".", "-again.", 1)
    unlabelled = replace(COMPLETED, answers={})
    second = job("d-0001-000-again-1", "Completed", [OPEN], {OPEN: OTHER}, round=again)
    rounds = {**EVIDENCE.rounds, again: [OPEN]}
    assert judge(replace(EVIDENCE, jobs=[STOPPED, unlabelled, second], rounds=rounds)).good
    (problem,) = judge(replace(EVIDENCE, jobs=[STOPPED, COMPLETED, second], rounds=rounds)).problems
    assert problem == f"d-0001-000-again-1 asks for {FAILED}, which was answered in d-0001-000-2"


@pytest.mark.parametrize(
    ("seed", "published"),
    [
        # Missed: a box that was shifted, invented, and taken away.
        (SeededBox(shown="car 1 2 3 4", right="car 1 2 3 9"), ("car 1 2 3 9",)),
        (SeededBox(shown="car 1 2 3 4", right=""), ()),
        (SeededBox(shown="", right="car 8 8 8 8"), ("car 1 2 3 4", "car 8 8 8 8")),
    ],
    ids=["shifted", "invented", "removed"],
)
def test_a_missed_seed_is_not_published_and_gives_a_second_round(seed: SeededBox, published: tuple[str, ...]) -> None:
    seeded = replace(EVIDENCE, seeds={"0001": {FRAME: seed}}, labels={FRAME: published, OPEN: OTHER})
    assert judge(seeded).good
    assert not judge(replace(seeded, labels=EVIDENCE.labels)).good
    again = ROUND.replace(".", "-again.", 1)
    second = job("d-0001-000-again-1", "Completed", [FRAME], {FRAME: published}, round=again)
    rounds = {**EVIDENCE.rounds, again: [FRAME]}
    assert judge(replace(seeded, jobs=[STOPPED, COMPLETED, second], rounds=rounds)).good
    # A caught seed gives none.
    caught = replace(STOPPED, answers={FRAME: ("car 7 7 7 7", seed.right) if seed.right else ()})
    assert not judge(replace(seeded, jobs=[caught, COMPLETED, second], rounds=rounds)).good


# The same drive, whose reviewers verify tracks: both frames are a strip, and an object has a box in each.
STRIP = job(
    "d-0001-000-1",
    "Completed",
    [FRAME, OPEN],
    {FRAME: LABEL, OPEN: OTHER},
    strips=((FRAME, OPEN),),
    objects=({FRAME: LABEL[0], OPEN: OTHER[0]},),
)
TRACKED = replace(EVIDENCE, jobs=[STRIP], tracks={FRAME: {LABEL[0]: "t1"}, OPEN: {OTHER[0]: "t1"}})


@pytest.mark.parametrize("strips", [((FRAME,),), ((FRAME, OPEN), (OPEN,)), ((FRAME, OPEN), (("x", ""),))])
def test_strips_have_each_frame_of_their_job_once(strips: tuple[tuple[Frame, ...], ...]) -> None:
    assert judge(TRACKED).good
    (problem,) = judge(replace(TRACKED, jobs=[replace(STRIP, strips=strips)])).problems
    assert problem.startswith("the strips of d-0001-000-1 have ")


@pytest.mark.parametrize("id", ["t2", ""], ids=["another id", "no id"])
def test_an_object_keeps_one_id_in_its_strip(id: str) -> None:
    torn = replace(TRACKED, tracks={**TRACKED.tracks, OPEN: {OTHER[0]: id}})
    (problem,) = judge(torn).problems
    assert "of d-0001-000-1 has the ids" in problem
    # A later answer to one of the frames may give it another.
    again = job("d-0002-000-1", "Completed", [OPEN], {OPEN: OTHER}, objects=({OPEN: OTHER[0]},))
    later = replace(
        RELABELLED, jobs=[STRIP, again], kinds={"0002": {FRAME: "kept", OPEN: "again"}}, tracks={**torn.tracks}
    )
    assert judge(later).good == bool(id)


def test_no_frame_of_an_answered_strip_is_asked_again() -> None:
    second = job("d-0001-000-2", "Completed", [OPEN], {OPEN: OTHER})
    stopped = replace(STRIP, status="Stopped")
    problems = judge(replace(TRACKED, jobs=[stopped, second])).problems
    assert f"d-0001-000-2 asks for {FAILED}, which was answered in d-0001-000-1" in problems


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
        ({"executions": [("d-0001", "FAILED")]}, "executions"),
        ({"runs": 2, "executions": [("d-0001", "RUNNING"), ("d-0002", "SUCCEEDED")]}, "executions"),
        ({"jobs": [STOPPED, COMPLETED, job("d-0001-000-3", "InProgress", [], {})]}, "still work on"),
        ({"jobs": [STOPPED]}, "labelling jobs"),
        ({"jobs": [COMPLETED, COMPLETED, STOPPED]}, "labelling jobs"),
        ({"unasked": [FAILED]}, "too early"),
        ({"pending": [GOOD]}, "pending"),
        ({"waiting": 1}, "tokens"),
    ],
)
def test_any_other_fault_is_a_problem(changes: dict[str, Any], problem: str) -> None:
    verdict = judge(replace(EVIDENCE, **changes))
    assert not verdict.good
    assert problem in "\n".join(verdict.problems)
