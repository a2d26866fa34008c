"""Terms: how a run's frames are given to people, fixed when its jobs are made for the first time.

A redriven run is assembled again, when people have answered some of its jobs. By then other drives' audits may prove
something else: what people were shown would count as a blind audit, and their answers would lie in other jobs.
"""

from __future__ import annotations

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import VerifyUncertain
from autolabel.triage.audits import acceptance_status, proven_classes, read_evidence, recipe


class AcceptanceCriteria(msgspec.Struct, frozen=True, rename={"status": "standing"}):
    """`max_objects`: frames in one job. `proven`: classes that may be accepted without a person; `standing`: how far
    classes are from it, a sentence each."""

    max_objects: int
    proven: tuple[str, ...] = ()
    status: tuple[str, ...] = ()


def read_criteria(run: Run, labels: Bucket, max_objects: int) -> AcceptanceCriteria:
    """The terms that were fixed for a run, or those of now."""
    if (body := labels.read(run.folder.acceptance_criteria)) is not None:
        return msgspec.json.decode(body, type=AcceptanceCriteria)
    return _terms_of_now(run, labels, max_objects)


def fix_criteria(run: Run, labels: Bucket, criteria: AcceptanceCriteria) -> None:
    """Fix the terms by which a run's jobs were made; CountMismatch when another call fixed other ones meanwhile."""
    key, body = run.folder.acceptance_criteria, msgspec.json.encode(criteria)
    if not labels.write_once(key, body) and labels.read(key) != body:
        raise CountMismatch(f"{run.drive} {run.run} was assembled on other terms meanwhile: redrive it")


def _terms_of_now(run: Run, labels: Bucket, max_objects: int) -> AcceptanceCriteria:
    policy = run.document.verification
    if not isinstance(policy, VerifyUncertain):
        return AcceptanceCriteria(max_objects)
    evidence = list(read_evidence(labels, recipe(run)))
    proven = tuple(sorted(proven_classes(evidence, policy)))
    return AcceptanceCriteria(max_objects, proven, tuple(acceptance_status(evidence, policy).values()))
