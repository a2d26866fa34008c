"""The summary of a run: what an operator reads first, and what its counts must satisfy."""

from __future__ import annotations

import msgspec

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import BOXES, Task
from autolabel.labelling.shards import ModelTally
from autolabel.reporting.findings import Agreement


class FrameCounts(msgspec.Struct, frozen=True):
    """Where the frames of the frozen listing ended: uploaded = labelled + failed + rejected, always.

    `failed` frames go to people without a pre-label; `rejected` ones are in no manifest.
    """

    uploaded: int
    labelled: int
    failed: int
    rejected: int

    def check(self, run: str) -> None:
        """Raise CountMismatch, naming the run, when a frame is lost or counted twice."""
        if self.uploaded != self.labelled + self.failed + self.rejected:
            raise CountMismatch(f"run {run}: {self} does not add up")


class JobOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One verification job. `frames`: in its manifest; `verified`: with a person's label, of which some stayed
    `unadjusted` and of some people are still `unsure`; `failed`: without a label after all `rounds`."""

    job: str
    status: str
    frames: int
    verified: int = 0
    unadjusted: int = 0
    failed: int = 0
    rounds: int = 1
    unsure: int = 0


class Summary(msgspec.Struct, frozen=True):
    """`reasons`: failed and rejected frames by reason; `dropped`: the models' boxes that were left out, by why;
    `by_model`: what each model came to; `notes`: what a person should know; `triage`: frames of the manifests by why
    people were given them, or not; `acceptance`: how far classes are from being accepted, by past audits.
    `verification`, `dataset`, `labelled_by` (frames of the dataset by who said so) and `agreement` come when the run is
    published. `task`: what people verified.
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
