"""One real Label Studio for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.connection import Connection
from tests.label_studio.people import People
from tests.label_studio.server import PROGRAM, TOKEN, LabelStudioServer

SECRET = "a secret of webhooks"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    if not PROGRAM.exists():
        pytest.skip("Label Studio is not installed: run `make setup-label-studio`")
    server = LabelStudioServer(tmp_path_factory.mktemp("label-studio"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def connection(server: LabelStudioServer) -> Connection:
    return Connection(server.url, TOKEN, SECRET)


@pytest.fixture
def client(connection: Connection) -> LabelStudioClient:
    return LabelStudioClient(connection, "label-studio")


@pytest.fixture
def people(server: LabelStudioServer) -> People:
    return People(server.url)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A job's name, unique to the test."""
    return f"{request.node.name.removeprefix('test_').replace('_', '-')}"[:50]
