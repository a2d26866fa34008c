"""What `autolabel triage` reads of published runs, and what it proposes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import boto3
import msgspec
import pytest
from click.testing import CliRunner, Result

from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import (
    BLIND_AUDIT,
    EVERYTHING,
    TRACKS,
    AuditedPolicy,
    VerifyKeyFrames,
    VerifyUncertain,
)
from autolabel.labelling.uncertainty_map import UncertaintyMap, map_key
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.audits import evidence_key
from autolabel.triage.hindsight import Reviewed
from autolabel_cli.__main__ import main
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket
from tests.fakes.evidence import evidence_of
from tests.fakes.pipeline import Pipeline, drive_document
from tests.unit.datasets.test_assembly import labelled

PROVEN = 110
# Other settings than the defaults, so that they are taken from the evidence.
POLICY = VerifyUncertain(0.2, target=0.9, stretch=5)


@pytest.fixture
def stack(aws: None, monkeypatch: pytest.MonkeyPatch) -> Stack:
    s3 = create_bucket("labels", boto3.client("s3"))
    stack = Stack("autolabel", {"LabelBucketName": "labels"}, {}, lambda _: s3)
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    return stack


def publish(
    stack: Stack,
    drive: str,
    frames: Sequence[Reviewed],
    *,
    run: str = "0001",
    recipe: str = "r",
    audited: int = 0,
    policy: AuditedPolicy = POLICY,
) -> None:
    published = f"2026-01-01T{len(list(stack.labels.list(''))):06d}"
    evidence = evidence_of(recipe, drive, policy, right=audited, run=run, published=published)
    for key in (RunFolder(drive, run).audit, evidence_key(recipe, drive, run)):
        stack.labels.write(key, msgspec.json.encode(evidence))
    stack.labels.write(RunFolder(drive, run).reviewed, b"".join(msgspec.json.encode(frame) + b"\n" for frame in frames))


def frames(count: int, *, uncertainty: float = 0.1, wrong: int = 0, kind: str = EVERYTHING) -> list[Reviewed]:
    """Frames of one car each, of segments of their own; one more was missed in `wrong` of them."""
    found = []
    for n in range(count):
        classes = {"car": ClassAgreement(kept=1, added=int(n < wrong))}
        of = Reviewed(f"{n}", "front", 10 * n, kind, uncertainty, (uncertainty,), (), 0.0, ("car",), True, classes, 2.0)
        found.append(of)
    return found


Triage = Callable[..., Result]


@pytest.fixture
def triage() -> Triage:
    return lambda *arguments: CliRunner().invoke(main, ["triage", *arguments])


def test_without_reviews_there_is_nothing_to_learn(stack: Stack, triage: Triage) -> None:
    stack.labels.write("labels/d1/0001/summary.json", b"{}")
    found = triage()
    assert found.exit_code == 1
    assert "no published run has reviews yet" in found.output
    assert "drive d1 has no published run with reviews" in triage("d1").output


def test_it_proposes_what_is_proven_and_says_what_was_wrong(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", [*frames(PROVEN), *frames(PROVEN, uncertainty=0.4, wrong=30)], audited=60)
    found = json.loads(triage("--json").stdout)
    assert found["runs"] == ["d1 0001"]
    proposal = found["proposal"]
    assert (proposal["max_doubt"], proposal["floor"], proposal["accepted"], proposal["seen"]) == (0.1, 0.15, 110, 110)
    assert (proposal["faulty"], proposal["seconds"]) == (0, 220.0)
    lax = next(one for one in found["outcomes"] if (one["max_doubt"], one["floor"]) == (0.4, 0.15))
    assert (lax["faulty"], lax["missed"], lax["accepted"]) == (30, 30, 0)
    assert found["standings"][1].startswith("car: accepted since run d1 0001 (precision with 0 of 51 objects wrong")


def test_a_person_reads_the_same(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(PROVEN))
    said = triage("d1", "--max-doubt", "0.2").output
    assert "proposed: max_doubt 0.2: 110 of 110 frames accepted; of 110 frames" in said.replace("\n", " ")
    assert "no frame was in a blind audit" in said
    assert "…" not in said, "a heading was cut off"
    publish(stack, "d1", [*frames(PROVEN, wrong=2), *frames(5, kind=BLIND_AUDIT)])
    said = triage("d1", "--max-doubt", "0.2").output
    # In the table, which wraps at words.
    assert "2: 2" in said
    assert "missed" in said
    assert "misnamed" not in said
    publish(stack, "d1", frames(PROVEN, kind=BLIND_AUDIT))
    assert "no frame was in a blind audit" not in triage("d1").output


def test_too_little_evidence_proposes_nothing_and_says_how_far_it_is(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(PROVEN, wrong=20))
    said = triage().output.replace("\n", " ")
    assert "no setting is proven to reach 0.95" in said
    assert "(20 of 130 objects wrong in 110 audit stretches)" in said


def test_it_says_whether_interpolation_holds_between_key_frames(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(PROVEN), audited=60, policy=VerifyKeyFrames(0.9, target=0.9))
    found = json.loads(triage("--json").stdout)
    assert found["standings"][1].startswith("car: interpolation between key frames at an IoU of 0.9 holds since run d1")


def test_it_says_how_far_classes_are_in_strips(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(PROVEN), audited=60, policy=msgspec.structs.replace(POLICY, task=TRACKS))
    assert json.loads(triage("--json").stdout)["standings"][1].startswith("car: accepted since run d1 0001")


def test_drives_count_together_and_each_by_its_newest_run(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(55, wrong=30))
    publish(stack, "d1", frames(55), run="0002")
    publish(stack, "d2", frames(55))
    found = json.loads(triage("--json").stdout)
    assert found["runs"] == ["d1 0002", "d2 0001"]
    assert (found["frames"], found["proposal"]["accepted"]) == (110, 110)


def test_runs_of_other_models_are_left_out_by_name(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(30), recipe="old")
    publish(stack, "d2", frames(30), recipe="new")
    found = json.loads(triage("--json").stdout)
    assert (found["recipe"], found["runs"], found["left_out"]) == ("new", ["d2 0001"], ["d1 0001"])
    assert "left out, because of other models or classes, or excluded: d1 0001" in triage().output


def test_what_a_run_publishes_is_what_it_reads(stack: Stack, triage: Triage) -> None:
    pipeline = Pipeline()
    document = drive_document(verification={"policy": "doubtful", "segment": 1, "audit": 0.5})
    pipeline.publish(pipeline.verify(labelled(pipeline, 6, document=document).assemble()))
    for key, body in pipeline.labels.objects.items():
        stack.labels.write(key, body)
    found = json.loads(triage("--json", "--max-doubt", "0.05", "--max-doubt", "0.5").stdout)
    assert (found["frames"], found["verified"], found["blind"]) == (6, 6, 3)
    # One car in each frame; the annotator leaves it out where no box is shown.
    lax = next(one for one in found["outcomes"] if one["max_doubt"] == 0.5)
    assert (lax["acceptable"], lax["faulty"], lax["false_alarms"]) == (6, 3, 3)
    (status,) = found["standings"]
    assert status.startswith("car: precision 3 audit stretches so far")


def test_settings_that_make_no_sense_are_refused(stack: Stack, triage: Triage) -> None:
    assert triage("--max-doubt", "1").exit_code == 2
    assert triage("--target", "1").exit_code == 2


def certain(count: int, share: float) -> list[Reviewed]:
    """Frames of low uncertainty that need a change as often as those of high uncertainty should."""
    wrong = round(count * share)
    return [*frames(count - wrong, uncertainty=0.3), *frames(wrong, uncertainty=0.3, wrong=wrong)]


def test_uncertainty_is_calibrated_for_later_runs_and_a_repeated_call_changes_nothing(
    stack: Stack, triage: Triage
) -> None:
    publish(stack, "d1", certain(200, 0.05), recipe="new")
    publish(stack, "d2", frames(200, uncertainty=0.7, wrong=100), recipe="new")
    publish(stack, "d0", frames(200, wrong=200), recipe="old", run="0001")
    publish(stack, "d3", frames(1), recipe="new")
    found = json.loads(triage("--calibrate", "--json").stdout)
    assert (found["written"], found["left_out"]) == (True, ["d0 0001"])
    of = msgspec.json.decode(stack.labels.read(map_key("new")) or b"", type=UncertaintyMap)
    assert (of.revision, of.share(0.3), of.share(0.7)) == ("0001", pytest.approx(0.05, abs=0.01), 0.5)
    said = triage("--calibrate").output
    assert "map 0001 has these shares already: nothing was written" in said
    assert "too few blind audits" in said
    # Now a limit is a share: 0.2 takes in the frames of level 0.3.
    outcomes = json.loads(triage("--max-doubt", "0.2", "--json").stdout)
    assert (outcomes["uncertainty_map"], outcomes["outcomes"][0]["acceptable"]) == ("0001", 201)
    publish(stack, "d4", frames(50, uncertainty=0.7, wrong=50), recipe="new")
    assert "map 0002 is written" in triage("--calibrate").output


def test_too_few_reviewed_frames_calibrate_nothing(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", frames(30))
    found = triage("--calibrate")
    assert found.exit_code == 1
    assert "reviewed frames of 30 audit stretches are too few" in found.output
    assert "100 are needed" in found.output.replace("\n", " ")
    assert stack.labels.read(map_key("r")) is None


def test_it_says_what_a_limit_saves_of_the_reviewers_time(stack: Stack, triage: Triage) -> None:
    publish(stack, "d1", [*frames(PROVEN), *frames(PROVEN, uncertainty=0.4, wrong=30)], audited=60)
    found = json.loads(triage("--json").stdout)
    # Half of the time is for frames within the limit, and a tenth of these is audited.
    assert (found["proposal"]["saved"], found["proposal"]["most_saved"]) == (0.45, 0.45)
    assert "it saves 45% of the reviewers' time" in triage().output
