"""Acceptance criteria of a run: what decides which of its frames reviewers get. They are fixed with its first jobs.

A redriven run is assembled again, perhaps after reviewers answered some of its jobs. By then the audits of other drives
may prove other classes. With new criteria, frames whose pre-label was shown would count as blind audits, and answers
would be in the wrong jobs. Until an assembly succeeds, no reviewer was asked, and everything can still change: a run
that is refused goes on with another `max_objects` after a redrive.
"""

from __future__ import annotations

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import recipe
from autolabel.contracts.verification import VerifyAll, VerifyKeyFrames
from autolabel.triage.audits import count_old_evidence, read_evidence, read_recipe
from autolabel.triage.interpolation import InterpolationRecords
from autolabel.triage.proof import Certificate, acceptance_sentences, accepted_classes, class_records


class AcceptanceCriteria(msgspec.Struct, frozen=True, rename={"status": "standing"}):
    """`max_objects`: frames in one job; `strip_frames`: in one strip, 0 for jobs without strips.

    `proven`: classes that may be accepted without a person. `status`: how far each class is from acceptance, one
    sentence each. `certificates`: of all audited classes; absent in an older run. `limits`: under the policy
    `key-frames`, the IoU of the classes for which the policy's own did not hold. `seeds`: the name of the seeded
    errors; empty without vigilance.
    """

    max_objects: int
    proven: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    limits: dict[str, float] = {}
    strip_frames: int = 0
    seeds: str = ""


def read_criteria(run: Run, label_bucket: Bucket, max_objects: int, strip_frames: int = 0) -> AcceptanceCriteria:
    """Read the criteria that were fixed for a run, or make them from the evidence of today."""
    return _fixed_criteria(run, label_bucket) or _current_criteria(run, label_bucket, max_objects, strip_frames)


def fix_criteria(run: Run, label_bucket: Bucket, criteria: AcceptanceCriteria) -> None:
    """Fix the criteria of a run's jobs. Raises CountMismatch if another call fixed other criteria meanwhile."""
    body = msgspec.json.encode(criteria)
    is_first = label_bucket.write_once(run.folder.acceptance_criteria, body)
    # Not compared as bytes: an older document lacks newer fields.
    if not is_first and _fixed_criteria(run, label_bucket) != criteria:
        raise CountMismatch(f"{run.drive} {run.run} was assembled with other acceptance criteria meanwhile: redrive it")


def read_limits(run: Run, label_bucket: Bucket) -> dict[str, float]:
    """Read the IoUs that were fixed for a run under `key-frames`, of the classes with another than the policy's."""
    criteria = _fixed_criteria(run, label_bucket)
    return criteria.limits if criteria else {}


def _fixed_criteria(run: Run, label_bucket: Bucket) -> AcceptanceCriteria | None:
    body = label_bucket.read(run.folder.acceptance_criteria)
    return None if body is None else msgspec.json.decode(body, type=AcceptanceCriteria)


def _current_criteria(run: Run, label_bucket: Bucket, max_objects: int, strip_frames: int) -> AcceptanceCriteria:
    policy = run.document.verification
    if isinstance(policy, VerifyAll):
        return AcceptanceCriteria(max_objects, strip_frames=strip_frames)
    evidence = list(read_evidence(label_bucket, read_recipe(run, label_bucket).full))
    if isinstance(policy, VerifyKeyFrames):
        found = InterpolationRecords(evidence, policy)
        return AcceptanceCriteria(max_objects, status=found.sentences(), limits=found.limits())
    # Of version 1, when nothing was linked.
    old = count_old_evidence(label_bucket, recipe(run))
    records = class_records(evidence, policy)
    return AcceptanceCriteria(
        max_objects,
        proven=tuple(sorted(accepted_classes(records))),
        status=acceptance_sentences(records, evidence, policy, old),
        certificates=tuple(record.certificate() for record in records.values()),
        strip_frames=strip_frames,
    )
