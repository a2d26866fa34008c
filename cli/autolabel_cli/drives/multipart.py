"""Upload of a large file in parts, which goes on where an earlier upload of the file ended, also after a kill."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws import error_code, error_status
from autolabel.streams import map_in_order
from autolabel_cli.errors import CommandError, explain

# As of `aws s3 cp`, and doubled in the same way, so that both give an object the same ETag.
PART = 8 * 1024 * 1024
# S3's limit ("Amazon S3 multipart upload limits").
_MOST_PARTS = 10_000
# Each holds a part in memory.
_SENDERS = 4
# S3's code for an upload that was completed or aborted.
_GONE = "NoSuchUpload"


class Sent(NamedTuple):
    """An object that was uploaded. `kept`: its `parts` that an earlier upload had sent."""

    etag: str
    parts: int = 1
    kept: int = 0


class _Part(NamedTuple):
    """A part that S3 has. `crc32`: of its bytes, in base64; `kept`: an earlier upload had sent it."""

    number: int
    size: int
    crc32: str
    etag: str
    kept: bool = True

    def completed(self) -> dict[str, str | int]:
        """The part as CompleteMultipartUpload takes it."""
        return {"PartNumber": self.number, "ChecksumCRC32": self.crc32, "ETag": self.etag}


class Overtaken(Exception):
    """Another command was faster: the key has an object by now, or this upload was completed or aborted."""


def expected_etag(path: Path) -> str:
    """Return the ETag that S3 gives to an object that this module or `aws s3 cp` makes of the file.

    It is an MD5 or one of the parts' MD5s while the bucket's keys are S3's own (SSE-S3; S3 API Reference, "Object").
    With a KMS key no object has it, and only the receipt tells what is there.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        if size < PART:
            return _md5(file.read()).hex()
        digests = [_md5(_read(file.fileno(), start, _part_size(size))) for start in _starts(size)]
    return f"{_md5(b''.join(digests)).hex()}-{len(digests)}"


class FileUpload:
    """The upload of one file to a key. `over`: whether it may replace an object with other bytes."""

    # `Any`: the client of S3, since its type takes no parameters that are put together.
    def __init__(self, s3: Any, bucket: str, key: str, path: Path, *, over: bool) -> None:
        self._s3 = s3
        self._place = {"Bucket": bucket, "Key": key}
        self._path = path
        self._condition = {} if over else {"IfNoneMatch": "*"}

    def send(self, sent: Callable[[int], None]) -> Sent:
        """Send what S3 does not have yet. Calls `sent(bytes)` after each part, also for parts that are there.

        Overtaken if the key has an object by now. CommandError if a call fails for good, or the file changes: what was
        sent stays, and the next call goes on with it.
        """
        with self._path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            try:
                if before.st_size < PART:
                    return self._put(file.fileno(), before, sent)
                return self._send_parts(file.fileno(), before, sent)
            except (ClientError, BotoCoreError) as e:
                if isinstance(e, ClientError) and (error_status(e) in (409, 412) or error_code(e) == _GONE):
                    raise Overtaken from e
                raise CommandError(
                    f"{self._path} is not uploaded: {explain(e)}; give the command again, and it goes on where it ended"
                ) from e

    def abort(self, *, but: str = "") -> None:
        """Abort the key's open uploads: its object is complete, and an open upload keeps a drive from being closed."""
        for upload in self._open_uploads():
            if upload != but:
                try:
                    self._s3.abort_multipart_upload(**self._place, UploadId=upload)
                except ClientError as e:
                    if error_code(e) != _GONE:
                        raise

    def _put(self, file: int, before: os.stat_result, sent: Callable[[int], None]) -> Sent:
        body = _read(file, 0, PART)
        self._check(before)
        put = self._s3.put_object(**self._place, Body=body, ChecksumCRC32=_crc32(body), **self._condition)
        sent(len(body))
        return Sent(put["ETag"].strip('"'))

    def _send_parts(self, file: int, before: os.stat_result, sent: Callable[[int], None]) -> Sent:
        upload, there = self._resumable()
        if not upload:
            upload = self._s3.create_multipart_upload(**self._place, ChecksumAlgorithm="CRC32")["UploadId"]
        where = {**self._place, "UploadId": upload}
        length = _part_size(before.st_size)

        def send(start: int) -> _Part:
            number, body = start // length + 1, _read(file, start, length)
            crc32, kept = _crc32(body), there.get(number)
            # The file may have changed since the earlier upload.
            if kept and (kept.size, kept.crc32) == (len(body), crc32):
                return kept
            answer = self._s3.upload_part(**where, PartNumber=number, ChecksumCRC32=crc32, Body=body)
            return _Part(number, len(body), crc32, answer["ETag"], kept=False)

        parts = list[_Part]()
        for part in map_in_order(send, _starts(before.st_size), _SENDERS):
            parts.append(part)
            sent(part.size)
        self._check(before)
        listed = {"Parts": [part.completed() for part in parts]}
        completed = self._s3.complete_multipart_upload(**where, MultipartUpload=listed, **self._condition)
        self.abort(but=upload)
        return Sent(completed["ETag"].strip('"'), len(parts), sum(part.kept for part in parts))

    def _resumable(self) -> tuple[str, dict[int, _Part]]:
        """Find the latest open upload with parts, and its parts by number; those of other tools have no CRC32."""
        for upload in self._open_uploads():
            pages = self._s3.get_paginator("list_parts").paginate(**self._place, UploadId=upload)
            parts = [
                _Part(part["PartNumber"], part["Size"], part.get("ChecksumCRC32", ""), part["ETag"])
                for page in pages
                for part in page.get("Parts", [])
            ]
            if parts and all(part.crc32 for part in parts):
                return upload, {part.number: part for part in parts}
        return "", {}

    def _open_uploads(self) -> list[str]:
        """List the ids of the key's uploads that were begun and not completed, the latest first."""
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._place["Bucket"], Prefix=self._place["Key"]
        )
        found = [one for page in pages for one in page.get("Uploads", []) if one["Key"] == self._place["Key"]]
        return [one["UploadId"] for one in sorted(found, key=itemgetter("Initiated"), reverse=True)]

    def _check(self, before: os.stat_result) -> None:
        now = self._path.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise CommandError(
                f"{self._path} changed while it was uploaded: give the command again when it is not written any more"
            )


def _part_size(size: int) -> int:
    length = PART
    while length * _MOST_PARTS < size:
        length *= 2
    return length


def _starts(size: int) -> range:
    return range(0, size, _part_size(size))


def _read(file: int, start: int, length: int) -> bytes:
    """Read a range of a file. pread may give less than is asked for, as at most 2 GiB on Linux and of some drives."""
    body = os.pread(file, length, start)
    while len(body) < length and (more := os.pread(file, length - len(body), start + len(body))):
        body += more
    return body


def _crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()
