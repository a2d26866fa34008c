"""Adding models to the catalogue of a stack."""

from __future__ import annotations

from pathlib import Path

import msgspec

from autolabel.catalogue import CATALOGUE_KEY, CatalogueIndex, Model, model_key, parse_model
from autolabel.errors import DocumentRefused
from cli.errors import CommandError
from cli.stack import Stack


def read_document(path: Path, endpoint: str | None = None) -> Model:
    """A model's document from a file, with another endpoint when one is given; CommandError when it is refused."""
    try:
        model = parse_model(path.read_bytes(), str(path))
    except (OSError, DocumentRefused) as e:
        raise CommandError(str(e)) from e
    return msgspec.structs.replace(model, endpoint=endpoint) if endpoint else model


def add_model(stack: Stack, model: Model, *, active: bool = True) -> None:
    """Put a revision into the catalogue and make it the model's current one; `active`: let it label every drive.

    A revision never changes: CommandError when this one is there with another content.
    """
    body = msgspec.json.format(msgspec.json.encode(model), indent=2)
    key = model_key(model.id)
    if not stack.labels.write_once(key, body):
        there = parse_model(stack.labels.read(key) or b"", stack.labels.uri(key))
        if there != model:
            raise CommandError(f"{model.id} is in the catalogue with another content: give the document a new revision")
    index = stack.labels.read(CATALOGUE_KEY)
    known = msgspec.json.decode(index, type=CatalogueIndex) if index else CatalogueIndex({}, ())
    others = tuple(name for name in known.active if name != model.name)
    changed = CatalogueIndex({**known.models, model.name: model.revision}, (*others, model.name) if active else others)
    stack.labels.write(CATALOGUE_KEY, msgspec.json.format(msgspec.json.encode(changed), indent=2))
