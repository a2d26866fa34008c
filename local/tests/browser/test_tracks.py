"""The tracks of a strip and their edits: the model of the sequence page, without the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from local.portal.application import STATIC
from local.tests.browser.conftest import chromium
from local.web.files import StaticFiles

__all__ = ["chromium"]

FRAMES = 12
SIZE = {"width": 200, "height": 100}
# The model's car moves by 5 pixels a frame and grows; it begins in frame 2. The van stands still in frames 8 to 10.
CAR = [[n, 10 + 5 * n, 40, 20 + 2 * n, 20, {"uncertainty": f"{n / 12:.2f}"}] for n in range(2, 8)]
VAN = [[n, 150, 40, 30, 20] for n in range(8, 11)]
TRACKS = [
    {"id": "id-car", "name": "car:1", "label": "car", "boxes": CAR},
    {"id": "id-van", "name": "van:1", "label": "van", "boxes": VAN},
]
# Near the straight way of an object that is drawn in frames 1 and 5: of its class, of another class, and too far off.
CANDIDATES = [
    {"id": "1", "name": "car:1", "label": "car", "boxes": [[2, 58, 62, 20, 20]]},
    {"id": "2", "name": "car:2", "label": "car", "boxes": [[2, 56, 60, 10, 10], [4, 90, 60, 20, 20]]},
    {"id": "3", "name": "van:1", "label": "van", "boxes": [[3, 62, 63, 20, 20]]},
]


@pytest.fixture(scope="module")
def model(chromium: Browser) -> Iterator[Page]:
    """A page that has nothing but the module, and makes edits: `run(edits)` tells all that is asked of it."""
    page = chromium.new_page()
    files = StaticFiles(STATIC, [])
    page.route(
        "http://model.invalid/**",
        lambda route: route.fulfill(
            body=files.serve(route.request.url.rpartition("/")[2]).body.decode()
            if route.request.url.endswith(".js")
            else "",
            content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
        ),
    )
    page.goto("http://model.invalid/")
    page.evaluate(
        """async ([frames, size, tracks, candidates]) => {
          const { Strip } = await import("http://model.invalid/tracks.js");
          window.run = (edits, then = () => null) => {
            const strip = new Strip({ frames, size, tracks, candidates });
            const refused = [];
            for (const [kind, ...rest] of edits) {
              try { strip.edit(kind, ...rest); } catch (error) { refused.push(error.message); }
            }
            return { answer: strip.answer, refused, edits: strip.edits, then: then(strip) };
          };
        }""",
        [FRAMES, SIZE, TRACKS, CANDIDATES],
    )
    yield page
    page.close()


def run(model: Page, *edits: list[Any], then: str = "() => null") -> dict[str, Any]:
    made: dict[str, Any] = model.evaluate(f"(edits) => run(edits, {then})", list(edits))
    return made


def boxes(made: dict[str, Any], name: str = "car:1") -> dict[int, list[int]]:
    (track,) = (track for track in made["answer"] if track["name"] == name)
    return {box[0]: box[1:5] for box in track["boxes"]}


def test_what_is_read_is_the_answer(model: Page) -> None:
    assert run(model)["answer"] == TRACKS


def test_one_correction_follows_the_whole_track_and_grows_with_it(model: Page) -> None:
    # At frame 2 the car is 24 wide: the right side is moved by half of that.
    found = boxes(run(model, ["place", 0, 2, [20, 40, 36, 20]]))
    assert found == {n: [10 + 5 * n, 40, round(1.5 * (20 + 2 * n)), 20] for n in range(2, 8)}


def test_a_correction_ends_at_the_next_key_frame(model: Page) -> None:
    found = boxes(run(model, ["key", 0, 6], ["place", 0, 2, [20, 60, 24, 20]]))
    assert [found[n][1] for n in range(2, 8)] == [60, 55, 50, 45, 40, 40]
    assert [found[n][0] for n in range(2, 8)] == [box[1] for box in CAR]


def test_the_models_box_can_be_confirmed_after_a_correction(model: Page) -> None:
    found = boxes(run(model, ["place", 0, 2, [20, 60, 24, 20]], ["revert", 0, 4]))
    assert [found[n][1] for n in range(2, 8)] == [60, 50, 40, 40, 40, 40]


def test_a_key_frame_can_be_taken_back(model: Page) -> None:
    assert run(model, ["place", 0, 4, [0, 0, 9, 9]], ["unkey", 0, 4])["answer"] == TRACKS


def test_an_object_drawn_in_two_frames_becomes_a_track(model: Page) -> None:
    made = run(model, ["draw", "id-new", "car", 1, [0, 0, 10, 10]], ["reach", 2, 5, [40, 8, 14, 18]])
    assert boxes(made, "car:2") == {
        1: [0, 0, 10, 10],
        2: [10, 2, 11, 12],
        3: [20, 4, 12, 14],
        4: [30, 6, 13, 16],
        5: [40, 8, 14, 18],
    }


def test_a_drawn_object_follows_the_candidates_that_fit(model: Page) -> None:
    made = run(model, ["draw", "id-new", "car", 1, [50, 60, 20, 20]], ["reach", 2, 5, [70, 60, 20, 20]])
    assert boxes(made, "car:2") == {
        1: [50, 60, 20, 20],
        2: [58, 62, 20, 20],
        # The other class fits too loosely: between the candidate and the second drawing.
        3: [62, 61, 20, 20],
        4: [66, 61, 20, 20],
        5: [70, 60, 20, 20],
    }
    assert run(model, *made["edits"])["answer"] == made["answer"]


def test_ends_shorten_a_track_or_extend_it_at_its_speed(model: Page) -> None:
    shorter = run(model, ["end", 0, 5], ["start", 0, 3])
    assert boxes(shorter) == {box[0]: box[1:5] for box in CAR[1:4]}
    longer = boxes(run(model, ["end", 0, 9]))
    assert longer[9] == [55, 40, 38, 20]
    fixed = boxes(run(model, ["end", 0, 9], ["place", 0, 9, [55, 50, 38, 20]]))
    assert [fixed[n] for n in range(2, 8)] == [box[1:5] for box in CAR]
    assert fixed[8] == [50, 45, 36, 20]


def test_a_merge_fills_the_gap_and_keeps_the_first_tracks_name(model: Page) -> None:
    made = run(model, ["end", 0, 6], ["merge", 0, 1])
    (track,) = made["answer"]
    assert (track["id"], track["name"], track["label"]) == ("id-car", "car:1", "car")
    assert boxes(made)[7] == [95, 40, 31, 20]
    assert [box[0] for box in track["boxes"]] == list(range(2, 11))


def test_a_split_keeps_all_boxes_also_of_a_correction_over_its_border(model: Page) -> None:
    edited = ["place", 0, 2, [20, 60, 24, 20]], ["key", 0, 6]
    whole = run(model, *edited)
    parts = run(model, *edited, ["split", 0, 5, "id-new"])
    assert {**boxes(parts), **boxes(parts, "car:2")} == boxes(whole)
    assert (min(boxes(parts, "car:2")), max(boxes(parts))) == (5, 4)


def test_a_class_is_of_the_whole_track_and_its_name_is_free(model: Page) -> None:
    made = run(model, ["rename", 0, "van"])
    assert [(track["id"], track["name"], track["label"]) for track in made["answer"]] == [
        ("id-car", "van:2", "van"),
        ("id-van", "van:1", "van"),
    ]


def test_uncertain_places_are_the_worst_of_each_run_until_the_reviewer_was_there(model: Page) -> None:
    ask = "(strip) => [strip.places(0.4), strip.places(0.6)]"
    assert run(model, then=ask)["then"] == [[{"id": 0, "frame": 7}], []]
    assert run(model, ["hide", 0, 6], then=ask)["then"][0] == [{"id": 0, "frame": 5}, {"id": 0, "frame": 7}]
    assert run(model, ["key", 0, 6], then=ask)["then"][0] == []
    assert run(model, ["accept", 0, True], then=ask)["then"][0] == []


def test_places_are_walked_around_the_strip(model: Page) -> None:
    walk = """(strip) => [[0, 1], [5, 1], [7, 1], [7, -1]]
      .map(([frame, step]) => strip.place(0.4, { frame, id: 0 }, step).frame)"""
    assert run(model, ["hide", 0, 6], then=walk)["then"] == [5, 7, 5, 5]


def test_a_continuation_is_the_nearest_track_over_the_smallest_gap(model: Page) -> None:
    assert run(model, then="(strip) => [strip.continuation(0), strip.continuation(1)]")["then"] == [1, 0]
    assert run(model, ["delete", 1], then="(strip) => strip.continuation(0)")["then"] is None


def test_repeated_nudges_of_one_box_are_one_edit(model: Page) -> None:
    nudged = """(strip) => {
      for (const x of [21, 22, 23]) strip.again("place", 0, 2, [x, 40, 24, 20]);
      const edits = strip.edits;
      strip.undo();
      return [edits, strip.answer];
    }"""
    assert run(model, then=nudged)["then"] == [[["place", 0, 2, [23, 40, 24, 20]]], TRACKS]


frame = st.integers(0, FRAMES - 1)
track = st.integers(0, 4)
box = st.tuples(st.integers(-20, 220), st.integers(-20, 120), st.integers(0, 90), st.integers(0, 90)).map(list)
edit = st.one_of(
    st.tuples(st.sampled_from(["place", "reach"]), track, frame, box).map(list),
    st.tuples(st.sampled_from(["key", "unkey", "revert", "hide", "start", "end"]), track, frame).map(list),
    st.tuples(st.just("split"), track, frame, st.uuids().map(str)).map(list),
    st.tuples(st.just("merge"), track, track).filter(lambda edit: edit[1] != edit[2]).map(list),
    st.tuples(st.just("delete"), track).map(list),
    st.tuples(st.just("rename"), track, st.sampled_from(["car", "van"])).map(list),
    st.tuples(st.just("draw"), st.uuids().map(str), st.just("car"), frame, box).map(list),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(edit, max_size=10))
def test_any_edits_leave_whole_boxes_inside_the_image_and_can_be_made_again_and_undone(
    model: Page, edits: list[list[Any]]
) -> None:
    undo = """(strip) => {
      while (strip.undo());
      const first = strip.answer;
      while (strip.redo());
      return [first, strip.answer];
    }"""
    made = run(model, *edits, then=undo)
    assert made["then"] == [TRACKS, made["answer"]]
    assert run(model, *made["edits"])["answer"] == made["answer"]
    names = [track["name"] for track in made["answer"]]
    objects = [track["id"] for track in made["answer"]]
    assert len(set(names)) == len(names)
    assert len(set(objects)) == len(objects)
    for one in made["answer"]:
        frames = [found[0] for found in one["boxes"]]
        assert frames
        assert frames == sorted(set(frames))
        for _, left, top, width, height, *_ in one["boxes"]:
            assert all(isinstance(side, int) for side in (left, top, width, height))
            assert min(left, top) >= 0
            assert min(width, height) >= 1
            assert left + width <= SIZE["width"]
            assert top + height <= SIZE["height"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.just("place"), st.just(0), st.integers(2, 7), box).map(list), max_size=4), st.integers(2, 7)
)
def test_to_confirm_a_box_moves_no_box_by_more_than_rounding(model: Page, edits: list[list[Any]], at: int) -> None:
    before, after = boxes(run(model, *edits)), boxes(run(model, *edits, ["key", 0, at]))
    assert before[at] == after[at]
    for n, sides in before.items():
        assert all(abs(a - b) <= 1 for a, b in zip(sides, after[n], strict=True)), (n, sides, after[n])
