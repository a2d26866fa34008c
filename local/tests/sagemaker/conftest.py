"""Fixtures for the stand-in's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.sagemaker.in_memory import memory_cloud
from local.sagemaker.service import Service
from local.settings import CloudSettings
from local.tests.sagemaker.stand_in import STUB, StandIn


@pytest.fixture
def make_stand_in(tmp_path: Path) -> Iterator[Callable[..., StandIn]]:
    """Builds stand-ins and stops them after the test."""
    built: list[StandIn] = []

    def make(annotator: str = "local:keep_every_box", *, is_person: bool = True, **changes: Any) -> StandIn:
        cloud, objects, topics, events, roles = memory_cloud()
        settings = CloudSettings(images={"stub": STUB}, annotator=annotator, annotator_is_person=is_person, **changes)
        built.append(StandIn(Service(settings, cloud, tmp_path), objects, topics, events, roles, tmp_path))
        return built[-1]

    yield make
    for stand_in in built:
        stand_in.service.stop()
        stand_in.release_clients()


@pytest.fixture
def stand_in(make_stand_in: Callable[..., StandIn]) -> StandIn:
    return make_stand_in()
