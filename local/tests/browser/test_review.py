"""What a person does at the portal is what is posted, in whole pixels of the frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.browser.annotator import Annotator, boxes, counts, review_of
from local.tests.browser.conftest import BOXES, DOUBT, LABELS, SIZE, OpenPortal, apart
from local.tests.portal.browser import Browser
from local.tests.sagemaker.jobs import ended_job, output_lines
from local.tests.sagemaker.stand_in import StandIn

OpenBrowser = Callable[[], Browser]

CAR, TRUCK, PERSON, SMALL_CAR = BOXES


def test_a_correct_frame_costs_one_key_and_the_next_is_there_without_a_load(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.evaluate("() => { window.sameDocument = true; }")
    answer = annotator.send("Enter")
    assert boxes(answer) == list(BOXES)
    assert answer["boundingBox"]["inputImageProperties"] == {"width": SIZE[0], "height": SIZE[1]}
    noted = review_of(answer)
    assert (noted["keys"], noted["clicks"], noted["edits"]) == (1, 0, {})
    assert "boxes" not in noted
    assert "unsure" not in noted
    annotator.page.wait_for_url("**/tasks/1")
    annotator.wait_for_frame()
    assert annotator.page.evaluate("() => window.sameDocument")
    answer = annotator.send("Enter")
    assert (boxes(answer), review_of(answer)["keys"]) == ([CAR], 1)


def test_the_last_frame_leads_to_the_jobs_page(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None),))
    annotator.send("Enter")
    annotator.page.get_by_text("All done").or_(annotator.page.get_by_text("This job has ended")).wait_for()
    assert annotator.page.url == annotator.job


def test_going_back_in_the_history_says_that_the_frame_is_answered(review: OpenPortal) -> None:
    annotator = review()
    annotator.send("Enter")
    annotator.page.go_back()
    annotator.page.get_by_text("already answered").wait_for()
    annotator.page.get_by_role("link", name="Next frame").click()
    annotator.wait_for_frame()
    assert boxes(annotator.send("Enter")) == [CAR]


def test_what_was_done_is_in_the_output_manifest(review: OpenPortal, stand_in: StandIn) -> None:
    annotator = review()
    annotator.press("Tab", "2", "Tab", "Delete", "g")
    annotator.send()
    annotator.wait_for_frame()
    annotator.send()
    changed, kept = output_lines(stand_in, apart(ended_job, stand_in))
    classes = changed["verified-metadata"]["class-map"]
    assert [
        (classes[str(box["class_id"])], *(box[side] for side in ("left", "top", "width", "height")))
        for box in changed["verified"]["annotations"]
    ] == [CAR, ("van", *TRUCK[1:]), PERSON, ("bicycle", 300, 400, 50, 40)]
    assert changed["verified-metadata"]["adjustment-status"] == "adjusted"
    assert kept["verified-metadata"]["adjustment-status"] == "unadjusted"


def test_boxes_are_walked_most_doubtful_first_and_accepted_by_a_key(review: OpenPortal) -> None:
    annotator = review()
    assert [row.split(",")[0] for row in annotator.rows] == ["truck", "car", "car", "person"]
    annotator.press("Tab")
    assert annotator.selected == 0
    annotator.press("Space")
    assert annotator.selected == 1
    annotator.press("a")
    assert annotator.selected == 2
    annotator.press("Shift+Tab")
    assert annotator.selected == 3
    assert [", reviewed" in row for row in annotator.rows] == [True, True, False, False]
    answer = annotator.send()
    assert boxes(answer) == list(BOXES)
    assert counts(answer) == {"accept": 2}


def test_without_doubts_the_smallest_box_comes_first(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None),))
    annotator.press("Tab", "3")
    assert boxes(annotator.send())[3] == ("truck", *SMALL_CAR[1:])


def test_a_handle_that_is_dragged_resizes_the_box(review: OpenPortal) -> None:
    annotator = review()
    annotator.click(180, 380)
    annotator.drag((260, 420), (275, 409))
    answer = annotator.send()
    assert boxes(answer) == [("car", 100, 330, 175, 79), *BOXES[1:]]
    assert counts(answer) == {"move": 1}


def test_a_selected_box_is_moved_by_dragging_it_and_stays_in_the_picture(review: OpenPortal) -> None:
    annotator = review()
    annotator.click(720, 400)
    annotator.drag((720, 400), (731, 393))
    annotator.click(180, 380)
    annotator.drag((180, 380), (30, 380))
    answer = annotator.send()
    assert boxes(answer) == [("car", 0, 330, 110, 90), TRUCK, ("person", 711, 333, 40, 110), SMALL_CAR]
    assert review_of(answer)["clicks"] == 4


def test_arrows_nudge_and_resize_by_whole_pixels_and_stop_at_the_edge(review: OpenPortal) -> None:
    annotator = review(frames=(([("car", 3, 330, 160, 90)], None),))
    annotator.press("Tab", "ArrowDown", "Shift+ArrowLeft", "Alt+ArrowRight", "Alt+Shift+ArrowUp")
    assert boxes(annotator.send()) == [("car", 0, 331, 161, 80)]


@pytest.mark.parametrize("selected", [False, True], ids=["nothing-selected", "another-box-selected"])
def test_a_drag_on_the_empty_picture_draws_a_box_of_the_last_class(review: OpenPortal, selected: bool) -> None:
    annotator = review()
    if selected:
        annotator.click(180, 380)
    annotator.drag((310, 320), (371, 358))
    annotator.press("2")
    annotator.drag((950, 500), (990, 540))
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("van", 310, 320, 61, 38), ("van", 950, 500, 40, 40)]
    assert counts(answer) == {"add": 2, "relabel": 1}


def test_a_release_that_no_move_went_before_draws_a_box(review: OpenPortal) -> None:
    annotator = review()
    session = annotator.page.context.new_cdp_session(annotator.page)
    for kind, point in (("mousePressed", (310, 320)), ("mouseReleased", (371, 358))):
        x, y = annotator.on_screen(*point)
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})
    assert boxes(annotator.send())[4] == ("car", 310, 320, 61, 38)


def test_of_many_quick_drags_none_is_lost(review: OpenPortal) -> None:
    annotator = review(frames=(((), None),))
    drawn = [("car", 20 + 100 * i, 20 + 55 * i, 60, 40) for i in range(10)]
    for _, left, top, width, height in drawn:
        annotator.drag((left, top), (left + width, top + height))
    assert boxes(annotator.send()) == drawn


def test_a_drag_that_leaves_the_picture_draws_up_to_its_edge(review: OpenPortal) -> None:
    annotator = review()
    annotator.drag((950, 540), (1100, 640))
    assert boxes(annotator.send())[4] == ("car", 950, 540, SIZE[0] - 950, SIZE[1] - 540)


def test_four_clicks_at_its_outermost_points_add_an_object(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("e")
    for point in ((330, 510), (300, 530), (335, 560), (380, 528)):
        annotator.click(*point)
    answer = annotator.send()
    assert boxes(answer)[4] == ("car", 300, 510, 80, 50)
    assert counts(answer) == {"add": 1}


def test_escape_gives_an_extreme_click_up(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("e")
    annotator.click(330, 510)
    annotator.press("Escape")
    annotator.click(500, 560)
    assert boxes(annotator.send()) == list(BOXES)


def test_a_box_is_deleted_and_another_relabelled_without_the_mouse(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "Delete", "Tab", "9")
    answer = annotator.send()
    assert boxes(answer) == [CAR, PERSON, ("traffic light", *SMALL_CAR[1:])]
    assert counts(answer) == {"delete": 1, "relabel": 1}


def test_candidates_over_the_slider_are_shown_and_promoted(review: OpenPortal) -> None:
    annotator = review()
    assert len(annotator.candidates) == 1
    annotator.press("g")
    assert annotator.candidates == []
    # The next one is under the slider: the first press only shows it.
    annotator.press("g")
    assert len(annotator.candidates) == 1
    annotator.press("g")
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("bicycle", 300, 400, 50, 40), ("car", 640, 330, 30, 20)]
    assert counts(answer) == {"add": 2}


def test_the_candidate_under_the_pointer_is_promoted_before_a_more_confident_one(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("[", "[", "[")
    annotator.page.mouse.move(*annotator.on_screen(655, 340))
    annotator.press("g")
    assert boxes(annotator.send()) == [*BOXES, ("car", 640, 330, 30, 20)]


def test_brackets_show_more_and_fewer_candidates_and_what_is_only_shown_is_not_sent(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("[", "[", "[")
    assert len(annotator.candidates) == 2
    annotator.press(*"]" * 6)
    assert annotator.candidates == []
    assert boxes(annotator.send()) == list(BOXES)


def test_marks_belong_to_the_boxes_they_were_made_at(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "o", "Tab", "t", "o", "Tab", "i")
    answer = annotator.send()
    assert review_of(answer)["boxes"] == [{}, {"occluded": True}, {}, {"occluded": True, "truncated": True}]
    assert boxes(answer)[0] == ("ignore", *CAR[1:])


def test_a_deleted_box_takes_its_mark_along(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "o", "Delete")
    assert "boxes" not in review_of(annotator.send())


def test_everything_is_undone_and_done_again_and_what_was_undone_does_not_count(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "ArrowLeft", "2", "o", "Delete", "g")
    annotator.drag((950, 500), (990, 540))
    for _ in range(10):
        annotator.press("Control+z")
    assert len(annotator.rows) == 4
    for _ in range(3):
        annotator.press("Control+Shift+z")
    answer = annotator.send()
    assert boxes(answer) == [CAR, ("van", TRUCK[1] - 1, *TRUCK[2:]), PERSON, SMALL_CAR]
    assert counts(answer) == {"move": 1, "relabel": 1, "mark": 1}


def test_work_survives_a_reload(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "2", "o", "g")
    before = annotator.rows
    annotator.page.reload()
    annotator.wait_for_frame()
    annotator.page.wait_for_function("() => document.querySelectorAll('.portal-boxes .portal-row').length === 5")
    assert annotator.rows == before
    answer = annotator.send()
    assert boxes(answer) == [CAR, ("van", *TRUCK[1:]), PERSON, SMALL_CAR, ("bicycle", 300, 400, 50, 40)]
    assert counts(answer) == {"relabel": 1, "mark": 1, "add": 1}
    assert review_of(answer)["keys"] == 5


def test_an_unsure_frame_says_why(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u")
    annotator.page.keyboard.type("Van or truck? 3 t")
    answer = annotator.send("Enter")
    noted = review_of(answer)
    assert (noted["unsure"], noted["comment"]) == (True, "Van or truck? 3 t")
    assert boxes(answer) == list(BOXES)
    annotator.page.wait_for_url("**/tasks/1")


def test_an_unsure_frame_can_be_kept(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u", "Escape")
    assert "unsure" not in review_of(annotator.send())


def test_boxes_are_hidden_while_h_is_held(review: OpenPortal) -> None:
    annotator = review()
    shapes = annotator.page.locator(".portal-shape").first
    annotator.page.keyboard.down("h")
    assert not shapes.is_visible()
    annotator.page.keyboard.up("h")
    assert shapes.is_visible()


def test_the_next_frame_lies_over_this_one_while_n_is_held(review: OpenPortal) -> None:
    annotator = review()
    neighbour = annotator.page.locator(".portal-neighbour")
    annotator.page.keyboard.down("n")
    assert neighbour.is_visible()
    frame = annotator.page.locator(".portal-stage > img").first
    assert neighbour.get_attribute("src") not in (None, frame.get_attribute("src"))
    assert neighbour.bounding_box() == frame.bounding_box()
    annotator.page.keyboard.up("n")
    assert not neighbour.is_visible()
    annotator.press("p")
    assert boxes(annotator.send()) == list(BOXES)


def test_boxes_are_as_exact_after_zooming_and_panning(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.mouse.move(*annotator.on_screen(500, 300))
    annotator.page.mouse.wheel(0, -900)
    annotator.page.keyboard.down("Space")
    annotator.drag((500, 300), (460, 320))
    annotator.page.keyboard.up("Space")
    annotator.drag((470, 330), (440, 350), button="middle")
    assert annotator.selected is None
    annotator.drag((505, 320), (545, 345))
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("car", 505, 320, 40, 25)]
    assert counts(answer) == {"add": 1}


def test_a_click_on_what_is_selected_goes_on_to_the_box_behind_it(review: OpenPortal) -> None:
    annotator = review(frames=(([("truck", 100, 100, 400, 300), ("car", 200, 200, 100, 80)], None),))
    annotator.click(250, 240)
    annotator.press("2")
    annotator.click(250, 240)
    annotator.press("4")
    assert boxes(annotator.send()) == [("bus", 100, 100, 400, 300), ("van", 200, 200, 100, 80)]


def test_three_hundred_boxes_are_reviewed_like_four(review: OpenPortal) -> None:
    crowd = [("car", 20 + 33 * (i % 30), 40 + 50 * (i // 30), 25, 30) for i in range(300)]
    annotator = review(frames=((crowd, {"boxes": [i / 300 for i in range(300)]}),))
    annotator.press("Tab", "Space", "2", "Tab", "Delete")
    answer = annotator.send()
    assert boxes(answer) == [*crowd[:297], ("van", *crowd[298][1:]), crowd[299]]


def test_an_empty_frame_is_one_key_as_well(review: OpenPortal) -> None:
    annotator = review(frames=(([], None),))
    assert boxes(annotator.send("Enter")) == []


def test_a_pre_label_beyond_the_picture_is_sent_within_it(review: OpenPortal) -> None:
    annotator = review(frames=(([("car", 1000, 580, 200, 200)], None),))
    assert boxes(annotator.send()) == [("car", 1000, 580, SIZE[0] - 1000, SIZE[1] - 580)]


HOSTILE = """</data><img src=x onerror="window.hacked=1">"'"""


