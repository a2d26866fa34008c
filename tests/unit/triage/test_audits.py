"""Audits: verified frames prove classes of a recipe."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.verification import VerifyUncertain
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import LabelledBox
from autolabel.triage.audits import (
    PRECISION,
    RECALL,
    WINDOW,
    AuditedFrame,
    Auditing,
    ClassRecord,
    Count,
    Evidence,
    Trials,
    acceptance_status,
    evidence_key,
    evidence_prefix,
    proven_classes,
    recipe,
)
from autolabel.triage.bounds import lower_bound
from autolabel.triage.policy import ANY_CLASS

RUN = Run(
    "drive-1", "0001", DriveDocument("car", {"front": Camera()}), "e", ("m.0001", "n.0002"), "2026.1", ("car", "bus")
)
MAX_UNCERTAINTY = 0.15
POLICY = VerifyUncertain(max_uncertainty=MAX_UNCERTAINTY, target=0.95)
ENOUGH = WINDOW * 59
LATER = "2026-02-01T00:00:00Z"


def box(name: str = "car", left: float = 0) -> LabelledBox:
    return LabelledBox(name, left, 0, 100, 100, 1.0)


def frame(predicted: list[LabelledBox], verified: list[LabelledBox], level: float = 0.1) -> AuditedFrame:
    return AuditedFrame(level, pair_boxes(predicted, verified))


def audited(*frames: AuditedFrame, blind: bool = True) -> Evidence:
    """Gather the evidence of one audit stretch."""
    auditing = Auditing(MAX_UNCERTAINTY)
    auditing.take(frames, blind=blind)
    return auditing.evidence(RUN, LATER)


def counts(evidence: Evidence, *, blind_only: bool = True) -> dict[tuple[str, str], Count]:
    names = {(row.name, row.side) for row in evidence.trials}
    return {key: ClassRecord([evidence], key[0], POLICY).count(key[1], blind_only=blind_only) for key in names}


def run_with(
    number: int, trials: int, errors: int = 0, *, shown: tuple[int, int] = (0, 0), name: str = "car"
) -> Evidence:
    """Make the evidence of a run; each number is a drive. `shown`: trials and errors of audits that were not blind."""
    rows = [
        Trials(of, side, blind, 0.1, *count)
        for of, side in ((name, PRECISION), (name, RECALL), (ANY_CLASS, RECALL))
        for blind, count in ((True, (trials, errors)), (False, shown))
        if count[0]
    ]
    return Evidence(
        "r", f"drive-{number:03d}", "0001", f"2026-01-01T{number:06d}", MAX_UNCERTAINTY, tuple(sorted(rows))
    )


def test_no_audits_prove_nothing() -> None:
    assert audited().trials == ()
    assert counts(audited(frame([], []))) == {}
    assert proven_classes([], POLICY) == frozenset()
    assert acceptance_status([], POLICY) == {}


def test_an_object_over_neighbouring_frames_is_one_trial() -> None:
    moving = [frame([box(left=10 * n)], [box(left=10 * n)]) for n in range(10)]
    assert counts(audited(*moving)) == {
        ("car", PRECISION): (1, 0), ("car", RECALL): (1, 0), (ANY_CLASS, RECALL): (1, 0),
    }  # fmt: skip


def test_one_wrong_box_makes_the_whole_object_wrong() -> None:
    frames = [
        frame([box()], [box()]),
        frame([box(), box(left=500)], [box()]),
        frame([box(left=500)], [box(), box(left=500)]),
    ]
    # The second car is first a false alarm; the first car is missed at the end.
    assert counts(audited(*frames)) == {
        ("car", PRECISION): (2, 1), ("car", RECALL): (2, 1), (ANY_CLASS, RECALL): (2, 1),
    }  # fmt: skip


def test_stretches_are_independent() -> None:
    auditing = Auditing(MAX_UNCERTAINTY)
    for _ in range(3):
        auditing.take([frame([box()], [box()])], blind=True)
    assert counts(auditing.evidence(RUN, LATER))["car", PRECISION] == (3, 0)


def test_a_wrong_class_is_an_error_of_both_but_not_of_any_class() -> None:
    assert counts(audited(frame([box("car")], [box("bus")]))) == {
        ("car", PRECISION): (1, 1), ("bus", RECALL): (1, 1), (ANY_CLASS, RECALL): (1, 0),
    }  # fmt: skip


def test_a_badly_placed_box_is_wrong_but_finds_its_object() -> None:
    assert counts(audited(frame([box()], [box(left=25)]))) == {
        ("car", PRECISION): (1, 1), ("car", RECALL): (1, 0), (ANY_CLASS, RECALL): (1, 0),
    }  # fmt: skip


def test_an_object_without_a_box_is_missed_in_any_class() -> None:
    assert counts(audited(frame([], [box()]))) == {("car", RECALL): (1, 1), (ANY_CLASS, RECALL): (1, 1)}


def test_59_objects_without_an_error_prove_a_class_and_58_do_not() -> None:
    assert proven_classes([run_with(1, 59)], POLICY) == {"car", ANY_CLASS}
    assert proven_classes([run_with(1, 58)], POLICY) == frozenset()
    assert proven_classes([run_with(1, 30), run_with(2, 29)], POLICY) == {"car", ANY_CLASS}
    assert proven_classes([run_with(1, 93, 1)], POLICY) == {"car", ANY_CLASS}


def test_shown_audits_prove_nothing_but_may_contradict() -> None:
    assert not proven_classes([run_with(1, 0, shown=(400, 0))], POLICY)
    assert not proven_classes([run_with(1, 59, shown=(10, 4))], POLICY)


def test_evidence_of_certain_frames_proves_nothing_for_uncertain_ones() -> None:
    strict = run_with(1, 59)
    assert proven_classes([strict], VerifyUncertain(max_uncertainty=0.1))
    assert not proven_classes([strict], VerifyUncertain(max_uncertainty=0.2))
    # Its trials are of frames at 0.1, and a stricter policy would have accepted none of these.
    assert not proven_classes([strict], VerifyUncertain(max_uncertainty=0.05))


def test_an_error_counts_at_the_lowest_level_of_its_object() -> None:
    evidence = audited(frame([box()], [box()], 0.02), frame([box()], [], 0.14))
    strict = ClassRecord([evidence], "car", VerifyUncertain(max_uncertainty=0.05))
    assert strict.count(PRECISION, blind_only=True) == (1, 1)


def test_old_good_trials_do_not_hide_a_fall() -> None:
    good = [run_with(n, 200) for n in range(20)]
    assert proven_classes(good, POLICY)
    assert not proven_classes([*good, run_with(20, 200), run_with(21, 200, 30)], POLICY)


def test_old_errors_do_not_count_after_enough_newer_trials() -> None:
    assert proven_classes([run_with(1, 50, 50), run_with(2, ENOUGH)], POLICY)
    assert not proven_classes([run_with(1, 50, 50), run_with(2, ENOUGH - 1)], POLICY)


def test_objects_of_a_relabelled_drive_count_once() -> None:
    again = [msgspec.structs.replace(run_with(1, 30), run=f"{n:04d}") for n in range(1, 6)]
    assert ClassRecord(again, "car", POLICY).count(PRECISION, blind_only=True) == (30, 0)


def test_a_run_without_trials_of_a_class_does_not_replace_an_older_one() -> None:
    faulty, others = run_with(1, 10, 5), [run_with(n, 59) for n in (2, 3)]
    again = msgspec.structs.replace(run_with(9, 30, name="bus"), drive=faulty.drive, run="0002")
    shown = msgspec.structs.replace(run_with(9, 0, shown=(30, 0)), drive=faulty.drive, run="0003")
    assert not proven_classes([*others, faulty], POLICY) & {"car"}
    assert not proven_classes([*others, faulty, again], POLICY) & {"car"}
    assert ClassRecord([faulty, again, shown], "car", POLICY).count(RECALL, blind_only=True) == (10, 5)


def test_the_status_says_how_far_each_class_is() -> None:
    so_far = [run_with(1, 71), run_with(2, 12, name="bus"), run_with(3, 20, 1, name="person")]
    # The objects of all three classes count for any class.
    assert list(acceptance_status(so_far, POLICY).values()) == [
        "any class: recall ≥ 0.954 (103 objects, 1 error): accepted",
        "bus: precision 12 of 59 objects so far (0 errors), recall 12 of 59 objects so far (0 errors)",
        "car: precision ≥ 0.958 (71 objects, 0 errors), recall ≥ 0.958 (71 objects, 0 errors): accepted",
        "person: precision 20 of 93 objects so far (1 error), recall 20 of 93 objects so far (1 error)",
    ]


def test_the_status_gives_the_bound_if_no_more_objects_can_prove_it() -> None:
    (_, said) = acceptance_status([run_with(1, 100, 20)], POLICY).values()
    known = f"bound is only {lower_bound(100, 20):.4f}"[:19] + " (100 objects, 20 errors)"
    assert said == f"car: precision {known}, recall {known}"


def test_a_higher_target_counts_more_objects() -> None:
    assert proven_classes([run_with(n, 300) for n in range(3)], VerifyUncertain(target=0.99)) == {"car", ANY_CLASS}
    assert not proven_classes([run_with(0, 298)], VerifyUncertain(target=0.99))


def test_the_status_says_when_acceptance_ended_and_why() -> None:
    fallen = [run_with(1, 100), run_with(2, 100), run_with(3, 20, 9), run_with(4, 1)]
    (_, said) = acceptance_status(fallen, POLICY).values()
    bound = f"{lower_bound(221, 9):.4f}"[:5]
    assert said == f"car was accepted until run drive-003 0001: its precision bound fell to {bound}; acceptance is off"


def test_the_status_tells_a_contradiction_by_shown_audits() -> None:
    (_, said) = acceptance_status([run_with(1, 100), run_with(2, 0, shown=(50, 20))], POLICY).values()
    bound = f"{lower_bound(150, 20):.4f}"[:5]
    assert said == f"car was accepted until run drive-002 0001: its precision bound fell to {bound}; acceptance is off"


@pytest.mark.parametrize("version", ["FUSION", "UNCERTAINTY_VERSION"])
def test_another_fusion_or_uncertainty_version_is_another_recipe(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe(RUN)
    monkeypatch.setattr(f"autolabel.triage.audits.{version}", "2030.1")
    assert recipe(RUN) != before


def test_a_recipe_depends_on_revisions_but_not_on_their_order() -> None:
    assert recipe(RUN) == recipe(msgspec.structs.replace(RUN, drive="drive-2", models=RUN.models[::-1]))
    for changes in ({"models": ("m.0001", "n.0003")}, {"taxonomy": "2026.2"}, {"labels": ("car",)}):
        assert recipe(msgspec.structs.replace(RUN, **changes)) != recipe(RUN)  # type: ignore[arg-type]  # of any field


def test_evidence_is_read_as_written_under_its_recipes_key() -> None:
    evidence = audited(frame([box()], [box(), box("bus", 300)]))
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence
    key = evidence_key(evidence.recipe, evidence.drive, evidence.run)
    assert key == f"audits/{recipe(RUN)}/drive-1-0001.json"
    assert key.startswith(evidence_prefix(recipe(RUN)))


names = st.sampled_from(["car", "bus"])
placed = st.builds(box, names, st.integers(0, 300))
frames_ = st.lists(
    st.builds(frame, st.lists(placed, max_size=4), st.lists(placed, max_size=4), st.floats(0, MAX_UNCERTAINTY)),
    max_size=4,
)


@given(st.lists(st.tuples(frames_, st.booleans()), max_size=5), st.randoms())
def test_stretches_may_come_in_any_order(taken: list[tuple[list[AuditedFrame], bool]], order: random.Random) -> None:
    def gathered() -> bytes:
        auditing = Auditing(MAX_UNCERTAINTY)
        for frames, blind in taken:
            auditing.take(frames, blind=blind)
        return msgspec.json.encode(auditing.evidence(RUN, LATER))

    first = gathered()
    order.shuffle(taken)
    assert gathered() == first


@given(frames_)
def test_each_object_is_counted_once(frames: list[AuditedFrame]) -> None:
    for (name, side), (trials, errors) in counts(audited(*frames)).items():
        boxes = [
            [b for pair in f.pairs if (b := pair[side != PRECISION]) and name in (b.name, ANY_CLASS)] for f in frames
        ]
        assert max(map(len, boxes)) <= trials <= sum(map(len, boxes))
        assert 0 <= errors <= trials


history = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3)), max_size=6)


@given(history, st.randoms())
def test_evidence_may_be_listed_in_any_order(runs: list[tuple[int, int]], order: random.Random) -> None:
    evidence = [run_with(n, trials, min(errors, trials)) for n, (trials, errors) in enumerate(runs)]
    said, proven = acceptance_status(evidence, POLICY), proven_classes(evidence, POLICY)
    order.shuffle(evidence)
    assert acceptance_status(evidence, POLICY) == said
    assert proven_classes(evidence, POLICY) == proven
    accepted = {name for name, sentence in said.items() if sentence.endswith(": accepted")}
    assert accepted == proven


@given(st.integers(0, 300), st.integers(0, 5))
def test_a_lower_target_is_never_harder(trials: int, errors: int) -> None:
    evidence = [run_with(1, trials, min(errors, trials))]
    proven = [
        ClassRecord(evidence, "car", VerifyUncertain(target=target)).is_proven() for target in (0.8, 0.9, 0.95, 0.99)
    ]
    assert all(easier or not harder for easier, harder in itertools.pairwise(proven))


@pytest.mark.parametrize("level", [0.0, 0.004, 0.07, 0.1499, 0.15])
def test_levels_are_rounded_up_within_the_policy(level: float) -> None:
    (row, *_) = audited(frame([box()], [box()], level)).trials
    assert level <= row.level <= min(MAX_UNCERTAINTY, level + 0.01)
