"""Runs with vigilance: reviewers see seeded errors, and nothing that is published or kept has one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from autolabel.contracts.recipe import planned_recipe
from autolabel.contracts.verification import AUDITS, KEPT
from autolabel.datasets.assembly import Assembly
from autolabel.labelling.uncertainty import frame_level
from autolabel.labelling.uncertainty_map import UncertaintyMap, map_key
from autolabel.labels.manifest import LabelledBox, ManifestLine, read_line
from autolabel.reporting.summary import Summary
from autolabel.triage.audits import recipe
from autolabel.triage.corrections import (
    DEFAULTS,
    INVENTED,
    OTHER_CLASS,
    REMOVED,
    SHIFTED,
    Correction,
    RunCorrections,
    read_corrections,
    write_corrections,
)
from autolabel.triage.seeds import Seed, placed_box, sow, unsow
from autolabel.triage.sowing import read_seeds
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.pipeline import Pipeline, drive_document, frame_key

FRAMES = 40
BOXES = [(0.1, 0.2, 0.3, 0.6), (0.6, 0.2, 0.8, 0.7)]
ON = {"policy": "all", "vigilance": True}
KINDS = (SHIFTED, OTHER_CLASS, INVENTED, REMOVED)


def assembled(
    verification: dict[str, Any], correction: Correction | None = None, least: float = 0.95, flat: bool = False
) -> tuple[Pipeline, Assembly]:
    """Assemble a run of two cars in each frame.

    `correction`: what reviewers of other drives have corrected. `least`: the lowest score of a second car. `flat`: with
    a map that gives all frames one uncertainty.
    """
    pipeline = Pipeline()
    for index in range(FRAMES):
        pipeline.submit(pipeline.upload(frame_key(index), png(200, 100)))
    pipeline.close(drive_document(verification=verification, tracks=False))
    for index, invocation in enumerate(pipeline.endpoints.taken):
        score = 0.95 - (0.95 - least) * index / FRAMES
        pipeline.collect(pipeline.endpoints.answer(invocation, answer(BOXES, scores=[0.96, score])))
    if flat:
        found = UncertaintyMap(planned_recipe(pipeline.run), "0001", (0.0, 0.99), (0.3, 0.3), 1_000, 100)
        pipeline.labels.write(map_key(found.recipe), msgspec.json.encode(found))
    if correction:
        others = RunCorrections("other", "0001", (correction,) * 50)
        write_corrections(pipeline.labels, recipe(pipeline.run), others)
    pipeline.reconcile()
    pipeline.plan(7)
    pipeline.label()
    return pipeline, pipeline.assemble()


def given(pipeline: Pipeline, assembly: Assembly) -> list[ManifestLine]:
    keys = [pipeline.key_of(job.manifest) for job in assembly.jobs]
    return [read_line(line) for key in keys for line in pipeline.labels.lines(key)]


def of_models(pipeline: Pipeline) -> dict[str, ManifestLine]:
    """The lines of the shards, by frame."""
    folder = pipeline.run.folder
    keys = [key for key in pipeline.labels.objects if key.startswith(folder.shards) and key.endswith(".manifest.jsonl")]
    lines = [read_line(line) for key in keys if ".linked." not in key for line in pipeline.labels.lines(key)]
    return {line.source_ref: line for line in lines}


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The lines of the dataset, without the names of jobs: a second round has another."""
    lines = [json.loads(line) for line in pipeline.labels.lines(pipeline.run.folder.dataset)]
    for line in lines:
        line["provenance"].pop("job", None)
    return lines


def leaving(boxes: Callable[[ManifestLine], list[LabelledBox]]) -> Callable[[list[bytes]], list[bytes]]:
    """Reviewers who leave these boxes."""

    def answers(lines: list[bytes]) -> list[bytes]:
        return [with_label(read_line(body), boxes(read_line(body))) for body in lines]

    return answers


def with_label(line: ManifestLine, boxes: list[LabelledBox]) -> bytes:
    value = json.loads(msgspec.json.encode(line))
    names = ["car", "truck", "bicycle", "person"]
    sides = ("left", "top", "width", "height")
    value["verified"]["annotations"] = [
        {"class_id": names.index(box.name), **{side: getattr(box, side) for side in sides}} for box in boxes
    ]
    value["verified-metadata"]["objects"] = [{"confidence": 0.0} for _ in boxes]
    value["verified-metadata"]["class-map"] = {str(names.index(box.name)): box.name for box in boxes}
    value["verified-metadata"]["adjustment-status"] = "adjusted"
    value["review"] = {"worker": "ann", "seconds": 9.0, "edits": {"move": {"count": 1, "seconds": 2.0}}}
    return msgspec.json.encode(value)


