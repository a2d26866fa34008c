"""The data of a training job's channels, in file mode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from local.sagemaker.containers import download
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import ObjectStore


class BadChannel(Exception):
    """A channel has no data, or its manifest cannot be read; the message names the channel and the URI."""


def fill_channel(objects: ObjectStore, channel: Mapping[str, Any], folder: Path) -> None:
    """Download a channel's objects into its folder, under what follows the prefix in their keys.

    Raises BadChannel and StorageError.
    """
    source = channel["DataSource"]["S3DataSource"]
    place = S3Uri.parse(source["S3Uri"])
    listed = _of_manifest if source["S3DataType"] == "ManifestFile" else _of_prefix
    count = 0
    for uri, name in listed(objects, place, channel["ChannelName"]):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise BadChannel(f"Channel {channel['ChannelName']}: {uri} has no place in the channel's folder")
        download(objects, uri, folder / path)
        count += 1
    if not count:
        raise BadChannel(f"No S3 objects found under S3 URL {place} given in input data source.")


def _of_prefix(objects: ObjectStore, place: S3Uri, channel: str) -> Iterator[tuple[S3Uri, str]]:
    for key in objects.keys(place):
        # A key that is the prefix itself has its own name, as a prefix of a part of a name has.
        cut = len(place.key) if place.key.endswith("/") else place.key.rfind("/") + 1
        # Consoles make empty objects for folders.
        if not key.endswith("/"):
            yield S3Uri(place.bucket, key), key[cut:]


def _of_manifest(objects: ObjectStore, place: S3Uri, channel: str) -> Iterator[tuple[S3Uri, str]]:
    body = objects.open(place).body
    try:
        document = json.loads(body.read())
        first, *names = document
        prefix = S3Uri.parse(first["prefix"])
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name is not a string")
    except (ValueError, TypeError, KeyError) as e:
        raise BadChannel(f"Channel {channel}: {place} is not a manifest of a prefix and names: {e!r}") from e
    finally:
        body.close()
    for name in names:
        yield S3Uri(prefix.bucket, prefix.key + name), name
