"""Tokens of a real Label Studio, and its absence."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from autolabel.contracts.errors import VerificationRefused, VerificationUnavailable
from autolabel.verification.label_studio.client import LabelStudioClient
from autolabel.verification.label_studio.connection import Connection
from autolabel.verification.label_studio.projects import annotated, progress
from tests.fakes.lines import line
from tests.label_studio.jobs import CAR, opened, read
from tests.label_studio.people import People
from tests.label_studio.server import LabelStudioServer


@pytest.fixture
def personal_token(people: People) -> Iterator[str]:
    token: str = people.call("POST", "/api/token/")["token"]
    yield token
    people.call("POST", "/api/token/blacklist/", {"refresh": token})


def test_a_personal_access_token_opens_a_job(
    connection: Connection, people: People, personal_token: str, name: str
) -> None:
    lines = [line(0, [CAR])]
    personal = msgspec.structs.replace(connection, token=personal_token)
    reference = opened(name, lines, LabelStudioClient(personal, "ls"))
    assert progress(reference, LabelStudioClient(personal, "ls")) == (0, 1)


@pytest.mark.parametrize("token", ["0" * 40, "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.x"])
def test_an_invalid_token_is_refused(connection: Connection, token: str, name: str) -> None:
    wrong = msgspec.structs.replace(connection, token=token)
    with pytest.raises(VerificationRefused, match="token in the secret ls is not, or no longer, accepted") as error:
        opened(name, [line(0, [CAR])], LabelStudioClient(wrong, "ls"))
    assert token not in str(error.value)


def test_a_server_that_stops_and_starts_again_loses_nothing(
    server: LabelStudioServer, client: LabelStudioClient, people: People, name: str
) -> None:
    lines = [line(i, [CAR]) for i in range(2)]
    reference = opened(name, lines, client)
    people.accept(people.tasks(reference.project)[0])
    server.stop()
    try:
        hasty = LabelStudioClient(client.connection, "ls", retries=0)
        for call in (lambda: annotated(reference, hasty), lambda: opened(name, lines, hasty)):
            with pytest.raises(VerificationUnavailable, match="is it up"):
                call()
    finally:
        server.start()
    assert opened(name, lines, client) == reference
    people.accept(people.tasks(reference.project)[1])
    assert annotated(reference, client)
    statuses = [one["verified-metadata"]["adjustment-status"] for one in read(reference, lines, client)]
    assert statuses == ["unadjusted", "unadjusted"]
