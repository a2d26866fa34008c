"""Addresses of frames that anybody who has them may read for a while."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# S3's limit. An address also ends with the credentials that signed it: those of a function's role live for hours.
LIFETIME = 7 * 24 * 3600


@cache
def signing_client() -> S3Client:
    """A client that signs as every Region takes it, for the Region's own host.

    boto3 by itself signs in an old way in some, and names a host from which S3 leads to the Region of a young bucket.
    """
    config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
    client: S3Client = boto3.client("s3", config=config)
    return client


class PresignedImages:
    """Label Studio's `Images` by pre-signed GETs, which have to be renewed before they end."""

    connected = False

    def __init__(self, client: S3Client, lifetime: int = LIFETIME) -> None:
        self._s3 = client
        self._lifetime = lifetime

    def address(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self._s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=self._lifetime
        )
