"""Erasing a drive everywhere in the stack, with a receipt of what was erased and of what stays."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import S3Bucket, SageMakerLabelingJobs, Secrets, error_code
from autolabel.contracts.drive import FIRST_RUN, execution_name, next_run
from autolabel.contracts.frames import drive_prefix, is_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import ANSWERS
from autolabel.contracts.verification import BOXES, CUBOIDS
from autolabel.streams import map_in_order
from autolabel.verification import Job, LabelStudioClient, read_connection, rounds_of
from autolabel_cli.drives.existence import invalid_name
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.dead_letters import QUEUES, DeadLetterQueue
from autolabel_cli.operations.interventions import caller
from autolabel_cli.stack import Stack

# Folders of the label bucket that hold a folder for each drive.
FOLDERS = ("labels", ANSWERS, "extractions", "publishing", "linking", "views", "scenes")
# Folders that hold a folder for each recipe, with an object for each run.
_BY_RECIPE = ("audits/", "corrections/")
# Objects that one DeleteObjects takes; boto3's clients have ten connections each.
_BATCH = 1_000
_WORKERS = 8
# Calls that were under way write again what was erased. More passes than these mean that something still works on it.
_PASSES = 3
_OPEN_JOB = ("Initializing", "InProgress")
_JOB_SECONDS = 300.0
_POLL_SECONDS = 5.0
# Step Functions keeps the history of an execution for 90 days (quotas), X-Ray traces for 30.
_HISTORY = timedelta(days=90)
_TRACES = timedelta(days=30)
# The lifecycle rule `training` of the label bucket.
_TRAINING = timedelta(days=30)


class Erased(msgspec.Struct, frozen=True):
    """What was erased at a place: `count` things."""

    what: str
    place: str
    count: int


class Stays(msgspec.Struct, frozen=True):
    """What AWS does not let anybody erase. `until`: when it goes by itself; None if never."""

    what: str
    why: str
    until: datetime | None = None


class Receipt(msgspec.Struct, frozen=True):
    """Receipt of an erasure. `complete`: nothing of the drive was left at the last look.

    Counts are those of this call; a call that was broken off before it has erased the rest.
    """

    drive: str
    stack: str
    by: str
    began: datetime
    ended: datetime
    complete: bool
    erased: tuple[Erased, ...]
    stays: tuple[Stays, ...]


class _Place(NamedTuple):
    """Objects of a bucket to erase: those below a prefix whose keys match a pattern, if there is one."""

    bucket: S3Bucket
    prefix: str
    pattern: str = ""


class Forgetting:
    """Erases a drive. CommandError for an invalid name, and while a run or an extraction of the drive is running.

    `tell` is told what is being erased.
    """

    def __init__(
        self,
        stack: Stack,
        drive: str,
        tell: Callable[[str], None],
        *,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not is_name(drive):
            raise invalid_name(drive)
        self._stack = stack
        self._drive = drive
        self._tell = tell
        self._now = now
        self._pause = pause
        self._began = _time(now())
        self._counts = dict[tuple[str, str], int]()
        self.runs = tuple(self._runs())
        self._check_that_nothing_runs()

    def erase(self) -> Receipt:
        """Erase everything. It is safe to do this again, also after a call that was broken off."""
        # Jobs come first: only the runs' manifests tell their names, and a job that ends writes its output.
        jobs = self._end_jobs()
        complete = False
        for _ in range(_PASSES):
            if complete := not self._erase_all():
                break
        return Receipt(
            self._drive,
            self._stack.name,
            caller(self._stack),
            self._began,
            _time(self._now()),
            complete,
            tuple(Erased(what, place, count) for (what, place), count in self._counts.items() if count),
            tuple(self._what_stays(jobs)),
        )

    def _runs(self) -> Iterator[str]:
        latest = self._stack.ledger.latest_run(self._drive)
        run = FIRST_RUN
        while latest and run <= latest.run:
            yield run
            run = next_run(run)

    def _check_that_nothing_runs(self) -> None:
        for run in self.runs:
            if self._stack.executions.status(execution_name(self._drive, run)) == "RUNNING":
                raise CommandError(
                    f"run {run} of drive {self._drive} is running: stop it first: autolabel stop {self._drive} "
                    f"--run {run}"
                )
        for log in self._stack.ledger.logs(self._drive):
            machine = self._stack.outputs.get("ExtractMachineArn", "")
            arn = machine.replace(":stateMachine:", ":execution:") + f":{log.execution}"
            if not log.ended and self._is_running(arn):
                raise CommandError(
                    f"log {log.name} of drive {self._drive} is being extracted: wait for it, or stop it first: "
                    f"aws stepfunctions stop-execution --execution-arn {arn}"
                )

    def _is_running(self, arn: str) -> bool:
        try:
            found = self._stack.client("stepfunctions").describe_execution(executionArn=arn)
        except ClientError as e:
            if error_code(e) == "ExecutionDoesNotExist":
                return False
            raise
        return bool(found["status"] == "RUNNING")

    def _end_jobs(self) -> list[str]:
        """Stop the drive's labelling jobs, delete its projects and tokens, and return the names of the jobs."""
        self._tell("labelling jobs")
        stems = [
            one.job_stem(self._stack.labels.name, RunFolder(self._drive, run), task)
            for run in self.runs
            for task in (BOXES, CUBOIDS)
            for one in rounds_of(self._stack.labels, RunFolder(self._drive, run), task)
        ]
        self._count("items", self._stack.outputs["LedgerName"], self._stack.ledger.forget_jobs(stems))
        jobs, known = SageMakerLabelingJobs(self._stack.client("sagemaker")), list[str]()
        for stem in stems:
            for attempt in itertools.count(1):
                job = f"{stem}-{attempt}"
                state = jobs.describe(job)
                if state is None:
                    break
                known.append(job)
                if state.status in _OPEN_JOB:
                    jobs.stop(job)
                    self._count("stopped labelling jobs", "Ground Truth", 1)
        waited = 0.0
        while any((state := jobs.describe(job)) and state.status in (*_OPEN_JOB, "Stopping") for job in known):
            if waited >= _JOB_SECONDS:
                raise CommandError(
                    f"labelling jobs of drive {self._drive} are still stopping: give the command again in some minutes"
                )
            self._pause(_POLL_SECONDS)
            waited += _POLL_SECONDS
        if secret := self._stack.parameters.get("LabelStudioConnectionArn", ""):
            text = Secrets(self._stack.client("secretsmanager")).read(secret)
            self._delete_projects(LabelStudioClient(read_connection(text, secret), secret), stems)
        return known

    def _delete_projects(self, client: LabelStudioClient, stems: list[str]) -> None:
        for stem in stems:
            for project in client.find_projects(Job(stem, ()).title):
                client.delete_project(project.id)
                self._count("projects with their tasks", client.connection.url, 1)

    def _erase_all(self) -> int:
        """Erase what there is, and return its number."""
        before = sum(self._counts.values())
        for name in QUEUES:
            self._count("dead letters", f"{name} queue", DeadLetterQueue(self._stack, name).erase(self._drive))
        elsewhere = set(self._stack.ledger.answer_locations(self._drive))
        for place in self._places(elsewhere):
            self._tell(place.bucket.uri(place.prefix))
            self._erase_objects(place)
        self._tell("ledger")
        self._count("items", self._stack.outputs["LedgerName"], self._stack.ledger.forget_drive(self._drive))
        return sum(self._counts.values()) - before

    def _places(self, elsewhere: set[str]) -> Iterator[_Place]:
        yield _Place(self._stack.ingest, drive_prefix(self._drive))
        for folder in FOLDERS:
            yield _Place(self._stack.labels, f"{folder}/{self._drive}/")
        for folder in _BY_RECIPE:
            yield _Place(self._stack.labels, folder, rf"/{re.escape(self._drive)}-[0-9]{{4}}\.json\Z")
        for key in sorted(elsewhere):
            yield _Place(self._stack.labels, key, rf"\A{re.escape(key)}\Z")

    def _erase_objects(self, place: _Place) -> None:
        """Delete all versions and delete markers of the objects at a place, and unfinished uploads."""
        s3, bucket = self._stack.client("s3"), place.bucket.name
        matches = re.compile(place.pattern).search
        uri = place.bucket.uri(place.prefix)
        uploads = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=place.prefix)
        for upload in itertools.chain.from_iterable(page.get("Uploads", []) for page in uploads):
            if matches(upload["Key"]):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                self._count("unfinished uploads", uri, 1)

        def delete(versions: list[dict[str, str]]) -> None:
            # `Any`: boto3's answer.
            answer: Any = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
            for error in answer.get("Errors", []):
                raise CommandError(
                    f"S3 does not delete {place.bucket.uri(error['Key'])} ({error['Code']}): your identity needs "
                    "s3:DeleteObjectVersion on it; give the command again then"
                )

        def batches() -> Iterator[list[dict[str, str]]]:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=place.prefix):
                for kind, what in (("Versions", "object versions"), ("DeleteMarkers", "delete markers")):
                    found = [thing for thing in page.get(kind, []) if matches(thing["Key"])]
                    self._count(what, uri, len(found))
                    for start in range(0, len(found), _BATCH):
                        batch = found[start : start + _BATCH]
                        yield [{"Key": thing["Key"], "VersionId": thing["VersionId"]} for thing in batch]

        for _ in map_in_order(delete, batches(), _WORKERS):
            pass

    def _count(self, what: str, place: str, count: int) -> None:
        self._counts[what, place] = self._counts.get((what, place), 0) + count

    def _what_stays(self, jobs: list[str]) -> Iterator[Stays]:
        now, days = _time(self._now()), self._stack.parameters.get("LogRetentionDays", "")
        yield Stays(
            "log lines of functions that name the drive",
            "CloudWatch cannot delete single lines; the groups delete them after LogRetentionDays",
            now + timedelta(days=int(days)) if days else None,
        )
        yield Stays(
            "access logs of the buckets: keys of the drive's objects, who asked for them and when",
            "S3 deletes them after LogRetentionDays",
            now + timedelta(days=int(days)) if days else None,
        )
        yield Stays(
            "executions of the drive's runs and logs: its name, counts, addresses of objects",
            "Step Functions keeps the history of an execution for 90 days after its end",
            now + _HISTORY,
        )
        yield Stays("traces", "X-Ray keeps them for 30 days", now + _TRACES)
        if jobs:
            yield Stays(f"entries of labelling jobs: {', '.join(jobs)}", "Ground Truth has no call that deletes them")
        yield Stays(
            f"error messages of failed invocations under {self._stack.labels.uri('inference-failures/')}",
            "SageMaker gives them random names, which do not tell the drive",
        )
        yield Stays(
            f"labels of the drive's frames in the input of training jobs under {self._stack.labels.uri('training/')}",
            "S3 deletes them 30 days after the job began",
            now + _TRAINING,
        )
        yield Stays(
            "models trained on the drive, and its name in their documents, in exclusions and in proofs of other drives",
            "they have no frame and no label of it; `training` of a model's document names its drives",
        )
        yield Stays(
            "copies outside of the stack: downloads, messages to operators, events", "this command does not know them"
        )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
