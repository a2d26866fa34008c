"""Labelling jobs of Ground Truth, with all attempts that a run made of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from autolabel.contracts.ports import Bucket, LabelingJobs, LabelingJobState
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import BOXES, CUBOIDS
from autolabel.verification import SEQUENCES, attempts_of, rounds_of

Unit = Literal["frame", "strip"]


class AttemptedJob(msgspec.Struct, frozen=True):
    """A job of one round. `name` and `latest`: its latest attempt; `earlier`: what the attempts before it labelled and
    that counts. All counts are in the `unit` of the job: frames, or strips of frames where tracks are verified."""

    name: str
    round: int
    latest: LabelingJobState
    earlier: int

    @property
    def labelled(self) -> int:
        return self.earlier + self.latest.labelled

    @property
    def whole(self) -> int:
        return self.labelled + self.latest.unlabelled + self.latest.failed

    @property
    def unit(self) -> Unit:
        return "strip" if self.latest.manifest.endswith(SEQUENCES) else "frame"


def attempted_jobs(label_bucket: Bucket, jobs: LabelingJobs, drive: str, run: str) -> Iterator[AttemptedJob]:
    """Yield the labelling jobs of a run that were created."""
    folder = RunFolder(drive, run)
    rounds = ((one, task) for task in (BOXES, CUBOIDS) for one in rounds_of(label_bucket, folder, task))
    for one, task in rounds:
        stem = one.job_stem(label_bucket.name, folder, task)
        taken = len(list(attempts_of(label_bucket, one)))
        latest: LabelingJobState | None = None
        earlier, attempt = 0, 1
        while found := jobs.describe(f"{stem}-{attempt}"):
            if latest and attempt - 1 <= taken:
                earlier += latest.labelled
            latest, attempt = found, attempt + 1
        if latest:
            yield AttemptedJob(f"{stem}-{attempt - 1}", one.round, latest, earlier)
