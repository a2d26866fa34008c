"""Deleting a stack: its models first, because their endpoints cost money and need the stack's role and topics."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec

from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import read_index
from autolabel_cli.models.removal import remove_model
from autolabel_cli.models.stacks import ModelStack
from autolabel_cli.stack import Stack

_RUNS_NAMED = 5


class Teardown(msgspec.Struct, frozen=True):
    """What was deleted, and what stays: `kept` endpoints that the command did not deploy, and `stays` in sentences."""

    stack: str
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    kept: tuple[str, ...]
    stays: tuple[str, ...]


def what_stays(stack: Stack) -> tuple[str, ...]:
    """Return what the deletion of a stack leaves, one thing in each sentence."""
    logs = stack.outputs.get("AccessLogBucketName")
    return (
        f"bucket {stack.ingest.name} with all versions of the drives",
        f"bucket {stack.labels.name} with answers, datasets and evidence",
        f"table {stack.outputs['LedgerName']}, the ledger",
        *([f"bucket {logs} with access logs, which go by themselves"] if logs else []),
    )


def check_idle(stack: Stack) -> None:
    """Raise CommandError while executions of the stack are running."""
    running = list(itertools.islice(_running(stack), _RUNS_NAMED + 1))
    if running:
        more = " and more" if len(running) > _RUNS_NAMED else ""
        raise CommandError(
            f"stack {stack.name} is at work ({', '.join(running[:_RUNS_NAMED])}{more}): wait for it, or stop the runs "
            "first (autolabel stop DRIVE)"
        )


def destroy_stack(stack: Stack, tell: Callable[[str], None]) -> Teardown:
    """Remove all models, then delete the stack, and wait. CommandError while something runs or if a deletion fails.

    `tell(text)` gets the progress. A call that was broken off can be repeated.
    """
    check_idle(stack)
    models = tuple(sorted(read_index(stack).models))
    removed = [remove_model(stack, name, force=True, tell=tell) for name in models]
    ModelStack(stack, stack.name).delete(tell)
    return Teardown(
        stack.name,
        models,
        tuple(endpoint for one in removed for endpoint in one.deleted),
        tuple(endpoint for one in removed for endpoint in one.kept),
        what_stays(stack),
    )


def _running(stack: Stack) -> Iterator[str]:
    for output in ("StateMachineArn", "ExtractMachineArn"):
        if machine := stack.outputs.get(output):
            pages = stack.client("stepfunctions").get_paginator("list_executions")
            for page in pages.paginate(stateMachineArn=machine, statusFilter="RUNNING"):
                yield from (execution["name"] for execution in page["executions"])
