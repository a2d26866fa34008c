"""Profiles of property tests: repeatable, small, and without a data base in the checkout."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.pipeline import Pipeline

# ensemble_boxes compiles its functions when they are called first, which takes longer than all that tests ask of them.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

settings.register_profile(
    "ci",
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("search", settings.get_profile("ci"), max_examples=2_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()
