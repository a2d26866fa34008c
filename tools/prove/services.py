"""DynamoDB and S3 as pure functions: from the state before a call and its parameters, the next state and the answer.

States never change in place, so an exploration can go on from any of them. Features that the product does not use are
refused. `tests/contract` holds the table to what the product expects of the real one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

Parameters = Mapping[str, Any]
Item = Mapping[str, Any]
Items = Mapping[str, Item]
Objects = Mapping[str, bytes]

_CONDITION = re.compile(r"(?:(attribute_exists|attribute_not_exists)\((\S+)\)|(\S+) (=|<=) (:\S+))\Z")
_UPDATE = re.compile(r"SET (?P<set>.+?)(?: REMOVE (?P<remove>.+))?\Z")
_KEYS = ("pk = :pk", "pk = :pk AND begins_with(sk, :prefix)", "pk = :pk AND sk BETWEEN :after AND :end")
# Separates the two keys in an item's name.
_BETWEEN = "\0"
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def refused(operation: str, code: str, status: int = 400, **more: Any) -> ClientError:
    """The error that boto3 raises when a service refuses a call."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(response, operation)


class Table:
    """One DynamoDB table. `page`: items in a page of a query."""

    def __init__(self, page: int) -> None:
        self._page = page

    def put_item(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        name = item_name(call["Item"])
        self._require(call, items.get(name, {}))
        return {**items, name: call["Item"]}, {}

    def delete_item(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        name = item_name(call["Key"])
        self._require(call, items.get(name, {}))
        return {other: item for other, item in items.items() if other != name}, {}

    def update_item(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        name = item_name(call["Key"])
        before = items.get(name, call["Key"])
        self._require(call, items.get(name, {}))
        parts = _UPDATE.match(call["UpdateExpression"])
        assert parts, call
        after = dict(before)
        for change in parts["set"].split(", "):
            attribute, value = change.split(" = ")
            after[_attribute(call, attribute)] = call["ExpressionAttributeValues"][value]
        for attribute in (parts["remove"] or "").split(", "):
            after.pop(_attribute(call, attribute), None)
        return {**items, name: after}, {}

    def batch_write_item(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        """Carry out the first write and leave the others, so that calls of others come between the writes."""
        ((table, (first, *left)),) = call["RequestItems"].items()
        items, _ = self.delete_item(items, first["DeleteRequest"])
        return items, {"UnprocessedItems": {table: left}} if left else {}

    def transact_write_items(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        steps = [step for action in call["TransactItems"] for step in action.items()]
        met = [_holds(step, items.get(item_name(step.get("Key") or step["Item"]), {})) for _, step in steps]
        if not all(met):
            reasons = [{"Code": "None" if one else "ConditionalCheckFailed"} for one in met]
            raise refused("TransactWriteItems", "TransactionCanceledException", CancellationReasons=reasons)
        for action, step in steps:
            items, _ = {"Put": self.put_item, "Delete": self.delete_item, "Update": self.update_item}[action](
                items, step
            )
        return items, {}

    def get_item(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        assert call["ConsistentRead"], call
        found = items.get(item_name(call["Key"]))
        return items, {} if found is None else {"Item": found}

    def query(self, items: Items, call: Parameters) -> tuple[Items, Any]:
        assert call["ConsistentRead"], call
        assert call["KeyConditionExpression"] in _KEYS, call
        values = {name: value["S"] for name, value in call["ExpressionAttributeValues"].items()}
        place = values[":pk"] + _BETWEEN
        first, last = place + values.get(":after", ""), place + values.get(":end", "\U0010ffff")
        backwards = not call.get("ScanIndexForward", True)
        names = sorted(
            (n for n in items if n.startswith(place + values.get(":prefix", "")) and first <= n <= last),
            reverse=backwards,
        )
        if "ExclusiveStartKey" in call:
            start = item_name(call["ExclusiveStartKey"])
            names = [name for name in names if (name < start if backwards else name > start)]
        limit = min(call.get("Limit", self._page), self._page)
        page = [items[name] for name in names[:limit]]
        answer: dict[str, Any] = {"Items": page}
        if len(page) == limit:
            # A full page has a mark, whether items follow it or not.
            answer["LastEvaluatedKey"] = {"pk": page[-1]["pk"], "sk": page[-1]["sk"]}
        return items, answer

    def _require(self, call: Parameters, item: Item) -> None:
        if not _holds(call, item):
            raise refused("", "ConditionalCheckFailedException")


def item_name(keys: Item) -> str:
    """The name under which an item is kept, from its keys or from the item itself."""
    return f"{keys['pk']['S']}{_BETWEEN}{keys['sk']['S']}"


def _holds(call: Parameters, item: Item) -> bool:
    """Whether the condition of a call holds: parts joined by AND, or by OR."""
    expression = call.get("ConditionExpression", "")
    if " OR " in expression:
        return any(_part_holds(call, item, part) for part in expression.split(" OR "))
    return all(_part_holds(call, item, part) for part in expression.split(" AND ") if part)


def _part_holds(call: Parameters, item: Item, condition: str) -> bool:
    parts = _CONDITION.match(condition)
    assert parts, call
    function, argument, attribute, operator, value = parts.groups()
    if function:
        return (_attribute(call, argument) in item) == (function == "attribute_exists")
    known, given = item.get(_attribute(call, attribute)), call["ExpressionAttributeValues"][value]
    return known is not None and (known == given or (operator == "<=" and known["S"] < given["S"]))


def _attribute(call: Parameters, name: str) -> str:
    return str(call["ExpressionAttributeNames"][name]) if name.startswith("#") else name


class Buckets:
    """Buckets of S3, their objects by `bucket/key`. `page`: keys in a page of a listing."""

    def __init__(self, page: int) -> None:
        self._page = page

    def head_object(self, objects: Objects, call: Parameters) -> tuple[Objects, Any]:
        if _name(call) not in objects:
            raise refused("HeadObject", "404", 404)
        return objects, {}

    def get_object(self, objects: Objects, call: Parameters) -> tuple[Objects, Any]:
        if _name(call) not in objects:
            raise refused("GetObject", "NoSuchKey", 404)
        body = objects[_name(call)]
        return objects, {"Body": body, "ETag": f'"{_etag(body)}"'}

    def put_object(self, objects: Objects, call: Parameters) -> tuple[Objects, Any]:
        if call.get("IfNoneMatch") == "*" and _name(call) in objects:
            raise refused("PutObject", "PreconditionFailed", 412)
        return {**objects, _name(call): call["Body"]}, {}

    def list_objects_v2(self, objects: Objects, call: Parameters) -> tuple[Objects, Any]:
        place = call["Bucket"] + "/"
        after = place + call.get("ContinuationToken", call.get("StartAfter", ""))
        names = sorted(n for n in objects if n.startswith(place + call["Prefix"]) and n > after)
        page = [name.removeprefix(place) for name in names[: self._page]]
        contents = [
            {
                "Key": key,
                "ETag": f'"{_etag(objects[place + key])}"',
                "Size": len(objects[place + key]),
                "LastModified": _LONG_AGO,
            }
            for key in page
        ]
        return objects, {"Contents": contents, "IsTruncated": len(names) > self._page}


def _name(call: Parameters) -> str:
    return f"{call['Bucket']}/{call['Key']}"


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class ServiceTape:
    """A tape with one caller: keeps the state of a service and answers calls from it, one after the other."""

    def __init__(self, service: Table | Buckets) -> None:
        self._service = service
        self._state: Any = {}

    def ask(self, service: str, operation: str, parameters: Parameters) -> Any:
        self._state, answer = getattr(self._service, operation)(self._state, parameters)
        return answer
