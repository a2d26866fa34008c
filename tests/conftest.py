"""How the tests share a machine's processors: what must not be split stays in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
# Their tests share one embedded cloud.
_TOGETHER = frozenset({"e2e", "conformance"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(_HERE)
        group = place.parts[0] if place.parts[0] in _TOGETHER else str(place)
        item.add_marker(pytest.mark.xdist_group(group))
