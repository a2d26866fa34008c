"""Implements a bucket on S3."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from autolabel.aws.clients import error_code, error_message, error_status, is_passing, with_place
from autolabel.contracts.errors import FrameChanged, FrameUnreadable
from autolabel.contracts.ports import ObjectHead, ObjectPart, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# S3's minimum for all parts of a multipart upload except the last.
MIN_PART = 5 * 1024 * 1024
PART = 8 * 1024 * 1024
CHUNK = 256 * 1024
# S3's codes for an object that it does not give out although it works: it is archived, its key is a customer's
# (SSE-C), or the caller may not read it. The codes of a KMS key that cannot be used begin with `KMS.`.
_WITHHELD = frozenset({"InvalidObjectState", "InvalidRequest", "AccessDenied"})


class S3Bucket:
    """Implements `Bucket` on S3."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._s3 = client
        self.name = name

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> bytes | None:
        body = self._get(key)
        return None if body is None else body.read()

    def read_tagged(self, key: str, limit: int) -> tuple[bytes, str] | None:
        try:
            response = self._s3.get_object(Bucket=self.name, Key=key)
        except ClientError as e:
            if error_code(e) in ("NoSuchKey", "404"):
                return None
            raise with_place(e, self.uri(key)) from e
        # The bytes behind the limit stay in the connection, which is closed.
        with closing(response["Body"]) as body:
            return body.read(limit), response["ETag"].strip('"')

    def read_range(self, key: str, start: int, count: int, etag: str | None = None) -> ObjectPart:
        condition: dict[str, Any] = {} if etag is None else {"IfMatch": f'"{etag}"'}
        try:
            response = self._s3.get_object(
                Bucket=self.name,
                Key=key,
                Range=f"bytes={start}-{start + count - 1}",
                **condition,
            )
        except ClientError as e:
            # The range begins behind the object's end.
            if error_status(e) == 416:
                return ObjectPart(b"")
            if error_status(e) in (404, 412):
                raise FrameChanged(f"{key} is gone or was changed after the run began") from e
            if etag is not None and _is_withheld(e):
                code = error_code(e)
                raise FrameUnreadable(code, f"S3 does not give out {key}: {code}: {error_message(e)}") from e
            raise with_place(e, self.uri(key)) from e
        return ObjectPart(response["Body"].read(), response["Metadata"])

    def stream(self, key: str) -> Iterator[bytes]:
        body = self._get(key)
        if body is None:
            raise KeyError(self.uri(key))
        chunks: Iterator[bytes] = body.iter_chunks(CHUNK)
        return chunks

    def lines(self, key: str) -> Iterator[bytes]:
        body = self._get(key)
        if body is None:
            raise KeyError(self.uri(key))
        lines: Iterator[bytes] = body.iter_lines(CHUNK)
        return lines

    def exists(self, key: str) -> bool:
        return self._head(key) is not None

    def head(self, key: str) -> ObjectHead | None:
        found = self._head(key)
        return found and ObjectHead(found["ETag"].strip('"'), found["ContentLength"], found["Metadata"])

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        more: dict[str, Any] = {"StartAfter": after} if after else {}
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, **more):
            for thing in page.get("Contents", []):
                modified = thing["LastModified"].timestamp()
                yield StoredObject(thing["Key"], thing["ETag"].strip('"'), thing["Size"], modified)

    def folders(self, prefix: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix, Delimiter="/")
        for page in pages:
            for folder in page.get("CommonPrefixes", []):
                yield folder["Prefix"].removeprefix(prefix).removesuffix("/")

    def has_open_uploads(self, prefix: str) -> bool:
        found = self._s3.list_multipart_uploads(Bucket=self.name, Prefix=prefix, MaxUploads=1)
        return bool(found.get("Uploads"))

    def write(
        self,
        key: str,
        body: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write an object; `metadata`: its user metadata in ASCII, 2 KB in all."""
        self._s3.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type, Metadata=metadata or {})

    def write_once(
        self,
        key: str,
        body: bytes,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        return self.write_over(key, body, "", content_type, metadata)

    def write_over(
        self,
        key: str,
        body: bytes,
        etag: str,
        content_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        condition: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {"IfNoneMatch": "*"}
        try:
            self._s3.put_object(
                Bucket=self.name, Key=key, Body=body, ContentType=content_type, Metadata=metadata or {}, **condition
            )
        except ClientError as e:
            # 404: it was deleted meanwhile; 409: another writer writes at this moment, and S3 lets one succeed.
            if error_status(e) in (404, 409, 412):
                return False
            raise
        return True

    def write_stream(self, key: str, chunks: Iterable[bytes], content_type: str, *, once: bool = False) -> None:
        if once and self.exists(key):
            return
        parts = _parts(chunks)
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            if once:
                self.write_once(key, first, content_type)
            else:
                self.write(key, first, content_type)
            return
        with _Multipart(self._s3, self.name, key, content_type, once=once) as upload:
            for part in itertools.chain((first, second), parts):
                upload.add(part)

    def concatenate(self, key: str, sources: Sequence[tuple[str, int]], content_type: str) -> None:
        if sum(size for _, size in sources) < MIN_PART:
            self.write(key, b"".join(chunk for source, _ in sources for chunk in self.stream(source)), content_type)
            return
        with _Multipart(self._s3, self.name, key, content_type) as upload:
            gathered = bytearray()
            for source, size in sources:
                # S3 copies a source that is large enough for a part; smaller ones are read and uploaded here.
                if size >= MIN_PART and (not gathered or len(gathered) >= MIN_PART):
                    if gathered:
                        upload.add(bytes(gathered))
                        gathered.clear()
                    upload.copy(source)
                    continue
                for chunk in self.stream(source):
                    gathered += chunk
                    if len(gathered) >= PART:
                        upload.add(bytes(gathered))
                        gathered.clear()
            if gathered:
                upload.add(bytes(gathered))

    def _head(self, key: str) -> Any:
        try:
            return self._s3.head_object(Bucket=self.name, Key=key)
        except ClientError as e:
            # Without ListBucket a missing object is 403, with it 404.
            if error_status(e) == 404:
                return None
            raise

    def _get(self, key: str) -> Any:
        try:
            return self._s3.get_object(Bucket=self.name, Key=key)["Body"]
        except ClientError as e:
            if error_code(e) in ("NoSuchKey", "404"):
                return None
            raise with_place(e, self.uri(key)) from e


def _is_withheld(error: ClientError) -> bool:
    """Check whether an error is of the object that was asked for, and not of the service or the caller's session."""
    code = error_code(error)
    return not is_passing(error) and (code in _WITHHELD or code.startswith("KMS."))


class _Multipart:
    """Completes a multipart upload at the end of the `with` block; aborts it if the block raises."""

    def __init__(self, client: S3Client, bucket: str, key: str, content_type: str, *, once: bool = False) -> None:
        self._s3 = client
        self._place: dict[str, Any] = {"Bucket": bucket, "Key": key}
        self._content_type = content_type
        self._once = once
        self._parts: list[Any] = []

    def __enter__(self) -> _Multipart:
        created = self._s3.create_multipart_upload(**self._place, ContentType=self._content_type)
        self._upload = {**self._place, "UploadId": created["UploadId"]}
        return self

    def add(self, body: bytes) -> None:
        number = len(self._parts) + 1
        part = self._s3.upload_part(**self._upload, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": part["ETag"]})

    def copy(self, source: str) -> None:
        number = len(self._parts) + 1
        copied = self._s3.upload_part_copy(
            **self._upload,
            PartNumber=number,
            CopySource={"Bucket": self._place["Bucket"], "Key": source},
        )
        self._parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._s3.abort_multipart_upload(**self._upload)
            return
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if self._once else {}
        try:
            self._s3.complete_multipart_upload(
                **self._upload,
                MultipartUpload={"Parts": self._parts},
                **condition,
            )
        except ClientError as e:
            if not (self._once and error_status(e) in (409, 412)):
                raise
            self._s3.abort_multipart_upload(**self._upload)


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        if len(gathered) >= PART:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
