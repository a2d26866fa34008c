"""Upload of drive logs as they are, for a stack that extracts them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from autolabel.contracts.frames import LOG_DOCUMENT, LogKey, is_log_name, logs_prefix
from autolabel.contracts.logs import LogDocument, log_document_key, parse_log_document
from autolabel.contracts.ports import StoredObject
from autolabel.logs import IMAGES, RECEIPT, Kind, natural_order, tell_kind
from autolabel_cli.drives.logs import read_head, refuse_unmerged
from autolabel_cli.drives.multipart import FileUpload, Overtaken, expected_etag
from autolabel_cli.drives.receipts import Receipt, UploadedFile, read_receipt, write_receipt
from autolabel_cli.drives.recordings import first_of
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# Looks at a key that others write at the same time.
_TRIES = 3


class LogFiles(NamedTuple):
    """Drive logs on this machine. `folder`: where their receipt is.

    `files`: what is uploaded, in this order; `skipped`: what else is in the folder, without hidden files; `document`:
    the folder's own recording.json, None without one.
    """

    folder: Path
    files: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    document: bytes | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the logs, without files that describe them."""
        return tuple(path.name for path in self.files if LogKey("", path.name).is_log)

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def skipped_sentence(self) -> str:
        """Name what is not uploaded; empty when all is."""
        named = first_of(path.name + "/" * path.is_dir() for path in self.skipped)
        return f"not uploaded, because they are not logs: {named}" if named else ""


class LogsUploaded(NamedTuple):
    """What became of the files: those that were `sent`, and those that were `there`. `notices`: sentences."""

    sent: tuple[str, ...]
    there: tuple[str, ...]
    notices: tuple[str, ...]


def find_logs(path: Path) -> LogFiles | None:
    """Find a log, or the logs of a folder, by their first bytes; None for anything else, which frames may come of.

    A video is a log only in a folder with logs. CommandError for names and files that cannot be uploaded.
    """
    if not path.is_dir():
        kind = tell_kind(read_head(path))
        if not kind.container or kind.has_frames:
            return None
        _refuse_unfit(path.parent, {path: kind})
        return _checked(LogFiles(path.parent, (path,)))
    found = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=lambda p: natural_order(p.name))
    images = [p for p in found if p.suffix.lower() in IMAGES]
    others = [p for p in found if p.is_file() and p not in set(images)]
    kinds = {p: tell_kind(read_head(p)) for p in others if os.access(p, os.R_OK)}
    logs = [p for p, kind in kinds.items() if kind.container]
    if images:
        # Beside images, a video or an archive may be a preview or a copy: it is skipped by name.
        logs = [p for p in logs if not (kinds[p].has_frames or kinds[p].is_archive)]
    if not logs:
        return None
    if len(kinds) < len(others):
        locked = next(p for p in others if p not in kinds)
        raise CommandError(f"{locked} cannot be read: make it readable for you, or move it out of the folder of logs")
    if images:
        raise CommandError(
            f"folder {path} has logs, for example {logs[0].name}, and images, for example {images[0].name}: give each "
            "kind a folder of its own, and upload them as two drives"
        )
    _refuse_unfit(path, kinds)
    described = [p for p in kinds if not LogKey("", p.name).is_log]
    own = path / LOG_DOCUMENT
    return _checked(
        LogFiles(
            path,
            (*(p for p in described if p != own), *logs),
            tuple(p for p in found if p not in logs and p not in described),
            own.read_bytes() if own in described else None,
        )
    )


def document_of_logs(logs: LogFiles, described: LogDocument) -> bytes:
    """Make logs/recording.json: the folder's own, or one that names the logs and says what `described` does.

    CommandError if both say something, and if the folder's own names not all logs of the folder. DocumentRefused for
    one that the pipeline would refuse.
    """
    if logs.document is None:
        return msgspec.json.encode(msgspec.structs.replace(described, logs=logs.names))
    own = logs.folder / LOG_DOCUMENT
    check_described(logs.folder, described)
    listed = parse_log_document(logs.document, str(own)).logs
    unlisted = [name for name in logs.names if name not in listed] if listed else []
    if unlisted:
        raise CommandError(
            f"{own} has a list of logs that lacks {first_of(unlisted)}, so the drive may be closed without: add them, "
            "or leave out the list"
        )
    return logs.document


def check_described(folder: Path, described: LogDocument) -> None:
    """CommandError if the command's options describe logs whose folder has a recording.json."""
    if described != LogDocument():
        raise CommandError(
            f"{folder / LOG_DOCUMENT} describes the logs: leave out --vehicle, --model, --note, --policy and "
            "--verification, and write them into it"
        )


def absent_sentence(logs: LogFiles) -> str:
    """Name the logs that the folder's own recording.json names and the folder lacks; empty if it lacks none."""
    own = logs.folder / LOG_DOCUMENT
    listed = parse_log_document(logs.document, str(own)).logs if logs.document is not None else ()
    absent = [name for name in listed if name not in logs.names]
    return f"{own} names {first_of(absent)}, which the drive waits for: upload it too" if absent else ""