def fixing(seeds: dict[str, Seed], off: float = 0.0) -> Callable[[list[bytes]], list[bytes]]:
    """Reviewers who fix each seed; what they draw again is `off` by this number of pixels."""

    def boxes(line: ManifestLine) -> list[LabelledBox]:
        seed = seeds.get(line.source_ref)
        if seed is None:
            return line.prelabel_boxes
        own = seed.right.placed if seed.right else None
        return [
            msgspec.structs.replace(box, left=box.left + off) if placed_box(box) == own else box
            for box in unsow(line, seed).prelabel_boxes
        ]

    return leaving(boxes)


@pytest.fixture(scope="module")
def plain() -> list[dict[str, Any]]:
    """The dataset without vigilance, of reviewers who leave all boxes."""
    pipeline, assembly = assembled({"policy": "all"})
    assert not [key for key in pipeline.labels.objects if "/seeds/" in key]
    pipeline.publish(pipeline.verify(assembly))
    assert summary(pipeline).vigilance is None
    return dataset(pipeline)


def test_manifests_alone_have_the_seeds() -> None:
    pipeline, assembly = assembled(ON)
    seeds, own = read_seeds(pipeline.run.folder, pipeline.labels), of_models(pipeline)
    assert len(seeds) == 1
    for line in given(pipeline, assembly):
        seed, models = seeds.get(line.source_ref), own[line.source_ref]
        assert msgspec.json.encode(line) == msgspec.json.encode(sow(models, seed) if seed else models)
    # A repeated assembly writes the same, also after other corrections.
    before = dict(pipeline.labels.objects)
    write_corrections(pipeline.labels, recipe(pipeline.run), RunCorrections("o", "0001", (Correction(REMOVED),) * 99))
    assert pipeline.assemble() == assembly
    assert {key: body for key, body in pipeline.labels.objects.items() if "corrections/" not in key} == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_missed_seed_is_never_published(kind: str, plain: list[dict[str, Any]]) -> None:
    pipeline, assembly = assembled(ON, next(one for one in DEFAULTS if one.kind == kind))
    (seed,) = read_seeds(pipeline.run.folder, pipeline.labels).values()
    assert seed.kind == kind
    jobs = pipeline.verify(assembly)
    (job,) = jobs
    (first, second) = job.rounds
    assert (first.frames, second.frames, first.unadjusted) == (FRAMES, 1, FRAMES)
    (again,) = pipeline.labels.lines(pipeline.run.folder.manifests + "verify-000-again.manifest")
    assert read_line(again).prelabel_boxes == read_line(json.dumps(plain[0]).encode()).verified_boxes
    pipeline.publish(jobs)
    assert dataset(pipeline) == plain
    found = summary(pipeline)
    assert found.vigilance
    assert (found.vigilance.all.seeds, found.vigilance.all.caught) == (1, 0)
    assert found.agreement
    assert found.agreement.shown.untouched == FRAMES


