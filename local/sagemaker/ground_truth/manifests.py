"""Input manifests of labelling jobs: one JSON object in each line.

Limits: developer guide, "Input data" (manifest files: characters of a line and of an attribute, names; quotas: items of
an image job).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local.sagemaker.ports import Readable

LINE_CHARACTERS = 100_000
ATTRIBUTE_CHARACTERS = 20_000
OBJECTS = 100_000
SEGMENTED_OBJECTS = 20_000
_CHUNK = 1 << 16
# A UTF-8 character has at most four bytes: a longer run without a line break cannot be a legal line.
_LINE_BYTES = 4 * LINE_CHARACTERS


class BadManifest(Exception):
    """The manifest cannot be used; the message names the line."""


def read_manifest(body: Readable, limit: int = OBJECTS) -> Iterator[dict[str, Any]]:
    """Yield a manifest's objects in order, in bounded memory; raises BadManifest, also when there are none."""
    number = 0
    for number, line in enumerate(_lines(body), start=1):
        if number > limit:
            raise BadManifest(f"The manifest has more than {limit} objects")
        yield _parse(number, line)
    if number == 0:
        raise BadManifest("The manifest has no objects")


def _lines(body: Readable) -> Iterator[bytes]:
    rest = b""
    while block := body.read(_CHUNK):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > _LINE_BYTES:
            # Long enough to be refused; more of it would only fill the memory.
            yield rest
            return
    if rest:
        yield rest


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
        document = json.loads(text)
    except ValueError as e:
        raise BadManifest(f"Line {number} is not JSON in UTF-8: {e}") from e
    if not isinstance(document, dict):
        raise BadManifest(f"Line {number} is not a JSON object")
    if len(text) > LINE_CHARACTERS:
        raise BadManifest(f"Line {number} has {len(text)} characters, more than {LINE_CHARACTERS}")
    source = document.get("source-ref")
    if not isinstance(source, str) or not source.startswith("s3://"):
        raise BadManifest(f"Line {number} has no source-ref with an S3 URI")
    _check_attributes(number, document)
    return document


def _check_attributes(number: int, document: Mapping[str, Any]) -> None:
    for name, value in document.items():
        if name.startswith("$"):
            raise BadManifest(f"Line {number}: the attribute name {name!r} begins with '$'")
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            f"{name}{written}".encode()
        except UnicodeEncodeError as e:
            # JSON can write half of a surrogate pair, UTF-8 cannot.
            raise BadManifest(f"Line {number}: the attribute {name!r} is not Unicode text: {e.reason}") from e
        size = len(written)
        if size > ATTRIBUTE_CHARACTERS:
            raise BadManifest(
                f"Line {number}: the attribute {name!r} has {size} characters, more than {ATTRIBUTE_CHARACTERS}"
            )
