"""Status of a drive as values. `autolabel status --json` prints them as they are."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from autolabel.reporting import MANY_REJECTED
from autolabel_cli.drives.job_attempts import Unit
from autolabel_cli.drives.log_status import LogStatus

NOT_STARTED = "NOT_STARTED"


class Execution(msgspec.Struct, frozen=True):
    """Execution of a run. `status`: as Step Functions gives it, or NOT_STARTED. `error`: one sentence.

    `not_redrivable`: for one that ended badly, why Step Functions refuses a redrive.
    """

    arn: str
    status: str = NOT_STARTED
    started: datetime | None = None
    ended: datetime | None = None
    redrives: int = 0
    error: str = ""
    not_redrivable: str = ""


class RunEntry(msgspec.Struct, frozen=True):
    """Run of the drive. `outcome`: as the ledger has it, empty until the run ends well."""

    run: str
    allocated: datetime | None
    outcome: str
    execution: Execution


class Upload(msgspec.Struct, frozen=True):
    """Drive that is not closed. `closes`: when the sweep closes it, or has its document read, if nothing happens.

    `document`: the state of drive.json. `refused`: why it was refused. `oldest`: time of the first object. `more`:
    there are more objects than were counted.
    """

    objects: int
    newest: datetime | None
    document: Literal["none", "waiting", "refused"]
    refused: str = ""
    closes: datetime | None = None
    oldest: datetime | None = None
    more: bool = False


class ModelStatus(msgspec.Struct, frozen=True):
    """Units of a run for one model.

    Pending units are `queued` (no endpoint took them yet), `parked` (not queued until their endpoint is back),
    `invoked` (at the endpoint) or `overdue` (the next reconcile pass submits them again). `answered`: None while it is
    unknown. `reasons`: those of the failed units. `endpoint_state`: InService when the endpoint takes requests.
    `gives_up`: when the last pending unit of a removed model is failed, if its endpoint stays away; None if they wait.
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
    gives_up: datetime | None = None

    @property
    def pending(self) -> int:
        return self.queued + self.parked + self.invoked + self.overdue

    @property
    def paused(self) -> bool:
        return self.endpoint_state != "InService"


class JobStatus(msgspec.Struct, frozen=True):
    """Latest attempt at a labelling job. `status`: as Ground Truth gives it. `unit`: what is counted.

    `labelled` includes earlier attempts whose answers were taken in. `round`: 2 for a second look at some frames of the
    first round. `workteam`: name of its work team. `portal`: where the team works, empty when it is unknown. `hourly`:
    units labelled in an hour on average since the attempt began, None when there are none yet.
    """

    job: str
    status: str
    labelled: int
    unlabelled: int
    failed: int
    reason: str = ""
    round: int = 1
    workteam: str = ""
    portal: str = ""
    hourly: float | None = None
    unit: Unit = "frame"

    @property
    def frames(self) -> int:
        return self.labelled + self.unlabelled + self.failed


class ProjectStatus(msgspec.Struct, frozen=True):
    """Project of a job in Label Studio. `project`: its id, empty while it is being created.

    `done` of its `total` tasks are answered or skipped, as the run last counted them; None before the first count.
    `whole`: the frames of the job's first round, if this is the second. `hourly`: tasks done in an hour on average from
    the opening to the last count; None when it is unknown.
    """

    job: str
    project: str
    frames: int
    done: int | None = None
    total: int | None = None
    whole: int = 0
    hourly: float | None = None

    @property
    def answered(self) -> int:
        """The frames of the job that have an answer; those of a second look have none until that look is over."""
        return max(0, (self.whole or self.frames) - self.frames + (self.done or 0))


def hourly(count: int, seconds: float) -> float | None:
    """Return an average for an hour. None while nothing is counted, or in less than a minute."""
    return 3_600 * count / seconds if count and seconds >= 60 else None


class EarlierLabels(msgspec.Struct, frozen=True):
    """Labels of reviewers from earlier runs. `collected`: frames by the run of their newest label.

    `missing`: labels by job that Ground Truth counted and that did not come. `kept`: frames by the run whose label they
    keep; `again`: frames that reviewers get again, by reason; both are None until the run is assembled.
    """

    collected: dict[str, int]
    missing: dict[str, int]
    kept: dict[str, int] | None = None
    again: dict[str, int] | None = None


class Changes(msgspec.Struct, frozen=True):
    """Objects that differ from the run's frozen listing.

    `more`: time of the last upload that was reported and is not compared with the listing yet. In most cases it was
    there before the listing was frozen, and only its report came later.
    """

    late: int = 0
    overwritten: int = 0
    deleted: int = 0
    more: datetime | None = None

    @property
    def any(self) -> bool:
        return bool(self.late or self.overwritten or self.deleted)


class DeadLetters(msgspec.Struct, frozen=True):
    """Dead-letter queue. `messages`: all; `of_drive`: those of this drive among the first, with their `reasons`."""

    queue: str
    messages: int
    of_drive: int = 0
    reasons: dict[str, int] = {}


class RunStatus(msgspec.Struct, frozen=True):
    """Run that the status is about. `state`: of its execution, entered at `since`. `turn`: number of reconcile passes.

    `frames`: of its listing, None until that is frozen. `refused`: objects that the listing rejected. `rejected`: all
    rejected objects by reason: those of the listing, and from assembly on also those that were rejected in labelling.
    `logs`: logs that are not extracted yet; `missing`: expected frames that have not arrived; the run waits for
    them until `patient_until`. `pending` units and `paused` models: as the latest reconcile pass found them.
    """

    run: str
    latest: bool
    execution: Execution
    state: str = ""
    since: datetime | None = None
    turn: int = 0
    frames: int | None = None
    refused: int = 0
    rejected: dict[str, int] = {}
    missing: int = 0
    logs: int = 0
    patient_until: datetime | None = None
    pending: int = 0
    paused: tuple[str, ...] = ()
    models: tuple[ModelStatus, ...] = ()
    jobs: tuple[JobStatus, ...] = ()
    projects: tuple[ProjectStatus, ...] = ()
    changes: Changes = Changes()
    earlier: EarlierLabels | None = None

    @property
    def objects(self) -> int:
        """The objects of the listing."""
        return (self.frames or 0) + self.refused

    @property
    def many_rejected(self) -> bool:
        """Whether operators are told of the rejections."""
        return sum(self.rejected.values()) > MANY_REJECTED * self.objects


class DriveStatus(msgspec.Struct, frozen=True):
    """Status of a drive. `refused_keys`: number of uploads with keys outside the contract.

    `logs_refused`: why the drive is not closed although its logs have ended; empty if that is not so.
    """

    drive: str
    at: datetime
    upload: Upload | None
    refused_keys: int
    runs: tuple[RunEntry, ...]
    run: RunStatus | None
    dead_letters: tuple[DeadLetters, ...]
    logs: tuple[LogStatus, ...] = ()
    logs_refused: str = ""
