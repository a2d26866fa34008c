"""Makes boto3 clients, once in each function's environment."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Error codes of temporary failures, beside the statuses 429 and 5xx: botocore's own lists of throttling and transient
# codes, and a transaction that conflicts with a single write (DynamoDB API reference, PutItem).
_PASSING = (
    "Throttl",
    "TooManyRequests",
    "ProvisionedThroughputExceeded",
    "LimitExceeded",
    "SlowDown",
    "RequestTimeout",
    "PriorRequestNotComplete",
    "TransactionInProgress",
    "TransactionConflict",
)


@cache
def client(service: str, attempts: int = 6) -> Any:
    """Return the client of a service; `attempts`: the most calls for a request that is throttled or fails."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        # With the default, a single dead connection would take all the time that a batch of messages has.
        connect_timeout=5,
        read_timeout=20,
    )
    return boto3.client(service, config=config)


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def with_place(error: ClientError, place: str) -> ClientError:
    """Return the error with the object that it is about in its message, because AWS names none."""
    # The type of botocore's stubs has no room for the keys of single services, which are kept here.
    said = {**error.response.get("Error", {}), "Message": f"{error_message(error)} ({place})".strip()}
    return ClientError({**error.response, "Error": said}, error.operation_name)  # type: ignore[typeddict-item]


def error_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_passing(error: Exception) -> bool:
    """Check whether an error is temporary: the service throttles, fails or cannot be reached."""
    if isinstance(error, BotoCoreError):
        return True
    if not isinstance(error, ClientError):
        return False
    if error_code(error) == "TransactionCanceledException":
        reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
        return bool(reasons & {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
    status = error_status(error)
    return status >= 500 or status == 429 or any(word in error_code(error) for word in _PASSING)
