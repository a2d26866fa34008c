"""The guarantees of every bucket: the one in memory and the one on S3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from autolabel.aws.bucket import MIN_PART, S3Bucket
from autolabel.contracts.errors import FrameChanged, FrameUnreadable
from autolabel.contracts.frames import SOURCE, encode_source
from autolabel.contracts.ports import Bucket, StoredObject
from tests.contract.conftest import create_bucket, shared_client

MIB = 1024 * 1024


def content(size: int, seed: int = 0) -> bytes:
    """Build bytes in which blocks of 32 differ, for each seed."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(min(size, MIB) // 32 + 1))
    return (block * (size // len(block) + 1))[:size]


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def test_an_empty_bucket_contains_nothing(bucket: Bucket) -> None:
    assert bucket.read("a") is None
    assert not bucket.exists("a")
    assert list(bucket.list("")) == []
    assert bucket.uri("a/b") == "s3://things/a/b"


@pytest.mark.parametrize("read", ["stream", "lines"])
def test_a_missing_object_is_reported_before_the_first_chunk(bucket: Bucket, read: str) -> None:
    with pytest.raises(KeyError, match="missing"):
        getattr(bucket, read)("missing")


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_written_content_is_read_back(bucket: Bucket, size: int) -> None:
    bucket.write("a", content(size))
    assert bucket.exists("a")
    assert bucket.read("a") == content(size)
    assert b"".join(bucket.stream("a")) == content(size)
    (found,) = bucket.list("a")
    assert msgspec.structs.replace(found, modified=0.0) == StoredObject("a", md5(content(size)), size)


def test_a_listing_can_start_behind_a_key(bucket: Bucket) -> None:
    for key in ("a/1", "a/2", "a/2/x", "a/ü", "b"):
        bucket.write(key, b"")
    assert [thing.key for thing in bucket.list("a/", "a/2")] == ["a/2/x", "a/ü"]
    assert [thing.key for thing in bucket.list("a/", "a/2/~")] == ["a/ü"]
    assert list(bucket.list("a/", "a/ü")) == []


def test_folders_come_once_in_the_order_of_their_keys(bucket: Bucket) -> None:
    assert list(bucket.folders("drives/")) == []
    for key in ("drives/a/x", "drives/a-b/x", "drives/a/y/z", "drives/a0/x", "drives/file", "other/x/y"):
        bucket.write(key, b"")
    assert list(bucket.folders("drives/")) == ["a-b", "a", "a0"]


def test_an_object_is_read_with_its_etag_up_to_a_limit(bucket: Bucket) -> None:
    assert bucket.read_tagged("a", 10) is None
    bucket.write("a", b"0123456789")
    assert bucket.read_tagged("a", 4) == (b"0123", md5(b"0123456789"))
    bucket.write("a", b"")
    assert bucket.read_tagged("a", 4) == (b"", md5(b""))


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [(0, 4, b"0123"), (0, 100, b"0123456789"), (3, 4, b"3456"), (8, 4, b"89"), (10, 1, b""), (50, 4, b"")],
)
def test_a_range_is_cut_at_the_objects_end(bucket: Bucket, start: int, count: int, expected: bytes) -> None:
    bucket.write("a", b"0123456789")
    assert bucket.read_range("a", start, count).body == expected
    assert bucket.read_range("a", start, count, md5(b"0123456789")).body == expected


def test_a_range_comes_with_the_objects_metadata(aws: None) -> None:
    create_bucket("things")
    bucket = S3Bucket(shared_client("s3"), "things")
    bucket.write("a", b"0123", "image/png", {SOURCE: encode_source("Straße  7 電.png ")})
    assert bucket.read_range("a", 1, 2) == (b"12", {SOURCE: "Stra%C3%9Fe%20%207%20%E9%9B%BB.png%20"})
    bucket.write("a", b"0123")
    assert bucket.read_range("a", 0, 9) == (b"0123", {})


def test_an_empty_object_has_empty_ranges(bucket: Bucket) -> None:
    bucket.write("a", b"")
    assert bucket.read_range("a", 0, 16).body == b""
    assert bucket.read_range("a", 0, 16, md5(b"")).body == b""


@pytest.mark.parametrize("start", [0, 1, 50])
def test_a_range_is_read_only_for_the_expected_etag(bucket: Bucket, start: int) -> None:
    bucket.write("a", b"old")
    assert bucket.read_range("a", start, 16, md5(b"old")).body == b"old"[start:]
    bucket.write("a", b"new")
    with pytest.raises(FrameChanged, match="a"):
        bucket.read_range("a", start, 16, md5(b"old"))


def test_a_range_of_a_deleted_object_raises_frame_changed(bucket: Bucket) -> None:
    with pytest.raises(FrameChanged, match="drives/x"):
        bucket.read_range("drives/x", 0, 16, md5(b"old"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"one\n", [b"one"]),
        (b"one\ntwo", [b"one", b"two"]),
        (b"one\n\ntwo\n", [b"one", b"", b"two"]),
        (b"x" * 700_000 + b"\n" + b"y" * 300_000 + b"\n", [b"x" * 700_000, b"y" * 300_000]),
        (b"".join(b"%d\n" % i for i in range(100_000)), [b"%d" % i for i in range(100_000)]),
    ],
    ids=["empty", "one", "no line feed at the end", "blank line", "longer than a chunk", "many"],
)
def test_lines_come_without_line_feeds(bucket: Bucket, body: bytes, expected: list[bytes]) -> None:
    bucket.write("a", body)
    assert list(bucket.lines("a")) == expected


