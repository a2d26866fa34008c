"""The ledger on one DynamoDB table.

| pk | sk | what |
| --- | --- | --- |
| `pending#<drive>#<partition>` | `<model>/<camera>/<timestamp>/<token>` | a unit without its answer |
| `failed#<drive>#<partition>` | the same | a unit whose inference failed for good |
| `answer#<drive>#<partition>` | the same | an answer that lies elsewhere than derived |
| `drive#<drive>` | `run#<run>` | a run, fixed when it was allocated |
| `drive#<drive>` | `waiting#<run>` | the token that wakes the run's execution |
| `refused#<drive or empty>` | `<key>` | something that came in and does not fit |
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code
from autolabel.drives import FIRST_RUN, Run
from autolabel.errors import RunMissing
from autolabel.frames import FrameKey
from autolabel.ports import FailedUnit, PendingUnit, WaitingRun
from autolabel.units import PENDING_PARTITIONS, Unit, pending_partition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# DynamoDB's sort keys have at most 1,024 bytes, and so have S3's keys.
_MAX_SORT_KEY = 1_024
_NOT_AT_ATTEMPT = "ConditionalCheckFailedException"


class DynamoLedger:
    """`autolabel.ports.Ledger` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._db = client
        self._table = table

    def add_pending(self, pending: PendingUnit) -> bool:
        item = {
            **_unit_key("pending", pending.unit),
            "key": {"S": pending.key},
            "etag": {"S": pending.etag},
            "attempt": _number(pending.attempt),
            "errors": _number(pending.errors),
            "since": _number(pending.since),
        }
        return self._if_condition_holds(
            lambda: self._db.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")
        )

    def pending(self, unit: Unit) -> PendingUnit | None:
        found = self._db.get_item(TableName=self._table, Key=_unit_key("pending", unit), ConsistentRead=True).get(
            "Item"
        )
        return _pending(found) if found else None

    def pending_of_model(self, drive: str, model: str) -> Iterator[PendingUnit]:
        return map(_pending, self._units("pending", drive, model))

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
        self._update(pending, update, values, names={"#location": "location"} if location else {})

    def next_attempt(self, pending: PendingUnit, *, errors: int, since: float, silences: int = 0) -> bool:
        values = {
            ":next": _number(pending.attempt + 1),
            ":errors": _number(errors),
            ":silences": _number(silences),
            ":since": _number(since),
        }
        update = (
            "SET attempt = :next, #errors = :errors, silences = :silences, since = :since "
            "REMOVE invoked, deadline, #location"
        )
        return self._update(pending, update, values, names={"#errors": "errors", "#location": "location"})

    def touch(self, pending: PendingUnit, *, since: float) -> bool:
        return self._update(
            pending,
            "SET since = :since",
            {":since": _number(since)},
            also=" AND attribute_not_exists(invoked)",
        )

    def fail(self, pending: PendingUnit, reason: str) -> bool:
        changes: Any = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {**_unit_key("failed", pending.unit), "reason": {"S": reason}},
                }
            },
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": _unit_key("pending", pending.unit),
                    "ConditionExpression": "attempt = :attempt",
                    "ExpressionAttributeValues": {":attempt": _number(pending.attempt)},
                }
            },
        ]
        try:
            self._db.transact_write_items(TransactItems=changes)
        except ClientError as e:
            reasons = e.response.get("CancellationReasons", [])
            if any(r.get("Code") == "ConditionalCheckFailed" for r in reasons):
                return False
            raise
        return True

    def settle(self, unit: Unit, location: str | None) -> None:
        if location is not None:
            self._db.put_item(TableName=self._table, Item={**_unit_key("answer", unit), "location": {"S": location}})
        self._db.delete_item(TableName=self._table, Key=_unit_key("pending", unit))

    def failed_of_model(self, drive: str, model: str) -> Iterator[FailedUnit]:
        for item in self._units("failed", drive, model):
            yield FailedUnit(_unit(item), item["reason"]["S"])

    def locations_of_model(self, drive: str, model: str) -> Iterator[tuple[Unit, str]]:
        for item in self._units("answer", drive, model):
            yield _unit(item), item["location"]["S"]

    def allocate_first_run(self, run: Run, since: float) -> Run:
        item = {
            **_run_key(run.drive, FIRST_RUN),
            "run": {"S": msgspec.json.encode(run).decode()},
            "since": _number(since),
        }
        self._if_condition_holds(
            lambda: self._db.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")
        )
        return self.run(run.drive, FIRST_RUN)

    def find_run(self, drive: str, run: str) -> Run | None:
        item = self._run_item(drive, run)
        return None if item is None else msgspec.json.decode(item["run"]["S"], type=Run)

    def outcome(self, drive: str, run: str) -> str:
        item = self._run_item(drive, run) or {}
        return str(item.get("outcome", {"S": ""})["S"])

    def run(self, drive: str, run: str) -> Run:
        found = self.find_run(drive, run)
        if found is None:
            raise RunMissing(f"drive {drive!r} has no run {run!r}")
        return found

    def _run_item(self, drive: str, run: str) -> Mapping[str, Any] | None:
        return self._db.get_item(TableName=self._table, Key=_run_key(drive, run), ConsistentRead=True).get("Item")

    def finish_run(self, run: Run, outcome: str, at: float) -> None:
        self._db.update_item(
            TableName=self._table,
            Key=_run_key(run.drive, run.run),
            UpdateExpression="SET outcome = :outcome, ended = :at",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":outcome": {"S": outcome}, ":at": _number(at)},
        )

    def wait(self, waiting: WaitingRun) -> None:
        self._db.put_item(
            TableName=self._table,
            Item={
                **_waiting_key(waiting),
                "token": {"S": waiting.token},
                "models": {"L": [{"S": model} for model in waiting.models]},
            },
        )

    def waiting_runs(self, drive: str) -> list[WaitingRun]:
        return [
            WaitingRun(
                drive,
                item["sk"]["S"].removeprefix("waiting#"),
                item["token"]["S"],
                tuple(model["S"] for model in item["models"]["L"]),
            )
            for item in self._query(f"drive#{drive}", "waiting#")
        ]

    def stop_waiting(self, waiting: WaitingRun) -> None:
        self._if_condition_holds(
            lambda: self._db.delete_item(
                TableName=self._table,
                Key=_waiting_key(waiting),
                ConditionExpression="#token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": waiting.token}},
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

    def refusals(self, drive: str) -> Iterator[tuple[str, str, str]]:
        for item in self._query(f"refused#{drive}", ""):
            yield item["sk"]["S"], item["reason"]["S"], item["detail"]["S"]

    def _units(self, kind: str, drive: str, model: str) -> Iterator[Mapping[str, Any]]:
        """A model's units of a kind from all partitions of the drive, in one order."""
        parts = [self._query(f"{kind}#{drive}#{partition}", f"{model}/") for partition in range(PENDING_PARTITIONS)]
        return heapq.merge(*parts, key=lambda item: item["sk"]["S"])

    def _query(self, pk: str, prefix: str, limit: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Items of a partition whose sort key has the prefix, in order, read strongly consistent."""
        values: dict[str, Any] = {":pk": {"S": pk}}
        condition = "pk = :pk"
        if prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        more: dict[str, Any] = {} if limit is None else {"Limit": limit}
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
        """Change a pending unit in place, if it still is at its attempt."""
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

    def _if_condition_holds(self, write: Any) -> bool:
        try:
            write()
        except ClientError as e:
            if error_code(e) == _NOT_AT_ATTEMPT:
                return False
            raise
        return True


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _unit_key(kind: str, unit: Unit) -> dict[str, Any]:
    return {"pk": {"S": f"{kind}#{unit.drive}#{unit.partition}"}, "sk": {"S": unit.place}}


def _run_key(drive: str, run: str) -> dict[str, Any]:
    return {"pk": {"S": f"drive#{drive}"}, "sk": {"S": f"run#{run}"}}


def _waiting_key(waiting: WaitingRun) -> dict[str, Any]:
    return {"pk": {"S": f"drive#{waiting.drive}"}, "sk": {"S": f"waiting#{waiting.run}"}}


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
        silences=int(item.get("silences", {"N": "0"})["N"]),
        invoked=float(item.get("invoked", {"N": "0"})["N"]),
        deadline=float(item.get("deadline", {"N": "0"})["N"]),
        location=item.get("location", {"S": ""})["S"],
    )
