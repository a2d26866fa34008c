"""A run under the policy `key-frames`: reviewers get some frames, and the labels of the others follow from theirs."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from autolabel.contracts.recipe import LINK, recipe
from autolabel.contracts.verification import BETWEEN, BLIND_AUDIT, KEY_FRAME, VerifyKeyFrames
from autolabel.datasets.assembly import Assembly
from autolabel.reporting.summary import Summary
from autolabel.triage.acceptance import read_limits
from autolabel.triage.audits import Count, Evidence, evidence_key
from autolabel.triage.redrawn import RedrawnBoxes
from tests.fakes.answers import answer
from tests.fakes.evidence import evidence_of
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key

PREFIX = f"labels/{DRIVE}/0001/"
FRAMES, SHARD = 40, 20
PERIOD = 100_000_000


def place(index: int) -> tuple[float, float, float, float]:
    """A car that stands, then drives; shares of the frame's sides."""
    left = 0.1 + 0.02 * max(0, index % SHARD - 8)
    return (left, 0.25, left + 0.4, 0.75)


def assembled(pipeline: Pipeline, failed: frozenset[int] = frozenset(), **policy: Any) -> Assembly:
    """Assemble a run of two shards with one car. `failed`: frames in which no model answered."""
    for index in range(FRAMES):
        pipeline.submit(pipeline.upload(frame_key(PERIOD * index), png(640, 480)))
    pipeline.close(drive_document(verification={"policy": "key-frames", **policy}))
    for index, invocation in enumerate(pipeline.endpoints.taken):
        body = b"{}" if index in failed else answer([place(index)])
        pipeline.collect(pipeline.endpoints.answer(invocation, body))
    pipeline.reconcile()
    pipeline.plan(SHARD)
    pipeline.label()
    return pipeline.assemble()


def shown(pipeline: Pipeline, assembly: Assembly) -> dict[int, dict[str, Any]]:
    """The lines that reviewers get by the frame's number, in their order."""
    lines = [json.loads(line) for job in assembly.jobs for line in pipeline.labels.lines(pipeline.key_of(job.manifest))]
    return {number(line): line for line in lines}


def number(line: dict[str, Any]) -> int:
    return (int(line["provenance"]["timestamp"]) - 1_700_000_000_000_000_000) // PERIOD


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(pipeline.run.folder.dataset)]


def kinds(pipeline: Pipeline) -> list[str]:
    return [msgspec.json.decode(line) for line in pipeline.labels.lines(pipeline.run.folder.triage)]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)


def moved(lines: list[bytes]) -> list[bytes]:
    """Leave each box five pixels further down, as a reviewer does whose models are always too high."""
    left = []
    for body in lines:
        line: dict[str, Any] = json.loads(body)
        line["verified"] = json.loads(json.dumps(line["verified"]))
        for box in line["verified"]["annotations"]:
            box["top"] += 5
        left.append(msgspec.json.encode(line))
    return left


def drawn(lines: list[bytes], top: int = 125) -> list[bytes]:
    """Correct shown boxes, and draw the car in the blind frames as it is."""
    left = []
    for body in moved(lines):
        line: dict[str, Any] = json.loads(body)
        if not line["verified"]["annotations"]:
            x1, _, x2, _ = place(number(line))
            box = {"class_id": 0, "left": round(640 * x1), "top": top, "width": round(640 * (x2 - x1)), "height": 240}
            line["verified"]["annotations"] = [box]
            line["verified-metadata"] |= {"objects": [{"confidence": 0}], "class-map": {"0": "car"}}
        left.append(msgspec.json.encode(line))
    return left


def test_reviewers_get_the_key_frames_in_order_and_one_other_frame_of_each_shard_blind(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline)
    given = shown(pipeline, assembly)
    assert list(given) == sorted(given)
    assert {0, SHARD - 1, SHARD, FRAMES - 1} <= set(given)
    found = Counter(kinds(pipeline))
    assert found == summary(pipeline).triage
    assert found[BLIND_AUDIT] == 2
    assert len(given) == found[KEY_FRAME] + 2 < 16
    for index, line in given.items():
        assert bool(line["prelabel"]["annotations"]) == (kinds(pipeline)[index] == KEY_FRAME)