def upload_logs(
    stack: Stack,
    drive: str,
    logs: LogFiles,
    document: bytes | None,
    *,
    replace: bool,
    check: Callable[[], None],
    sent: Callable[[int], None],
) -> LogsUploaded:
    """Upload what is not there yet: `document` first, then the files, one after another.

    `replace`: upload again what is there with other bytes, which CommandError refuses otherwise, before anything is
    sent. `check()` is called if there is something to send; `sent(bytes)` after each part of a file.
    """
    upload = _Upload(stack, drive, logs, replace)
    there = {thing.key: thing for thing in stack.ingest.list(logs_prefix(drive))}
    missing = [path for path in logs.files if not upload.is_there(path, there.get(upload.key(path)))]
    writes_document = document is not None and upload.document_differs(document, there.get(log_document_key(drive)))
    if missing or writes_document:
        check()
    if document is not None and writes_document:
        upload.write_document(document)
    notices = []
    for path in logs.files:
        if path in missing:
            notices += upload.send(path, sent)
        else:
            upload.finish(path)
            sent(path.stat().st_size)
    if upload.forgetful:
        notices.append(f"{logs.folder / RECEIPT} cannot be written, so the next upload reads the logs to compare them")
    names = [path.name for path in missing]
    return LogsUploaded(tuple(names), tuple(p.name for p in logs.files if p.name not in names), tuple(notices))


class _Upload:
    """The upload of a drive's logs. `forgetful`: the receipt cannot be written."""

    def __init__(self, stack: Stack, drive: str, logs: LogFiles, replace: bool) -> None:
        self._stack = stack
        self._s3 = stack.client("s3")
        self._drive = drive
        self._folder = logs.folder
        self._replace = replace
        self._receipt: Receipt = read_receipt(logs.folder)
        self.forgetful = False

    def key(self, path: Path) -> str:
        return LogKey(self._drive, path.name).key

    def is_there(self, path: Path, thing: StoredObject | None) -> bool:
        """Whether the object of a file has its bytes. CommandError for other bytes that may not be replaced."""
        if thing is None:
            return False
        uri, now = self._stack.ingest.uri(thing.key), path.stat()
        known = self._receipt.uploads.get(uri)
        if thing.size == now.st_size:
            if known == UploadedFile(now.st_size, now.st_mtime_ns, thing.etag):
                return True
            if thing.etag == expected_etag(path):
                self._keep(thing.key, UploadedFile(now.st_size, now.st_mtime_ns, thing.etag))
                return True
        if self._replace:
            return False
        if known and known.etag == thing.etag:
            raise CommandError(
                f"{path} has changed since it was uploaded as {uri}: give --replace to have it extracted again, or "
                "rename it to upload it as another log"
            )
        raise CommandError(
            f"{uri} is there, and is not {path} by its size and ETag: rename the file to upload it as another log, or "
            "give --replace to upload it instead"
        )

    def document_differs(self, document: bytes, thing: StoredObject | None) -> bool:
        """Whether recording.json is to be written. CommandError for one of others that may not be replaced."""
        if thing is None:
            return True
        uri, digest = self._stack.ingest.uri(thing.key), _md5(document)
        known = self._receipt.uploads.get(uri)
        if thing.etag == digest or (known and (known.etag, known.md5) == (thing.etag, digest)):
            return False
        if self._replace or (known and known.etag == thing.etag):
            return True
        raise CommandError(
            f"{uri} is there and says something else, for example other logs: to add logs to a drive, put all of its "
            "logs into one folder and upload that; or give --replace to write this one instead"
        )

    def write_document(self, document: bytes) -> None:
        key = log_document_key(self._drive)
        put = self._s3.put_object(
            Bucket=self._stack.ingest.name, Key=key, Body=document, ContentType="application/json"
        )
        self._keep(key, UploadedFile(len(document), 0, put["ETag"].strip('"'), _md5(document)))

    def send(self, path: Path, sent: Callable[[int], None]) -> list[str]:
        """Upload a file; returns what there is to say of it."""
        key = self.key(path)
        for _ in range(_TRIES):
            before = path.stat()
            try:
                done = self._upload(path).send(sent)
            except Overtaken:
                # Another upload of the file may have ended meanwhile, or a call that seemed to fail.
                thing = next((one for one in self._stack.ingest.list(key) if one.key == key), None)
                if not self.is_there(path, thing):
                    continue
                self.finish(path)
                return []
            self._keep(key, UploadedFile(before.st_size, before.st_mtime_ns, done.etag))
            return [f"{path.name}: {done.kept:,} of its {done.parts:,} parts were there"] if done.kept else []
        raise CommandError(f"{self._stack.ingest.uri(key)} is written by others at the same time: upload {path} later")

    def finish(self, path: Path) -> None:
        """Abort what earlier uploads of a file left open, whose object is complete."""
        self._upload(path).abort()

    def _upload(self, path: Path) -> FileUpload:
        return FileUpload(self._s3, self._stack.ingest.name, self.key(path), path, over=self._replace)

    def _keep(self, key: str, uploaded: UploadedFile) -> None:
        # Another upload from the folder may have written it meanwhile.
        self._receipt = read_receipt(self._folder)
        self._receipt.uploads[self._stack.ingest.uri(key)] = uploaded
        if not write_receipt(self._folder, self._receipt):
            self.forgetful = True


def _checked(logs: LogFiles) -> LogFiles:
    for path in logs.files:
        if not is_log_name(path.name):
            raise CommandError(
                f"{path} cannot be uploaded under its name, {path.name!r}: use at most 255 printable bytes"
            )
    return logs


def _refuse_unfit(folder: Path, kinds: dict[Path, Kind]) -> None:
    """CommandError for recordings that would be left out, and for logs under the names of documents."""
    for path, kind in kinds.items():
        if kind.container and not LogKey("", path.name).is_log:
            raise CommandError(f"{path} is a log under a name that documents of logs have: rename it")
        refuse_unmerged(path, kind)
        if kind.name and not kind.container:
            what = "frames, which are uploaded on their own" if kind.has_frames else "not read from logs yet"
            raise CommandError(
                f"{path.name} in folder {folder} is a {kind.name}, {what}: move it out of the folder of logs"
            )


def _md5(body: bytes) -> str:
    """Return the digest of a small object, which is its ETag unless a KMS key encrypts it."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
