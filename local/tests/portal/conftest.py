"""A stand-in whose jobs wait for reviewers, its portal, and a clock that tests move."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.portal.server import Portal
from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.service import Service
from local.settings import PEOPLE, CloudSettings
from local.tests.portal.browser import Browser
from local.tests.sagemaker.stand_in import StandIn


class Clock:
    """Seconds that pass only when a test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stand_in(tmp_path: Path, clock: Clock) -> Iterator[StandIn]:
    cloud, objects, topics, events, roles = memory_cloud()
    service = Service(CloudSettings(annotator=PEOPLE), cloud, tmp_path, clock)
    built = StandIn(service, objects, topics, events, roles, tmp_path)
    yield built
    service.stop()
    built.release_clients()


@pytest.fixture
def portal(stand_in: StandIn) -> Iterator[Portal]:
    portal = Portal(stand_in.service.jobs, socket.create_server(("127.0.0.1", 0)))
    portal.start()
    yield portal
    portal.close()


@pytest.fixture
def open_browser(portal: Portal) -> Callable[[], Browser]:
    """Opens browsers, each with its own cookies."""
    return lambda: Browser(portal.url)


@pytest.fixture
def browser(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()
