"""Implements the ledger on one DynamoDB table.

| pk | sk | what |
| --- | --- | --- |
| `pending#<drive>#<partition>` | `<model>/<camera>/<timestamp>/<token>` | a unit without its answer |
| `failed#<drive>#<partition>` | the same | a unit whose inference failed for good |
| `answer#<drive>#<partition>` | the same | an answer at another key than the derived one |
| `drive#<drive>` | `run#<run>` | a run, fixed when it was allocated |
| `drive#<drive>` | `waiting#<run>` | the token that wakes the run's execution |
| `drive#<drive>` | `frozen` | a listing of the drive was frozen |
| `logs#<drive>` | `<name>/<etag>` | the bytes of a drive log, and how far their extraction is |
| `job#<job>` | `waiting` | the token that wakes the execution that waits for reviewers |
| `closed` | `<drive>/` | a drive whose first run was started |
| `late` | `<drive>/` | an object came after the drive was frozen |
| `refused#<drive or empty>` | `<key>` | an input that breaks a contract |
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws.clients import error_code
from autolabel.contracts.drive import Run
from autolabel.contracts.errors import RunMissing
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.logs import LogRecord
from autolabel.contracts.ports import FailedUnit, PendingUnit, Refusal, WaitingJob, WaitingRun
from autolabel.contracts.units import PENDING_PARTITIONS, Unit, pending_partition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB's limit for sort keys, in bytes; S3's limit for keys is the same.
_MAX_SORT_KEY = 1_024
# The items that one BatchWriteItem takes.
_BATCH = 25
_CONDITION_FAILED = "ConditionalCheckFailedException"
_NEW = "attribute_not_exists(pk)"


class DynamoLedger:
    """Implements `Ledger` and `JobTokens` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._db = client
        self._table = table

    def add_pending(self, pending: PendingUnit) -> bool:
        return self._put_once(_pending_item(pending))

    def pending(self, unit: Unit) -> PendingUnit | None:
        found = self._db.get_item(TableName=self._table, Key=_unit_key("pending", unit), ConsistentRead=True).get(
            "Item"
        )
        return _pending(found) if found else None

    def pending_of_model(self, drive: str, model: str, after: str = "") -> Iterator[PendingUnit]:
        return map(_pending, self._units("pending", drive, model, after))

    def pending_of_frame(self, frame: FrameKey, model: str) -> list[PendingUnit]:
        partition = f"pending#{frame.drive}#{pending_partition(frame.position)}"
        return [_pending(item) for item in self._query(partition, f"{model}/{frame.position}/")]

    def any_pending(self, drive: str, models: Sequence[str]) -> bool:
        return any(
            next(self._query(f"pending#{drive}#{partition}", f"{model}/", limit=1), None)
            for model in models
            for partition in range(PENDING_PARTITIONS)
        )

    def mark_invoked(self, pending: PendingUnit, *, invoked: float, deadline: float, location: str) -> None:
        values = {":invoked": _number(invoked), ":deadline": _number(deadline)}
        update = "SET invoked = :invoked, deadline = :deadline"
        if location:
            update += ", #location = :location"
            values[":location"] = {"S": location}
        update += " REMOVE unconfirmed"
        values[":since"] = _number(pending.since)
        self._update(
            pending,
            update,
            values,
            names={"#location": "location"} if location else {},
            also=" AND since = :since",
        )

    def put_back(self, pending: PendingUnit, *, since: float) -> None:
        invoked = "invoked = :invoked" if pending.invoked else "attribute_not_exists(invoked)"
        self._update(
            pending,
            "SET since = :next REMOVE invoked, deadline, unconfirmed",
            {":next": _number(since), ":since": _number(pending.since)}
            | ({":invoked": _number(pending.invoked)} if pending.invoked else {}),
            also=f" AND since = :since AND {invoked}",
        )

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, unanswered: int = 0) -> bool:
        values = {
            ":next": _number(pending.attempt + 1),
            ":errors": _number(errors),
            ":silences": _number(unanswered),
            ":since": _number(since),
        }
        update = (
            "SET attempt = :next, #errors = :errors, silences = :silences, since = :since "
            "REMOVE invoked, deadline, unconfirmed, #location"
        )
        return self._update(pending, update, values, names={"#errors": "errors", "#location": "location"})

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        return self._update(
            pending,
            "SET since = :since",
            {":since": _number(since)},
            also=" AND attribute_not_exists(invoked)",
        )

    def fail(self, pending: PendingUnit, reason: str, at: float) -> bool:
        failed = {
            **_unit_key("failed", pending.unit),
            "reason": {"S": reason},
            "attempt": _number(pending.attempt),
            "at": _number(at),
        }
        gone = {
            "Key": _unit_key("pending", pending.unit),
            "ConditionExpression": "attempt = :attempt",
            "ExpressionAttributeValues": {":attempt": _number(pending.attempt)},
        }
        return self._together({"Put": {"Item": failed}}, {"Delete": gone})

    def revive(self, pending: PendingUnit) -> bool:
        found = {
            "Key": _unit_key("failed", pending.unit),
            "ConditionExpression": "attempt = :attempt",
            "ExpressionAttributeValues": {":attempt": _number(pending.attempt - 1)},
        }
        new = {"Item": _pending_item(pending), "ConditionExpression": _NEW}
        return self._together({"Delete": found}, {"Put": new})

    def drop(self, pending: PendingUnit) -> bool:
        values = {":attempt": _number(pending.attempt), ":since": _number(pending.since)}
        condition = "attempt = :attempt AND since = :since"
        condition += " AND attribute_exists(invoked)" if pending.invoked else " AND attribute_not_exists(invoked)"
        return self._if_condition_holds(
            lambda: self._db.delete_item(
                TableName=self._table,
                Key=_unit_key("pending", pending.unit),
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        )

    def settle(self, unit: Unit, location: str | None) -> None:
        if location is not None:
            self._db.put_item(TableName=self._table, Item={**_unit_key("answer", unit), "location": {"S": location}})
        self._db.delete_item(TableName=self._table, Key=_unit_key("pending", unit))

    def settle_all(self, units: Iterable[Unit]) -> frozenset[Unit]:
        settled: set[Unit] = set()
        # One request must not have a key twice.
        ahead = iter(dict.fromkeys(units))
        while batch := list(itertools.islice(ahead, _BATCH)):
            requests: Any = [{"DeleteRequest": {"Key": _unit_key("pending", unit)}} for unit in batch]
            try:
                answer = self._db.batch_write_item(RequestItems={self._table: requests})
            except (BotoCoreError, ClientError):
                # One unit may be the cause, so the caller settles each by itself.
                break
            left: Any = answer.get("UnprocessedItems", {}).get(self._table, [])
            settled.update(unit for unit, request in zip(batch, requests, strict=True) if request not in left)
        return frozenset(settled)

    def failed_of_model(self, drive: str, model: str, after: str = "") -> Iterator[FailedUnit]:
        for item in self._units("failed", drive, model, after):
            yield FailedUnit(_unit(item), item["reason"]["S"], int(item["attempt"]["N"]), float(item["at"]["N"]))

    def locations_of_model(self, drive: str, model: str, after: str = "") -> Iterator[tuple[Unit, str]]:
        for item in self._units("answer", drive, model, after):
            yield _unit(item), item["location"]["S"]

    def allocate_run(self, run: Run) -> Run:
        self._put_once({**_run_key(run.drive, run.run), **_run_item(run)})
        return self.run(run.drive, run.run)

    def latest_run(self, drive: str) -> Run | None:
        item = next(self._query(f"drive#{drive}", "run#", limit=1, backwards=True), None)
        return None if item is None else _run(item)

    def retry_failed(self, run: Run, before: float) -> None:
        changed = msgspec.structs.replace(run, retry_failed_before=before)
        self._db.update_item(
            TableName=self._table,
            Key=_run_key(run.drive, run.run),
            UpdateExpression="SET #run = :run",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#run": "run"},
            ExpressionAttributeValues={":run": _run_item(changed)["run"]},
        )

    def find_run(self, drive: str, run: str) -> Run | None:
        item = self._item(drive, f"run#{run}")
        return None if item is None else _run(item)

    def outcome(self, drive: str, run: str) -> str:
        item = self._item(drive, f"run#{run}") or {}
        return str(item.get("outcome", {"S": ""})["S"])

    def run(self, drive: str, run: str) -> Run:
        found = self.find_run(drive, run)
        if found is None:
            raise RunMissing(f"drive {drive!r} has no run {run!r}")
        return found

    def finish_run(self, run: Run, outcome: str, at: float) -> None:
        self._db.update_item(
            TableName=self._table,
            Key=_run_key(run.drive, run.run),
            UpdateExpression="SET outcome = :outcome, ended = :at",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":outcome": {"S": outcome}, ":at": _number(at)},
        )

    def wait(self, waiting: WaitingRun) -> bool:
        item: Any = {
            **_waiting_key(waiting),
            "token": {"S": waiting.token},
            "order": {"S": waiting.order},
            "models": {"L": [{"S": model} for model in waiting.models]},
        }
        return self._put_unless_later(item, waiting.order)

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        return [
            WaitingRun(
                drive,
                item["sk"]["S"].removeprefix("waiting#"),
                item["token"]["S"],
                tuple(model["S"] for model in item["models"]["L"]),
                item["order"]["S"],
            )
            for item in self._query(f"drive#{drive}", "waiting#")
        ]

    def stop_waiting(self, waiting: WaitingRun) -> None:
        self._delete_token(_waiting_key(waiting), waiting.token)

    def hold(self, waiting: WaitingJob) -> bool:
        item: Any = {**_job_key(waiting.job), "token": {"S": waiting.token}, "order": {"S": waiting.order}}
        return self._put_unless_later(item, waiting.order)

    def held(self, job: str) -> WaitingJob | None:
        item = self._db.get_item(TableName=self._table, Key=_job_key(job), ConsistentRead=True).get("Item")
        return WaitingJob(job, item["token"]["S"], item["order"]["S"]) if item else None

    def release(self, waiting: WaitingJob) -> None:
        self._delete_token(_job_key(waiting.job), waiting.token)

    def mark_closed(self, drive: str) -> None:
        self._db.put_item(TableName=self._table, Item=_drive_key("closed", drive))

    def closed_drives(self) -> Iterator[str]:
        for item in self._query("closed"):
            yield item["sk"]["S"].removesuffix("/")

    def mark_frozen(self, drive: str) -> None:
        self._db.put_item(TableName=self._table, Item={"pk": {"S": f"drive#{drive}"}, "sk": {"S": "frozen"}})

    def is_frozen(self, drive: str) -> bool:
        return self._item(drive, "frozen") is not None

    def mark_late(self, drive: str, at: float) -> None:
        self._db.put_item(TableName=self._table, Item={**_drive_key("late", drive), "at": _number(at)})

    def late_drives(self) -> Iterator[tuple[str, float]]:
        for item in self._query("late"):
            yield item["sk"]["S"].removesuffix("/"), float(item["at"]["N"])

    def forget_late(self, drive: str, at: float) -> None:
        self._if_condition_holds(
            lambda: self._db.delete_item(
                TableName=self._table,
                Key=_drive_key("late", drive),
                ConditionExpression="#at = :at",
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues={":at": _number(at)},
            )
        )

    def record_refusal(self, place: str, key: str, reason: str, detail: str, at: float) -> None:
        self._db.put_item(
            TableName=self._table,
            Item={
                "pk": {"S": f"refused#{place}"},
                "sk": {"S": key.encode()[:_MAX_SORT_KEY].decode(errors="ignore") or "(no key)"},
                "reason": {"S": reason},
                "detail": {"S": detail[:2_000]},
                "at": _number(at),
            },
        )

    def refusals(self, drive: str) -> Iterator[Refusal]:
        for item in self._query(f"refused#{drive}"):
            yield Refusal(item["sk"]["S"], item["reason"]["S"], item["detail"]["S"], float(item["at"]["N"]))

    def begin_log(self, record: LogRecord) -> None:
        self._if_condition_holds(
            lambda: self._db.put_item(
                TableName=self._table,
                Item=_log_item(record),
                ConditionExpression=f"{_NEW} OR attempt < :attempt",
                ExpressionAttributeValues={":attempt": _number(record.attempt)},
            )
        )

    def end_log(self, record: LogRecord) -> None:
        self._db.put_item(TableName=self._table, Item=_log_item(record))

    def leave_out_log(self, record: LogRecord, known: LogRecord | None) -> bool:
        if known is None:
            return self._put_once(_log_item(record))
        return self._if_condition_holds(
            lambda: self._db.put_item(
                TableName=self._table,
                Item=_log_item(record),
                ConditionExpression="#log = :log",
                ExpressionAttributeNames={"#log": "log"},
                ExpressionAttributeValues={":log": _log_item(known)["log"]},
            )
        )

    def logs(self, drive: str) -> list[LogRecord]:
        return [msgspec.json.decode(item["log"]["S"], type=LogRecord) for item in self._query(f"logs#{drive}")]

    def answer_locations(self, drive: str) -> Iterator[str]:
        """Yield the keys of a drive's answers that are at another key than the derived one."""
        for partition in range(PENDING_PARTITIONS):
            for item in self._query(f"answer#{drive}#{partition}"):
                yield item["location"]["S"]

    def forget_drive(self, drive: str) -> int:
        """Delete all items of a drive but those of its jobs, and return their number. For operators, not functions.

        The runs go last: a call that was broken off can be repeated, and still finds them.
        """
        units = [f"{kind}#{drive}#{n}" for kind in ("pending", "failed", "answer") for n in range(PENDING_PARTITIONS)]
        deleted = sum(self._delete(self._query(pk)) for pk in (*units, f"logs#{drive}", f"refused#{drive}"))
        deleted += sum(self._delete(self._query(pk, f"{drive}/")) for pk in ("closed", "late"))
        return deleted + self._delete(self._query(f"drive#{drive}"))

    def forget_jobs(self, jobs: Iterable[str]) -> int:
        """Delete the tokens of jobs, and return their number."""
        return sum(self._delete(self._query(f"job#{job}")) for job in jobs)

    def _delete(self, items: Iterator[Mapping[str, Any]]) -> int:
        count = 0
        while batch := list(itertools.islice(items, _BATCH)):
            count += len(batch)
            # `Any`: requests as boto3 takes them, and gives back those that DynamoDB had no capacity for.
            left: Any = [{"DeleteRequest": {"Key": {name: item[name] for name in ("pk", "sk")}}} for item in batch]
            while left:
                answer = self._db.batch_write_item(RequestItems={self._table: left})
                left = answer.get("UnprocessedItems", {}).get(self._table)
        return count

    def _item(self, drive: str, sk: str) -> Mapping[str, Any] | None:
        key: Any = {"pk": {"S": f"drive#{drive}"}, "sk": {"S": sk}}
        return self._db.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

    def _units(self, kind: str, drive: str, model: str, after: str) -> Iterator[Mapping[str, Any]]:
        """Read a model's units of a kind behind a position, merged in order from all partitions of the drive."""
        parts = [
            self._query(f"{kind}#{drive}#{partition}", f"{model}/", after=f"{model}/{after}/~" if after else "")
            for partition in range(PENDING_PARTITIONS)
        ]
        return heapq.merge(*parts, key=lambda item: item["sk"]["S"])

    def _query(
        self, pk: str, prefix: str = "", *, after: str = "", limit: int | None = None, backwards: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """Read the items of a partition whose sort key has the prefix, in order, with strong consistency.

        `after`: only those behind this sort key, which must begin with the prefix.
        """
        values: dict[str, Any] = {":pk": {"S": pk}}
        condition = "pk = :pk"
        if after:
            # A tilde sorts behind every character of a unit's names.
            condition += " AND sk BETWEEN :after AND :end"
            values |= {":after": {"S": after}, ":end": {"S": f"{prefix}~"}}
        elif prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        more: dict[str, Any] = {} if limit is None else {"Limit": limit}
        if backwards:
            more["ScanIndexForward"] = False
        while True:
            page = self._db.query(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                **more,
            )
            yield from page["Items"]
            if limit is not None or "LastEvaluatedKey" not in page:
                return
            more["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _update(
        self,
        pending: PendingUnit,
        update: str,
        values: dict[str, Any],
        *,
        names: dict[str, str] | None = None,
        also: str = "",
    ) -> bool:
        """Change a pending unit in place if it is still at its attempt."""
        more: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        return self._if_condition_holds(
            lambda: self._db.update_item(
                TableName=self._table,
                Key=_unit_key("pending", pending.unit),
                UpdateExpression=update,
                ConditionExpression="attempt = :attempt" + also,
                ExpressionAttributeValues={**values, ":attempt": _number(pending.attempt)},
                **more,
            )
        )

    def _put_once(self, item: Any) -> bool:
        return self._if_condition_holds(
            lambda: self._db.put_item(TableName=self._table, Item=item, ConditionExpression=_NEW)
        )

    def _together(self, *changes: Any) -> bool:
        """Make changes in one transaction; False if a condition does not hold."""
        items: Any = [
            {action: {"TableName": self._table, **what}} for change in changes for action, what in change.items()
        ]
        try:
            self._db.transact_write_items(TransactItems=items)
        except ClientError as e:
            reasons = e.response.get("CancellationReasons", [])
            if any(r.get("Code") == "ConditionalCheckFailed" for r in reasons):
                return False
            raise
        return True

    def _put_unless_later(self, item: Any, order: str) -> bool:
        """Store a token unless the ledger has the token of a later wait."""
        return self._if_condition_holds(
            lambda: self._db.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression=f"{_NEW} OR #order <= :order",
                ExpressionAttributeNames={"#order": "order"},
                ExpressionAttributeValues={":order": {"S": order}},
            )
        )

    def _delete_token(self, key: Any, token: str) -> None:
        self._if_condition_holds(
            lambda: self._db.delete_item(
                TableName=self._table,
                Key=key,
                ConditionExpression="#token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": token}},
            )
        )

    def _if_condition_holds(self, write: Any) -> bool:
        try:
            write()
        except ClientError as e:
            if error_code(e) == _CONDITION_FAILED:
                return False
            raise
        return True


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _unit_key(kind: str, unit: Unit) -> dict[str, Any]:
    return {"pk": {"S": f"{kind}#{unit.drive}#{unit.partition}"}, "sk": {"S": unit.place}}


