"""The completion protocol, proven for small worlds: every order of calls to AWS, with every place of every fault."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.exploration import mutations
from tools.prove import promises
from tools.prove.functions import Code
from tools.prove.schedule import described
from tools.prove.search import Explored, explore
from tools.prove.world import Budget, World
from tools.prove.worlds import LARGE, ONE, TOGETHER, WORLDS

WHOLE = {**WORLDS, **LARGE} if os.environ.get("EXPLORE") == "large" else WORLDS
# An explorer that overlooks steps passes everything; no world here has so few states.
FEWEST = 1_000


@pytest.mark.parametrize("name", WHOLE)
def test_no_order_of_calls_and_no_place_of_a_fault_breaks_the_protocol(
    name: str, report: Callable[[str, Explored], None]
) -> None:
    world = WHOLE[name]
    explored = explore(world)
    report(name, explored)
    assert explored.violation is None, f"{explored.violation}\n{described(explored.schedule)}"
    assert explored.whole
    assert explored.states > FEWEST
    assert explored.passed
    # Where something may be lost, there are states in which only a time-out helps.
    assert explored.quiet or not world.budget.losses


@pytest.mark.parametrize(
    ("code", "world", "broken"),
    [
        pytest.param(
            mutations.ASK_BEFORE_THE_TOKEN_IS_READ,
            World(TOGETHER, Budget()),
            promises.NO_EARLY_WAKE,
            id="pending units are asked for before the token is read",
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
            id="nobody looks after the token is stored",
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
    assert explored.violation.property == broken
