"""Artefacts: the `model.tar.gz` of each revision in the label bucket, where the endpoints' role may read it.

The command copies it there, so that a revision's artefact never changes and is deleted with the revision.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from autolabel.aws import error_status
from autolabel_cli.errors import CommandError
from autolabel_cli.models.sources import Source
from autolabel_cli.stack import Stack

# The fastest level: weights hardly become smaller with a higher one.
_COMPRESSION = 1


def artefacts_prefix(model_id: str, fingerprint: str = "") -> str:
    """Return the prefix in the label bucket of a `name.revision`'s artefacts, or of one deployment of it."""
    name, _, revision = model_id.rpartition(".")
    return f"models/{name}/{revision}/" + (f"{fingerprint}/" if fingerprint else "")


def origins(stack: Stack, source: Source) -> list[str]:
    """List the parts of a source's artefact with their hashes. CommandError when an object is missing."""
    said = []
    for uri in (source.model_data, source.script):
        if uri:
            said += [uri, _head(stack, uri)["ETag"]]
    if source.source_dir:
        digest = hashlib.sha256()
        for path in _files(source.source_dir):
            digest.update(f"{path.relative_to(source.source_dir)}\0".encode() + path.read_bytes())
        said.append(digest.hexdigest())
    return said


def place_artefact(stack: Stack, model_id: str, fingerprint: str, source: Source) -> str:
    """Write a source's artefact to the label bucket, with its script under `code/`, and return its S3 URI or "".

    The key holds the deployment's fingerprint, so that two commands that add a revision at once use different keys.
    """
    key = f"{artefacts_prefix(model_id, fingerprint)}model.tar.gz"
    s3 = stack.client("s3")
    if not source.script and not source.source_dir:
        if not source.model_data:
            return ""
        bucket, origin = _split(source.model_data)
        s3.copy({"Bucket": bucket, "Key": origin}, stack.labels.name, key)
        return stack.labels.uri(key)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.tar.gz"
        with tarfile.open(packed, "w:gz", compresslevel=_COMPRESSION) as out:
            if source.model_data:
                _add_archive(out, _download(s3, source.model_data, Path(folder) / "data"), "")
            if source.script:
                _add_archive(out, _download(s3, source.script, Path(folder) / "script"), "code/")
            elif source.source_dir:
                for path in _files(source.source_dir):
                    out.add(path, f"code/{path.relative_to(source.source_dir)}")
        with packed.open("rb") as body:
            s3.upload_fileobj(body, stack.labels.name, key)
    return stack.labels.uri(key)


def delete_artefacts(stack: Stack, model_id: str, fingerprint: str = "") -> None:
    """Delete all artefacts of a revision, or only that of one deployment, if there are any."""
    for thing in stack.labels.list(artefacts_prefix(model_id, fingerprint)):
        stack.client("s3").delete_object(Bucket=stack.labels.name, Key=thing.key)


def _add_archive(out: tarfile.TarFile, path: Path, folder: str) -> None:
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                # The script replaces the artefact's own code.
                if not folder and name.split("/")[0] == "code":
                    continue
                member.name = folder + name
                out.addfile(member, archive.extractfile(member) if member.isfile() else None)
    except tarfile.TarError as e:
        raise CommandError(f"an artefact is not a .tar.gz file ({e}): pack it as one") from e


def _download(s3: Any, uri: str, path: Path) -> Path:
    bucket, key = _split(uri)
    s3.download_file(bucket, key, str(path))
    return path


def _head(stack: Stack, uri: str) -> dict[str, Any]:
    bucket, key = _split(uri)
    try:
        found: dict[str, Any] = stack.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as e:
        if error_status(e) == 404:
            raise CommandError(f"{uri} does not exist: check the URI") from e
        if error_status(e) == 403:
            raise CommandError(f"{uri} does not exist, or your identity lacks s3:GetObject on it") from e
        raise
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
