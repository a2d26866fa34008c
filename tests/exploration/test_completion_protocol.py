"""The explorer finds no violation of the completion protocol in small worlds, and finds each known way to break it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.exploration import mutations
from tools.prove import promises
from tools.prove.__main__ import main
from tools.prove.functions import Code
from tools.prove.schedule import described
from tools.prove.search import explore
from tools.prove.world import Budget, World
from tools.prove.worlds import ONE, TOGETHER, WORLDS


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_calls_and_faults_breaks_the_protocol(name: str) -> None:
    explored = explore(WORLDS[name])
    print(explored.figures())
    assert explored.objection(WORLDS[name]) == ""


@pytest.mark.parametrize(
    ("code", "world", "broken"),
    [
        pytest.param(
            mutations.ASK_BEFORE_THE_TOKEN_IS_READ,
            World(TOGETHER, Budget()),
            promises.NO_EARLY_WAKE,
            id="pending units are read before the token",
        ),
        pytest.param(
            mutations.RETURN_EARLY_ON_A_DUPLICATE,
            World(ONE, Budget(crashes=1), begun=True),
            promises.ALWAYS_WOKEN,
            id="a duplicate returns early",
        ),
        pytest.param(
            mutations.STORE_THE_TOKEN_AND_LOOK_NO_MORE,
            World(ONE, Budget(), begun=True),
            promises.ALWAYS_PASSED,
            id="no look after the token is stored",
        ),
        pytest.param(
            mutations.RETRY_BY_DELETE_AND_PUT,
            World(TOGETHER, Budget(failures=1), begun=True),
            promises.NO_EARLY_WAKE,
            id="a retry deletes and puts",
        ),
        pytest.param(
            mutations.BELIEVE_AN_ERROR_OF_ANY_ATTEMPT,
            World(ONE, Budget(failures=1, duplicates=1), begun=True),
            promises.NO_EARLY_FAILURE,
            id="an error counts for any attempt",
        ),
    ],
)
def test_each_known_way_to_break_the_protocol_is_found(code: Code, world: World, broken: str) -> None:
    explored = explore(replace(world, code=code))
    print(described(explored.schedule))
    assert explored.violation is not None
    assert explored.violation.promise == broken


def test_the_command_explores_the_worlds_that_it_is_asked_for() -> None:
    ended = CliRunner().invoke(main, ["--world", "never answered"])
    assert (ended.exit_code, ended.output.splitlines()[-1]) == (0, "1 worlds, 0 not proven")
    assert CliRunner().invoke(main, ["--world", "no such world"]).exit_code == 2


def test_the_command_fails_when_a_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = World(ONE, Budget(), begun=True, code=mutations.STORE_THE_TOKEN_AND_LOOK_NO_MORE)
    monkeypatch.setitem(WORLDS, "broken", broken)
    ended = CliRunner().invoke(main, ["--small", "--world", "broken"])
    assert ended.exit_code == 1
    assert f"broken: {promises.ALWAYS_PASSED}" in ended.output
    assert "  1. turn(d): get_item drive#d run#0001 -> ok" in ended.output
