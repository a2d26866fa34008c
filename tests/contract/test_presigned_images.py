"""Signed addresses of frames, as every Region takes them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from autolabel.aws.presigned_images import PresignedImages, signing_client

pytestmark = pytest.mark.usefixtures("aws")


def test_an_address_is_of_the_regions_own_host_and_lives_for_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
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
