"""The summary of a run, which operators read first, and the rule that its counts must satisfy."""

from __future__ import annotations

import msgspec

from autolabel.contracts.drive import Sensors
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import BOXES, Task
from autolabel.labelling.earlier_labels import EarlierCounts
from autolabel.labelling.shards import ModelTally
from autolabel.reporting.findings import Agreement
from autolabel.reporting.reviewer_agreement import ReviewerAgreement
from autolabel.reporting.vigilance import Vigilance
from autolabel.sequences.linked_shards import CameraLinks
from autolabel.triage.proof import Certificate

# Above this share of a run's objects, rejections are more than a few bad frames: operators are told.
MANY_REJECTED = 0.1


class FrameCounts(msgspec.Struct, frozen=True):
    """Counts where the frames of the frozen listing ended. Always: uploaded = labelled + failed + rejected.

    Reviewers get `failed` frames without a pre-label; `rejected` frames are in no manifest.
    """

    uploaded: int
    labelled: int
    failed: int
    rejected: int

    def check(self, run: str) -> None:
        """Raise CountMismatch, with the run's name, if a frame is lost or counted twice."""
        if self.uploaded != self.labelled + self.failed + self.rejected:
            raise CountMismatch(f"run {run}: {self} does not add up")


class JobOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The counts of a finished job. `frames` (in its manifest) = `verified` + `scripted` + `failed`.

    `verified`: with a person's label; `unadjusted`: verified without a change; `unsure`: verified, but a reviewer is
    still unsure; `scripted`: with a label of a script; `failed`: without a label after all `rounds`. `several`: frames
    that several reviewers were asked for; of these, `short` ones have fewer answers, and reviewers differed about
    `disputed` ones.
    """

    job: str
    status: str
    frames: int
    verified: int = 0
    unadjusted: int = 0
    failed: int = 0
    rounds: int = 1
    unsure: int = 0
    scripted: int = 0
    several: int = 0
    short: int = 0
    disputed: int = 0


class CuboidCounts(msgspec.Struct, frozen=True):
    """Boxes of a run's labels that were `lifted` to cuboids, and those `without` one by reason.

    Where reviewers got the cuboids of `frames`: the cuboids by whose they are (`origins`), those that reviewers `added`
    for objects without a box, and the frames that came back without a label by reason (`unverified`).
    """

    lifted: int
    without: dict[str, int]
    origins: dict[str, int] = {}
    added: int = 0
    unverified: dict[str, int] = {}
    frames: int = 0


class Summary(msgspec.Struct, frozen=True):
    """The summary of a run.

    `reasons`: frames that are failed (without a usable pre-label) or rejected, by reason; `dropped`: the models' boxes
    that were left out, by reason; `by_model`: counts of each model; `notes`: sentences for operators; `triage`: frames
    by kind; `acceptance`: the acceptance status of classes, by past audits. `certificates`: what was proven of them
    when the run was assembled, by which its frames were accepted. `task`: what reviewers verify. `earlier`: what became
    of the labels that persons made in earlier runs. `tracks`: of the pre-labels' boxes, by camera.

    Set when the run is published: `verification`, `dataset`, `labelled_by` (frames of the dataset by labelled-by),
    `unverified` (those without a verified label, by reason, where `#` stands for numbers and ids), `agreement`, and
    `reviewers`, how far several reviewers of the same frames agree, `vigilance`, where reviewers were shown seeds, and
    `cuboids` and the calibrated `sensors`, of a drive that asks for cuboids.
    """

    drive: str
    run: str
    frames: FrameCounts
    boxes: int
    classes: dict[str, int]
    reasons: dict[str, dict[str, int]]
    dropped: dict[str, int]
    models: tuple[str, ...]
    taxonomy: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    verification: tuple[JobOutcome, ...] = ()
    dataset: str = ""
    by_model: dict[str, ModelTally] = {}
    labelled_by: dict[str, int] = {}
    triage: dict[str, int] = {}
    acceptance: tuple[str, ...] = ()
    agreement: Agreement | None = None
    task: Task = BOXES
    unverified: dict[str, int] = {}
    earlier: EarlierCounts = msgspec.field(default_factory=EarlierCounts)
    tracks: dict[str, CameraLinks] = {}
    certificates: tuple[Certificate, ...] = ()
    reviewers: ReviewerAgreement | None = None
    vigilance: Vigilance | None = None
    cuboids: CuboidCounts | None = None
    sensors: Sensors | None = None
