"""A function's settings: typed, read once from its environment, and refused at start when one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_type_hints

import msgspec

from autolabel.contracts.errors import AutolabelError

Settings = TypeVar("Settings", bound=msgspec.Struct)


class SettingsError(AutolabelError):
    """A setting is missing or has no sense."""


def read_settings(kind: type[Settings], environment: Mapping[str, str]) -> Settings:
    """Read a struct's fields from variables of the same names in capitals; SettingsError names all that are wrong."""
    values = {name: environment[name.upper()] for name in get_type_hints(kind) if name.upper() in environment}
    missing = [
        field.name.upper() for field in msgspec.structs.fields(kind) if field.required and field.name not in values
    ]
    if missing:
        raise SettingsError(f"settings are missing from the environment: {', '.join(missing)}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as e:
        raise SettingsError(f"a setting has no sense: {e}") from e
