"""A run under the policy `doubtful` whose reviewers verify tracks: whole strips are accepted, audited or reviewed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.recipe import LINK, recipe
from autolabel.contracts.verification import (
    ACCEPTED,
    AUDIT,
    BLIND_AUDIT,
    KEPT,
    UNASKED,
    UNCERTAIN,
    UNPROVEN,
    VerifyUncertain,
)
from autolabel.datasets.assembly import Assembly
from autolabel.labels.manifest import LabelledBy, ManifestLine, read_line
from autolabel.triage.audits import ClassErrors, Count, Evidence, evidence_key
from autolabel.verification.jobs import MAX_SEQUENCES
from tests.fakes.answers import answer
from tests.fakes.evidence import ENOUGH, evidence_of
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, JOB_LABELS, Pipeline, drive_document
from tests.fakes.track_jobs import Boxes, FakeTrackJobs, Review
from tests.unit.pipeline.test_verifying_tracks import Reviewing, published

SEGMENT = 4
POLICY = {"policy": "doubtful", "task": "tracks", "segment": SEGMENT, "audit": 0.25, "blind": 0.5}
SECOND = 1_000_000_000
CAR = (0.1, 0.2, 0.4, 0.6)


def assembled(
    uncertain: Sequence[bool], shard_frames: int = 7, strip_frames: int = 8, *, proven: bool = True, **policy: Any
) -> tuple[Pipeline, Assembly]:
    """Assemble a run of one camera and a car. `uncertain`: for each frame, whether the models are."""
    pipeline = Pipeline()
    pipeline.jobs = FakeTrackJobs(pipeline.labels, JOB_LABELS)
    for index in range(len(uncertain)):
        key = f"drives/{DRIVE}/front/{1_700_000_000 * SECOND + index * SECOND // 10}.png"
        pipeline.submit(pipeline.upload(key, png()))
    pipeline.close(drive_document(verification={**POLICY, **policy}))
    for invocation, is_uncertain in zip(pipeline.endpoints.taken, uncertain, strict=True):
        pipeline.collect(pipeline.endpoints.answer(invocation, answer([CAR], scores=[0.5 if is_uncertain else 0.95])))
    pipeline.reconcile()
    pipeline.plan(shard_frames)
    pipeline.label()
    if proven:
        prove(pipeline)
    return pipeline, pipeline.assemble(strip_frames=strip_frames)


def prove(pipeline: Pipeline) -> None:
    """Publish another drive whose audits of strips prove the car."""
    policy = pipeline.run.document.verification
    assert isinstance(policy, VerifyUncertain)
    evidence = evidence_of(recipe(pipeline.run, LINK), "other", policy, right=ENOUGH)
    pipeline.labels.write(evidence_key(evidence.recipe, "other", "0001"), msgspec.json.encode(evidence))


def kinds(pipeline: Pipeline) -> list[str]:
    return [msgspec.json.decode(body) for body in pipeline.labels.lines(pipeline.run.folder.triage)]


def asked(pipeline: Pipeline, assembly: Assembly) -> list[list[ManifestLine]]:
    """The frames of each job."""
    return [list(map(read_line, pipeline.labels.lines(pipeline.key_of(job.manifest)))) for job in assembly.jobs]


def reviewed(pipeline: Pipeline, assembly: Assembly, review: Review | None = None) -> list[Reviewing]:
    """Let reviewers finish every job: they leave shown strips, and draw the car in blind ones."""
    reviewing = [Reviewing(pipeline, job) for job in assembly.jobs]
    for one in reviewing:
        one.review(*[review or drawn] * MAX_SEQUENCES)
    return reviewing


def drawn(shown: Boxes) -> Boxes:
    car = {"class-id": "0", "left": 6, "top": 10, "width": 20, "height": 19, "object-id": "1", "object-name": "car:1"}
    return shown if any(shown.values()) else {name: [car] for name in shown}


@given(
    uncertain=st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=60),
    shard_frames=st.integers(1, 30),
    strip_frames=st.integers(SEGMENT, 12),
    proven=st.booleans(),
)
def test_a_stretch_has_one_kind_and_each_strip_is_blind_or_shown(
    uncertain: list[bool], shard_frames: int, strip_frames: int, proven: bool
) -> None:
    pipeline, assembly = assembled(uncertain, shard_frames, strip_frames, proven=proven)
    found = kinds(pipeline)
    for start in range(0, len(found), SEGMENT):
        stretch = slice(start, start + SEGMENT)
        (kind,) = set(found[stretch])
        assert (kind == UNCERTAIN) == any(uncertain[stretch])
    times = [line.origin.timestamp for job in asked(pipeline, assembly) for line in job]
    assert times == sorted(times)
    assert len(times) == sum(kind not in UNASKED for kind in found)
    for job in assembly.jobs:
        reviewing = Reviewing(pipeline, job)
        sequences = pipeline.jobs.jobs[reviewing.create()].sequences
        assert len(sequences) <= MAX_SEQUENCES
        for sequence in sequences:
            assert len(sequence.names) <= strip_frames
            places = [int(name.partition(".")[0]) * 10 // SECOND - 17_000_000_000 for name in sequence.names]
            assert places == list(range(places[0], places[-1] + 1))
            blind = {found[place] == BLIND_AUDIT for place in places}
            assert len(blind) == 1
            assert any(sequence.shown.values()) != blind.pop()


def test_certain_strips_of_a_proven_class_are_accepted_with_the_tracks_of_the_models() -> None:
    uncertain = [index == 9 for index in range(32)]
    pipeline, assembly = assembled(uncertain)
    found = kinds(pipeline)
    counts = {kind: found.count(kind) for kind in found}
    assert counts == {ACCEPTED: 20, UNCERTAIN: SEGMENT, BLIND_AUDIT: SEGMENT, AUDIT: SEGMENT}
    lines = published(pipeline, *reviewed(pipeline, assembly))
    by = {ACCEPTED: LabelledBy.MODEL, BLIND_AUDIT: LabelledBy.PERSON}
    for line, kind in zip(lines, found, strict=True):
        assert line.origin.labelled_by == by.get(kind, LabelledBy.MODEL_AND_PERSON)
    # The car keeps its id through the blind strip, whose reviewer saw no track.
    assert len({line.tracks for line in lines}) == 1
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert [(one.position, one.blind) for one in evidence.stretches] == [
        (at, found[at] == BLIND_AUDIT) for at in range(0, 32, SEGMENT) if found[at] in (AUDIT, BLIND_AUDIT)
    ]
    assert {one.classes["car"].precision for one in evidence.stretches} == {Count(1, 0)}


@pytest.mark.parametrize("blind", [True, False])
def test_a_track_that_changes_to_another_object_is_an_error(blind: bool) -> None:
    def changes(shown: Boxes) -> Boxes:
        if blind == any(shown.values()):
            return drawn(shown)
        return {
            name: [{**box, "object-id": "another"} for box in boxes] if at >= SEGMENT // 2 else boxes
            for at, (name, boxes) in enumerate(drawn(shown).items())
        }

    pipeline, assembly = assembled([False] * 32)
    published(pipeline, *reviewed(pipeline, assembly, changes))
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    found = {one.blind: one.classes["car"] for one in evidence.stretches}
    # The car is found all the same.
    assert found[blind] == ClassErrors(Count(1, 1), Count(1, 0))
    assert found[not blind] == ClassErrors(Count(1, 0), Count(1, 0))


def test_the_objects_of_each_blind_strip_get_the_id_of_their_track() -> None:
    pipeline, assembly = assembled([False] * 32, shard_frames=16, audit=1.0, blind=1.0)
    lines = published(pipeline, *reviewed(pipeline, assembly))
    assert len({line.tracks for line in lines}) == 1
    evidence = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.audit], type=Evidence)
    assert [one.classes["car"].precision for one in evidence.stretches] == [Count(1, 0)] * 8


def test_without_proof_reviewers_get_every_strip() -> None:
    pipeline, _ = assembled([False] * 32, proven=False)
    assert set(kinds(pipeline)) == {UNPROVEN, BLIND_AUDIT}


def test_evidence_of_frames_proves_no_strips() -> None:
    pipeline, _ = assembled([False] * 8, proven=False)
    policy = pipeline.run.document.verification
    assert isinstance(policy, VerifyUncertain)
    frames = msgspec.structs.replace(policy, task="boxes")
    evidence = evidence_of(recipe(pipeline.run, LINK), "other", frames, right=ENOUGH)
    assert not evidence.counts_under(policy)
    assert evidence.counts_under(frames)


def test_a_blind_strip_that_failed_is_blind_in_the_second_round_too() -> None:
    pipeline, assembly = assembled([False] * 8, proven=False, audit=1.0)
    reviewing = Reviewing(pipeline, assembly.jobs[0])
    reviewing.review(lambda _: "too dark")
    assert reviewing.frames == SEGMENT
    (sequence,) = pipeline.jobs.jobs[reviewing.create()].sequences
    assert not any(sequence.shown.values())


def test_a_new_run_keeps_verified_strips_and_audits_others_by_lot() -> None:
    pipeline, assembly = assembled([index % SEGMENT == 0 for index in range(32)])
    published(pipeline, *reviewed(pipeline, assembly))
    pipeline.relabel(shard_frames=7)
    assembly = pipeline.assemble(strip_frames=8)
    assert set(kinds(pipeline)) == {KEPT}
    assert assembly.jobs == ()


def test_an_audit_stretch_that_is_longer_than_a_strip_is_refused_with_the_way_out() -> None:
    with pytest.raises(VerificationRefused, match="raise the stack's parameter StripFrames"):
        assembled([False] * 8, strip_frames=SEGMENT - 1)


def test_a_shard_with_more_strips_than_a_job_takes_has_several_jobs() -> None:
    uncertain = [bool(index // SEGMENT % 2) for index in range(SEGMENT * 23)]
    pipeline, assembly = assembled(uncertain, shard_frames=len(uncertain), audit=0.01)
    assert [job.frames for job in assembly.jobs] == [10 * SEGMENT, 2 * SEGMENT]
    lines = published(pipeline, *reviewed(pipeline, assembly))
    assert all(line.verified for line in lines)
    assert [kind for kind, _ in itertools.groupby(kinds(pipeline))].count(UNCERTAIN) == 11
