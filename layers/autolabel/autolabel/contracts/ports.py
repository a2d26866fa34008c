"""What the domain needs of the world outside, as narrow interfaces; `autolabel.aws` has the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.units import Unit


class StoredObject(msgspec.Struct, frozen=True):
    """An object of a listing; `etag` without quotes, `modified` in seconds since the epoch."""

    key: str
    etag: str
    size: int
    modified: float = 0.0


class Bucket(Protocol):
    """One bucket."""

    name: str

    def uri(self, key: str) -> str:
        """`s3://<bucket>/<key>`."""

    def read(self, key: str) -> bytes | None:
        """The whole object, or None when there is none."""

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """At most `limit` bytes of the object and its ETag without quotes, or None when there is none."""

    def read_first(self, key: str, count: int, etag: str | None = None) -> bytes:
        """Its first bytes; with `etag`, raises FrameChanged when the object is another by now or gone."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Its bytes in chunks; raises KeyError at once when there is none."""

    def lines(self, key: str) -> Iterator[bytes]:
        """Its lines without line feeds; raises KeyError at once when there is none."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """All objects under a prefix, in the byte order of their keys; with `after`, those behind that key."""

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between the prefix and the next slash, each once, in the byte order of the keys."""

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None: ...

    def write_once(self, key: str, body: bytes, content_type: str = "application/json") -> bool:
        """Write unless the object exists; whether it was written."""

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        """Write chunks as one object without holding it whole; nothing appears when `chunks` raises.

        With `once` an object that is there already stays as it is.
        """

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        """Write objects of this bucket, given as (key, size), one behind the other, as one object."""


class PendingUnit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A unit that waits for its answer. Times are seconds since the epoch.

    `attempt` numbers the invocation; `errors` counts those that the model failed, `unanswered` the consecutive ones
    without a notification. `invoked`: when the endpoint took it, 0 while it waits in the submit queue. `deadline`: no
    answer can come after it. `location`: the key in the label bucket that the endpoint named, when it is not the
    derived one.
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


class FailedUnit(msgspec.Struct, frozen=True):
    """A unit whose inference failed for good: at its attempt, at that time in seconds since the epoch."""

    unit: Unit
    reason: str
    attempt: int = 1
    at: float = 0.0


class WaitingRun(msgspec.Struct, frozen=True):
    """A run whose execution waits for answers; of two waits of a run the one of the greater `order` is the later."""

    drive: str
    run: str
    token: str
    models: tuple[str, ...]
    order: str = ""


class WaitingJob(msgspec.Struct, frozen=True):
    """A job whose execution waits for people; of two waits of a job the one of the greater `order` is the later."""

    job: str
    token: str
    order: str = ""


class Refusal(NamedTuple):
    """Something that came in and does not fit; `at`: when it came last, in seconds since the epoch."""

    key: str
    reason: str
    detail: str
    at: float


class PendingUnits(Protocol):
    """What is known of units. Here and below, reads are strongly consistent and a change is one conditional write."""

    def add_pending(self, pending: PendingUnit) -> bool:
        """Record a unit as pending unless it is already; return whether it was recorded."""

    def pending(self, unit: Unit) -> PendingUnit | None: ...

    def pending_of_model(self, drive: str, model: str, after: str = "") -> Iterator[PendingUnit]:
        """Read a model's pending units of a drive behind a position, in the byte order of position and token."""

    def pending_of_frame(self, frame: FrameKey, model: str) -> list[PendingUnit]:
        """Read a model's pending units of one frame: one for each content that the frame has had."""

    def any_pending(self, drive: str, models: Sequence[str]) -> bool: ...

    def mark_invoked(self, pending: PendingUnit, *, invoked: float, deadline: float, location: str) -> None:
        """Note that the endpoint took the attempt, unless the unit has changed since it was read."""

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        """Move a pending unit to its next attempt, in place; False when it is no longer at `pending.attempt`."""

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        """Restart the time in the submit queue; False when the unit is taken, answered or at another attempt."""

    def fail(self, pending: PendingUnit, reason: str, at: float) -> bool:
        """Record a unit as failed instead of pending, at once; False when it is no longer at `pending.attempt`."""

    def revive(self, pending: PendingUnit) -> bool:
        """Record a failed unit as pending instead of failed, at once; False when it is no longer failed."""

    def drop(self, pending: PendingUnit) -> bool:
        """Forget a pending unit; False when it was taken, answered or moved to another attempt since it was read."""

    def settle(self, unit: Unit, location: str | None) -> None:
        """Record that the unit is answered. `location`: the answer's key when it is not the derived one."""

    def failed_of_model(self, drive: str, model: str, after: str = "") -> Iterator[FailedUnit]:
        """Read a model's failed units of a drive behind a position, in the byte order of position and token."""

    def locations_of_model(self, drive: str, model: str, after: str = "") -> Iterator[tuple[Unit, str]]:
        """Read the keys of answers that are not at the derived key, behind a position, ordered as above."""