def test_labels_between_follow_from_the_key_frames(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline)
    publication = pipeline.publish(pipeline.verify(assembly, drawn))
    lines, found = dataset(pipeline), kinds(pipeline)
    assert [number(line) for line in lines] == list(range(FRAMES))
    for line, kind in zip(lines, found, strict=True):
        by = {KEY_FRAME: "model and person", BLIND_AUDIT: "person", BETWEEN: "model"}[kind]
        (box,), (models,) = line["verified"]["annotations"], line["prelabel"]["annotations"]
        assert line["provenance"]["labelled-by"] == by
        assert line["provenance"]["triage"] == kind
        assert (box["left"], box["top"]) == (pytest.approx(models["left"], abs=1), models["top"] + 5)
        assert line["origins"] == (["interpolated"] if kind == BETWEEN else ["person"])
    assert publication.verified == FRAMES - found.count(BETWEEN)
    assert summary(pipeline).labelled_by == Counter(line["provenance"]["labelled-by"] for line in lines)


@pytest.mark.parametrize(("top", "wrong"), [(125, 0), (20, 1)], ids=["right", "wrong"])
def test_a_blind_frame_is_evidence_of_the_interpolation(pipeline: Pipeline, top: int, wrong: int) -> None:
    assembly = assembled(pipeline)
    pipeline.publish(pipeline.verify(assembly, lambda lines: drawn(lines, top)))
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert pipeline.labels.exists(evidence_key(evidence.recipe, DRIVE, "0001"))
    assert [stretch.position for stretch in evidence.stretches] == [
        index for index, kind in enumerate(kinds(pipeline)) if kind == BLIND_AUDIT
    ]
    for stretch in evidence.stretches:
        assert stretch.classes["car"].precision == Count(1, wrong)
    assert any(said.startswith("car: interpolation between key frames") for said in summary(pipeline).acceptance)


@pytest.mark.parametrize(
    ("workers", "lower", "agreed"),
    [(("one", "two"), 0, 1), (("one", "two"), 100, 0), (("one", "one"), 0, None), (("", ""), 0, 1)],
    ids=["another person", "who differs", "the same person", "nobody is named"],
)
def test_a_second_person_labels_key_frames_blind_and_the_first_label_stays(
    pipeline: Pipeline, workers: tuple[str, str], lower: int, agreed: int | None
) -> None:
    assembly = assembled(pipeline, redraw=1)
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []

    def begin(lines: list[bytes]) -> list[bytes]:
        first.extend({**json.loads(line), "review": {"worker": workers[0]}} for line in drawn(lines))
        return list(map(msgspec.json.encode, first))

    def draw_again(lines: list[bytes]) -> list[bytes]:
        second.extend(map(json.loads, lines))
        left = {line["source-ref"]: json.loads(json.dumps(line)) for line in first}
        for line in second:
            drawn_again = left[line["source-ref"]]["verified"]
            drawn_again["annotations"][0]["top"] += lower
            line["verified"], line["review"] = drawn_again, {"worker": workers[1]}
            line["verified-metadata"] = left[line["source-ref"]]["verified-metadata"]
        return list(map(msgspec.json.encode, second))

    jobs = pipeline.verify(assembly, begin, draw_again)
    found = kinds(pipeline)
    assert [number(line) for line in second] == [at for at, kind in enumerate(found) if kind == KEY_FRAME]
    assert not any(line["prelabel"]["annotations"] or "doubt" in line for line in second)
    pipeline.publish(jobs)
    lines = dataset(pipeline)
    for line in first:
        assert lines[number(line)]["verified"]["annotations"] == line["verified"]["annotations"]
        assert lines[number(line)]["provenance"]["job"] == jobs[0].job
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    boxes = found.count(KEY_FRAME)
    assert evidence.redrawn == ({} if agreed is None else {"car": RedrawnBoxes(boxes, boxes, boxes * agreed)})
    cannot = any(said.startswith("car: a second person agrees on 0.0%") for said in summary(pipeline).acceptance)
    assert cannot == (agreed == 0)
    # A later run keeps the first label, too.
    pipeline.relabel(shard_frames=SHARD)
    pipeline.publish(pipeline.verify(pipeline.assemble(), drawn))
    for line, before, kind in zip(dataset(pipeline), lines, found, strict=True):
        assert kind != KEY_FRAME or line["verified"] == before["verified"]


