"""Objects: ministack writes them to disk; the buckets of a former cloud wait until a stack creates them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.cloud import symbols
from local.cloud.cloudformation.completion import complete
from local.records import UnreadableState
from local.settings import ACCOUNT, REGION

_SIDECAR = ".meta.json"


class KeptBuckets:
    """Buckets of a former cloud, without the settings that their stacks gave them.

    They are hidden at first: CloudFormation refuses to create a bucket that exists.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], Any] = symbols.find("services.s3", "_buckets")._data
        self._hidden = {name: bucket for (_, name), bucket in self._buckets.items()}
        self._buckets.clear()

    def install(self) -> None:
        """Give a bucket that is created its former objects, and acknowledge no put that is not on disk."""
        complete("AWS::S3::Bucket", lambda name, old, new: self._fill(name))
        parameters = ("name", "body", "headers", "endpoint_region")
        symbols.wrap("services.s3", "_create_bucket", self._creation, parameters=parameters)
        symbols.wrap("services.s3", "_persist_object", _checked, parameters=("bucket", "key", "obj"))

    def show_all(self) -> None:
        """Show the buckets that no stack has created again."""
        for name in list(self._hidden):
            self._show(name)

    def _creation(self, original: Any) -> Any:
        def create(name: str, *rest: Any, **more: Any) -> Any:
            self._show(name)
            return original(name, *rest, **more)

        return create

    def _fill(self, name: str) -> None:
        if former := self._hidden.pop(name, None):
            self._buckets[ACCOUNT, name] |= {"objects": former["objects"], "created": former["created"]}

    def _show(self, name: str) -> None:
        if former := self._hidden.pop(name, None):
            self._buckets[ACCOUNT, name] = {**former, "region": REGION}


def _checked(original: Any) -> Any:
    def persist(bucket: str, key: str, obj: Any) -> None:
        original(bucket, key, obj)
        # ministack only logs a failure. A body that is on disk is no longer in memory.
        if obj["body"] is not None:
            raise OSError(f"s3://{bucket}/{key} could not be written to disk")

    return persist


def check_objects(folder: Path) -> None:
    """Check ministack's files of objects before it reads them; raises UnreadableState.

    ministack would leave out what it cannot read. A kill between an object's file and its sidecar leaves a put that was
    not acknowledged: a new object is removed, and a new content gets its own size and ETag.
    """
    for file, sidecar in _files(folder):
        if not sidecar.exists():
            file.unlink()
            continue
        if not file.exists():
            continue
        try:
            meta = json.loads(sidecar.read_bytes())
            held, said = file.stat(), sidecar.stat()
            if held.st_mtime_ns > said.st_mtime_ns:
                _describe_anew(file, sidecar, meta)
            elif meta.get("size", held.st_size) != held.st_size and not meta.get("is_delete_marker"):
                raise ValueError(f"{held.st_size} bytes in place of {meta['size']}")
        except (ValueError, AttributeError) as e:
            raise UnreadableState(f"the kept state in {folder.parent} is damaged: {file}: {e}") from e


def _files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each object's file and its sidecar; one of the two may be missing. Earlier versions have no sidecars."""
    for place, folders, names in os.walk(folder):
        if Path(place) == folder and ".versions" in folders:
            folders.remove(".versions")
        for name in {name.removesuffix(_SIDECAR) for name in names if not name.endswith(".tmp")}:
            yield Path(place, name), Path(place, name + _SIDECAR)


def _describe_anew(file: Path, sidecar: Path, meta: dict[str, Any]) -> None:
    body = file.read_bytes()
    changed = meta | {"size": len(body), "etag": f'"{hashlib.md5(body).hexdigest()}"', "checksums": {}}  # noqa: S324
    sidecar.write_text(json.dumps(changed))
