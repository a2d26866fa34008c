"""Makes addresses of frames; for a limited time, each gives access to its frame without credentials."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# S3's limit, in seconds. An address also expires with the credentials that signed it: a function's live for hours.
LIFETIME = 7 * 24 * 3600


@cache
def signing_client() -> S3Client:
    """Make a client that signs for the Region's own host, with the signature version that all Regions accept.

    By default boto3 signs with an old version in some Regions, and names the global host, from which S3 redirects
    requests for a new bucket.
    """
    config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
    client: S3Client = boto3.client("s3", config=config)
    return client


class PresignedImages:
    """Implements Label Studio's `Images` with pre-signed GETs, which must be renewed before they expire."""

    connected = False

    def __init__(self, client: S3Client, lifetime: int = LIFETIME) -> None:
        self._s3 = client
        self._lifetime = lifetime

    def address(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self._s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=self._lifetime
        )
