"""Defines the ports: narrow interfaces to the outside world. `autolabel.aws` implements them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.logs import LogRecord
from autolabel.contracts.units import Unit


class StoredObject(msgspec.Struct, frozen=True):
    """An object of a listing; `etag` without quotes, `modified` in seconds since the epoch."""

    key: str
    etag: str
    size: int
    modified: float = 0.0


class ObjectHead(NamedTuple):
    """What is known of an object without its bytes; `etag` without quotes, `metadata`: its user metadata."""

    etag: str
    size: int
    metadata: Mapping[str, str] = {}


class ObjectPart(NamedTuple):
    """A range of an object's bytes, and the object's user metadata; these are unknown behind the object's end."""

    body: bytes
    metadata: Mapping[str, str] = {}


class ByteSource(Protocol):
    """The bytes of one file or object, read by ranges."""

    size: int

    def read(self, start: int, length: int) -> bytes:
        """Read the range with exactly one request. It is inside the source."""


class Bucket(Protocol):
    """One bucket."""

    name: str

    def uri(self, key: str) -> str:
        """`s3://<bucket>/<key>`."""

    def read(self, key: str) -> bytes | None:
        """Read the whole object; None for a missing object."""

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Read at most `limit` bytes of the object, and its ETag without quotes; None for a missing object."""

    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        """Read `count` bytes from `start`, fewer at the object's end.

        Raises FrameChanged if the object is gone or, with `etag`, has another ETag; with `etag`, which frames have,
        FrameUnreadable if S3 does not give it out.
        """

    def stream(self, key: str) -> Iterator[bytes]:
        """Read the object in chunks; raises KeyError at once for a missing object."""

    def lines(self, key: str) -> Iterator[bytes]:
        """Read the object's lines without line feeds; raises KeyError at once for a missing object."""

    def exists(self, key: str) -> bool: ...

    def head(self, key: str) -> ObjectHead | None:
        """Read what is known of the object without its bytes; None for a missing object."""

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """List all objects under a prefix, in the byte order of their keys; with `after`, only those behind it."""

    def folders(self, prefix: str) -> Iterator[str]:
        """List the names between the prefix and the next slash, each once, in the byte order of the keys."""

    def has_open_uploads(self, prefix: str) -> bool:
        """Check whether a multipart upload under a prefix was begun, and neither completed nor aborted."""

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None: ...

    def write_once(
        self,
        key: str,
        body: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Write unless the object exists; return whether it was written. `metadata`: its user metadata in ASCII."""

    def write_over(
        self,
        key: str,
        body: bytes,
        etag: str,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Write over the object with this ETag, or create it if the ETag is empty; False if it was changed."""

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        """Write chunks as one object without holding it whole; write nothing if `chunks` raises.

        With `once` an existing object stays as it is.
        """

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        """Join objects of this bucket, given as (key, size), in this order, into one object."""


class PendingUnit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A unit that waits for its answer. Times are seconds since the epoch.

    `attempt` numbers the invocation; `errors` counts the invocations that the model failed, `unanswered` the
    consecutive ones without a notification. `invoked`: when the endpoint took it, 0 while it waits in the submit queue.
    `deadline`: no answer can come after it. `location`: the key in the label bucket that the endpoint named, if it is
    not the derived one. `unconfirmed`: the call that recorded it as taken may have died before the invocation.
    """

    unit: Unit
    key: str
    etag: str
    attempt: int
    errors: int
    since: float
    unanswered: int = 0
    invoked: float = 0.0
    deadline: float = 0.0
    location: str = ""
    unconfirmed: bool = False


class FailedUnit(msgspec.Struct, frozen=True):
    """A unit whose inference failed for good; `attempt` is its last one, `at` the time in seconds since the epoch."""

    unit: Unit
    reason: str
    attempt: int = 1
    at: float = 0.0


class WaitingRun(msgspec.Struct, frozen=True):
    """A run whose execution waits for answers. The later of two waits of a run has the greater `order`."""

    drive: str
    run: str
    token: str
    models: tuple[str, ...]
    order: str = ""


class WaitingJob(msgspec.Struct, frozen=True):
    """A job whose execution waits for reviewers. The later of two waits of a job has the greater `order`."""

    job: str
    token: str
    order: str = ""


class Refusal(NamedTuple):
    """An input that breaks a contract; `at`: when it came last, in seconds since the epoch."""

    key: str
    reason: str
    detail: str
    at: float


class PendingUnits(Protocol):
    """Pending, answered and failed units. In all ports of the ledger, reads are strongly consistent and each change is
    one conditional write."""

    def add_pending(self, pending: PendingUnit) -> bool:
        """Record a unit as pending unless it is pending already; return whether it was recorded.

        With `invoked` and `deadline`, it counts as taken by its endpoint.
        """

    def pending(self, unit: Unit) -> PendingUnit | None: ...

    def pending_of_model(self, drive: str, model: str, after: str = "") -> Iterator[PendingUnit]:
        """Read a model's pending units of a drive behind a position, in the byte order of position and token."""

    def pending_of_frame(self, frame: FrameKey, model: str) -> list[PendingUnit]:
        """Read a model's pending units of one frame: one for each content that the frame has had."""

    def any_pending(self, drive: str, models: Sequence[str]) -> bool: ...

    def mark_invoked(self, pending: PendingUnit, *, invoked: float, deadline: float, location: str) -> None:
        """Record that the endpoint took the attempt, unless the unit has changed since it was read."""

    def put_back(self, pending: PendingUnit, *, since: float) -> None:
        """Record that no endpoint took the attempt, unless the unit has changed since it was read."""

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        """Move a pending unit to its next attempt, in place; False if it is no longer at `pending.attempt`."""

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        """Restart the time in the submit queue; False if the unit is taken, answered or at another attempt."""

    def fail(self, pending: PendingUnit, reason: str, at: float) -> bool:
        """Record a unit as failed instead of pending, in one write; False if it is no longer at `pending.attempt`."""

    def revive(self, pending: PendingUnit) -> bool:
        """Record a failed unit as pending instead of failed, in one write; False if it is no longer failed."""

    def drop(self, pending: PendingUnit) -> bool:
        """Delete a pending unit; False if it was taken, answered or moved to another attempt since it was read."""

    def settle(self, unit: Unit, location: str | None) -> None:
        """Record that the unit is answered. `location`: the answer's key, if it is not the derived one."""

    def settle_all(self, units: Iterable[Unit]) -> frozenset[Unit]:
        """Record that units are answered at their derived keys, in few calls; return those that are recorded so.

        Each unit is a write of its own: with any error, and when the ledger takes less, the rest is left.
        """

    def failed_of_model(self, drive: str, model: str, after: str = "") -> Iterator[FailedUnit]:
        """Read a model's failed units of a drive behind a position, in the byte order of position and token."""

    def locations_of_model(self, drive: str, model: str, after: str = "") -> Iterator[tuple[Unit, str]]:
        """Read the keys of answers that are not at the derived key, behind a position, ordered as above."""


class Runs(Protocol):
    """The runs of drives."""

    def allocate_run(self, run: Run) -> Run:
        """Record a run unless its name is taken; return the run that is recorded under the name."""

    def latest_run(self, drive: str) -> Run | None: ...

    def find_run(self, drive: str, run: str) -> Run | None: ...

    def run(self, drive: str, run: str) -> Run:
        """Read a run by its name; raises RunMissing."""

    def retry_failed(self, run: Run, before: float) -> None:
        """Let a run try once more the units that failed before this time."""

    def outcome(self, drive: str, run: str) -> str:
        """Read how a run ended; empty while it has not ended."""

    def finish_run(self, run: Run, outcome: str, at: float) -> None: ...


class RunTokens(Protocol):
    """The tokens of executions that wait for answers."""

    def wait(self, waiting: WaitingRun) -> bool:
        """Store the token that wakes the run's execution; False, and no change, if a later wait has stored one."""

    def waiting_runs(self, drive: str) -> list[WaitingRun]: ...

    def stop_waiting(self, waiting: WaitingRun) -> None:
        """Delete this token, and no other."""


class DriveMarks(Protocol):
    """Marks of whole drives: closed, frozen, late."""

    def mark_closed(self, drive: str) -> None:
        """Record that the drive's first run was started."""

    def closed_drives(self) -> Iterator[str]:
        """Read all closed drives, in the byte order of `<drive>/`, as buckets list folders."""

    def mark_frozen(self, drive: str) -> None:
        """Record that a listing of the drive is about to be frozen: an object that comes later may be late."""

    def is_frozen(self, drive: str) -> bool: ...

    def mark_late(self, drive: str, at: float) -> None:
        """Record that an object arrived in a frozen drive; only the listing tells whether it is late."""

    def late_drives(self) -> Iterator[tuple[str, float]]:
        """Read the drives that got an object after they were frozen, with the time of the last one."""

    def forget_late(self, drive: str, at: float) -> None:
        """Delete the mark unless an object came after `at`."""


class Refusals(Protocol):
    """Inputs that break a contract."""

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        """Record an object that breaks a contract; `place` is its drive, or empty."""

    def refusals(self, drive: str) -> Iterator[Refusal]:
        """Read the refusals of a drive; with an empty name, those outside all drives."""


class Logs(Protocol):
    """The logs of drives. Reads are strongly consistent, each change is one conditional write."""

    def begin_log(self, record: LogRecord) -> None:
        """Record that a log is extracted, unless its bytes are recorded with this attempt or a later one."""

    def end_log(self, record: LogRecord) -> None:
        """Record how the extraction of a log's bytes ended."""

    def leave_out_log(self, record: LogRecord, known: LogRecord | None) -> bool:
        """Record that a person leaves a log out; False if what is recorded of its bytes is not `known` any more."""

    def logs(self, drive: str) -> list[LogRecord]:
        """Read what is known of a drive's logs, in the order of their names; of one that was replaced, of all bytes."""


class UnitLedger(PendingUnits, RunTokens, Protocol):
    """Units, and the runs that wait for them."""


class DriveLedger(Runs, DriveMarks, Refusals, Logs, Protocol):
    """Drives with their runs, marks, refusals and logs."""


class Ledger(PendingUnits, Runs, RunTokens, DriveMarks, Refusals, Logs, Protocol):
    """The whole ledger, for callers that need most of it."""


class JobTokens(Protocol):
    """The tokens of executions that wait for reviewers. Reads are consistent, each change is one conditional write."""

    def hold(self, waiting: WaitingJob) -> bool:
        """Store the token that wakes the job's execution; False, and no change, if a later wait has stored one."""

    def held(self, job: str) -> WaitingJob | None: ...

    def release(self, waiting: WaitingJob) -> None:
        """Delete this token, and no other."""


class LabelingJobState(NamedTuple):
    """The state of a Ground Truth job.

    `status`: as DescribeLabelingJob gives it. `manifest`: the S3 URI of its lines; `output`: that of its output
    manifest, empty while there is none.
    `labelled`: the number of frames with a label, which may be more than have arrived in S3. `unlabelled` and `failed`
    count the others. `reason`: why the job failed. `workteam`: the ARN of its work team; `created`: in seconds since
    the epoch, 0 if it is unknown.
    """

    status: str
    manifest: str
    output: str
    labelled: int
    unlabelled: int = 0
    failed: int = 0
    reason: str = ""
    workteam: str = ""
    created: float = 0.0


class LabelingJobs(Protocol):
    """Ground Truth's labelling jobs."""

    def describe(self, job: str) -> LabelingJobState | None:
        """Read a job's state; None if no job has the name."""

    def stop(self, job: str) -> None:
        """Ask a job to stop; has no effect on one that has ended."""


class Endpoints(Protocol):
    """Asynchronous endpoints."""

    def invoke(
        self,
        *,
        endpoint: str,
        input_location: str,
        inference_id: str,
        output_extension: str,
        filename: str,
        content_type: str,
        accept: str,
        ttl: int,
        timeout: int,
    ) -> str:
        """Submit an object; return the OutputLocation. Raises EndpointUnavailable for every failure of the service."""


class EndpointStates(Protocol):
    """The states of endpoints."""

    def state(self, endpoint: str) -> str:
        """Read an endpoint's state: `InService` if it takes requests, else a word such as `Creating` or `missing`."""

    def created(self, endpoint: str) -> float:
        """Read when an endpoint was created, in seconds since the epoch; 0 if it is missing."""


class SubmitQueue(Protocol):
    """The queue that feeds the submit function."""

    def close(self, drive: str) -> None:
        """Ask to close a drive with the document in its folder."""

    def look_at_logs(self, drive: str) -> None:
        """Ask to extract the logs of a drive that are not recorded, and to close it if all of them have ended."""

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        """Ask to submit units, each given with its frame's key and ETag."""


class Executions(Protocol):
    """The state machine that labels drives."""

    def start(self, name: str, drive: str, run: str) -> bool:
        """Start the run's execution; False if an execution with this name was started before."""

    def status(self, name: str) -> str:
        """Read an execution's status (RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED); empty before it starts."""

    def wake(self, token: str) -> bool:
        """Wake a waiting execution; False if no execution waits with this token any more."""


class Extractions(Protocol):
    """The state machine that extracts drive logs."""

    def start(self, log: LogRecord) -> bool:
        """Start the extraction of a log; False if it was started before."""


class Announcements(Protocol):
    """Messages to operators, through the ops topic, and to programs, through the event bus."""

    def tell_ops(self, subject: str, message: str) -> None: ...

    def publish(self, kind: str, detail: dict[str, object]) -> None: ...
