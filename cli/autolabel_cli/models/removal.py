"""Removing a model: first from the catalogue, then everything that costs money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from autolabel.contracts.run_folder import RunFolder
from autolabel.drives import frozen_listing
from autolabel_cli.errors import CommandError
from autolabel_cli.models.artefacts import delete_artefacts
from autolabel_cli.models.catalogue import (
    change_index,
    next_revision,
    read_index,
    revisions_of,
    unknown_model,
    without_model,
)
from autolabel_cli.models.stacks import ModelStack, endpoint_name
from autolabel_cli.stack import Stack

_DRIVES_NAMED = 5


class Removed(NamedTuple):
    """Result of a removal: `deleted` and `kept` endpoints, and the models that are still `active`."""

    name: str
    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    active: tuple[str, ...]


def remove_model(stack: Stack, name: str, *, force: bool, tell: Callable[[str], None]) -> Removed:
    """Remove a model from the catalogue and delete its stacks and artefacts. The documents of its revisions stay.

    CommandError for an unknown model and, without `force`, while runs wait for its answers. An endpoint that another
    model uses, or that this command did not deploy, is kept. To finish an interrupted removal, do it again.
    """
    index = read_index(stack)
    revisions = revisions_of(stack, name)
    # An interrupted addition leaves a stack without a document, or with one that now names another endpoint.
    unfinished = f"{name}.{next_revision(revisions)}"
    deployable = [unfinished, *(model.id for model in revisions if not model.answers_of)]
    named = {model.endpoint for model in revisions}.union(endpoint_name(stack.name, id_) for id_ in deployable)
    ours = {
        endpoint: deployed for endpoint in sorted(named) if (deployed := ModelStack(stack, endpoint)).belongs_to(name)
    }
    if name not in index.models and not ours:
        raise unknown_model(name, index)
    waiting = list(_waiting_runs(stack, {model.answers_id for model in revisions}))
    if waiting and not force:
        more = f" and {len(waiting) - _DRIVES_NAMED} more" if len(waiting) > _DRIVES_NAMED else ""
        raise CommandError(
            f"runs need answers of {name} ({'; '.join(waiting[:_DRIVES_NAMED])}{more}): wait for them, or stop them "
            "(autolabel stop DRIVE); --force removes it anyway, and they continue without its answers"
        )
    change_index(stack, lambda current: without_model(current, name))
    left = read_index(stack)
    used = {
        model.endpoint
        for other, revision in left.models.items()
        for model in revisions_of(stack, other)
        if model.revision == revision
    }
    for endpoint, deployed in ours.items():
        if endpoint not in used:
            deployed.delete(tell)
    kept = {model.endpoint for model in revisions} & used | {m.endpoint for m in revisions} - ours.keys()
    for model_id in (unfinished, *(model.id for model in revisions if model.endpoint not in used)):
        delete_artefacts(stack, model_id)
    return Removed(name, tuple(sorted(ours.keys() - used)), tuple(sorted(kept)), left.active)


def _waiting_runs(stack: Stack, asked: set[str]) -> Iterator[str]:
    """Yield the running executions with unanswered units of these `name.revision`, as `drive d, run r`."""
    pages = (
        stack.client("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=stack.outputs["StateMachineArn"], statusFilter="RUNNING")
    )
    for page in pages:
        for execution in page["executions"]:
            drive, _, name = execution["name"].rpartition("-")
            run = stack.ledger.find_run(drive, name)
            concerned = [model for model in run.asked if model in asked] if run else []
            if not concerned:
                continue
            # Before its listing is frozen, a run has not asked for any answer yet.
            frozen = frozen_listing(stack.labels, RunFolder(drive, name))
            if stack.ledger.any_pending(drive, concerned) or frozen is None:
                yield f"drive {drive}, run {name}"
