"""A run is published in parts, which may be written in any order, again, or not before they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import BETWEEN, Policy, VerifyAll, VerifyKeyFrames, VerifyUncertain
from autolabel.datasets.parts import DatasetCounts, Part
from autolabel.datasets.publication import plan_publication, publish_part
from autolabel.datasets.verified_labels import FinishedJob
from tests.fakes.pipeline import Pipeline, drive_document
from tests.unit.datasets.test_assembly import labelled

FRAMES = 12
# Stretches of five frames in shards of two, so that audits cross the borders of parts. Key frames need longer shards.
POLICIES: dict[str, Policy] = {
    "all": VerifyAll(),
    "uncertain": VerifyUncertain(max_uncertainty=0.9, audit=0.9, blind=0.5, stretch=5),
    "key frames": VerifyKeyFrames(),
}
SHARD_FRAMES = {"key frames": 4}
WRITTEN = ("dataset.manifest", "reviewed.jsonl", "audit.json", "suspects.jsonl", "summary.json", "report.html")


def unanswered(line: dict[str, Any]) -> dict[str, Any]:
    left = {name: line[name] for name in line if not name.startswith("verified")}
    return left | {"verified-metadata": {"failure-reason": "its task ended"}}


def all_unanswered(lines: list[bytes]) -> list[bytes]:
    """Leave nothing in the second round, so that frames without a label in the first one have none."""
    return [msgspec.json.encode(unanswered(json.loads(line))) for line in lines]


def edited(lines: list[bytes]) -> list[bytes]:
    """Leave the lines as several reviewers do: some delete a box, and some frames get no label."""
    left = []
    for index, body in enumerate(lines):
        line: dict[str, Any] = json.loads(body)
        if index % 5 == 3:
            line = unanswered(line)
        elif index % 3 == 0:
            for part, name in ((line["verified"], "annotations"), (line["verified-metadata"], "objects")):
                part[name] = part[name][1:]
        line["review"] = {"worker": f"w{index % 2}", "seconds": index / 2, "edits": {"delete": {"count": 1}}}
        left.append(msgspec.json.encode(line))
    return left


@cache
def _verified_run(policy: str) -> tuple[Pipeline, list[FinishedJob]]:
    """A run of six shards in two jobs of at most eight frames, which reviewers have finished."""
    pipeline = Pipeline()
    document = drive_document(verification=msgspec.to_builtins(POLICIES[policy]))
    shard_frames = SHARD_FRAMES.get(policy, 2)
    assembly = labelled(pipeline, FRAMES, shard_frames=shard_frames, document=document).assemble(max_objects=8)
    return pipeline, pipeline.verify(assembly, edited, all_unanswered)


@contextmanager
def verified_run(policy: str) -> Iterator[tuple[Pipeline, list[FinishedJob]]]:
    """The run as it was before it was published, also after other tests."""
    pipeline, jobs = _verified_run(policy)
    before = dict(pipeline.labels.objects)
    yield pipeline, jobs
    pipeline.labels.objects.clear()
    pipeline.labels.objects.update(before)


def planned(pipeline: Pipeline, jobs: list[FinishedJob], part_frames: int) -> list[Part]:
    plan = plan_publication(pipeline.run, jobs, pipeline.labels, part_frames)
    parts = [msgspec.json.decode(line, type=Part) for line in pipeline.labels.lines(plan.key)]
    assert len(parts) == plan.parts
    return parts


def published(policy: str, part_frames: int, ahead: Sequence[int] = ()) -> dict[str, bytes]:
    """Publish the run in parts; those at `ahead` are written before, in this order. Return what was written."""
    with verified_run(policy) as (pipeline, jobs):
        parts = planned(pipeline, jobs, part_frames)
        for index in ahead:
            publish_part(pipeline.run, parts[index % len(parts)], pipeline.labels)
        pipeline.publish(jobs, part_frames)
        return {name: pipeline.labels.objects[pipeline.run.folder.prefix + name] for name in WRITTEN}


@pytest.mark.parametrize("policy", POLICIES)
@given(part_frames=st.integers(1, FRAMES), ahead=st.lists(st.integers(0, FRAMES), max_size=8))
@pytest.mark.slow
def test_any_parts_in_any_order_give_the_same_dataset(policy: str, part_frames: int, ahead: list[int]) -> None:
    whole = published(policy, FRAMES)
    assert len(whole["dataset.manifest"].splitlines()) == FRAMES
    assert published(policy, part_frames, ahead) == whole


def test_a_stretch_of_audits_crosses_the_border_of_a_part() -> None:
    # Otherwise the test above would not show that evidence is gathered over borders.
    reviews = [json.loads(line) for line in published("uncertain", 4)["reviewed.jsonl"].splitlines()]
    audited = {one["position"] for one in reviews if one["triage"].endswith("audit") and one.get("verified")}
    assert any({border - 1, border} <= audited and border % 5 for border in (4, 8))


def test_parts_of_key_frames_have_frames_between_with_and_without_a_label() -> None:
    # Otherwise the test above would not show that their labels do not depend on the parts.
    lines = [json.loads(line) for line in published("key frames", 4)["dataset.manifest"].splitlines()]
    between = [line for line in lines if line["provenance"]["triage"] == BETWEEN]
    assert {"verified" in line for line in between} == {True, False}


def test_a_part_of_other_results_is_written_again() -> None:
    whole = published("all", 4)["dataset.manifest"]
    with verified_run("all") as (pipeline, jobs):
        for part in planned(pipeline, jobs, 4):
            publish_part(pipeline.run, part, pipeline.labels)
        # The first job was settled again, with the same counts.
        key = pipeline.key_of(jobs[0].rounds[0].results)
        pipeline.labels.write(key, pipeline.labels.objects[key].replace(b'"w1"', b'"w9"'))
        pipeline.publish(jobs, 4)
        dataset = pipeline.labels.objects[pipeline.run.folder.dataset]
    assert b'"w9"' in dataset
    assert dataset.replace(b'"w9"', b'"w1"') == whole


def test_parts_of_another_size_do_not_meet() -> None:
    # A call with another PartFrames was broken off between the lines of a part and its result.
    whole = published("all", 4)
    with verified_run("all") as (pipeline, jobs):
        for size in (4, 6):
            for part in planned(pipeline, jobs, size):
                publish_part(pipeline.run, part, pipeline.labels)
                if size == 6:
                    del pipeline.labels.objects[pipeline.run.folder.part(part.id, "result.json")]
        pipeline.publish(jobs, 4)
        assert pipeline.labels.objects[pipeline.run.folder.dataset] == whole["dataset.manifest"]


def test_a_part_without_a_line_is_an_error() -> None:
    with verified_run("all") as (pipeline, jobs):
        part = planned(pipeline, jobs, 4)[0]
        publish_part(pipeline.run, part, pipeline.labels)
        for name in ("dataset.jsonl", "judged.jsonl"):
            key = pipeline.run.folder.part(part.id, name)
            pipeline.labels.write(key, b"".join(pipeline.labels.objects[key].splitlines(keepends=True)[1:]))
        with pytest.raises(CountMismatch, match="have 11 of 12 frames"):
            pipeline.publish(jobs, 4)


def test_a_part_that_is_there_is_not_written_again() -> None:
    with verified_run("all") as (pipeline, jobs):
        part = planned(pipeline, jobs, 4)[1]
        publish_part(pipeline.run, part, pipeline.labels)
        key = pipeline.run.folder.part(part.id, "dataset.jsonl")
        pipeline.labels.write(key, b"marked")
        publish_part(pipeline.run, part, pipeline.labels)
        assert pipeline.labels.objects[key] == b"marked"


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=9), st.integers(0, 9))
def test_counts_of_parts_add_up(reasons: list[str], cut: int) -> None:
    whole, one, other = DatasetCounts(), DatasetCounts(), DatasetCounts()
    for index, reason in enumerate(reasons):
        for counts in (whole, one if index < cut else other):
            counts.add(DatasetCounts({"person": 1}, {"car": 2}, {reason: 1}, accepted=1))
    one.add(other)
    assert one == whole
