"""A run under the policy `doubtful`: reviewers get only some frames, and audits prove classes for the next run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import StoredObject
from autolabel.contracts.recipe import LINK, planned_recipe, recipe
from autolabel.contracts.verification import VerifyUncertain
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labelling.plan import Plan
from autolabel.labelling.uncertainty_map import UncertaintyMap, map_key
from autolabel.labels.detections import Detection, Detections
from autolabel.labels.manifest import (
    LabelledBy,
    MaskClass,
    MaskReferences,
    Provenance,
    ShownUncertainty,
    encode_line,
    prelabelled_line,
)
from autolabel.reporting.summary import Summary
from autolabel.triage.audits import ClassErrors, Count, Evidence, evidence_key, read_evidence
from autolabel.triage.proof import accepted_classes, class_records
from autolabel.triage.queueing import without_prelabel
from tests.fakes.answers import answer
from tests.fakes.evidence import ENOUGH, evidence_of
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key, verified

PREFIX = f"labels/{DRIVE}/0001/"
FRAMES = 40
# The car of every fourth frame has a low confidence.
UNCERTAIN = range(0, FRAMES, 4)
POLICY = {"policy": "doubtful", "segment": 4, "audit": 0.2, "blind": 0.5}


# What another drive's audits showed before.
PROVEN = {"right": ENOUGH}


def assembled(
    pipeline: Pipeline, proof: dict[str, Any] | None = None, max_objects: int = 1_000, **policy: Any
) -> Assembly:
    """Assemble a run of FRAMES frames with one car each; `proof`: audit stretches of another drive."""
    for index in range(FRAMES):
        pipeline.submit(pipeline.upload(frame_key(index), png()))
    pipeline.close(drive_document(verification={**POLICY, **policy}))
    for index, invocation in enumerate(pipeline.endpoints.taken):
        score = 0.4 + index / 1_000 if index in UNCERTAIN else 0.95
        pipeline.collect(pipeline.endpoints.answer(invocation, answer(scores=[score])))
    pipeline.reconcile()
    pipeline.plan(7)
    pipeline.label()
    if proof:
        prove(pipeline, "other", **proof)
    return pipeline.assemble(max_objects)


def prove(pipeline: Pipeline, drive: str, **proof: Any) -> None:
    """Publish another drive of the recipe and policy, with these audit stretches."""
    policy = pipeline.run.document.verification
    assert isinstance(policy, VerifyUncertain)
    evidence = evidence_of(recipe(pipeline.run, LINK), drive, policy, **proof)
    pipeline.labels.write(evidence_key(evidence.recipe, drive, "0001"), msgspec.json.encode(evidence))


def shown(pipeline: Pipeline, assembly: Assembly) -> list[dict[str, Any]]:
    """Read the lines that reviewers get, in their order."""
    keys = [pipeline.key_of(job.manifest) for job in assembly.jobs]
    return [json.loads(line) for key in keys for line in pipeline.labels.lines(key)]


def places(lines: list[dict[str, Any]]) -> list[int]:
    return [int(line["provenance"]["timestamp"]) - 1_700_000_000_000_000_000 for line in lines]


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(PREFIX + "dataset.manifest")]


def summary(pipeline: Pipeline) -> Summary:
    return msgspec.json.decode(pipeline.labels.objects[PREFIX + "summary.json"], type=Summary)


def published(pipeline: Pipeline, jobs: list[FinishedJob]) -> list[dict[str, Any]]:
    """Publish a run, check its counts against each other, and return its dataset."""
    publication = pipeline.publish(jobs)
    lines, found = dataset(pipeline), summary(pipeline)
    assert places(lines) == list(range(FRAMES))
    assert found.labelled_by == Counter(line["provenance"]["labelled-by"] for line in lines)
    assert found.triage == Counter(line["provenance"]["triage"] for line in lines)
    assert sum(found.triage.values()) == FRAMES == publication.verified + publication.accepted
    assert publication.accepted == found.triage.get("accepted", 0)
    return lines


def test_without_proof_reviewers_get_every_frame(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline)
    assert sorted(places(shown(pipeline, assembly))) == list(range(FRAMES))
    # Ten stretches of four frames: one is uncertain; the other three are audited blind in two of the stretches.
    assert summary(pipeline).triage == {"unproven": 24, "doubtful": 10, "blind audit": 6}
    assert summary(pipeline).acceptance == ()


def test_certain_frames_of_a_proven_class_are_accepted(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    given = places(shown(pipeline, assembly))
    assert summary(pipeline).triage == {"accepted": 24, "doubtful": 10, "blind audit": 3, "audit": 3}
    assert set(UNCERTAIN) <= set(given)
    assert len(given) == len(set(given)) == 16
    assert any(one.startswith("car: accepted since run other 0001") for one in summary(pipeline).acceptance)
    (_, car) = summary(pipeline).certificates
    assert (car.name, car.accepted, car.attempts, car.recall.stretches) == ("car", True, 1, 104)
    lines = published(pipeline, pipeline.verify(assembly))
    accepted = [line for line in lines if line["provenance"]["triage"] == "accepted"]
    assert {line["provenance"]["labelled-by"] for line in accepted} == {"model"}
    assert all(line["verified"] == line["prelabel"] for line in accepted)
    assert {line["verified-metadata"]["human-annotated"] for line in accepted} == {"no"}
    assert not any("job" in line["provenance"] for line in accepted)
    # The certificates by which frames were accepted stay, and the report shows them.
    assert car in summary(pipeline).certificates
    report = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "since the audits of other 0001" in report
    assert car.promise in report


def test_a_scripts_labels_are_no_evidence(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline)

    def keep(lines: list[bytes]) -> list[bytes]:
        made = [json.loads(line) for line in lines]
        return [msgspec.json.encode(verified(line, **{"human-annotated": "no"})) for line in made]

    pipeline.publish(pipeline.verify(assembly, keep))
    assert {line["provenance"]["labelled-by"] for line in dataset(pipeline)} == {"script"}
    evidence = msgspec.json.decode(pipeline.labels.objects[PREFIX + "audit.json"], type=Evidence)
    assert evidence.stretches == ()
    assert "given to reviewers" in pipeline.labels.objects[PREFIX + "report.html"].decode()


@pytest.mark.parametrize("errors", [1, 5])
def test_a_class_below_its_target_is_not_accepted(pipeline: Pipeline, errors: int) -> None:
    assembled(pipeline, {"right": 110 - errors, "wrong": errors})
    assert "accepted" not in summary(pipeline).triage
    assert any("car: precision 110 audit stretches so far" in one for one in summary(pipeline).acceptance)
    assert not any(one.accepted for one in summary(pipeline).certificates)


def test_proof_of_another_class_accepts_nothing(pipeline: Pipeline) -> None:
    assembled(pipeline, {"name": "person"})
    assert "accepted" not in summary(pipeline).triage


def test_the_queue_begins_with_the_most_uncertain_frame(pipeline: Pipeline) -> None:
    lines = shown(pipeline, assembled(pipeline, PROVEN))
    uncertain = [
        line for line in lines if line["provenance"]["timestamp"] and line.get("doubt", {}).get("level", 0) > 0.15
    ]
    levels = [line["doubt"]["level"] for line in uncertain]
    assert levels == sorted(levels, reverse=True)
    assert places(uncertain) == list(UNCERTAIN)


def test_audits_are_anywhere_in_the_queue(pipeline: Pipeline) -> None:
    given = places(shown(pipeline, assembled(pipeline, PROVEN, audit=1)))
    audits = [rank for rank, place in enumerate(given) if place not in UNCERTAIN]
    uncertain = [rank for rank, place in enumerate(given) if place in UNCERTAIN]
    assert audits[0] < uncertain[0] < uncertain[-1] < audits[-1]


def test_a_queue_too_large_for_the_disk_is_divided_into_jobs(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolabel.triage.queueing.MAX_QUEUE_BYTES", 10_000)
    assembly = assembled(pipeline)
    sizes = [len(pipeline.labels.objects[pipeline.key_of(job.manifest)]) for job in assembly.jobs]
    assert len(sizes) > 1
    assert max(sizes) <= 10_000
    published(pipeline, pipeline.verify(assembly))


def test_blind_audits_look_like_frames_without_detections(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    blind = [line for line in shown(pipeline, assembly) if not line["prelabel"]["annotations"]]
    assert len(blind) == 3
    for line in blind:
        assert line["prelabel-metadata"]["objects"] == []
        assert line["prelabel-metadata"]["class-map"] == {}
        assert "doubt" not in line
    lines = published(pipeline, pipeline.verify(assembly))
    for line in (lines[place] for place in places(blind)):
        # The dataset has the models' boxes beside the person's.
        assert (len(line["prelabel"]["annotations"]), line["verified"]["annotations"]) == (1, [])
        assert (line["provenance"]["labelled-by"], line["provenance"]["triage"]) == ("person", "blind audit")


def test_a_blind_line_equals_a_line_without_a_pre_label() -> None:
    def line(*found: Detection, **more: Any) -> bytes:
        known = prelabelled_line(
            source="s3://ingest/frame.png",
            detections=Detections(64, 48, found),
            depth=3,
            labels=("car", "person"),
            job="drive-7-0001",
            created="2026-01-01T00:00:00.000",
            provenance=Provenance(labelled_by=LabelledBy.MODEL),
            **more,
        )
        return encode_line(known)

    masks = MaskReferences(
        "s3://labels/masks.json", "s3://labels/classes.png", {"1": MaskClass("person", "#ff0000", 0.9)}
    )
    uncertainty = ShownUncertainty(0.1, (0.1,), (), ())
    shown = line(
        Detection("person", (1, 2, 30, 40), 0.9, 0.9, "person", ("m.0001",)), masks=masks, uncertainty=uncertainty
    )
    assert json.loads(without_prelabel(shown)) == json.loads(line())


def test_a_shard_that_is_too_large_for_a_job_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(CountMismatch, match="shard 0 has 7 frames, a labelling job takes 6"):
        assembled(pipeline, max_objects=6)
    # The failed call fixed nothing: with a larger limit the run goes on.
    published(pipeline, pipeline.verify(pipeline.assemble(7)))


def test_a_frame_without_a_pre_label_is_first_in_the_queue(pipeline: Pipeline) -> None:
    assembled(pipeline, PROVEN)
    pipeline.labels.write(pipeline.endpoints.taken[5].output_key, b"garbage")
    pipeline.label()
    assembly = pipeline.assemble()
    assert places(shown(pipeline, assembly))[0] == 5
    lines = published(pipeline, pipeline.verify(assembly))
    assert (lines[5]["provenance"]["labelled-by"], lines[5]["provenance"]["triage"]) == ("person", "doubtful")


def test_jobs_keep_to_their_limit_and_every_frame_comes_back(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN, max_objects=7)
    assert len(assembly.jobs) > 1
    assert all(0 < job.frames <= 7 for job in assembly.jobs)
    assert [job.first for job in assembly.jobs] == sorted({job.first for job in assembly.jobs})
    published(pipeline, pipeline.verify(assembly))


def test_a_missing_job_stops_the_publication(pipeline: Pipeline) -> None:
    jobs = pipeline.verify(assembled(pipeline, PROVEN, max_objects=7))
    with pytest.raises(CountMismatch, match="no verification job has"):
        pipeline.publish(jobs[1:])


def test_a_repeated_call_draws_the_same(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    before = dict(pipeline.labels.objects)
    assert pipeline.assemble() == assembly
    assert pipeline.labels.objects == before
    published(pipeline, pipeline.verify(assembly))
    after = dict(pipeline.labels.objects)
    published(pipeline, pipeline.verify(assembly))
    assert pipeline.labels.objects == after


@pytest.mark.parametrize("errors", [0, 60])
def test_later_proof_does_not_change_a_run_under_review(pipeline: Pipeline, errors: int) -> None:
    # A redriven run is assembled again after reviewers answered some of its jobs. A frame whose pre-label was hidden
    # once stays blind, and answers are in the jobs that reviewers were given.
    assembly = assembled(pipeline, PROVEN if errors else None, max_objects=7)
    before = dict(pipeline.labels.objects)
    prove(pipeline, "meanwhile", right=ENOUGH, wrong=errors)
    again = pipeline.assemble(max_objects=13)
    assert again == assembly
    changed = {key for key, body in pipeline.labels.objects.items() if before.get(key) != body}
    assert changed == {evidence_key(recipe(pipeline.run, LINK), "meanwhile", "0001")}
    published(pipeline, pipeline.verify(again))


def test_concurrent_assemblies_with_different_criteria_do_not_both_pass(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assembled(pipeline)
    key = PREFIX + "terms.json"
    first = pipeline.labels.objects.pop(key)
    prove(pipeline, "meanwhile")

    def lose(name: str, body: bytes, content_type: str = "application/json") -> bool:
        pipeline.labels.write(name, first)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.labels, "write_once", lose)
        with pytest.raises(CountMismatch, match="with other acceptance criteria meanwhile"):
            pipeline.assemble()
    published(pipeline, pipeline.verify(pipeline.assemble()))


def found_wrong(lines: list[bytes]) -> list[bytes]:
    """Answer as reviewers who delete every box."""
    found = [json.loads(line) for line in lines]
    for line in found:
        line["verified"]["annotations"] = line["verified-metadata"]["objects"] = []
    return [json.dumps(line).encode() for line in found]


def test_errors_in_audits_end_acceptance_and_are_announced(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN, audit=0.5)
    published(pipeline, pipeline.verify(assembly, found_wrong))
    ((subject, message),) = pipeline.announcements.told
    assert subject == f"Acceptance is off after {DRIVE} 0001"
    assert f"car was accepted until run {DRIVE} 0001: its newer audits show a precision below 0.95" in message
    assert any("car was accepted until" in note for note in summary(pipeline).notes)
    # And the next run asks reviewers again.
    evidence = list(read_evidence(pipeline.labels, recipe(pipeline.run, LINK)))
    policy = msgspec.convert({**POLICY, "audit": 0.5}, VerifyUncertain)
    assert "car" not in accepted_classes(class_records(evidence, policy))


def test_a_publication_that_is_repeated_later_leaves_the_evidence(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    jobs = pipeline.verify(assembly)
    published(pipeline, jobs)
    before = dict(pipeline.labels.objects)
    pipeline.now += 1_000
    published(pipeline, pipeline.verify(assembly, found_wrong))
    changed = {key for key, body in pipeline.labels.objects.items() if before.get(key) != body}
    assert {key for key in changed if "audit" in key} == set()
    assert before[PREFIX + "audit.json"] == before[evidence_key(recipe(pipeline.run, LINK), DRIVE, "0001")]


def test_old_evidence_is_told_and_does_not_count(pipeline: Pipeline) -> None:
    assembled(pipeline)
    pipeline.labels.objects.pop(PREFIX + "terms.json")
    old = {"recipe": recipe(pipeline.run), "drive": "old", "run": "0001", "published": "2026", "max_doubt": 0.15}
    rows = [
        ["any class", "recall", True, 0.05, 60, 0],
        *(["car", s, True, 0.05, 60, 0] for s in ("precision", "recall")),
    ]
    pipeline.labels.write(f"audits/{recipe(pipeline.run)}/old-0001.json", json.dumps({**old, "trials": rows}).encode())
    pipeline.assemble()
    assert "accepted" not in summary(pipeline).triage
    (said,) = summary(pipeline).acceptance
    assert said.startswith("1 run has audits from before they were kept by stretch")


def test_criteria_of_an_older_version_stay(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    terms = json.loads(pipeline.labels.objects[PREFIX + "terms.json"])
    del terms["certificates"]
    pipeline.labels.write(PREFIX + "terms.json", json.dumps(terms).encode())
    assert pipeline.assemble() == assembly
    assert summary(pipeline).certificates == ()


def test_of_two_concurrent_publications_one_reads_the_others_audits(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = pipeline.verify(assembled(pipeline, PROVEN))
    labels, listings = pipeline.labels, list[set[str]]()
    of_bucket = labels.list

    def meanwhile(prefix: str, after: str = "") -> Iterator[StoredObject]:
        found = list(of_bucket(prefix, after))
        if prefix.startswith("audits/") and not listings:
            listings.append({one.key for one in found})
            # The other run is a moment later.
            prove(pipeline, "meanwhile")
            listings.append({one.key for one in of_bucket(prefix)})
        return iter(found)

    monkeypatch.setattr(labels, "list", meanwhile)
    published(pipeline, jobs)
    ours, theirs = (evidence_key(recipe(pipeline.run, LINK), drive, "0001") for drive in (DRIVE, "meanwhile"))
    assert theirs in listings[0] or ours in listings[1]


def test_reviews_are_recorded_frame_by_frame(pipeline: Pipeline) -> None:
    published(pipeline, pipeline.verify(assembled(pipeline, PROVEN), found_wrong))
    rows = [json.loads(line) for line in pipeline.labels.lines(PREFIX + "reviewed.jsonl")]
    assert [row["position"] for row in rows] == list(range(FRAMES))
    assert [row["key"] for row in rows] == [frame_key(index) for index in range(FRAMES)]
    assert {row["triage"] for row in rows if not row.get("verified")} == {"accepted"}
    assert [row["classes"]["car"]["deleted"] for row in rows if row.get("verified")] == [1] * 16
    evidence = msgspec.json.decode(pipeline.labels.objects[PREFIX + "audit.json"], type=Evidence)
    # Each audited stretch shows one car.
    wrong = {"car": ClassErrors(precision=Count(1, 1))}
    assert [one.classes for one in evidence.stretches] == [wrong, wrong]
    assert {one.blind for one in evidence.stretches} == {True, False}


def shares(pipeline: Pipeline, revision: str = "0001") -> UncertaintyMap:
    """Put a map into the catalogue: every frame needs a change with a share of 0.05 to 0.14."""
    found = UncertaintyMap(planned_recipe(pipeline.run), revision, (0.0, 0.99), (0.05, 0.14), 1_000, 100)
    pipeline.labels.write(map_key(found.recipe), msgspec.json.encode(found))
    return found


def test_a_map_changes_what_is_uncertain_and_starts_the_proof_anew(pipeline: Pipeline) -> None:
    plan, kept = pipeline.plan, list[UncertaintyMap]()

    def plan_with_map(shard_frames: int) -> Plan:
        kept.append(shares(pipeline))
        return plan(shard_frames)

    pipeline.plan = plan_with_map  # type: ignore[method-assign]
    assembly = assembled(pipeline, PROVEN)
    # A map that comes later is for later runs.
    shares(pipeline, "0002")
    assert pipeline.assemble() == assembly
    assert summary(pipeline).triage == {"unproven": 32, "blind audit": 8}
    lines = published(pipeline, pipeline.verify(assembly))
    assert all(0.05 <= line["doubt"]["level"] <= 0.14 for line in lines if "doubt" in line)
    evidence = msgspec.json.decode(pipeline.labels.objects[PREFIX + "audit.json"], type=Evidence)
    assert (
        evidence.recipe
        == recipe(pipeline.run, LINK, kept[0].digest)
        != evidence.base_recipe
        == recipe(pipeline.run, LINK)
    )


def test_a_run_that_was_planned_without_a_map_stays_without_one(pipeline: Pipeline) -> None:
    assembly = assembled(pipeline, PROVEN)
    shares(pipeline)
    pipeline.plan(7)
    pipeline.label()
    assert pipeline.assemble() == assembly
    assert PREFIX + "uncertainty.json" not in pipeline.labels.objects
