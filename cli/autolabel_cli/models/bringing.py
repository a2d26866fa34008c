"""Adding a model: deploy it first, and write it to the catalogue last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import msgspec
from botocore.exceptions import ClientError

from autolabel.contracts.errors import DocumentRefused
from autolabel.models import Model, parse_model
from autolabel_cli.errors import CommandError
from autolabel_cli.models.artefacts import delete_artefacts, origins, place_artefact
from autolabel_cli.models.catalogue import add_model, change_index, next_revision, read_index, revisions_of, with_model
from autolabel_cli.models.existing import accept_endpoint
from autolabel_cli.models.sources import Source
from autolabel_cli.models.stacks import Deployment, ModelStack, check_parameters, endpoint_name, fingerprint_of
from autolabel_cli.stack import Stack

Tell = Callable[[str], None]
# Seconds: the alarm takes about 3 minutes, an instance with its model 3 to 10 (docs/operators/endpoints.md).
_WAKES_WITHIN = 900


class Brought(NamedTuple):
    """Result of adding a model. `outcome`: `added`, or `already` when nothing had to be done."""

    model: Model
    outcome: str


def bring_endpoint(stack: Stack, draft: Model, endpoint: str, *, active: bool | None) -> Brought:
    """Add a model behind an existing endpoint to the catalogue. CommandError says what the endpoint lacks."""
    accept_endpoint(stack, endpoint)
    revisions = revisions_of(stack, draft.name)
    current = _current(stack, revisions)
    if current and current.endpoint == endpoint:
        draft = _still_calibrated(draft, current)
    if current and _says_the_same(draft, current, endpoint):
        return _already(stack, current, active)
    return _enter(stack, _final(draft, next_revision(revisions), endpoint), active)


def bring_source(
    stack: Stack, draft: Model, source: Source, *, parameters: Mapping[str, str], active: bool | None, tell: Tell
) -> Brought:
    """Deploy a model as a stack of its own and add it to the catalogue. CommandError when something is refused.

    A deployment that exists is not made again: with another threshold or class map, the model becomes a revision that
    reads the answers of the one before it. `parameters`: further parameters of models/endpoint.yaml. `tell(text)` gets
    the progress.
    """
    check_parameters(parameters)
    _check_waking(draft, parameters)
    with_model(read_index(stack), draft, active)
    chosen = {"InstanceType": source.instance_type} if source.instance_type else {}
    deployment = Deployment(source.image, environment=source.environment, parameters={**chosen, **parameters})
    fingerprint = fingerprint_of(deployment, *origins(stack, source))
    revisions = revisions_of(stack, draft.name)
    current = _current(stack, revisions)
    if current and ModelStack(stack, current.endpoint).holds(fingerprint):
        draft = _still_calibrated(draft, current)
        if _says_the_same(draft, current, current.endpoint):
            return _already(stack, current, active)
        asked_alike = (current.content_type, current.accept) == (draft.content_type, draft.accept)
        kept = msgspec.structs.replace(draft, answers_of=current.answers_of or current.revision)
        model = _final(kept if asked_alike else draft, next_revision(revisions), current.endpoint)
        return _enter(stack, model, active)
    model = _final(draft, next_revision(revisions), draft.endpoint)
    model = msgspec.structs.replace(model, endpoint=endpoint_name(stack.name, model.id))
    tell(f"copying the artefact of {model.id}")
    deployment = replace(deployment, model_data=place_artefact(stack, model.id, fingerprint, source))
    try:
        ModelStack(stack, model.endpoint).deploy(deployment, model.id, fingerprint, tell)
    except (CommandError, ClientError):
        delete_artefacts(stack, model.id, fingerprint)
        raise
    return _enter(stack, model, active)


def _check_waking(draft: Model, parameters: Mapping[str, str]) -> None:
    sleeps = not parameters.get("MinInstances", "").strip("0")
    if sleeps and draft.queue_ttl < _WAKES_WITHIN:
        raise CommandError(
            f"requests of {draft.name} expire after {draft.queue_ttl} s, before an endpoint with zero instances wakes: "
            f"set queue_ttl in the document to {_WAKES_WITHIN} or more, or give --parameter MinInstances=1"
        )


def _still_calibrated(draft: Model, current: Model) -> Model:
    """Add the calibration of the same endpoint to a draft, unless it has its own or reads the answers differently."""
    read_alike = (draft.decoder, draft.options, draft.classes) == (current.decoder, current.options, current.classes)
    if draft.calibration or not read_alike:
        return draft
    return msgspec.structs.replace(draft, calibration=current.calibration)


def _enter(stack: Stack, model: Model, active: bool | None) -> Brought:
    add_model(stack, model, active=active)
    return Brought(model, "added")


def _already(stack: Stack, model: Model, active: bool | None) -> Brought:
    change_index(stack, lambda index: with_model(index, model, active))
    return Brought(model, "already")


def _current(stack: Stack, revisions: list[Model]) -> Model | None:
    models = read_index(stack).models
    return next((model for model in revisions if models.get(model.name) == model.revision), None)


def _says_the_same(draft: Model, current: Model, endpoint: str) -> bool:
    answers_of = draft.answers_of or current.answers_of
    return (
        msgspec.structs.replace(draft, revision=current.revision, endpoint=endpoint, answers_of=answers_of) == current
    )


def _final(draft: Model, revision: str, endpoint: str) -> Model:
    model = msgspec.structs.replace(draft, revision=revision, endpoint=endpoint)
    try:
        return parse_model(msgspec.json.encode(model), model.id)
    except DocumentRefused as e:
        raise CommandError(str(e)) from e
