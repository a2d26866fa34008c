"""Inspection of a drive: reads its status from the stack's buckets, ledger, executions and queues."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import SageMakerEndpointStates, SageMakerLabelingJobs, error_code
from autolabel.contracts.drive import FIRST_RUN, Run, execution_name, next_run
from autolabel.contracts.errors import CatalogueUnavailable
from autolabel.contracts.frames import DRIVE_DOCUMENT, drive_prefix, is_name, logs_prefix
from autolabel.contracts.logs import log_document_key
from autolabel.contracts.ports import Refusal
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import PENDING_PARTITIONS, answers_prefix
from autolabel.datasets import Collected
from autolabel.drives import ChangedObject, ListingSummary, changed_objects, frozen_listing
from autolabel.labels import LabelledBy
from autolabel.models import Catalogue
from autolabel.reporting import Summary
from autolabel_cli.drives.existence import invalid_name, unknown_drive
from autolabel_cli.drives.failures import failure_sentence
from autolabel_cli.drives.job_attempts import Unit, attempted_jobs
from autolabel_cli.drives.log_status import ENDED_BADLY, read_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.advice import ASKING_STATES, STATES
from autolabel_cli.operations.dead_letters import QUEUES, DeadLetterQueue
from autolabel_cli.operations.drive_status import (
    NOT_STARTED,
    Changes,
    DeadLetters,
    DriveStatus,
    EarlierLabels,
    Execution,
    JobStatus,
    ModelStatus,
    ProjectStatus,
    RunEntry,
    RunStatus,
    Upload,
    hourly,
)
from autolabel_cli.operations.projects import open_project, open_projects
from autolabel_cli.stack import Stack

# Reasons of failures differ in numbers and ids. This many are listed, and the others are counted together.
_MOST_REASONS = 20
_MAX_REASON = 200
# The objects of a drive that are listed to find late ones. More take seconds, so they are left to --full and the sweep.
_MOST_COMPARED = 20_000
# The objects of an open drive that a glance looks at: one page of a listing.
_MOST_GLANCED = 1_000
_OTHERS = "others"
# The state that takes in what reviewers answered before a job ended early. Definitions of 0.1.0 do not have it.
_TAKES_ANSWERS = "TakeAnswers"
# The label of Verify's map in the address of its runs.
_JOBS = "/Jobs:"


class Answered(NamedTuple):
    """How far reviewers are: `done` of all `of`, in the `unit` of their jobs."""

    done: int
    of: int
    unit: Unit = "frame"


class Inspection:
    """Reads the status of a drive once. `now`: seconds since the epoch. `full`: count the answers one by one.

    `portals`: addresses of work teams by their ARN, for inspections that share them.
    """

    def __init__(
        self, stack: Stack, drive: str, *, now: float, full: bool = False, portals: dict[str, str] | None = None
    ) -> None:
        self._stack = stack
        self._drive = drive
        self._now = now
        self._full = full
        self._states = stack.client("stepfunctions")
        self._sagemaker = stack.client("sagemaker")
        self._labeling_jobs = SageMakerLabelingJobs(self._sagemaker)
        self._db = stack.client("dynamodb")
        self._portals = {} if portals is None else portals

    def drive(self, run: str | None = None) -> DriveStatus:
        """Read the status of the drive with its named or latest run. CommandError when the drive or run is unknown."""
        if not is_name(self._drive):
            raise invalid_name(self._drive)
        refusals, document = self._refusals()
        runs = tuple(self._runs())
        upload = None if runs else self._upload(document)
        if upload and not upload.objects and upload.document == "none":
            raise unknown_drive(self._stack, self._drive)
        looked_at = next((entry for entry in reversed(runs) if run in (None, entry.run)), None)
        if run is not None and looked_at is None:
            known = ", ".join(entry.run for entry in runs) or "none"
            raise CommandError(f"drive {self._drive!r} has no run {run!r}; its runs are: {known}")
        logs_key = log_document_key(self._drive)
        newest = max((thing.modified for thing in self._stack.ingest.list(logs_prefix(self._drive))), default=0.0)
        told = next((refusal for refusal in refusals if refusal.key == logs_key), None)
        # One from before the newest log or document does not count any more.
        logs_refused = told.detail if told and told.at >= newest else ""
        return DriveStatus(
            drive=self._drive,
            at=_time(self._now),
            upload=upload,
            refused_keys=len(refusals) - (document is not None) - (told is not None),
            runs=runs,
            run=self._run(looked_at, latest=looked_at is runs[-1]) if looked_at else None,
            dead_letters=tuple(self._dead_letters(queue) for queue in QUEUES),
            logs=tuple(read_logs(self._stack, self._drive)),
            logs_refused=logs_refused if upload else "",
        )

    def glance(self, run: Run | None, status: str) -> DriveStatus:
        """Read what costs little for a drive of any size: its state and its reviewers, but nothing of single units.

        `run`: its latest run, None for an open drive. `status`: of the run's execution.
        """
        if run is None:
            upload = self._upload(self._refusals()[1], most=_MOST_GLANCED)
            logs = tuple(read_logs(self._stack, self._drive))
            return DriveStatus(self._drive, _time(self._now), upload, 0, (), None, (), logs)
        execution = Execution(self._stack.execution_arn(execution_name(self._drive, run.run)), status)
        state, since, turn = self._state(execution)
        glanced = _run_status(run, execution, state, since, turn, frozen_listing(self._stack.labels, run.folder))
        if status == "RUNNING" and state == "Verify":
            glanced = msgspec.structs.replace(
                glanced, jobs=tuple(self._jobs(run.run)), projects=tuple(self._projects(execution))
            )
        return DriveStatus(self._drive, _time(self._now), None, 0, (), glanced, ())

    def execution(self, run: str) -> Execution:
        """Describe the execution of a run."""
        arn = self._stack.execution_arn(execution_name(self._drive, run))
        try:
            found = self._states.describe_execution(executionArn=arn)
        except ClientError as e:
            if error_code(e) == "ExecutionDoesNotExist":
                return Execution(arn)
            raise
        badly = found["status"] in ENDED_BADLY and found.get("redriveStatus") != "REDRIVABLE"
        return Execution(
            arn,
            found["status"],
            started=_utc(found["startDate"]),
            # A redriven execution runs again, and its earlier end no longer counts.
            ended=_utc(found.get("stopDate")) if found["status"] != "RUNNING" else None,
            redrives=found.get("redriveCount", 0),
            error=failure_sentence(found.get("error", ""), found.get("cause", "")),
            not_redrivable=found.get("redriveStatusReason", "Step Functions gives no reason") if badly else "",
        )

    def answered(self, run: str, execution: Execution) -> Answered:
        """Count the frames of a run with a person's label, and all frames that reviewers got or that keep a label.

        Where tracks are verified, it counts strips, and no kept label, until the run is published.
        """
        if summary := self._summary(run):
            by_person = sum(summary.labelled_by.get(by.value, 0) for by in LabelledBy if by.by_person)
            if summary.dataset:
                return Answered(by_person, sum(summary.labelled_by.values()))
        started = execution.status != NOT_STARTED
        jobs, projects = list(self._jobs(run)), self._projects(execution) if started else []
        unit = jobs[0].unit if jobs else "frame"
        kept = sum(summary.earlier.kept.values()) if summary and unit == "frame" else 0
        # Frames of a second look are counted in the first round too, and have no final label yet.
        again = sum(job.frames - job.labelled for job in jobs if job.round > 1)
        done = sum(job.labelled for job in jobs if job.round == 1) - again + sum(one.answered for one in projects)
        frames = sum(job.frames for job in jobs if job.round == 1) + sum(one.whole or one.frames for one in projects)
        return Answered(kept + max(0, done), kept + frames, unit)

    def forgets_answers(self, run: str, execution: Execution) -> bool:
        """Check whether a redrive would ask again for answered frames, because the run's definition is an old one."""
        if not any(job.status in ("Stopping", "Stopped", "Failed") and job.labelled for job in self._jobs(run)):
            return False
        found = self._states.describe_state_machine_for_execution(executionArn=execution.arn)
        return f'"{_TAKES_ANSWERS}"' not in found["definition"]

    def _summary(self, run: str) -> Summary | None:
        body = self._stack.labels.read(RunFolder(self._drive, run).summary)
        return msgspec.json.decode(body, type=Summary) if body else None

    def _refusals(self) -> tuple[list[Refusal], Refusal | None]:
        """Return the first refusals of the drive, and that of its document."""
        refusals = list(itertools.islice(self._stack.ledger.refusals(self._drive), 1_000))
        key = drive_prefix(self._drive) + DRIVE_DOCUMENT
        return refusals, next((refusal for refusal in refusals if refusal.key == key), None)

    def _runs(self) -> Iterator[RunEntry]:
        latest = self._stack.ledger.latest_run(self._drive)
        name = FIRST_RUN
        while latest and name <= latest.run:
            run = self._stack.ledger.find_run(self._drive, name)
            if run:
                outcome = self._stack.ledger.outcome(self._drive, name)
                yield RunEntry(name, _time(run.since) if run.since else None, outcome, self.execution(name))
            name = next_run(name)

    def _upload(self, refusal: Refusal | None, most: int | None = None) -> Upload:
        """Describe a drive that is open. `most`: the number of objects to look at."""
        key = drive_prefix(self._drive) + DRIVE_DOCUMENT
        documented = next((thing.modified for thing in self._stack.ingest.list(key) if thing.key == key), 0.0)
        objects, newest, oldest, looked_at = 0, documented, documented, 0
        for thing in itertools.islice(self._stack.ingest.list(drive_prefix(self._drive)), most):
            looked_at += 1
            newest, oldest = max(newest, thing.modified), min(oldest or thing.modified, thing.modified)
            objects += thing.key != key
        abandoned = self._seconds("AbandonedAfterSeconds")
        upload = Upload(
            objects,
            _time(newest) if newest else None,
            "none",
            oldest=_time(oldest) if oldest else None,
            more=looked_at == most,
        )
        if refusal and refusal.at >= documented:
            return msgspec.structs.replace(upload, document="refused", refused=refusal.detail)
        if documented:
            unheard = min(abandoned, 60 * self._seconds("SweepMinutes"))
            return msgspec.structs.replace(upload, document="waiting", closes=_time(documented + unheard))
        return msgspec.structs.replace(upload, closes=_time(newest + abandoned))

    def _run(self, entry: RunEntry, *, latest: bool) -> RunStatus:
        run = self._stack.ledger.run(self._drive, entry.run)
        execution = entry.execution
        state, since, turn = self._state(execution)
        listing = frozen_listing(self._stack.labels, RunFolder(self._drive, entry.run))
        ended_well = execution.status == "SUCCEEDED" or entry.outcome
        models = () if ended_well else tuple(self._model(model) for model in run.asked)
        # Until a whole reconcile pass is over, some frames may not be asked for yet.
        asked_for = (turn and not turn.get("cursor") and not turn.get("missing")) or state not in {"", *ASKING_STATES}
        patience = self._seconds("FramesPatienceSeconds")
        summary = self._summary(entry.run)
        return msgspec.structs.replace(
            _run_status(run, execution, state, since, turn, listing),
            latest=latest,
            rejected=summary.reasons.get("rejected", {}) if summary else listing.refused if listing else {},
            patient_until=_time(run.since + patience) if turn.get("missing") and not turn.get("logs") else None,
            models=tuple(_with_answered(models, listing.frames, turn)) if listing and asked_for else models,
            jobs=tuple(self._jobs(entry.run)),
            projects=tuple(self._projects(execution)) if (execution.status, state) == ("RUNNING", "Verify") else (),
            earlier=self._earlier(entry.run, summary),
            changes=self._changes(entry.run, listing, latest=latest),
        )

    def _earlier(self, run: str, summary: Summary | None) -> EarlierLabels | None:
        """Read what became of the labels of earlier runs; None if there are none, or they are not collected yet."""
        folder = RunFolder(self._drive, run)
        body = self._stack.labels.read(folder.earlier_labels)
        if body is None:
            return None
        collected = msgspec.json.decode(body, type=Collected)
        counts = summary.earlier if summary else None
        return EarlierLabels(
            collected.frames, collected.missing, counts.kept if counts else None, counts.again if counts else None
        )

    def _state(self, execution: Execution) -> tuple[str, datetime | None, dict[str, Any]]:
        """Return the outermost current or last state, since when, and the report of the latest reconcile pass."""
        if execution.status in (NOT_STARTED, "SUCCEEDED"):
            return "", None, {}
        state, since, redriven = "", None, None
        for event in self._history(execution.arn):
            if event["type"] == "ExecutionRedriven" and not state:
                redriven = redriven or _utc(event["timestamp"])
            entered = event.get("stateEnteredEventDetails", {}).get("name", "")
            # States inside a map have other names.
            if entered in STATES and not state:
                state, since = entered, redriven or _utc(event["timestamp"])
            if state and state not in ASKING_STATES:
                break
            left = event.get("stateExitedEventDetails", {})
            if left.get("name") == "Reconcile":
                report = _json_object(left.get("output", ""))
                return state, since, report
        return state, since, {}

    def _projects(self, execution: Execution) -> list[ProjectStatus]:
        """Read the projects of a run that is in Verify, or that ended there."""
        if not self._stack.parameter("LabelStudioConnectionArn"):
            return []
        map_runs = self._pages("list_map_runs", "mapRuns", executionArn=execution.arn)
        # After a redrive, Verify may have begun anew.
        latest = max((one for one in map_runs if _JOBS in one["mapRunArn"]), key=itemgetter("startDate"), default=None)
        if latest is None:
            # Verify did not begin, or the run's definition is of version 0.1.0.
            return open_projects(self._history(execution.arn))
        jobs = self._pages("list_executions", "executions", mapRunArn=latest["mapRunArn"])
        found = (open_project(self._history(job["executionArn"])) for job in jobs if job["status"] != "SUCCEEDED")
        return sorted(filter(None, found), key=attrgetter("job"))

    # `Any`: boto3 has no types for the answers of a paginator that is chosen by its name.
    def _pages(self, operation: str, field: str, **given: Any) -> Iterator[dict[str, Any]]:
        pages = self._states.get_paginator(operation).paginate(**given)
        return itertools.chain.from_iterable(page[field] for page in pages)

    def _history(self, arn: str) -> Iterator[dict[str, Any]]:
        """Yield the events of an execution, the latest first."""
        return self._pages(
            "get_execution_history", "events", executionArn=arn, reverseOrder=True, includeExecutionData=True
        )

    def _model(self, model: str) -> ModelStatus:
        created, removed = 0.0, False
        try:
            catalogue = Catalogue(self._stack.labels.read, lambda: self._now)
            endpoint = catalogue.revision(model).endpoint
            endpoints = SageMakerEndpointStates(self._sagemaker)
            state, created = endpoints.state(endpoint), endpoints.created(endpoint)
            # As reconcile does: it waits for a missing endpoint only while the current revision needs its answers.
            removed = state == "missing" and not catalogue.asks(model)
        except CatalogueUnavailable as e:
            endpoint, state = "", str(e)
        with ThreadPoolExecutor(PENDING_PARTITIONS) as pool:
            partitions = range(PENDING_PARTITIONS)
            counted = list(pool.map(lambda n: self._pending(n, model, created), partitions))
            pending = sum((counts for counts, _ in counted), Counter[str]())
            reasons = sum(pool.map(lambda n: self._failed(n, model), partitions), Counter[str]())
        answers = self._stack.labels.list(answers_prefix(self._drive, model)) if self._full else None
        return ModelStatus(
            model,
            endpoint,
            state,
            None if answers is None else sum(1 for _ in answers),
            failed=reasons.total(),
            reasons=dict(reasons.most_common()),
            gives_up=_time(max(latest for _, latest in counted)) if removed and pending else None,
            **pending,
        )

    def _pending(self, partition: int, model: str, created: float) -> tuple[Counter[str], float]:
        """Count the pending units, and find when the last of them is overdue. `created`: time of the endpoint."""
        counts: Counter[str] = Counter()
        latest = self._now
        patience = self._seconds("UnsubmittedAfterSeconds")
        for item in self._units("pending", partition, model, "invoked, deadline, since"):
            since, invoked, deadline = (float(item.get(n, {"N": "0"})["N"]) for n in ("since", "invoked", "deadline"))
            if invoked:
                # What an earlier endpoint of this name took is lost.
                counts["overdue" if self._now > deadline or invoked < created else "invoked"] += 1
                latest = max(latest, deadline)
            elif not since:
                counts["parked"] += 1
            else:
                counts["overdue" if self._now - since > patience else "queued"] += 1
                latest = max(latest, since + patience)
        return counts, latest

    def _failed(self, partition: int, model: str) -> Counter[str]:
        return _count_reasons(item["reason"]["S"] for item in self._units("failed", partition, model, "reason"))

    def _units(self, kind: str, partition: int, model: str, attributes: str) -> Iterator[dict[str, Any]]:
        """Yield attributes of a model's units. The reads are eventually consistent, which halves their cost."""
        names = {f"#{name}": name for name in attributes.split(", ")}
        pages = self._db.get_paginator("query").paginate(
            TableName=self._stack.outputs["LedgerName"],
            KeyConditionExpression="pk = :pk AND begins_with(sk, :model)",
            ProjectionExpression=", ".join(names),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":pk": {"S": f"{kind}#{self._drive}#{partition}"}, ":model": {"S": f"{model}/"}},
        )
        return itertools.chain.from_iterable(page["Items"] for page in pages)

    def _jobs(self, run: str) -> Iterator[JobStatus]:
        """Yield the labelling jobs of the run, each with all attempts of its round."""
        for job in attempted_jobs(self._stack.labels, self._labeling_jobs, self._drive, run):
            latest = job.latest
            yield JobStatus(
                job.name,
                latest.status,
                labelled=job.labelled,
                unlabelled=latest.unlabelled,
                failed=latest.failed,
                reason=latest.reason,
                round=job.round,
                workteam=latest.workteam.rpartition("/")[2],
                portal=self._portal(latest.workteam) if latest.status == "InProgress" else "",
                hourly=hourly(latest.labelled, self._now - latest.created) if latest.created else None,
                unit=job.unit,
            )

    def _portal(self, workteam: str) -> str:
        """Find the address where a work team works. Empty for a vendor's team, and for one that may not be read."""
        if workteam and workteam not in self._portals:
            name = workteam.rpartition("/")[2]
            try:
                place = self._sagemaker.describe_workteam(WorkteamName=name)["Workteam"].get("SubDomain", "")
            except ClientError:
                # The address is a help only. Who may not read it still gets the rest of the status.
                place = ""
            # SageMaker gives the host alone; the embedded cloud gives an address without encryption.
            self._portals[workteam] = f"https://{place}" if place and "://" not in place else place
        return self._portals.get(workteam, "")

    def _changes(self, run: str, listing: ListingSummary | None, *, latest: bool) -> Changes:
        """Count the changed objects: as the last sweep found them, or anew if an upload was reported since then."""
        folder = RunFolder(self._drive, run)
        # A run that has no listing yet takes in everything that was reported.
        marks = self._stack.ledger.late_drives() if listing and latest else ()
        reported = next((at for drive, at in marks if drive == self._drive), None)
        if reported and listing and (self._full or listing.objects <= _MOST_COMPARED):
            objects = changed_objects(self._stack.ingest, self._stack.labels, folder)
            return Changes(**Counter[str](changed.change for changed in objects), more=None)
        counts: Counter[str] = Counter()
        decoder = msgspec.json.Decoder(ChangedObject)
        # Without the file, no change was found.
        with suppress(KeyError):
            counts.update(decoder.decode(line).change for line in self._stack.labels.lines(folder.late_objects))
        return Changes(**counts, more=_time(reported) if reported else None)

    def _dead_letters(self, name: str) -> DeadLetters:
        queue = DeadLetterQueue(self._stack, name)
        count = queue.count()
        ours = [letter.reason for letter in queue.look(count) if letter.drive == self._drive]
        return DeadLetters(name, count, len(ours), dict(_count_reasons(ours)))

    def _seconds(self, parameter: str) -> float:
        """Return a duration from the stack's parameters, in the parameter's unit."""
        return float(self._stack.parameter(parameter))