def test_hostile_texts_are_shown_and_do_not_run(review: OpenPortal) -> None:
    hostile = [(HOSTILE, *box[1:]) for box in BOXES]
    doubt: dict[str, Any] = {**DOUBT, "why": [HOSTILE], "ghosts": [{**DOUBT["ghosts"][0], "label": HOSTILE}]}
    annotator = review(frames=((hostile, doubt),), labels=(HOSTILE, *LABELS[1:]), header=HOSTILE)
    assert HOSTILE in annotator.page.locator(".portal-why").inner_text()
    assert HOSTILE in annotator.rows[0]
    annotator.press("g")
    annotator.page.click("[data-do=instructions]")
    assert annotator.page.get_by_role("heading", name="onerror").is_visible()
    annotator.press("Escape")
    assert annotator.page.evaluate("() => window.hacked") is None
    assert [box[0] for box in boxes(annotator.send())] == [HOSTILE] * 5


def test_a_draft_of_another_shape_does_no_harm(review: OpenPortal) -> None:
    annotator = review()
    draft = {"boxes": [None, {"id": 1}, {"id": "box-0", "left": "x"}], "candidates": "none"}
    put = "async (draft) => (await fetch(location.pathname + '/draft', {method: 'PUT', body: draft})).status"
    assert annotator.page.evaluate(put, json.dumps(draft)) == 204
    annotator.open(0)
    assert boxes(annotator.send()) == list(BOXES)


