"""Catalogue of a stack: reads and changes its index and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from autolabel.contracts.drive import MAX_MODELS
from autolabel.contracts.errors import DocumentRefused
from autolabel.models import CATALOGUE_KEY, CatalogueIndex, Model, model_key, parse_model
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack
from autolabel_cli.suggestions import did_you_mean

_MAX_INDEX_BYTES = 1_000_000
# A try fails only when another change succeeded. This many in a row cannot come from people.
_TRIES = 20
FIRST_REVISION = "0001"


def read_document(path: Path, endpoint: str | None = None) -> Model:
    """Read a model's document from a file, with `endpoint` in place of its own. CommandError when it is refused."""
    try:
        model = parse_model(path.read_bytes(), str(path))
    except (OSError, DocumentRefused) as e:
        raise CommandError(str(e)) from e
    return msgspec.structs.replace(model, endpoint=endpoint) if endpoint else model


def read_index(stack: Stack) -> CatalogueIndex:
    """Read the index of the catalogue. Empty when no model was added yet."""
    return _read_index(stack)[0]


def find_revision(stack: Stack, name: str) -> Model:
    """Find a revision by a model's name (its current one) or by `name.revision`. CommandError if it is unknown."""
    plain, _, revision = name.partition(".")
    index = read_index(stack)
    revision = revision or index.models.get(plain, "")
    body = stack.labels.read(model_key(f"{plain}.{revision}")) if revision else None
    if body is None and plain in index.models:
        raise CommandError(f"model {plain} has no revision {revision}; its current one is {index.models[plain]}")
    if body is None:
        raise unknown_model(name, index)
    return parse_model(body, model_key(f"{plain}.{revision}"))


def check_models(stack: Stack, names: Iterable[str]) -> None:
    """Check that the catalogue has each of these models. CommandError for the first that is missing."""
    index = read_index(stack)
    for name in names:
        if name not in index.models:
            raise unknown_model(name, index)


def unknown_model(name: str, index: CatalogueIndex) -> CommandError:
    """Make the error for a model that the catalogue does not have."""
    known = ", ".join(sorted(index.models)) or "none"
    return CommandError(f"the catalogue has no model {name!r}; known are {known}{did_you_mean(name, index.models)}")


def revisions_of(stack: Stack, name: str) -> list[Model]:
    """Read all revisions of a model in the order in which they were added, including removed ones."""
    prefix = f"catalogue/models/{name}/"
    keys = sorted(thing.key for thing in stack.labels.list(prefix))
    return [parse_model(stack.labels.read(key) or b"", stack.labels.uri(key)) for key in keys]


def next_revision(revisions: list[Model]) -> str:
    """Return the number of the revision after these, as four digits."""
    return f"{int(revisions[-1].revision) + 1:04d}" if revisions else FIRST_REVISION


def add_model(stack: Stack, model: Model, *, active: bool | None = True) -> None:
    """Add a revision to the catalogue and make it the model's current one.

    `active`: whether the model labels drives that name no models. None keeps it as it is; a new model becomes active.
    CommandError when the catalogue has this revision with another content, because a revision never changes.
    """
    body = msgspec.json.format(msgspec.json.encode(model), indent=2)
    key = model_key(model.id)
    if not stack.labels.write_once(key, body):
        there = parse_model(stack.labels.read(key) or b"", stack.labels.uri(key))
        if there != model:
            raise CommandError(f"the catalogue has {model.id} with another content: give the document a new revision")
    change_index(stack, lambda index: with_model(index, model, active))


def with_model(index: CatalogueIndex, model: Model, active: bool | None) -> CatalogueIndex:
    """Return the index with this revision as its model's current one. CommandError when too many models are active."""
    wanted = (model.name not in index.models or model.name in index.active) if active is None else active
    others = tuple(name for name in index.active if name != model.name)
    if wanted and len(others) >= MAX_MODELS:
        raise CommandError(
            f"{MAX_MODELS} models are active, which is the limit for one drive: "
            "add this one with --inactive, or remove another first"
        )
    return CatalogueIndex({**index.models, model.name: model.revision}, (*others, model.name) if wanted else others)


def without_model(index: CatalogueIndex, name: str) -> CatalogueIndex:
    """Return the index without a model."""
    models = {known: revision for known, revision in index.models.items() if known != name}
    return CatalogueIndex(models, tuple(active for active in index.active if active != name))


def change_index(stack: Stack, change: Callable[[CatalogueIndex], CatalogueIndex]) -> None:
    """Change the index, on condition that it did not change since it was read."""
    for _ in range(_TRIES):
        index, etag = _read_index(stack)
        changed = change(index)
        if changed == index and etag:
            return
        body = msgspec.json.format(msgspec.json.encode(changed), indent=2)
        if stack.labels.write_over(CATALOGUE_KEY, body, etag):
            return
    raise CommandError("other commands keep changing the catalogue: give the command again")


def _read_index(stack: Stack) -> tuple[CatalogueIndex, str]:
    """Read the index with its ETag; the ETag of a missing index is empty."""
    found = stack.labels.read_tagged(CATALOGUE_KEY, _MAX_INDEX_BYTES)
    if found is None:
        return CatalogueIndex({}, ()), ""
    body, etag = found
    try:
        return msgspec.json.decode(body, type=CatalogueIndex), etag
    except msgspec.DecodeError as e:
        place = stack.labels.uri(CATALOGUE_KEY)
        raise CommandError(f"{place} cannot be decoded ({e}): restore an earlier version of it") from e