def _pending_item(pending: PendingUnit) -> dict[str, Any]:
    """Make the item of a pending unit at its first attempt, or of one that is tried once more."""
    # `Any`: attributes of an item of DynamoDB, as boto3 takes them.
    taken: dict[str, Any] = {}
    if pending.invoked:
        taken = {"invoked": _number(pending.invoked), "deadline": _number(pending.deadline)}
    if pending.unconfirmed:
        taken["unconfirmed"] = {"BOOL": True}
    return {
        **_unit_key("pending", pending.unit),
        "key": {"S": pending.key},
        "etag": {"S": pending.etag},
        "attempt": _number(pending.attempt),
        "errors": _number(pending.errors),
        "since": _number(pending.since),
        **taken,
    }


# `Any`: an item of DynamoDB, as boto3 takes it.
def _log_item(record: LogRecord) -> dict[str, Any]:
    return {
        "pk": {"S": f"logs#{record.drive}"},
        "sk": {"S": f"{record.name}/{record.etag}"},
        "attempt": _number(record.attempt),
        "log": {"S": msgspec.json.encode(record).decode()},
    }


def _drive_key(pk: str, drive: str) -> dict[str, Any]:
    """Make a drive's key. The slash gives drives the order in which S3 lists their folders."""
    return {"pk": {"S": pk}, "sk": {"S": f"{drive}/"}}


