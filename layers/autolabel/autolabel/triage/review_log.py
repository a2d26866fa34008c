"""The log of a run's reviews: triage and review of each frame, and the evidence of its audits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import recipe
from autolabel.contracts.verification import AGAIN, KEPT, VerifyAll, VerifyKeyFrames
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.agreement import Pair, count_agreement, pair_boxes
from autolabel.labels.manifest import ManifestLine
from autolabel.triage.acceptance import read_limits
from autolabel.triage.audit_trail import AuditTrail
from autolabel.triage.audits import count_old_evidence, evidence_key, read_evidence, read_recipe
from autolabel.triage.hindsight import Reviewed
from autolabel.triage.interpolation import InterpolationRecords, at_limits
from autolabel.triage.proof import acceptance_sentences, accepted_classes, class_records
from autolabel.triage.redrawn import RedrawnTally


class AcceptanceStatus(msgspec.Struct, frozen=True):
    """How far classes are from acceptance, one sentence each; `fallen`: those that were accepted until this run."""

    sentences: tuple[str, ...]
    fallen: tuple[str, ...]


def review_frame(
    line: ManifestLine, uncertainty: FrameUncertainty, position: int
) -> tuple[Reviewed, Sequence[Pair] | None]:
    """Return a frame's line of the log, and its boxes of the pre-label paired with a person's; None without these.

    `line`: of the dataset, with the pre-label as the models made it. `position`: among the camera's frames, from 0.
    """
    # Segments are judged as well, though not box by box.
    in_run = line.origin.kept is None and line.origin.triage not in (KEPT, AGAIN)
    by_person = line.origin.labelled_by.by_person and in_run
    pairs = pair_boxes(line.prelabel_boxes, line.verified_boxes) if line.judges_prelabel else None
    reviewed = Reviewed(
        key=line.source_ref.partition("://")[2].partition("/")[2],
        camera=line.origin.camera,
        position=position,
        triage=line.origin.triage,
        level=uncertainty.level,
        boxes=uncertainty.boxes,
        candidates=uncertainty.candidates,
        failed=uncertainty.failed,
        claims=uncertainty.claims,
        verified=pairs is not None,
        classes=count_agreement(pairs) if pairs is not None else {},
        seconds=line.review.seconds if by_person and line.review is not UNSET else None,
    )
    return reviewed, pairs


def write_evidence(
    run: Run, audits: AuditTrail, redrawn: RedrawnTally, label_bucket: Bucket, now: float
) -> AcceptanceStatus:
    """Write the evidence of a run's audits; return the acceptance status. `now`: seconds since the epoch.

    `redrawn`: the key boxes that a second person labelled blind.
    """
    published = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    evidence = audits.evidence(run, published, read_recipe(run, label_bucket))
    policy = run.document.verification
    if isinstance(policy, VerifyAll):
        label_bucket.write(run.folder.audit, msgspec.json.encode(evidence))
        return AcceptanceStatus((), ())
    if isinstance(policy, VerifyKeyFrames):
        evidence = at_limits(evidence, read_limits(run, label_bucket))
        evidence = msgspec.structs.replace(evidence, redrawn=redrawn.classes)
    # Written before the others' evidence is read: if two runs are published at once, at least one sees the other. Only
    # once, since a repeated publication is later, and would move the run's stretches in the sequence.
    key = evidence_key(evidence.recipe, run.drive, run.run)
    label_bucket.write_once(key, msgspec.json.encode(evidence))
    found = list(read_evidence(label_bucket, evidence.recipe))
    # An excluded run that is published again is not among them.
    evidence = next((one for one in found if (one.drive, one.run) == (run.drive, run.run)), evidence)
    label_bucket.write(run.folder.audit, msgspec.json.encode(evidence))
    if isinstance(policy, VerifyKeyFrames):
        return AcceptanceStatus(InterpolationRecords(found, policy).sentences(), ())
    before = accepted_classes(class_records((one for one in found if one is not evidence), policy))
    records = class_records(found, policy)
    fallen = tuple(str(record) for name, record in records.items() if name in before and not record.is_accepted)
    # Of version 1, when nothing was linked.
    old = count_old_evidence(label_bucket, recipe(run))
    return AcceptanceStatus(acceptance_sentences(records, found, policy, old), fallen)