def test_an_answer_that_is_refused_is_kept_and_can_be_gone_back_to(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.route(
        "**/answer", lambda route: route.fulfill(status=422, json={"error": "boxes outside the image"}), times=1
    )
    annotator.press("Tab", "2")
    annotator.send("Enter")
    notice = annotator.page.get_by_role("alert")
    notice.wait_for()
    assert "boxes outside the image" in notice.inner_text()
    notice.get_by_role("link").click()
    annotator.page.wait_for_url("**/tasks/0")
    annotator.page.locator(".portal-row").first.get_by_text("van").wait_for()
    assert boxes(annotator.send())[1] == ("van", *TRUCK[1:])


def test_a_frame_that_somebody_else_answered_is_said_and_left(review: OpenPortal, open_browser: OpenBrowser) -> None:
    annotator = review()
    assert open_browser().submit("/jobs/Drive-1/tasks/0", ("car", 1, 1, 9, 9)).status == 200
    annotator.send("Enter")
    notice = annotator.page.get_by_role("alert")
    notice.wait_for()
    assert "first" in notice.inner_text()
    assert annotator.page.url.endswith("/tasks/1")
    annotator.wait_for_frame()
    assert boxes(annotator.send()) == [CAR]


def test_keys_typed_into_the_comment_are_no_commands(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u")
    annotator.page.keyboard.type("gud 12")
    annotator.press("Backspace", "Escape")
    assert boxes(annotator.send()) == list(BOXES)


def test_the_panel_is_used_by_the_keyboard_alone(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("F6", "Tab", "Enter")
    assert annotator.selected == 1
    annotator.press("F6", "2")
    assert boxes(annotator.send())[3] == ("van", *SMALL_CAR[1:])


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_nothing_of_the_page_is_cut_off(review: OpenPortal, size: tuple[int, int]) -> None:
    annotator = review()
    annotator.page.set_viewport_size({"width": size[0], "height": size[1]})
    annotator.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    for part in (".portal-stage", ".portal-send", ".portal-class >> nth=9", ".portal-hint"):
        box = annotator.page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]


def evaluated(annotator: Annotator, text: str) -> Any:
    return annotator.page.evaluate("async (text) => (await import('/static/lenient.js')).parseLenient(text)", text)


def test_initial_values_are_read_as_aws_samples_write_them(review: OpenPortal) -> None:
    annotator = review()
    written = """[{label: "traffic \\"light\\", a:b}", left: 1.5, top: -2,
                  width: 3e1, "height": null,},{'label': 'it\\'s "x"'},]"""
    assert evaluated(annotator, written) == [
        {"label": 'traffic "light", a:b}', "left": 1.5, "top": -2, "width": 30, "height": None},
        {"label": 'it\'s "x"'},
    ]
    for wrong in ("[", "[}", "{a}", "alert(1)", "[1] 2", '"open', "{__proto__: {x: 1}"):
        with pytest.raises(Exception, match="SyntaxError"):
            evaluated(annotator, wrong)


def test_scripts_that_are_not_set_up_are_told_readably(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.route("**/static/annotorious.es.js", lambda route: route.fulfill(status=404))
    annotator.page.reload()
    told = annotator.page.get_by_role("alert")
    told.wait_for()
    assert "make setup-portal" in told.inner_text()
    colors = told.evaluate("it => [getComputedStyle(it).color, getComputedStyle(it).backgroundColor]")
    assert colors == ["rgb(255, 255, 255)", "rgb(122, 31, 31)"]


def test_a_window_that_changes_its_size_keeps_the_selected_box_in_its_middle(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab")

    def off_centre() -> float:
        return annotator.page.evaluate(
            """() => { const of = (name) => document.querySelector(name).getBoundingClientRect();
                       const [room, box] = [of(".portal-picture"), of(".portal-shape.selected")];
                       return Math.abs((box.left + box.right) / 2 - (room.left + room.right) / 2) / room.width; }"""
        )

    assert off_centre() < 0.02
    annotator.page.set_viewport_size({"width": 1000, "height": 640})
    annotator.page.wait_for_function("() => document.querySelector('.portal-picture').clientWidth < 800")
    annotator.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert off_centre() < 0.02


def test_progress_and_pace_stay_on_one_line(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None), (BOXES, None)))
    annotator.send()
    annotator.page.locator(".portal-pace:not(:empty)").wait_for()
    assert annotator.page.evaluate("() => document.querySelector('.portal-count').offsetHeight") < 24
