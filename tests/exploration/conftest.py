"""What the explorations saw, at the end of the tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.prove.search import Explored

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str, Explored], None]:
    """Notes the figures of an exploration for the summary."""
    figures = request.config.stash.setdefault(_FIGURES, [])

    def note(name: str, explored: Explored) -> None:
        figures.append(
            f"{name:58} {explored.states:9,} states {explored.transitions:11,} transitions "
            f"{explored.quiet:6,} quiet {explored.passed:8,} passed"
        )

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("explored whole")
        for line in figures:
            terminalreporter.write_line(line)
