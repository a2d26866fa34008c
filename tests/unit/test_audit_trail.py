"""The audits of a run, gathered while its dataset is written."""

from __future__ import annotations

from autolabel.agreement import ClassAgreement
from autolabel.audit_trail import AuditTrail
from autolabel.audits import PRECISION, RECALL, Evidence, Trials
from autolabel.drives import Camera, DriveDocument, Run
from autolabel.hindsight import Reviewed
from autolabel.manifest import LabelledBox
from autolabel.triage import ACCEPTED, ANY_CLASS, AUDIT, BLIND_AUDIT, DOUBTFUL, EVERYTHING, VerifyAll, VerifyDoubtful

RUN = Run("drive-1", "0001", DriveDocument("v", {"front": Camera()}), "e", ("m.0001",), "2026.1", ("car",))
CAR = LabelledBox("car", 10, 10, 50, 40, 0.9)
NOW = "2026-01-01T00:00:00Z"


def reviewed(position: int, kind: str, camera: str = "front") -> Reviewed:
    return Reviewed(f"{camera}/{position}", camera, position, kind, 0.1, (0.1,), claims=("car",))


def trail(*frames: Reviewed) -> Evidence:
    """The evidence of frames of one car that everybody sees."""
    of = AuditTrail(VerifyDoubtful(segment=10))
    for frame in frames:
        of.take(frame, [CAR], [CAR])
    return of.evidence(RUN, NOW)


def trials(count: int, *, blind: bool) -> list[Trials]:
    return [
        Trials(name, side, blind, 0.1, count, 0)
        for name, side in ((ANY_CLASS, RECALL), ("car", PRECISION), ("car", RECALL))
    ]


def test_a_run_without_frames_tells_nothing() -> None:
    assert trail().trials == ()


def test_what_became_of_a_frames_boxes_is_recorded() -> None:
    of = AuditTrail(VerifyAll())
    frame = reviewed(0, EVERYTHING)
    assert of.take(frame, [CAR], None) == frame
    seen = of.take(frame, [CAR], [])
    assert (seen.verified, seen.classes) == (True, {"car": ClassAgreement(deleted=1)})
    assert of.evidence(RUN, NOW).trials == ()


def test_only_audits_are_evidence() -> None:
    assert trail(reviewed(0, DOUBTFUL), reviewed(1, EVERYTHING), reviewed(2, ACCEPTED)).trials == ()


def test_a_segment_is_one_trial_of_its_car_though_doubtful_frames_lie_between() -> None:
    found = trail(*(reviewed(n, BLIND_AUDIT if n % 2 else DOUBTFUL) for n in range(10)))
    assert list(found.trials) == trials(1, blind=True)


def test_segments_cameras_and_kinds_are_told_apart() -> None:
    found = trail(
        reviewed(8, BLIND_AUDIT), reviewed(9, BLIND_AUDIT), reviewed(10, BLIND_AUDIT), reviewed(20, AUDIT),
        reviewed(20, AUDIT, "rear"), reviewed(21, AUDIT, "rear"),
    )  # fmt: skip
    assert sorted(found.trials) == sorted([*trials(2, blind=True), *trials(2, blind=False)])


def test_an_audit_that_nobody_finished_is_no_evidence() -> None:
    of = AuditTrail(VerifyDoubtful())
    of.take(reviewed(0, BLIND_AUDIT), [CAR], None)
    assert of.evidence(RUN, NOW).trials == ()
