"""SQS event source mappings: whole batches, batching windows, and responses read as strictly as Lambda reads them."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from local.cloud import symbols

BACKOFF_SECONDS = 1.0
# Ends of windows that are this close, in seconds, are of one window.
_SAME_WINDOW = 0.01
# When the poller is woken next for a queue with an open window.
_due: dict[str, float] = {}
_log = logging.getLogger("embedded-cloud")
Message = dict[str, Any]


class MalformedBatchResponse(ValueError):
    """A partial batch response that Lambda treats as the failure of the whole batch."""


def install_event_sources() -> None:
    """Patch how ministack takes batches from queues and which messages it deletes."""
    symbols.replace("services.sqs", "_receive_messages_for_esm", receive_batch, parameters=("queue_url", "max_number"))
    symbols.replace(
        "services.lambda_svc",
        "_run_sqs_batch",
        run_batch,
        parameters=("esm", "func_rec", "event", "batch", "queue_url", "queue_name"),
    )


def receive_batch(queue_url: str, max_number: int) -> list[Message]:
    """Take up to BatchSize messages; ministack takes at most ten.

    Takes none while they are fewer and the first of them has waited for less than MaximumBatchingWindowInSeconds.
    """
    limit = max(1, int(max_number or 1))
    with symbols.find("services.sqs", "_queues_lock"):
        queue = symbols.find("services.sqs", "_get_q")(queue_url)
        symbols.find("services.sqs", "_expire_retained")(queue)
        symbols.find("services.sqs", "_dlq_sweep")(queue)
        now = time.time()
        since = [message["visible_at"] for message in queue["messages"] if message["visible_at"] <= now]
        if 0 < len(since) < limit and (wait := min(since) + _window(queue["attributes"]["QueueArn"]) - now) > 0:
            _look_again(queue_url, wait)
            return []
        visibility = int(queue["attributes"].get("VisibilityTimeout", "30"))
        return list(symbols.find("services.sqs", "_collect_msgs")(queue, limit, visibility))


def _window(queue_arn: str) -> float:
    """Return the batching window of a queue's mapping in seconds, the longest of several."""
    mappings = symbols.find("services.lambda_svc", "_esms").values()
    windows = (m["MaximumBatchingWindowInSeconds"] for m in mappings if m["EventSourceArn"] == queue_arn)
    return float(max(windows, default=0))


def _look_again(queue_url: str, wait: float) -> None:
    """Wake the poller once a window ends; it sleeps for up to a second when it has found nothing."""
    due = time.monotonic() + wait
    if _due.get(queue_url, 0.0) + _SAME_WINDOW < due:
        _due[queue_url] = due
        timer = threading.Timer(wait, symbols.find("services.lambda_svc", "_esm_wake").set)
        timer.daemon = True
        timer.start()


def run_batch(
    esm: dict[str, Any],
    func_rec: dict[str, Any],
    event: dict[str, Any],
    batch: list[Message],
    queue_url: str,
    queue_name: str,
) -> None:
    """Invoke the function with a batch and delete the messages that it processed."""
    backoff = symbols.find("services.lambda_svc", "_esm_backoff_until")
    result = symbols.find("services.lambda_svc", "_execute_function")(func_rec, event)
    delivered = {record["messageId"] for record in event["Records"]}
    try:
        if result.get("error"):
            raise MalformedBatchResponse(json.dumps(result.get("body")))
        failed = (
            failed_messages(result.get("body"), delivered)
            if "ReportBatchItemFailures" in esm.get("FunctionResponseTypes", [])
            else set()
        )
    except MalformedBatchResponse as problem:
        esm["LastProcessingResult"] = "PROBLEM: Function call failed"
        _log.warning("%s failed a batch of %d from %s: %s", esm["FunctionName"], len(batch), queue_name, problem)
        # The messages return after the visibility timeout; without a pause a broken function would be invoked in a
        # loop.
        backoff[esm["UUID"]] = time.time() + BACKOFF_SECONDS
        return
    backoff.pop(esm["UUID"], None)
    esm["LastProcessingResult"] = "OK"
    done = {message["receipt_handle"] for message in batch if message["id"] not in failed}
    symbols.find("services.sqs", "_delete_messages_for_esm")(queue_url, done)


def failed_messages(response: Any, delivered: set[str]) -> set[str]:
    """Return the ids that a partial batch response reports.

    No response, an empty object and an empty or null list mean success. An empty or unknown id and any other shape mean
    that the whole batch failed, and raise MalformedBatchResponse (Lambda Developer Guide, "Success and failure
    conditions").
    """
    if response is None or response == {}:
        return set()
    if not isinstance(response, dict) or "batchItemFailures" not in response:
        raise MalformedBatchResponse(f"not a partial batch response: {response!r}")
    failures = response["batchItemFailures"] or []
    try:
        reported = {str(failure["itemIdentifier"]) for failure in failures}
    except (KeyError, TypeError) as error:
        raise MalformedBatchResponse(f"not a list of item identifiers: {failures!r}") from error
    if unknown := reported - delivered:
        raise MalformedBatchResponse(f"unknown item identifiers: {sorted(unknown)}")
    return reported