class Runs(Protocol):
    """The runs of drives."""

    def allocate_run(self, run: Run) -> Run:
        """Record a run unless one of its name exists; return the one that is recorded."""

    def latest_run(self, drive: str) -> Run | None: ...

    def find_run(self, drive: str, run: str) -> Run | None: ...

    def run(self, drive: str, run: str) -> Run:
        """Read a run by its name; RunMissing."""

    def retry_failed(self, run: Run, before: float) -> None:
        """Let a run try the units once more that failed before that time."""

    def outcome(self, drive: str, run: str) -> str:
        """How a run ended; empty while it has not ended."""

    def finish_run(self, run: Run, outcome: str, at: float) -> None: ...


class RunTokens(Protocol):
    """The tokens of executions that wait for answers."""

    def wait(self, waiting: WaitingRun) -> bool:
        """Store the token that wakes the run's execution; it replaces an earlier one, not a later one."""

    def waiting_runs(self, drive: str) -> list[WaitingRun]: ...

    def stop_waiting(self, waiting: WaitingRun) -> None:
        """Forget this token, and no other."""


class DriveMarks(Protocol):
    """What is known of drives as a whole: closed, frozen, late."""

    def mark_closed(self, drive: str) -> None:
        """Note that the drive's first run was started."""

    def closed_drives(self) -> Iterator[str]:
        """Read all closed drives, in the byte order of `<drive>/`, as buckets list folders."""

    def mark_frozen(self, drive: str) -> None:
        """Note that a listing of the drive is about to be frozen: an object that comes later may be late."""

    def is_frozen(self, drive: str) -> bool: ...

    def mark_late(self, drive: str, at: float) -> None:
        """Note that an object came to a frozen drive; only its listing tells whether it is late."""

    def late_drives(self) -> Iterator[tuple[str, float]]:
        """Read the drives to which an object came after they were frozen, with the time of the last one."""

    def forget_late(self, drive: str, at: float) -> None:
        """Remove the mark unless an object came after `at`."""


class Refusals(Protocol):
    """Objects that came in and break a contract."""

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        """Keep an object that breaks a contract; `place` is its drive, or empty."""

    def refusals(self, drive: str) -> Iterator[Refusal]:
        """Read what was refused in a drive, or with an empty name outside all drives."""


class UnitLedger(PendingUnits, RunTokens, Protocol):
    """Units, and the runs that wait for them."""


class DriveLedger(Runs, DriveMarks, Refusals, Protocol):
    """Drives with their runs, marks and refusals."""


class Ledger(PendingUnits, Runs, RunTokens, DriveMarks, Refusals, Protocol):
    """All that is known of units, runs and drives, for those who need most of it."""


class JobTokens(Protocol):
    """The tokens of executions that wait for people; strongly consistent, every change one conditional write."""

    def hold(self, waiting: WaitingJob) -> bool:
        """Store the token with which the job's execution is woken, in place of an earlier one, not of a later one."""

    def held(self, job: str) -> WaitingJob | None: ...

    def release(self, waiting: WaitingJob) -> None:
        """Forget this very token."""


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
        """Submit an object; the OutputLocation. EndpointUnavailable for whatever is not the frame's fault."""


class EndpointStates(Protocol):
    """What state endpoints are in."""

    def state(self, endpoint: str) -> str:
        """`InService` when it takes requests; otherwise in a word what it is: `Creating`, `Failed`, `missing` …"""


class SubmitQueue(Protocol):
    """The queue that feeds the submit function."""

    def close(self, drive: str) -> None:
        """Ask for a drive to be closed by the document that lies in it."""

    def send(self, units: Sequence[tuple[Unit, str, str]]) -> None:
        """Ask for units, given with their frame's key and ETag, to be submitted."""


class Executions(Protocol):
    """The state machine that labels drives."""

    def start(self, name: str, drive: str, run: str) -> bool:
        """Start the run's execution; False when that name was started before."""

    def status(self, name: str) -> str:
        """An execution's status (RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED); empty when there is none."""

    def wake(self, token: str) -> bool:
        """Wake a waiting execution; False when nobody waits with this token any more."""


class Announcements(Protocol):
    """What others hear of: operators through the ops topic, programs through the event bus."""

    def tell_ops(self, subject: str, message: str) -> None: ...

    def publish(self, kind: str, detail: dict[str, object]) -> None: ...