def test_only_line_feeds_end_a_line(bucket: Bucket) -> None:
    line = 'a\u2028b\u0085c\x0bd\x1ce "ü"'.encode()
    bucket.write("a", line + b"\nnext\n")
    assert list(bucket.lines("a")) == [line, b"next"]


def test_keys_are_listed_in_the_order_of_their_utf8_bytes(bucket: Bucket) -> None:
    keys = ["p/a/1", "p/a-b/1", "p/a_b/1", "p/B/1", "p/é", "p/z", "p/\U0001f600", "p/\uffff", "q/other", "p"]
    for key in keys:
        bucket.write(key, b"x")
    expected = sorted((key for key in keys if key.startswith("p/")), key=str.encode)
    assert [thing.key for thing in bucket.list("p/")] == expected


def test_a_listing_continues_past_a_thousand_keys(bucket: Bucket) -> None:
    keys = [f"p/{i:05d}" for i in range(1_002)]
    for key in keys:
        bucket.write(key, b"")
    assert [thing.key for thing in bucket.list("p/")] == keys


def test_only_the_first_write_once_succeeds(bucket: Bucket) -> None:
    assert bucket.write_once("a", b"first")
    assert not bucket.write_once("a", b"second")
    assert bucket.read("a") == b"first"


@pytest.mark.parametrize("size", [0, 10, 5 * MIB, 8 * MIB, 17 * MIB + 1])
def test_a_stream_of_any_size_becomes_one_object(bucket: Bucket, size: int) -> None:
    body = content(size)
    bucket.write_stream("a", (body[at : at + 1_000_003] for at in range(0, size, 1_000_003)), "application/jsonl")
    written = bucket.read("a")
    assert written is not None
    assert md5(written) == md5(body)
    assert len(written) == size


@pytest.mark.parametrize("size", [10, 12 * MIB])
def test_a_stream_replaces_an_existing_object(bucket: Bucket, size: int) -> None:
    bucket.write("a", b"old")
    bucket.write_stream("a", [content(size)], "text/plain")
    assert next(iter(bucket.list("a"))).size == size


@pytest.mark.parametrize("before", [0, 3, 20])
def test_a_stream_that_raises_leaves_nothing(bucket: Bucket, before: int) -> None:
    def chunks() -> Iterator[bytes]:
        for i in range(before):
            yield content(MIB, i)
        raise RuntimeError("the source is broken")

    with pytest.raises(RuntimeError, match="broken"):
        bucket.write_stream("a", chunks(), "text/plain")
    assert not bucket.exists("a")


@pytest.mark.parametrize("size", [10, 12 * MIB])
def test_a_stream_written_once_keeps_an_existing_object(bucket: Bucket, size: int) -> None:
    bucket.write("a", b"first")
    bucket.write_stream("a", [content(size)], "text/plain", once=True)
    assert bucket.read("a") == b"first"


@pytest.mark.parametrize("size", [0, 10, 12 * MIB])
def test_a_stream_written_once_creates_a_missing_object(bucket: Bucket, size: int) -> None:
    bucket.write_stream("a", [content(size)], "text/plain", once=True)
    assert next(iter(bucket.list("a"))).size == size


@pytest.mark.parametrize("size", [10, 9 * MIB, 20 * MIB])
def test_a_faster_writer_wins_against_a_stream_written_once(bucket: Bucket, size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, size, 9 * MIB):
            yield content(min(9 * MIB, size - start))
        bucket.write("a", b"faster")

    bucket.write_stream("a", chunks(), "text/plain", once=True)
    assert bucket.read("a") == b"faster"


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [10],
        [10, 0, 20],
        [MIB] * 7,
        [6 * MIB],
        [6 * MIB, 10],
        [10, 6 * MIB, 10],
        [6 * MIB, 6 * MIB],
        [MIN_PART, 10, MIN_PART - 1, MIN_PART, 10],
        [6 * MIB, 3 * MIB, 3 * MIB, 6 * MIB, 2 * MIB],
        [9 * MIB, 4 * MIB, 6 * MIB],
        [4 * MIB, 4 * MIB, 4 * MIB, 6 * MIB, 1],
    ],
    ids=str,
)
def test_objects_of_any_size_are_concatenated(bucket: Bucket, sizes: list[int]) -> None:
    parts = [content(size, seed) for seed, size in enumerate(sizes)]
    for index, part in enumerate(parts):
        bucket.write(f"part/{index}", part)
    sources = [(f"part/{index}", len(part)) for index, part in enumerate(parts)]
    bucket.concatenate("whole", sources, "application/jsonl")
    whole = bucket.read("whole")
    assert whole is not None
    assert md5(whole) == md5(b"".join(parts))


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_a_missing_part_is_an_error(bucket: Bucket, size: int) -> None:
    bucket.write("part/0", b"here\n")
    with pytest.raises(KeyError, match="part/1"):
        bucket.concatenate("whole", [("part/0", 5), ("part/1", size)], "application/jsonl")
    assert not bucket.exists("whole")


