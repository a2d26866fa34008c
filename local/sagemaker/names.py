"""Account, Region and the resource names built from them."""

from __future__ import annotations

from dataclasses import dataclass

from local.settings import ACCOUNT, REGION

__all__ = ["ACCOUNT", "REGION", "S3Uri", "arn"]


def arn(kind: str, name: str) -> str:
    """Make the ARN of a SageMaker resource of this account; SageMaker writes names in ARNs in lower case."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name.lower()}"


@dataclass(frozen=True)
class S3Uri:
    """A place in S3: a bucket and a key, which may be empty."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Read `s3://bucket/key`; raises ValueError that names the text."""
        scheme, _, rest = text.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError(f"not an s3:// URI: {text!r}")
        return cls(bucket, key)

    def below(self, *parts: str) -> S3Uri:
        """Return the place under this prefix, with single slashes between the parts."""
        joined = "/".join(part.strip("/") for part in (self.key, *parts) if part.strip("/"))
        return S3Uri(self.bucket, joined)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
