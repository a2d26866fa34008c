"""Reads a function's settings from its environment, once and typed; the start fails if one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_type_hints

import msgspec

from autolabel.contracts.errors import AutolabelError

Settings = TypeVar("Settings", bound=msgspec.Struct)


class SettingsError(AutolabelError):
    """A setting is missing or wrong."""


def read_settings(kind: type[Settings], environment: Mapping[str, str]) -> Settings:
    """Read a struct's fields from variables of the same names in capitals.

    Raises SettingsError, which names all missing settings, or one that is wrong."""
    values = {name: environment[name.upper()] for name in get_type_hints(kind) if name.upper() in environment}
    missing = [
        field.name.upper() for field in msgspec.structs.fields(kind) if field.required and field.name not in values
    ]
    if missing:
        raise SettingsError(f"settings are missing from the environment: {', '.join(missing)}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as e:
        raise SettingsError(f"a setting is wrong: {e}") from e
