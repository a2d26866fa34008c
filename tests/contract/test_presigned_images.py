"""Presigned URLs of frames have the form that every Region accepts."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from autolabel.aws.presigned_images import PresignedImages, signing_client

pytestmark = pytest.mark.usefixtures("aws")


def test_a_presigned_url_uses_the_regional_host_and_lasts_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    signing_client.cache_clear()
    try:
        url = urlsplit(PresignedImages(signing_client()).address("s3://ingest/drives/d/front/a b+c.png"))
    finally:
        signing_client.cache_clear()
    assert (url.scheme, url.netloc) == ("https", "ingest.s3.eu-west-1.amazonaws.com")
    assert url.path == "/drives/d/front/a%20b%2Bc.png"
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["604800"]