def test_no_second_person_is_asked_for_a_frame_that_goes_to_the_second_round_anyway(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, redraw=1)

    def unsure(lines: list[bytes]) -> list[bytes]:
        return [msgspec.json.encode({**json.loads(line), "review": {"unsure": True}}) for line in drawn(lines)]

    again: list[dict[str, Any]] = []

    def second(lines: list[bytes]) -> list[bytes]:
        again.extend(map(json.loads, lines))
        return drawn(lines)

    pipeline.publish(pipeline.verify(assembly, unsure, second))
    assert all(line["prelabel"]["annotations"] for line in again)
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert evidence.redrawn == {}


def test_evidence_belongs_to_the_limits_of_the_policy(pipeline: Pipeline) -> None:
    assembled(pipeline)
    run = pipeline.run

    def under(policy: VerifyKeyFrames) -> str:
        document = msgspec.structs.replace(run.document, verification=policy)
        return recipe(msgspec.structs.replace(run, document=document), LINK)

    policies = [VerifyKeyFrames(), VerifyKeyFrames(iou=0.9), VerifyKeyFrames(gap=1.0)]
    assert len({under(policy) for policy in policies}) == 3
    assert under(VerifyKeyFrames(target=0.9)) == under(VerifyKeyFrames())


def test_a_frame_that_no_model_labelled_is_a_key_frame_and_so_are_its_neighbours(pipeline: Pipeline) -> None:
    assembled(pipeline, frozenset({4}))
    assert kinds(pipeline)[3:6] == [KEY_FRAME] * 3


def test_without_tracks_every_frame_is_a_key_frame_in_the_order_of_the_drive(pipeline: Pipeline) -> None:
    keys = [frame_key(10 * PERIOD * index, camera=camera) for camera in ("front", "rear") for index in range(4)]
    for key in keys:
        pipeline.submit(pipeline.upload(key, png()))
    pipeline.close(drive_document("front", "rear", verification={"policy": "key-frames"}))
    for invocation in pipeline.endpoints.taken:
        pipeline.collect(pipeline.endpoints.answer(invocation, answer()))
    pipeline.reconcile()
    pipeline.plan(4)
    pipeline.label()
    (job,) = pipeline.assemble().jobs
    assert kinds(pipeline) == [KEY_FRAME] * 8
    given = [json.loads(line)["source-ref"] for line in pipeline.labels.lines(pipeline.key_of(job.manifest))]
    assert given == [f"s3://ingest/{key}" for key in keys]


def test_a_redriven_assembly_asks_for_the_same_frames(pipeline: Pipeline) -> None:
    first = shown(pipeline, assembled(pipeline))
    # Meanwhile another drive shows that interpolation does not hold.
    contradict(pipeline)
    again = pipeline.assemble()
    assert shown(pipeline, again) == first
    assert read_limits(pipeline.run, pipeline.labels) == {}


def test_a_class_that_does_not_hold_gets_more_key_frames_in_the_next_run(pipeline: Pipeline) -> None:
    assembled(pipeline, iou=0.5, gap=9.0)
    few = kinds(pipeline).count(KEY_FRAME)
    contradict(pipeline)
    pipeline.relabel(shard_frames=SHARD)
    assembly = pipeline.assemble()
    assert read_limits(pipeline.run, pipeline.labels) == {"car": 0.75}
    assert kinds(pipeline).count(KEY_FRAME) > few
    pipeline.publish(pipeline.verify(assembly, drawn))
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert {name for stretch in evidence.stretches for name in stretch.classes} == {"car at IoU 0.75", "any class"}


def contradict(pipeline: Pipeline) -> None:
    policy = pipeline.run.document.verification
    assert isinstance(policy, VerifyKeyFrames)
    evidence = evidence_of(recipe(pipeline.run, LINK), "other", policy, right=0, wrong=60)
    pipeline.labels.write(evidence_key(evidence.recipe, "other", "0001"), msgspec.json.encode(evidence))


def test_labels_of_persons_are_kept_as_key_frames_of_the_next_run(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline)
    pipeline.publish(pipeline.verify(assembly, drawn))
    first, before = kinds(pipeline), dataset(pipeline)
    pipeline.relabel(shard_frames=SHARD)
    again = pipeline.assemble()
    assert [kind == "kept" for kind in kinds(pipeline)] == [kind != BETWEEN for kind in first]
    # Two new blind frames are drawn, and no key frame is asked for.
    assert Counter(kinds(pipeline))[BLIND_AUDIT] == len(shown(pipeline, again)) == 2
    pipeline.publish(pipeline.verify(again, drawn))
    for line, one in zip(dataset(pipeline), before, strict=True):
        if line["provenance"]["triage"] == BETWEEN:
            assert line["verified"] == one["verified"]
