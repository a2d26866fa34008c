"""What `status` knows of a drive, as values; `--json` prints them as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

NOT_STARTED = "NOT_STARTED"
# Of the executions that ended so, a redrive resumes one.
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")


class Execution(msgspec.Struct, frozen=True):
    """A run's execution. `status`: Step Functions' own, or NOT_STARTED. `error`: one sentence.

    `not_redrivable`: why a redrive is refused, of one that ended badly.
    """

    arn: str
    status: str = NOT_STARTED
    started: datetime | None = None
    ended: datetime | None = None
    redrives: int = 0
    error: str = ""
    not_redrivable: str = ""


class RunEntry(msgspec.Struct, frozen=True):
    """A run of the drive. `outcome`: the ledger's, empty while it has not ended well."""

    run: str
    allocated: datetime | None
    outcome: str
    execution: Execution


class Upload(msgspec.Struct, frozen=True):
    """A drive that is not closed. `closes`: when the schedule closes it, or asks for its document, if nothing comes.

    `document`: what became of drive.json; of a refused one `refused` says why.
    """

    objects: int
    newest: datetime | None
    document: Literal["none", "waiting", "refused"]
    refused: str = ""
    closes: datetime | None = None


class ModelStatus(msgspec.Struct, frozen=True):
    """The units of a run before one model.

    Pending ones are `queued` (no endpoint took them yet), `parked` (left to the run until their endpoint is back),
    `invoked` (at the endpoint) or `overdue` (asked for again at the next turn). `answered`: None while that is not
    known. `reasons`: of the failed ones. `endpoint_state`: InService when it takes requests.
    """

    model: str
    endpoint: str
    endpoint_state: str
    answered: int | None = None
    queued: int = 0
    parked: int = 0
    invoked: int = 0
    overdue: int = 0
    failed: int = 0
    reasons: dict[str, int] = {}

    @property
    def pending(self) -> int:
        return self.queued + self.parked + self.invoked + self.overdue

    @property
    def paused(self) -> bool:
        return self.endpoint_state != "InService"


class JobStatus(msgspec.Struct, frozen=True):
    """A labelling job's latest attempt, in frames; `status`: Ground Truth's."""

    job: str
    status: str
    labelled: int
    unlabelled: int
    failed: int
    reason: str = ""


class ProjectStatus(msgspec.Struct, frozen=True):
    """A job's project in Label Studio that people work in; `project`: its id, empty while it is being opened.

    `done` of its `total` tasks are answered or skipped, as of the run's latest look; None before the first.
    """

    job: str
    project: str
    frames: int
    done: int | None = None
    total: int | None = None


class Changes(msgspec.Struct, frozen=True):
    """Objects that are not as the run's listing froze them; `more`: when something was reported that nobody has
    compared with the listing yet."""

    late: int = 0
    overwritten: int = 0
    deleted: int = 0
    more: datetime | None = None

    @property
    def any(self) -> bool:
        return bool(self.late or self.overwritten or self.deleted)


class DeadLetters(msgspec.Struct, frozen=True):
    """A dead-letter queue. `messages`: in all; `of_drive`: of this drive, among the first ones, with their reasons."""

    queue: str
    messages: int
    of_drive: int = 0
    reasons: dict[str, int] = {}


class RunStatus(msgspec.Struct, frozen=True):
    """The run that is looked at. `state`: of its execution, entered `since`; `turn`: how often the run has looked.

    `frames` and `refused`: objects of its listing, None until that is frozen. `missing`: promised frames that have not
    arrived, which are waited for until `patient_until`.
    """

    run: str
    latest: bool
    execution: Execution
    state: str = ""
    since: datetime | None = None
    turn: int = 0
    frames: int | None = None
    refused: int = 0
    missing: int = 0
    patient_until: datetime | None = None
    models: tuple[ModelStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    projects: tuple[ProjectStatus, ...] = ()
    changes: Changes = Changes()


class DriveStatus(msgspec.Struct, frozen=True):
    """All that is known of a drive. `refused_keys`: uploads outside the contract of keys."""

    drive: str
    at: datetime
    upload: Upload | None
    refused_keys: int
    runs: tuple[RunEntry, ...]
    run: RunStatus | None
    dead_letters: tuple[DeadLetters, ...]
