"""One embedded cloud for all conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.cloud.settings import CloudSettings
from tests.conformance.workbench import Workbench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud"), settings=CloudSettings(wait_scale=0.05)) as cloud:
        yield Workbench(cloud)