def _run_status(
    run: Run,
    execution: Execution,
    state: str,
    since: datetime | None,
    # As it is in the history: Step Functions may have truncated it, and older runs lack fields.
    turn: dict[str, Any],
    listing: ListingSummary | None,
) -> RunStatus:
    """Make the status of a drive's latest run, as far as its execution and its listing tell it.

    `turn`: the latest report of a reconcile pass, which Step Functions may have truncated to nothing.
    """
    return RunStatus(
        run=run.run,
        latest=True,
        execution=execution,
        state=state,
        since=since,
        turn=turn.get("turn", 0),
        frames=listing.frames if listing else None,
        refused=listing.objects - listing.frames if listing else 0,
        missing=turn.get("missing", 0) - turn.get("logs", 0),
        logs=turn.get("logs", 0),
        pending=turn.get("pending", 0),
        paused=tuple(turn.get("paused", ())),
    )


def _with_answered(models: tuple[ModelStatus, ...], frames: int, turn: dict[str, Any]) -> Iterator[ModelStatus]:
    """Add the number of answered units: once all are asked for, those that are neither pending nor failed.

    A reconcile pass that finds an endpoint away leaves units without a record that were never asked for. They count as
    parked.
    """
    unasked = max(0, turn["pending"] - sum(model.pending for model in models)) if turn.get("paused") else 0
    for model in models:
        if model.answered is not None or (unasked and len(models) > 1):
            yield model
            continue
        parked = model.parked + unasked
        answered = max(0, frames - model.pending - unasked - model.failed)
        yield msgspec.structs.replace(model, answered=answered, parked=parked)


def _json_object(text: str) -> dict[str, Any]:
    """Decode a JSON object. Empty for any other text, since Step Functions may truncate it."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _count_reasons(reasons: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for reason in reasons:
        shown = reason[:_MAX_REASON]
        counts[shown if shown in counts or len(counts) < _MOST_REASONS else _OTHERS] += 1
    return counts


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None
