"""The checker of the chaos test finds every frame of a log that is lost, doubled or wrong, and every wrong count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from autolabel.contracts.logs import LogFolder, LogRecord
from autolabel.logs import ExtractedFrame, Timestamps, choose_sensors, extract_frames, inspect_log, plan_slices
from tests.fakes.counting import Counting
from tools.chaos.log_checker import LogEvidence, log_problems
from tools.chaos.log_fleet import write_log
from tools.chaos.plans import named_plans, random_plan

LOG, OTHER = write_log("a.mcap"), write_log("a.mcap", 1)
RECORD = LogRecord("d", LOG.name, LOG.etag, "extracted", 1.0, cameras={"front": 6, "rear": 6}, messages=14, skipped=2)
COUNTS = {"messages": 7, "extracted": 6, "skipped": 1, "refused": 0}
EVIDENCE = LogEvidence(
    "d",
    (LOG,),
    Counter({**dict.fromkeys(LOG.pictures, 1), **dict.fromkeys(LOG.repeated, 2), "drive.json": 1}),
    dict(LOG.pictures),
    (RECORD,),
    {RECORD.execution: "SUCCEEDED"},
    {LogFolder("d", LOG.name, LOG.etag).id: {topic: dict(COUNTS) for topic in LOG.messages}},
)
FRAME = min(LOG.pictures.keys() - LOG.repeated)


def with_record(**fields: object) -> LogEvidence:
    return replace(EVIDENCE, records=(msgspec.structs.replace(RECORD, **fields),))


def with_counts(**fields: int) -> LogEvidence:
    counts = {log: {name: {**of, **fields} for name, of in topics.items()} for log, topics in EVIDENCE.counts.items()}
    return replace(EVIDENCE, counts=counts)


def test_a_log_that_was_extracted_once_is_good() -> None:
    assert list(log_problems(EVIDENCE)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda: replace(EVIDENCE, frames={k: v for k, v in LOG.pictures.items() if k != FRAME}), "no frame"),
        (lambda: replace(EVIDENCE, frames={**LOG.pictures, "front/7.jpg": "0"}), "frame front/7.jpg has the ETag 0"),
        (lambda: replace(EVIDENCE, frames={**LOG.pictures, FRAME: OTHER.pictures[FRAME]}), f"frame {FRAME} has"),
        (lambda: replace(EVIDENCE, puts=EVIDENCE.puts + Counter([FRAME])), f"{FRAME} was written 2 times"),
        (lambda: replace(EVIDENCE, puts=EVIDENCE.puts + Counter(LOG.repeated)), "was written 3 times"),
        (lambda: replace(EVIDENCE, puts=EVIDENCE.puts + Counter(["drive.json"])), "drive.json was written 2 times"),
        (lambda: replace(EVIDENCE, puts=EVIDENCE.puts - Counter(["drive.json"])), "the drive was not closed"),
        (lambda: replace(EVIDENCE, records=()), "the ledger has of a.mcap: None"),
        (lambda: with_record(state="extracting"), "the ledger has of a.mcap: "),
        (lambda: with_record(left=1), "the ledger counts"),
        (lambda: replace(EVIDENCE, extractions={RECORD.execution: "RUNNING"}), "the extraction of a.mcap is RUNNING"),
        (lambda: replace(EVIDENCE, counts={}), "the summary of a.mcap counts {}"),
        (lambda: with_counts(extracted=5), "do not add up"),
        (lambda: with_counts(extracted=7, skipped=0), "a.mcap has 12 frames, and 14 are counted"),
    ],
)
def test_what_is_wrong_is_found(change: Callable[[], LogEvidence], problem: str) -> None:
    assert any(problem in found for found in log_problems(change()))


def test_frames_of_a_log_that_was_replaced_may_stay() -> None:
    evidence = replace(EVIDENCE, sent=(OTHER, LOG), frames={**LOG.pictures, FRAME: OTHER.pictures[FRAME]})
    assert list(log_problems(evidence)) == []


@pytest.mark.parametrize("name", ["a.mcap", "b.bag"])
def test_a_log_has_several_slices_and_the_pictures_that_it_says(name: str) -> None:
    log = write_log(name)
    source = Counting(log.body)
    index = inspect_log(source, name)
    cameras = choose_sensors(index).names
    slices = plan_slices(index, cameras, 2**20)
    taken = Timestamps()
    items = [item for part in slices for item in extract_frames(source, index, part, cameras, taken)]
    found = {f"{one.camera}/{one.timestamp}.{one.extension}" for one in items if isinstance(one, ExtractedFrame)}
    assert len(slices) >= 4
    assert found == log.pictures.keys()
    assert len(items) == sum(log.messages.values()) == len(found) + len(log.repeated)


def test_plans_with_logs_strike_their_extraction() -> None:
    plans = [plan for seed in range(200) if (plan := random_plan(seed)).drives[-1].logs]
    assert len(plans) == 50
    for plan in (*plans, *named_plans()):
        logs = [drive.logs for drive in plan.drives if drive.logs]
        # The late document closes a drive whose logs are overwritten.
        assert all(one.document == "late" for one in logs if one.overwritten), plan.name
    kinds = {(fault.point, fault.kind) for plan in plans for fault in plan.faults if fault.target == "ExtractFunction"}
    assert {("invocation", "slow"), ("call", "kill-before"), ("call", "kill-after"), ("call", "lost")} <= kinds