@pytest.mark.parametrize("off", [0.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_undoing_a_seed_does_not_count_as_a_correction(kind: str, off: float) -> None:
    pipeline, assembly = assembled(ON, next(one for one in DEFAULTS if one.kind == kind))
    seeds = dict(read_seeds(pipeline.run.folder, pipeline.labels))
    jobs = pipeline.verify(assembly, fixing(seeds, off))
    assert [len(job.rounds) for job in jobs] == [1]
    pipeline.publish(jobs)
    found = summary(pipeline)
    assert found.vigilance
    assert found.agreement
    assert (found.vigilance.all.rate, found.vigilance.corrections, found.vigilance.residual) == (1.0, 0, 0)
    assert (found.agreement.shown.untouched, found.agreement.pace.changes) == (FRAMES, 0)
    # The time for a seed does not count.
    assert found.agreement.pace.seconds
    assert found.agreement.pace.seconds.frames == FRAMES - 1
    assert found.agreement.efforts["move"].count == FRAMES - 1
    # What the reviewer drew stands, also where it is not the models' box.
    (seed,) = seeds.values()
    (line,) = (one for one in pipeline.labels.lines(pipeline.run.folder.dataset) if seed.source_ref.encode() in one)
    own = [box.left for box in read_line(line).prelabel_boxes]
    assert sorted(box.left for box in read_line(line).verified_boxes) == sorted(
        left + off * (seed.right is not None and place == seed.at) for place, left in enumerate(own)
    )
    assert "caught 1 of 1 seeded error" in pipeline.labels.objects[pipeline.run.folder.report].decode()


def test_audits_and_blind_frames_have_no_seed() -> None:
    policy = {"policy": "doubtful", "segment": 2, "audit": 0.5, "max_doubt": 0.2, "vigilance": True}
    pipeline, assembly = assembled(policy)
    seeds = read_seeds(pipeline.run.folder, pipeline.labels)
    kinds = [json.loads(line) for line in pipeline.labels.lines(pipeline.run.folder.triage)]
    frames = dict(zip(of_models(pipeline), kinds, strict=True))
    assert len(seeds) == 1
    assert not {frames[source] for source in seeds} & set(AUDITS)
    # The queue is in the order of the uncertainty that reviewers see, but for audits.
    shown = [line for line in given(pipeline, assembly) if frames[line.source_ref] not in AUDITS]
    levels = [line.uncertainty.level for line in shown if line.uncertainty]
    assert len(levels) == len(shown)
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("correction", [Correction(INVENTED), Correction(REMOVED)], ids=lambda one: one.kind)
def test_a_seed_does_not_stand_out_of_the_order_of_frames_that_a_map_makes_equal(correction: Correction) -> None:
    policy = {"policy": "doubtful", "audit": 0.01, "max_doubt": 0.2, "vigilance": True}
    pipeline, assembly = assembled(policy, correction, least=0.9, flat=True)
    assert {seed.kind for seed in read_seeds(pipeline.run.folder, pipeline.labels).values()} == {correction.kind}
    shown = [line.uncertainty for line in given(pipeline, assembly) if line.uncertainty]
    assert [one.level for one in shown] == [0.3] * FRAMES
    # All that a reviewer could compute of a frame.
    own = [frame_level(one.boxes, [candidate.confidence for candidate in one.candidates]) for one in shown]
    assert own == sorted(own, reverse=True)
    assert len(set(own)) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_answered_before_a_take_over_has_no_seed(kind: str) -> None:
    pipeline, assembly = assembled(ON, next(one for one in DEFAULTS if one.kind == kind))
    seeds = read_seeds(pipeline.run.folder, pipeline.labels)
    (job,) = assembly.jobs
    pipeline.jobs.create(f"{job.name}-1", job.manifest)
    sides = ("left", "top", "width", "height")
    for place, line in enumerate(given(pipeline, assembly)):
        if line.source_ref in seeds or place % 3 == 0:
            boxes = [{"label": b.name, **{s: getattr(b, s) for s in sides}} for b in line.prelabel_boxes]
            pipeline.jobs.answer(f"{job.name}-1", place, boxes)
    assert pipeline.relabel().labels > FRAMES // 3
    pipeline.publish(pipeline.verify(pipeline.assemble()))
    lines = list(pipeline.labels.lines(pipeline.run.folder.dataset))
    assert {read_line(line).origin.triage for line in lines} >= {KEPT}
    for line in map(read_line, lines):
        assert [placed_box(box) for box in line.verified_boxes] == [placed_box(box) for box in line.prelabel_boxes]


def test_seeds_are_drawn_from_what_reviewers_corrected() -> None:
    pipeline, assembly = assembled({"policy": "all"})
    assert read_corrections(pipeline.labels, recipe(pipeline.run)) == DEFAULTS

    def boxes(line: ManifestLine) -> list[LabelledBox]:
        car, other = line.prelabel_boxes
        moved = msgspec.structs.replace(car, left=car.left + 8, width=car.width - 8)
        return [moved, msgspec.structs.replace(other, name="truck")]

    pipeline.publish(pipeline.verify(assembly, leaving(boxes)))
    found = read_corrections(pipeline.labels, recipe(pipeline.run))
    assert len(found) == 2 * FRAMES
    assert set(found) == {
        Correction(SHIFTED, "car", "car", (-0.125, 0.0, 1.25, 1.0)),
        Correction(OTHER_CLASS, "car", "truck"),
    }