@pytest.mark.usefixtures("aws")
def test_a_failed_upload_leaves_no_parts() -> None:
    client = create_bucket("things")

    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield content(9 * MIB)
        raise RuntimeError("the source is broken")

    with pytest.raises(RuntimeError, match="broken"):
        S3Bucket(client, "things").write_stream("a", chunks(), "text/plain")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="things")


def test_open_uploads_are_found_under_their_prefix(aws: None) -> None:
    bucket = S3Bucket(create_bucket("things", client := shared_client("s3")), "things")
    upload = client.create_multipart_upload(Bucket="things", Key="a/b")["UploadId"]
    assert [bucket.has_open_uploads(prefix) for prefix in ("", "a/", "a/c", "b")] == [True, True, False, False]
    client.abort_multipart_upload(Bucket="things", Key="a/b", UploadId=upload)
    assert not bucket.has_open_uploads("")


@pytest.mark.usefixtures("aws")
def test_large_parts_are_copied_inside_s3() -> None:
    client = create_bucket("things")
    bucket = S3Bucket(client, "things")
    for index in range(3):
        bucket.write(f"part/{index}", content(6 * MIB, index))
    copied: list[object] = []
    client.meta.events.register("provide-client-params.s3.UploadPartCopy", lambda params, **_: copied.append(params))
    client.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: pytest.fail(f"read {params}"))
    bucket.concatenate("whole", [(f"part/{index}", 6 * MIB) for index in range(3)], "application/jsonl")
    assert len(copied) == 3


@pytest.mark.usefixtures("aws")
def test_content_types_reach_s3() -> None:
    client = create_bucket("things")
    bucket = S3Bucket(client, "things")
    bucket.write("a", b"x")
    bucket.write_once("b", b"x", "text/html")
    bucket.write_stream("c", [content(12 * MIB)], "application/jsonl")
    bucket.concatenate("d", [("c", 12 * MIB), ("a", 1)], "text/csv")
    types = [client.head_object(Bucket="things", Key=key)["ContentType"] for key in "abcd"]
    assert types == ["application/json", "text/html", "application/jsonl", "text/csv"]


def refused(code: str, status: int) -> Exception:
    """Read a frame that S3 refuses with this code; return the error."""
    client = boto3.client("s3")
    with Stubber(client) as stubber:
        stubber.add_client_error("get_object", code, "why", http_status_code=status)
        with pytest.raises(Exception, match=r"^.*drives/d/front/1\.png.*$") as raised:
            S3Bucket(client, "things").read_range("drives/d/front/1.png", 0, 10, "e")
    return raised.value


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InvalidObjectState", 403),
        ("InvalidRequest", 400),
        ("AccessDenied", 403),
        ("KMS.DisabledException", 400),
        ("KMS.NotFoundException", 400),
    ],
)
def test_a_frame_that_s3_does_not_give_out_is_refused_with_its_code(code: str, status: int) -> None:
    error = refused(code, status)
    assert isinstance(error, FrameUnreadable)
    assert error.reason == f"s3-{code}"
    assert code in str(error)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("InternalError", 500),
        ("KMS.ThrottlingException", 400),
        ("RequestTimeout", 400),
        ("ExpiredToken", 400),
        ("InvalidAccessKeyId", 403),
        ("NoSuchBucket", 400),
    ],
)
def test_an_error_that_is_not_of_the_frame_is_raised_with_its_key_and_code(code: str, status: int) -> None:
    error = refused(code, status)
    assert isinstance(error, ClientError)
    assert code in str(error)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("get_object", lambda b: b.read("a")),
        ("get_object", lambda b: b.stream("a")),
        ("get_object", lambda b: b.lines("a")),
        ("get_object", lambda b: b.read_range("a", 0, 10)),
        ("head_object", lambda b: b.exists("a")),
        ("put_object", lambda b: b.write_once("a", b"")),
    ],
)
def test_a_forbidden_object_is_not_reported_as_missing(operation: str, call: object) -> None:
    client = boto3.client("s3")
    with Stubber(client) as stubber:
        stubber.add_client_error(operation, "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError, match="AccessDenied"):
            call(S3Bucket(client, "things"))  # type: ignore[operator]
