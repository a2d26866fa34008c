"""Write the log of a run's reviews: triage and review of each frame, and the evidence of its audits."""

from __future__ import annotations

import gzip
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Self

import msgspec
from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import AGAIN, KEPT, VerifyUncertain
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.agreement import pair_boxes
from autolabel.labels.manifest import ManifestLine
from autolabel.triage.audit_trail import AuditTrail
from autolabel.triage.audits import Evidence, acceptance_status, evidence_key, proven_classes, read_evidence, recipe
from autolabel.triage.hindsight import Reviewed

# The log of a million crowded frames takes 600 MB, and a function has 512 MB of disk. Compressed, it takes less than a
# quarter.
_SPOOL_BYTES = 64_000_000
_FASTEST = 1


class ReviewLog:
    """Takes a run's frames in the drive's order. It is a context manager, because it gathers the log on disk."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._policy = run.document.verification
        self._places: Counter[str] = Counter()
        # Closed by __exit__.
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 (closed by __exit__)
        self._compressed = gzip.GzipFile(fileobj=self._spool, mode="wb", compresslevel=_FASTEST, mtime=0)
        self._audits = AuditTrail(self._policy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._compressed.close()
        self._spool.close()

    def take(self, line: ManifestLine, uncertainty: FrameUncertainty) -> None:
        """Take a line of the dataset. `line` has the pre-label as the models made it, and the reviewers' label."""
        camera = line.origin.camera
        # Segments are judged as well, though not box by box.
        in_run = line.origin.kept is None and line.origin.triage not in (KEPT, AGAIN)
        by_person = line.origin.labelled_by.by_person and in_run
        place = self._places[camera]
        self._places[camera] += 1
        reviewed = Reviewed(
            key=line.source_ref.partition("://")[2].partition("/")[2],
            camera=camera,
            position=place,
            triage=line.origin.triage,
            level=uncertainty.level,
            boxes=uncertainty.boxes,
            candidates=uncertainty.candidates,
            failed=uncertainty.failed,
            claims=uncertainty.claims,
            seconds=line.review.seconds if by_person and line.review is not UNSET else None,
        )
        pairs = pair_boxes(line.prelabel_boxes, line.verified_boxes) if line.judges_prelabel else None
        reviewed = self._audits.take(reviewed, pairs)
        self._compressed.write(msgspec.json.encode(reviewed) + b"\n")

    def write(self, label_bucket: Bucket, now: float) -> AcceptanceStatus:
        """Write the log and the run's evidence; return the acceptance status. `now`: seconds since the epoch."""
        run = self._run
        label_bucket.write_stream(run.folder.reviewed, self._lines(), "application/jsonl")
        published = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        evidence = self._audits.evidence(run, published)
        label_bucket.write(run.folder.audit, msgspec.json.encode(evidence))
        if not isinstance(self._policy, VerifyUncertain):
            return AcceptanceStatus((), ())
        # Written before the others' evidence is read: if two runs are published at once, at least one sees the other.
        label_bucket.write(evidence_key(recipe(run), run.drive, run.run), msgspec.json.encode(evidence))
        others = [
            one for one in read_evidence(label_bucket, recipe(run)) if (one.drive, one.run) != (run.drive, run.run)
        ]
        return _acceptance_status(others, evidence, self._policy)

    def _lines(self) -> Iterator[bytes]:
        self._compressed.close()
        self._spool.seek(0)
        with gzip.GzipFile(fileobj=self._spool, mode="rb") as lines:
            yield from lines


class AcceptanceStatus(msgspec.Struct, frozen=True):
    """How far classes are from acceptance, one sentence each; `fallen`: those that were accepted until this run."""

    sentences: tuple[str, ...]
    fallen: tuple[str, ...]


def _acceptance_status(others: list[Evidence], new: Evidence, policy: VerifyUncertain) -> AcceptanceStatus:
    before, after = proven_classes(others, policy), proven_classes([*others, new], policy)
    sentences = acceptance_status([*others, new], policy)
    fallen = (sentence for name, sentence in sentences.items() if name in before - after)
    return AcceptanceStatus(tuple(sentences.values()), tuple(fallen))
