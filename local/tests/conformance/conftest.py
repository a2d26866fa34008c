"""One embedded cloud for all conformance tests, and one that enforces IAM."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from local.cloud.launcher import EmbeddedCloud
from local.settings import CloudSettings
from local.tests.conformance.workbench import Workbench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    settings = CloudSettings(annotator_is_person=True, wait_scale=0.05)
    with EmbeddedCloud(tmp_path_factory.mktemp("cloud"), settings=settings) as cloud:
        yield Workbench(cloud)


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A cloud that enforces IAM, can inject faults and meters, with a model server for the image `stub`."""
    stub = [sys.executable, "-m", "models.servers.stub", "--port", "{port}"]
    settings = CloudSettings(
        images={"stub": stub}, annotator_is_person=True, wait_scale=0.05, enforce_iam=True, faults=True, meter=True
    )
    with EmbeddedCloud(tmp_path_factory.mktemp("strict"), settings=settings) as cloud:
        yield Workbench(cloud)
