"""Boxes that a reviewer drew are proposed in neighbouring frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from local.portal.proposals import join_places
from local.sagemaker.ground_truth.annotators import Box
from local.tests.portal.browser import Browser
from local.tests.sagemaker.jobs import manifest_line, start_job
from local.tests.sagemaker.stand_in import StandIn

SHOWN = ("car", 10, 20, 30, 40)
DRAWN = ("person", 200, 100, 40, 60)
boxes = st.builds(
    Box, st.sampled_from(["car", "person"]), st.integers(0, 90), st.integers(0, 90), *[st.integers(1, 40)] * 2
)


def _start(stand_in: StandIn, count: int, **changes: Any) -> None:
    start_job(stand_in, *(manifest_line(n, changes=changes.get(f"_{n}")) for n in range(count)))


def _proposed(browser: Browser, number: int) -> list[tuple[Any, ...]]:
    found = browser.get(f"/jobs/Drive-1/tasks/{number}/context").document["proposed"]
    return [tuple(box.values()) for box in found]


def test_a_drawn_box_is_proposed_up_to_five_frames_away(stand_in: StandIn, open_browser: Callable[[], Browser]) -> None:
    _start(stand_in, 8)
    browser = open_browser()
    browser.submit("/jobs/Drive-1/tasks/1", SHOWN, DRAWN)
    assert [_proposed(browser, n) for n in (0, 2, 6, 7)] == [[DRAWN], [DRAWN], [DRAWN], []]
    # A frame that was sent says what its neighbours lack, also nothing.
    browser.submit("/jobs/Drive-1/tasks/3", SHOWN)
    assert _proposed(browser, 4) == []
    assert _proposed(browser, 2) == [DRAWN]
    assert _proposed(browser, 3) == []


def test_a_box_drawn_on_both_sides_is_proposed_between_them(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    _start(stand_in, 5)
    browser = open_browser()
    browser.submit("/jobs/Drive-1/tasks/0", SHOWN, DRAWN)
    browser.submit("/jobs/Drive-1/tasks/4", SHOWN, ("person", 220, 100, 48, 60))
    assert _proposed(browser, 1) == [("person", 205, 100, 42, 60)]
    assert _proposed(browser, 2) == [("person", 210, 100, 44, 60)]


def test_what_is_there_or_may_not_be_led_gets_no_proposal(
    stand_in: StandIn, open_browser: Callable[[], Browser]
) -> None:
    there = {
        **manifest_line()["pre"],
        "annotations": [{"class_id": 7, "left": 205, "top": 105, "width": 40, "height": 60}],
    }
    lines = [manifest_line(n) for n in range(3)]
    lines[0]["pre"] = there
    del lines[2]["pre"]
    start_job(stand_in, *lines)
    browser = open_browser()
    browser.submit("/jobs/Drive-1/tasks/1", SHOWN, DRAWN)
    assert [_proposed(browser, n) for n in (0, 2)] == [[], []]


@given(st.lists(boxes, max_size=5), st.lists(boxes, max_size=5), st.floats(0, 1))
def test_each_object_of_two_frames_is_joined_once(before: list[Box], after: list[Box], share: float) -> None:
    joined = list(join_places(before, after, share))
    assert max(len(before), len(after)) <= len(joined) <= len(before) + len(after)
    if share == 0:
        assert joined[: len(before)] == before
    # Objects that stand still stay where they are.
    assert list(join_places(before, before, share)) == before