def _run_item(run: Run) -> dict[str, Any]:
    return {"run": {"S": msgspec.json.encode(run).decode()}}


def _run(item: Mapping[str, Any]) -> Run:
    return msgspec.json.decode(item["run"]["S"], type=Run)


def _run_key(drive: str, run: str) -> dict[str, Any]:
    return {"pk": {"S": f"drive#{drive}"}, "sk": {"S": f"run#{run}"}}


def _waiting_key(waiting: WaitingRun) -> dict[str, Any]:
    return {"pk": {"S": f"drive#{waiting.drive}"}, "sk": {"S": f"waiting#{waiting.run}"}}


def _job_key(job: str) -> dict[str, Any]:
    return {"pk": {"S": f"job#{job}"}, "sk": {"S": "waiting"}}


def _unit(item: Mapping[str, Any]) -> Unit:
    drive = item["pk"]["S"].split("#")[1]
    model, camera, timestamp, token = item["sk"]["S"].split("/")
    return Unit(drive, camera, timestamp, token, model)


def _pending(item: Mapping[str, Any]) -> PendingUnit:
    return PendingUnit(
        unit=_unit(item),
        key=item["key"]["S"],
        etag=item["etag"]["S"],
        attempt=int(item["attempt"]["N"]),
        errors=int(item["errors"]["N"]),
        since=float(item["since"]["N"]),
        unanswered=int(item.get("silences", {"N": "0"})["N"]),
        invoked=float(item.get("invoked", {"N": "0"})["N"]),
        deadline=float(item.get("deadline", {"N": "0"})["N"]),
        location=item.get("location", {"S": ""})["S"],
        unconfirmed="unconfirmed" in item,
    )
