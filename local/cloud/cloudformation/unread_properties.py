"""Fail a stack when ministack would silently drop a property."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from local.cloud import symbols

HARMLESS: dict[str, set[str]] = {
    "AWS::S3::Bucket": {"BucketEncryption", "LifecycleConfiguration", "OwnershipControls"},
    "AWS::SNS::Topic": {"TracingConfig"},
    "AWS::StepFunctions::StateMachine": {"TracingConfiguration"},
}
"""Properties that ministack ignores without any effect on a pipeline on one machine."""


class IgnoredProperty(ValueError):
    """The embedded cloud would not do what the template says."""


class _Watched(dict[str, Any]):
    """A dict that remembers which keys were read."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self.read.add(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        self.read.update(super().keys())
        return super().items()

    def keys(self) -> Any:
        self.read.update(super().keys())
        return super().keys()


def install_property_watch() -> None:
    """Watch the creation and update of every resource type that ministack brings."""
    handlers: dict[str, dict[str, Any]] = symbols.find("services.cloudformation.provisioners", "_RESOURCE_HANDLERS")
    for name, handler in handlers.items():
        if not name.startswith("AWS::") or name.startswith("AWS::CloudFormation::"):
            continue
        if "create" in handler:
            handler["create"] = _watched_create(name, handler["create"])
        if "update" in handler:
            handler["update"] = _watched_update(name, handler["update"])


def _watched_create(name: str, create: Any) -> Any:
    def watched(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        given = _Watched(properties)
        created = create(logical_id, given, stack)
        _refuse_unread(name, logical_id, set(properties), given)
        return created

    return watched


def _watched_update(name: str, update: Any) -> Any:
    def watched(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        given = _Watched(new)
        updated = update(physical_id, old, given, *rest)
        changed = {key for key, value in new.items() if value != old.get(key)}
        _refuse_unread(name, physical_id, changed, given)
        return updated

    return watched


def _refuse_unread(name: str, resource: str, wanted: set[str], given: _Watched) -> None:
    ignored = wanted - given.read - HARMLESS.get(name, set()) - {"Tags"}
    if ignored:
        raise IgnoredProperty(f"{resource}: the embedded cloud ignores {', '.join(sorted(ignored))} of {name}")
