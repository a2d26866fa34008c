"""Overview of a stack's drives: state, frames, age, and what each waits for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.frames import is_name
from autolabel.drives import is_canary
from autolabel.streams import map_in_order
from autolabel_cli.drives.log_status import ENDED_BADLY
from autolabel_cli.operations.advice import waits_for
from autolabel_cli.operations.drive_status import NOT_STARTED, DriveStatus
from autolabel_cli.operations.inspection import Inspection
from autolabel_cli.stack import Stack

OPEN = "OPEN"
# Threads: a look at a drive mostly waits for AWS. boto3's clients have ten connections each.
_LOOKERS = 8
_SERVICES = ("s3", "dynamodb", "stepfunctions", "sagemaker")


class DriveEntry(msgspec.Struct, frozen=True):
    """Drive of an overview, with its latest run.

    `status`: OPEN before the drive is closed, then as Step Functions gives it, or NOT_STARTED. `state`: of the run's
    execution, while it runs or where it ended badly. `since`: when the run was allocated; of an open drive, when its
    first object came. `frames`: of the listing, None until that is frozen; of an open drive, the number of its objects,
    counted up to a thousand; `more`: there are more.
    """

    drive: str
    run: str
    status: str
    state: str
    since: datetime | None
    frames: int | None
    more: bool
    waits_for: tuple[str, ...]


class Overview(msgspec.Struct, frozen=True):
    """Drives of a stack: open ones first, then those whose runs began last.

    `known`: number of the stack's drives. `complete`: whether all that were asked for are in `drives`.
    """

    at: datetime
    drives: tuple[DriveEntry, ...]
    known: int
    complete: bool


class Wanted(NamedTuple):
    """Choice of drives: `failed`, whose latest run needs an operator; `waiting`, those that wait for anything."""

    failed: bool = False
    waiting: bool = False

    @property
    def some(self) -> bool:
        """Check whether only some drives are wanted."""
        return self.failed or self.waiting

    def may_be(self, status: str) -> bool:
        """Check a drive by its status alone."""
        if self.failed:
            return status in (*ENDED_BADLY, NOT_STARTED)
        return not self.waiting or status != "SUCCEEDED"

    def is_chosen(self, entry: DriveEntry) -> bool:
        """Check a drive after a look at it."""
        return not self.waiting or bool(entry.waits_for)


class _Known(NamedTuple):
    """A drive's name, and the status of each of its executions by run, the latest first."""

    drive: str
    executions: dict[str, str]


def look_over(stack: Stack, wanted: Wanted, limit: int, now: float) -> Overview:
    """Look at the first `limit` wanted drives. `now`: seconds since the epoch."""
    # Making a client takes long, and only using one is safe in several threads.
    stack = dataclasses.replace(stack, client=cache(stack.client))
    for service in _SERVICES:
        stack.client(service)
    known = list(_known_drives(stack))
    looked_at = known if wanted.some else known[:limit]
    found = (entry for entry in map_in_order(_Look(stack, wanted, now), looked_at, _LOOKERS) if entry)
    drives = tuple(itertools.islice(found, limit))
    # Of the others, it matters only whether there is one.
    complete = next(found, None) is None if wanted.some else len(known) <= limit
    return Overview(datetime.fromtimestamp(now, UTC), drives, len(known), complete)


def _known_drives(stack: Stack) -> Iterator[_Known]:
    """Yield the open drives, then those with executions, the latest first, then older ones by their names backwards.

    Step Functions forgets an execution 90 days after its end, so it also knows drives that were erased.
    """
    executions: dict[str, dict[str, str]] = {}
    pages = stack.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.outputs["StateMachineArn"], PaginationConfig={"PageSize": 1_000}):
        for execution in page["executions"]:
            drive, _, run = execution["name"].rpartition("-")
            executions.setdefault(drive, {})[run] = execution["status"]
    # The frames of a closed drive may be gone.
    closed = set(stack.ledger.closed_drives())
    # Canaries come every night, and their records stay. An alarm tells of one that did not end.
    named = {one for one in closed.union(stack.ingest.folders("drives/")) if is_name(one) and not is_canary(one)}
    others = sorted(named - executions.keys(), reverse=True)
    ran = (drive for drive in executions if drive in named)
    for drive in (*(d for d in others if d not in closed), *ran, *(d for d in others if d in closed)):
        yield _Known(drive, executions.get(drive, {}))


class _Look:
    """Looks at one drive after the other, in several threads."""

    def __init__(self, stack: Stack, wanted: Wanted, now: float) -> None:
        self._stack = stack
        self._wanted = wanted
        self._now = now
        self._portals: dict[str, str] = {}

    def __call__(self, known: _Known) -> DriveEntry | None:
        """Look at a drive; None when it is not wanted."""
        latest = self._stack.ledger.latest_run(known.drive)
        status = OPEN if latest is None else known.executions.get(latest.run) or self._status(latest.drive, latest.run)
        if not self._wanted.may_be(status):
            return None
        inspection = Inspection(self._stack, known.drive, now=self._now, portals=self._portals)
        glanced = inspection.glance(latest, status)
        entry = DriveEntry(
            drive=known.drive,
            run=latest.run if latest else "",
            status=status,
            state=glanced.run.state if glanced.run else "",
            since=_since(glanced, latest),
            frames=_frames(glanced),
            more=bool(glanced.upload and glanced.upload.more),
            waits_for=tuple(waits_for(glanced)),
        )
        return entry if self._wanted.is_chosen(entry) else None

    def _status(self, drive: str, run: str) -> str:
        """Return the status of a run whose execution was not listed: a new one, or one that is long over."""
        if self._stack.ledger.outcome(drive, run):
            return "SUCCEEDED"
        return Inspection(self._stack, drive, now=self._now).execution(run).status


def _frames(glanced: DriveStatus) -> int | None:
    if glanced.upload:
        return glanced.upload.objects
    return glanced.run.frames if glanced.run else None


def _since(glanced: DriveStatus, latest: Run | None) -> datetime | None:
    if glanced.upload:
        return glanced.upload.oldest
    return datetime.fromtimestamp(latest.since, UTC) if latest and latest.since else None
