"""Meters what happens without a request to the gateway: functions, deliveries, polls of queues, states."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from typing import Any

from local.cloud import symbols
from local.cloud.functions.invocation import Invocation, Outcome
from local.cloud.functions.worker import Worker
from local.cloud.metering.meter import Meter, chunks

# Bytes that CloudWatch Logs adds to each event (its pricing page), and those of the platform's own two lines of an
# invocation, platform.start and platform.report (Lambda Developer Guide, "Log formats").
_EVENT_BYTES, _PLATFORM_BYTES = 26, 600
# The share of requests that Lambda traces beside the first of each second (Lambda Developer Guide, "X-Ray").
_TRACED = 0.05
# The most messages of one ReceiveMessage and one DeleteMessageBatch.
_MESSAGES = 10
Invoke = Callable[[Worker, Invocation], Outcome]


class WorkMeter:
    """Adds work to a meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def metered(self, invoke: Invoke) -> Invoke:
        """Wrap the invocation of a function: its request, GB-seconds without the start of the process, log, trace."""

        def metered(worker: Worker, invocation: Invocation) -> Outcome:
            began = time.monotonic()
            outcome = invoke(worker, invocation)
            seconds = math.ceil(1000 * (time.monotonic() - began)) / 1000
            name = invocation.function_arn.split(":")[6]
            self._meter.add("lambda", "Request", name)
            self._meter.add("lambda", "Duration", name, units=seconds * invocation.memory / 1024)
            lines = outcome.log.splitlines()
            size = len(outcome.log.encode()) + _PLATFORM_BYTES + _EVENT_BYTES * (len(lines) + 2)
            self._meter.add("logs", "Ingestion", name, units=size, size=size)
            if invocation.trace_id:
                self._meter.add("xray", "Trace", name, units=_TRACED)
            return outcome

        return metered

    def count_transition(self, machine: str) -> None:
        """Count a state that was entered or tried again."""
        self._meter.add("stepfunctions", "Transition", machine)

    def install(self) -> None:
        """Wrap deliveries to queues, and the polls of functions. Deliveries of S3 and SNS are requests of SQS."""
        self._wrap("services.s3", "_deliver_event_to_sqs", lambda arn, event, *_, **__: self._sent("s3", event))
        self._wrap("services.sns", "_deliver_to_sqs", lambda endpoint, envelope, *_, **__: self._sent("sns", envelope))
        self._wrap("services.sqs", "_receive_messages_for_esm", lambda *_, **__: None, after=self._received)
        self._wrap("services.sqs", "_delete_messages_for_esm", self._deleted)

    def _wrap(
        self, module: str, name: str, before: Callable[..., None], after: Callable[[Any], None] | None = None
    ) -> None:
        original = symbols.find(module, name)

        # Keeps the parameters, which those who wrap it again check.
        @functools.wraps(original)
        def metered(*arguments: Any, **named: Any) -> Any:
            before(*arguments, **named)
            result = original(*arguments, **named)
            if after:
                after(result)
            return result

        symbols.replace(module, name, metered)

    def _sent(self, service: str, payload: Any) -> None:
        size = len(json.dumps(payload))
        self._meter.add("sqs", "SendMessage", service, units=chunks(size), size=size)

    def _received(self, messages: list[dict[str, Any]]) -> None:
        # Polls of empty queues do not depend on the load.
        if messages:
            size = sum(len(str(message.get("body", ""))) for message in messages)
            polls = math.ceil(len(messages) / _MESSAGES)
            self._meter.add("sqs", "ReceiveMessage", "lambda", calls=polls, units=max(polls, chunks(size)), size=size)

    def _deleted(self, queue_url: str, receipt_handles: set[str]) -> None:
        if receipt_handles:
            batches = math.ceil(len(receipt_handles) / _MESSAGES)
            self._meter.add("sqs", "DeleteMessageBatch", "lambda", calls=batches, units=batches)
