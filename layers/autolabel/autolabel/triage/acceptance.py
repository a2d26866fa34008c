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
from autolabel.contracts.verification import VerifyUncertain
from autolabel.triage.audits import acceptance_status, proven_classes, read_evidence, recipe


class AcceptanceCriteria(msgspec.Struct, frozen=True, rename={"status": "standing"}):
    """`max_objects`: frames in one job. `proven`: classes that may be accepted without a person. `status`: how far each
    class is from acceptance, one sentence each."""

    max_objects: int
    proven: tuple[str, ...] = ()
    status: tuple[str, ...] = ()


def read_criteria(run: Run, label_bucket: Bucket, max_objects: int) -> AcceptanceCriteria:
    """Read the criteria that were fixed for a run, or make them from the evidence of today."""
    if (body := label_bucket.read(run.folder.acceptance_criteria)) is not None:
        return msgspec.json.decode(body, type=AcceptanceCriteria)
    return _current_criteria(run, label_bucket, max_objects)


def fix_criteria(run: Run, label_bucket: Bucket, criteria: AcceptanceCriteria) -> None:
    """Fix the criteria of a run's jobs. Raises CountMismatch if another call fixed other criteria meanwhile."""
    key, body = run.folder.acceptance_criteria, msgspec.json.encode(criteria)
    if not label_bucket.write_once(key, body) and label_bucket.read(key) != body:
        raise CountMismatch(f"{run.drive} {run.run} was assembled with other acceptance criteria meanwhile: redrive it")


def _current_criteria(run: Run, label_bucket: Bucket, max_objects: int) -> AcceptanceCriteria:
    policy = run.document.verification
    if not isinstance(policy, VerifyUncertain):
        return AcceptanceCriteria(max_objects)
    evidence = list(read_evidence(label_bucket, recipe(run)))
    proven = tuple(sorted(proven_classes(evidence, policy)))
    return AcceptanceCriteria(max_objects, proven, tuple(acceptance_status(evidence, policy).values()))
