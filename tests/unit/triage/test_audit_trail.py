"""The audits of a run are gathered while its dataset is written."""

from __future__ import annotations

from collections import Counter

import msgspec

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.verification import (
    ACCEPTED,
    AUDIT,
    BLIND_AUDIT,
    EVERYTHING,
    UNCERTAIN,
    UNPROVEN,
    VerifyAll,
    VerifyUncertain,
)
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import LabelledBox
from autolabel.triage.audit_trail import AuditTrail
from autolabel.triage.audits import AuditedStretch, ClassErrors, Count, Evidence, Recipe
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.policy import ANY_CLASS, claims, draw_audits, is_acceptable, stretch_of, triage_frame
from autolabel.triage.proof import accepted_classes, class_records

RUN = Run("drive-1", "0001", DriveDocument("v", {"front": Camera()}), "e", ("m.0001",), "2026.1", ("car",))
CAR = LabelledBox("car", 10, 10, 50, 40, 0.9)
NOW = "2026-01-01T00:00:00Z"


def reviewed(position: int, kind: str, camera: str = "front") -> Reviewed:
    return Reviewed(f"{camera}/{position}", camera, position, kind, 0.1, (0.1,), claims=("car",))


def trail(*frames: Reviewed) -> Evidence:
    """Gather the evidence of frames with one car that the models and the reviewer see."""
    of = AuditTrail(VerifyUncertain(stretch=10))
    for frame in frames:
        of.take(frame, pair_boxes([CAR], [CAR]))
    return of.evidence(RUN, NOW, Recipe("r", "r"))


def stretch(camera: str, position: int, *, blind: bool) -> AuditedStretch:
    """Return an audit stretch with one car, which the models found."""
    right = Count(1, 0)
    return AuditedStretch(
        camera, position, blind, {ANY_CLASS: ClassErrors(recall=right), "car": ClassErrors(right, right)}
    )


def test_a_run_without_frames_has_no_evidence() -> None:
    assert trail().stretches == ()


def test_nothing_is_audited_if_reviewers_get_every_frame() -> None:
    of = AuditTrail(VerifyAll())
    of.take(reviewed(0, AUDIT), pair_boxes([CAR], []))
    assert of.evidence(RUN, NOW, Recipe("r", "r")).stretches == ()


def test_only_audits_are_evidence() -> None:
    assert trail(reviewed(0, UNCERTAIN), reviewed(1, EVERYTHING), reviewed(2, ACCEPTED)).stretches == ()


def test_a_car_in_a_stretch_counts_once_despite_uncertain_frames() -> None:
    found = trail(*(reviewed(n, BLIND_AUDIT if n % 2 else UNCERTAIN) for n in range(10)))
    assert found.stretches == (stretch("front", 0, blind=True),)


def test_each_stretch_of_each_camera_is_a_row() -> None:
    found = trail(
        reviewed(8, BLIND_AUDIT, "rear"), reviewed(20, AUDIT, "rear"), reviewed(21, AUDIT, "rear"),
        reviewed(8, BLIND_AUDIT), reviewed(9, BLIND_AUDIT), reviewed(10, BLIND_AUDIT),
    )  # fmt: skip
    assert found.stretches == (
        stretch("front", 0, blind=True), stretch("front", 10, blind=True),
        stretch("rear", 0, blind=True), stretch("rear", 20, blind=False),
    )  # fmt: skip


def test_a_stretch_is_blind_only_if_all_its_audited_frames_are() -> None:
    assert trail(reviewed(0, BLIND_AUDIT), reviewed(1, AUDIT)).stretches == (stretch("front", 0, blind=False),)


def test_evidence_has_the_settings_that_it_was_gathered_by() -> None:
    policy = VerifyUncertain(max_uncertainty=0.2, target=0.9, stretch=7)
    assert AuditTrail(policy).evidence(RUN, NOW, Recipe("r", "r")).counts_under(policy)


def test_an_unfinished_audit_gives_no_evidence() -> None:
    of = AuditTrail(VerifyUncertain())
    of.take(reviewed(0, BLIND_AUDIT), None)
    assert of.evidence(RUN, NOW, Recipe("r", "r")).stretches == ()


class Fleet:
    """Labels drives under one policy, one after another. Each frame shows a car, and each hundredth is uncertain."""

    def __init__(self, policy: VerifyUncertain, frames: int = 600) -> None:
        self.policy = policy
        self.frames = frames
        self.evidence: list[Evidence] = []

    def drive(self, *, missed: int = 0) -> Counter[str]:
        """Label, triage, verify and publish a drive. The models miss the car in `missed` of each ten stretches."""
        run = msgspec.structs.replace(RUN, drive=f"drive-{len(self.evidence)}")
        proven = accepted_classes(class_records(self.evidence, self.policy))
        levels = {position: 0.9 if position % 100 == 99 else 0.1 for position in range(self.frames)}
        stretches = {position: stretch_of(self.policy, "front", position) for position in levels}
        shown = {position: stretches[position].number % 10 >= missed for position in levels}
        claimed = {position: claims(["car"] if found else []) for position, found in shown.items()}
        acceptable = [position for position, level in levels.items() if is_acceptable(self.policy, level)]
        draw = draw_audits(self.policy, run.drive, run.run, ((stretches[p], claimed[p]) for p in acceptable), proven)
        of = AuditTrail(self.policy)
        kinds: Counter[str] = Counter()
        for position, level in levels.items():
            kind = triage_frame(self.policy, level, claimed[position], proven, stretches[position], draw)
            kinds[kind] += 1
            frame = Reviewed(f"{position}", "front", position, kind, level, (level,), claims=tuple(claimed[position]))
            of.take(frame, None if kind == ACCEPTED else pair_boxes([CAR] if shown[position] else [], [CAR]))
        self.evidence.append(of.evidence(run, f"2026-01-01T{len(self.evidence):06d}", Recipe("r", "r")))
        return kinds


def test_acceptance_begins_and_ends_with_proof() -> None:
    fleet = Fleet(VerifyUncertain())
    first = fleet.drive()
    # Six of its 60 stretches are audited, all blind, and nothing is accepted.
    assert first == {UNCERTAIN: 6, BLIND_AUDIT: first[BLIND_AUDIT], UNPROVEN: 594 - first[BLIND_AUDIT]}
    assert 54 <= first[BLIND_AUDIT] <= 60
    while ACCEPTED not in (kinds := fleet.drive()):
        assert AUDIT not in kinds
    # 104 stretches prove the class and each drive audits six, so the nineteenth drive has accepted frames.
    assert len(fleet.evidence) == 19
    assert kinds.total() == fleet.frames
    assert kinds[ACCEPTED] > 0.85 * fleet.frames
    assert 26 <= kinds[AUDIT] <= 30
    assert 26 <= kinds[BLIND_AUDIT] <= 30
    # Now the models miss cars. Audits find it, although the models are certain about the empty frames.
    worse = [fleet.drive(missed=5) for _ in range(3)]
    assert ACCEPTED in worse[0]
    assert ACCEPTED not in worse[-1]
    said = str(class_records(fleet.evidence, fleet.policy)[ANY_CLASS])
    assert said.startswith("any class was accepted until run drive-")
