"""A reviewer's edits at the portal are posted in whole pixels of the frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.browser.annotator import Annotator, boxes, counts, review_of
from local.tests.browser.conftest import BOXES, LABELS, SIZE, UNCERTAINTY, OpenPortal, apart
from local.tests.portal.browser import Browser
from local.tests.sagemaker.jobs import ended_job, output_lines
from local.tests.sagemaker.stand_in import StandIn

OpenBrowser = Callable[[], Browser]

CAR, TRUCK, PERSON, SMALL_CAR = BOXES


def test_a_correct_frame_takes_one_key_and_no_page_load(review: OpenPortal) -> None:
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


def test_the_last_frame_leads_to_the_job_page(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None),))
    annotator.send("Enter")
    annotator.page.get_by_text("All done").or_(annotator.page.get_by_text("This job has ended")).wait_for()
    assert annotator.page.url == annotator.job


def test_a_sent_frame_can_be_changed_until_the_job_ends(review: OpenPortal, stand_in: StandIn) -> None:
    annotator = review(frames=((BOXES, UNCERTAINTY), (BOXES[:1], None), (BOXES[:2], None)))
    annotator.press("Tab", "2", "o", "Tab", "Delete", "g")
    first = annotator.send()
    annotator.wait_for_frame()
    annotator.press("b")
    annotator.page.wait_for_url("**/tasks/0")
    annotator.page.get_by_text("Sent before · 1 of 3 done").wait_for()
    assert all(", reviewed" in row for row in annotator.rows)
    assert [row.split(",")[0] for row in annotator.rows] == ["car", "person", "van", "bicycle"]
    # The unsent change is still there after a look at another frame.
    annotator.click(180, 380)
    annotator.press("4", "l")
    annotator.page.get_by_role("button", name="Open 2").click()
    annotator.page.get_by_role("button", name="2.jpg").click()
    annotator.page.wait_for_url("**/tasks/2")
    annotator.wait_for_frame()
    annotator.press("l")
    annotator.page.get_by_role("button", name="0.jpg").click()
    annotator.page.wait_for_url("**/tasks/0")
    annotator.page.locator(".portal-row").get_by_text("bus").wait_for()
    second = annotator.send()
    assert boxes(second) == [("bus", *CAR[1:]), *boxes(first)[1:]]
    assert counts(second) == {"relabel": 2, "mark": 1, "delete": 1, "add": 1}
    assert review_of(second)["keys"] > review_of(first)["keys"]
    annotator.page.wait_for_url("**/tasks/1")
    annotator.wait_for_frame()
    annotator.send()
    annotator.page.get_by_text("This is the last open frame").wait_for()
    annotator.send()
    changed = output_lines(stand_in, apart(ended_job, stand_in))[0]
    assert changed["verified"]["annotations"][0]["class_id"] == LABELS.index("bus")


def test_going_back_at_once_shows_the_frame_as_it_was_sent(review: OpenPortal) -> None:
    annotator = review()
    annotator.wait_for_next_frame()
    annotator.press("Tab", "2", "Enter", "b")
    annotator.page.wait_for_url("**/tasks/0")
    annotator.page.locator(".portal-row").get_by_text("van").wait_for()
    annotator.page.reload()
    annotator.wait_for_frame()
    assert boxes(annotator.send())[1] == ("van", *TRUCK[1:])


def test_enter_sends_the_frame_on_the_page_while_another_is_loading(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None), (BOXES[:1], None), (BOXES[:2], None)))
    annotator.send()
    annotator.wait_for_next_frame()
    annotator.wait_for_frame()
    loading: list[Any] = []
    annotator.page.route("**/tasks/0", lambda route: loading.append(route))
    annotator.press("b")
    annotator.page.wait_for_url("**/tasks/0")
    with annotator.page.expect_response("**/answer") as sent:
        annotator.press("Enter")
    assert sent.value.url.endswith("/tasks/1/answer")
    annotator.page.wait_for_url("**/tasks/2")
    loading[0].continue_()
    assert boxes(annotator.send()) == list(BOXES[:2])


def test_edits_reach_the_output_manifest(review: OpenPortal, stand_in: StandIn) -> None:
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


def test_keys_walk_and_accept_boxes_most_uncertain_first(review: OpenPortal) -> None:
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


def test_without_uncertainty_the_smallest_box_comes_first(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None),))
    annotator.press("Tab", "3")
    assert boxes(annotator.send())[3] == ("truck", *SMALL_CAR[1:])


def test_dragging_a_handle_resizes_the_box(review: OpenPortal) -> None:
    annotator = review()
    annotator.click(180, 380)
    annotator.drag((260, 420), (275, 409))
    answer = annotator.send()
    assert boxes(answer) == [("car", 100, 330, 175, 79), *BOXES[1:]]
    assert counts(answer) == {"move": 1}


def test_dragging_a_selected_box_moves_it_within_the_image(review: OpenPortal) -> None:
    annotator = review()
    annotator.click(720, 400)
    annotator.drag((720, 400), (731, 393))
    annotator.click(180, 380)
    annotator.drag((180, 380), (30, 380))
    answer = annotator.send()
    assert boxes(answer) == [("car", 0, 330, 110, 90), TRUCK, ("person", 711, 333, 40, 110), SMALL_CAR]
    assert review_of(answer)["clicks"] == 4


def test_arrows_move_and_resize_by_whole_pixels_up_to_the_edge(review: OpenPortal) -> None:
    annotator = review(frames=(([("car", 3, 330, 160, 90)], None),))
    annotator.press("Tab", "ArrowDown", "Shift+ArrowLeft", "Alt+ArrowRight", "Alt+Shift+ArrowUp")
    assert boxes(annotator.send()) == [("car", 0, 331, 161, 80)]


@pytest.mark.parametrize("selected", [False, True], ids=["nothing-selected", "another-box-selected"])
def test_a_drag_beside_boxes_draws_a_box_of_the_last_class(review: OpenPortal, selected: bool) -> None:
    annotator = review()
    if selected:
        annotator.click(180, 380)
    annotator.drag((310, 320), (371, 358))
    annotator.press("2")
    annotator.drag((950, 500), (990, 540))
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("van", 310, 320, 61, 38), ("van", 950, 500, 40, 40)]
    assert counts(answer) == {"add": 2, "relabel": 1}


def test_a_release_without_a_move_event_draws_a_box(review: OpenPortal) -> None:
    annotator = review()
    session = annotator.page.context.new_cdp_session(annotator.page)
    for kind, point in (("mousePressed", (310, 320)), ("mouseReleased", (371, 358))):
        x, y = annotator.on_screen(*point)
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})
    assert boxes(annotator.send())[4] == ("car", 310, 320, 61, 38)


def test_many_quick_drags_are_all_drawn(review: OpenPortal) -> None:
    annotator = review(frames=(((), None),))
    drawn = [("car", 20 + 100 * i, 20 + 55 * i, 60, 40) for i in range(10)]
    for _, left, top, width, height in drawn:
        annotator.drag((left, top), (left + width, top + height))
    assert boxes(annotator.send()) == drawn


def test_a_drag_beyond_the_image_draws_up_to_its_edge(review: OpenPortal) -> None:
    annotator = review()
    annotator.drag((950, 540), (1100, 640))
    assert boxes(annotator.send())[4] == ("car", 950, 540, SIZE[0] - 950, SIZE[1] - 540)


def test_four_clicks_at_the_outermost_points_add_a_box(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("e")
    for point in ((330, 510), (300, 530), (335, 560), (380, 528)):
        annotator.click(*point)
    answer = annotator.send()
    assert boxes(answer)[4] == ("car", 300, 510, 80, 50)
    assert counts(answer) == {"add": 1}


def test_escape_cancels_the_four_clicks(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("e")
    annotator.click(330, 510)
    annotator.press("Escape")
    annotator.click(500, 560)
    assert boxes(annotator.send()) == list(BOXES)


def test_keys_delete_and_relabel_boxes(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "Delete", "Tab", "9")
    answer = annotator.send()
    assert boxes(answer) == [CAR, PERSON, ("traffic light", *SMALL_CAR[1:])]
    assert counts(answer) == {"delete": 1, "relabel": 1}


def test_g_adds_shown_candidates_and_shows_the_next_one(review: OpenPortal) -> None:
    annotator = review()
    assert len(annotator.candidates) == 1
    annotator.press("g")
    assert annotator.candidates == []
    # The next candidate is below the slider's value: the first press only shows it.
    annotator.press("g")
    assert len(annotator.candidates) == 1
    annotator.press("g")
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("bicycle", 300, 400, 50, 40), ("car", 640, 330, 30, 20)]
    assert counts(answer) == {"add": 2}


def test_g_prefers_the_candidate_under_the_pointer(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("[", "[", "[")
    annotator.page.mouse.move(*annotator.on_screen(655, 340))
    annotator.press("g")
    assert boxes(annotator.send()) == [*BOXES, ("car", 640, 330, 30, 20)]


def test_candidates_are_shown_from_half_of_their_threshold_on(review: OpenPortal) -> None:
    ghost = {"left": 300, "top": 400, "width": 50, "height": 40}
    told = ((0.3, 0.61), (0.3, 0.59), (0.2, None), (0.15, None), (0.09, 0.17))
    ghosts = [
        {**ghost, "label": "car", "confidence": confidence, **({"threshold": threshold} if threshold else {})}
        for confidence, threshold in told
    ]
    annotator = review(frames=((BOXES, {**UNCERTAINTY, "ghosts": ghosts}),))
    assert [row.split()[-2] for row in annotator.candidates] == ["30", "20", "9"]


def test_brackets_change_the_shown_candidates_but_not_the_answer(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("[", "[", "[")
    assert len(annotator.candidates) == 2
    annotator.press(*"]" * 12)
    assert annotator.candidates == []
    assert boxes(annotator.send()) == list(BOXES)


def test_a_new_candidate_is_never_hidden(review: OpenPortal) -> None:
    uncertainty = {**UNCERTAINTY, "ghosts": [{**one, "new": True} for one in UNCERTAINTY["ghosts"]]}  # type: ignore[dict-item, union-attr]
    annotator = review(frames=((BOXES, uncertainty),))
    annotator.press(*"]" * 12)
    assert len(annotator.candidates) == 2
    assert all("new candidate" in row for row in annotator.candidates)
    annotator.press("g", "g")
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("bicycle", 300, 400, 50, 40), ("car", 640, 330, 30, 20)]
    assert "isNew" not in json.dumps(answer)


def test_marks_stay_with_their_boxes(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "o", "Tab", "t", "o", "Tab", "i")
    answer = annotator.send()
    assert review_of(answer)["boxes"] == [{}, {"occluded": True}, {}, {"occluded": True, "truncated": True}]
    assert boxes(answer)[0] == ("ignore", *CAR[1:])


def test_deleting_a_box_deletes_its_marks(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("Tab", "o", "Delete")
    assert "boxes" not in review_of(annotator.send())


def test_undo_and_redo_cover_all_edits_and_undone_ones_do_not_count(review: OpenPortal) -> None:
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


def test_edits_survive_a_reload(review: OpenPortal) -> None:
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


def test_an_unsure_frame_carries_its_comment(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u")
    annotator.page.keyboard.type("Van or truck? 3 t")
    answer = annotator.send("Enter")
    noted = review_of(answer)
    assert (noted["unsure"], noted["comment"]) == (True, "Van or truck? 3 t")
    assert boxes(answer) == list(BOXES)
    annotator.page.wait_for_url("**/tasks/1")


def test_escape_cancels_unsure(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u", "Escape")
    assert "unsure" not in review_of(annotator.send())


def test_h_hides_the_boxes_while_held(review: OpenPortal) -> None:
    annotator = review()
    shapes = annotator.page.locator(".portal-shape").first
    annotator.page.keyboard.down("h")
    assert not shapes.is_visible()
    annotator.page.keyboard.up("h")
    assert shapes.is_visible()


def test_n_shows_the_next_frame_while_held(review: OpenPortal) -> None:
    annotator = review()
    neighbour = annotator.page.locator(".portal-neighbour")
    annotator.page.keyboard.down("n")
    assert neighbour.is_visible()
    frame = annotator.page.locator(".portal-stage > img").first
    assert neighbour.get_attribute("src") not in (None, frame.get_attribute("src"))
    assert neighbour.bounding_box() == frame.bounding_box()
    outline = annotator.page.locator(".portal-outline")
    assert [outline.get_attribute(side) for side in ("x", "y", "width", "height")] == [str(side) for side in CAR[1:]]
    annotator.page.keyboard.up("n")
    assert not neighbour.is_visible()
    assert outline.count() == 0
    annotator.press("p")
    assert boxes(annotator.send()) == list(BOXES)


def test_boxes_are_exact_after_zooming_and_panning(review: OpenPortal) -> None:
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


def test_a_click_on_the_selected_box_selects_the_one_behind_it(review: OpenPortal) -> None:
    annotator = review(frames=(([("truck", 100, 100, 400, 300), ("car", 200, 200, 100, 80)], None),))
    annotator.click(250, 240)
    annotator.press("2")
    annotator.click(250, 240)
    annotator.press("4")
    assert boxes(annotator.send()) == [("bus", 100, 100, 400, 300), ("van", 200, 200, 100, 80)]


def test_a_frame_can_have_three_hundred_boxes(review: OpenPortal) -> None:
    crowd = [("car", 20 + 33 * (i % 30), 40 + 50 * (i // 30), 25, 30) for i in range(300)]
    annotator = review(frames=((crowd, {"boxes": [i / 300 for i in range(300)]}),))
    annotator.press("Tab", "Space", "2", "Tab", "Delete")
    answer = annotator.send()
    assert boxes(answer) == [*crowd[:297], ("van", *crowd[298][1:]), crowd[299]]


def test_an_empty_frame_takes_one_key(review: OpenPortal) -> None:
    annotator = review(frames=(([], None),))
    assert boxes(annotator.send("Enter")) == []


def test_a_prelabel_beyond_the_image_is_clipped(review: OpenPortal) -> None:
    annotator = review(frames=(([("car", 1000, 580, 200, 200)], None),))
    assert boxes(annotator.send()) == [("car", 1000, 580, SIZE[0] - 1000, SIZE[1] - 580)]


HOSTILE = """</data><img src=x onerror="window.hacked=1">"'"""


def test_hostile_texts_are_shown_and_not_run(review: OpenPortal) -> None:
    hostile = [(HOSTILE, *box[1:]) for box in BOXES]
    uncertainty: dict[str, Any] = {
        **UNCERTAINTY,
        "why": [HOSTILE],
        "ghosts": [{**UNCERTAINTY["ghosts"][0], "label": HOSTILE}],
    }
    annotator = review(frames=((hostile, uncertainty),), labels=(HOSTILE, *LABELS[1:]), header=HOSTILE)
    assert HOSTILE in annotator.page.locator(".portal-why").inner_text()
    assert HOSTILE in annotator.rows[0]
    annotator.press("g")
    annotator.page.click("[data-do=instructions]")
    assert annotator.page.get_by_role("heading", name="onerror").is_visible()
    annotator.press("Escape")
    assert annotator.page.evaluate("() => window.hacked") is None
    assert [box[0] for box in boxes(annotator.send())] == [HOSTILE] * 5


def test_a_draft_of_another_shape_is_ignored(review: OpenPortal) -> None:
    annotator = review()
    draft = {"boxes": [None, {"id": 1}, {"id": "box-0", "left": "x"}], "candidates": "none"}
    put = "async (draft) => (await fetch(location.pathname + '/draft', {method: 'PUT', body: draft})).status"
    assert annotator.page.evaluate(put, json.dumps(draft)) == 204
    annotator.open(0)
    assert boxes(annotator.send()) == list(BOXES)


def refuse_answer(annotator: Annotator) -> None:
    """Refuse the next answer that is sent."""
    annotator.page.route(
        "**/answer", lambda route: route.fulfill(status=422, json={"error": "boxes outside the image"}), times=1
    )


def test_a_refused_answer_is_kept_as_a_draft_with_a_link_to_it(review: OpenPortal) -> None:
    annotator = review()
    refuse_answer(annotator)
    annotator.press("Tab", "2")
    annotator.wait_for_next_frame()
    annotator.send("Enter")
    notice = annotator.page.get_by_role("alert")
    notice.wait_for()
    assert "boxes outside the image" in notice.inner_text()
    notice.get_by_role("link").click()
    annotator.page.wait_for_url("**/tasks/0")
    annotator.page.locator(".portal-row").first.get_by_text("van").wait_for()
    assert boxes(annotator.send())[1] == ("van", *TRUCK[1:])


def test_a_frame_whose_answer_is_refused_stays_until_the_next_is_ready(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.route("**/tasks/1", lambda route: route.abort())
    annotator.open(0)
    refuse_answer(annotator)
    annotator.press("Tab", "2", "Enter")
    notice = annotator.page.get_by_role("alert")
    notice.wait_for()
    assert "boxes outside the image. Your work is still here." in notice.inner_text()
    assert notice.get_by_role("link").count() == 0
    annotator.page.unroute("**/tasks/1")
    assert boxes(annotator.send())[1] == ("van", *TRUCK[1:])
    assert notice.count() == 0


def test_a_frame_answered_by_another_reviewer_is_reported_and_left(
    review: OpenPortal, open_browser: OpenBrowser
) -> None:
    annotator = review()
    assert open_browser().submit("/jobs/Drive-1/tasks/0", ("car", 1, 1, 9, 9)).status == 200
    annotator.send("Enter")
    notice = annotator.page.get_by_role("alert")
    notice.wait_for()
    assert "first" in notice.inner_text()
    assert annotator.page.url.endswith("/tasks/1")
    annotator.wait_for_frame()
    assert boxes(annotator.send()) == [CAR]


def test_keys_in_the_comment_are_not_commands(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("u")
    annotator.page.keyboard.type("gud 12")
    annotator.press("Backspace", "Escape")
    assert boxes(annotator.send()) == list(BOXES)


def test_the_panel_works_with_the_keyboard_alone(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("F6", "Tab", "Enter")
    assert annotator.selected == 1
    annotator.press("F6", "2")
    assert boxes(annotator.send())[3] == ("van", *SMALL_CAR[1:])


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_no_part_of_the_page_is_cut_off(review: OpenPortal, size: tuple[int, int]) -> None:
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


def test_missing_scripts_are_reported_readably(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.route("**/static/annotorious.es.js", lambda route: route.fulfill(status=404))
    annotator.page.reload()
    told = annotator.page.get_by_role("alert")
    told.wait_for()
    assert "make setup-portal" in told.inner_text()
    colors = told.evaluate("it => [getComputedStyle(it).color, getComputedStyle(it).backgroundColor]")
    assert colors == ["rgb(255, 255, 255)", "rgb(122, 31, 31)"]


def test_resizing_the_window_keeps_the_selected_box_centred(review: OpenPortal) -> None:
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


def test_drive_camera_and_time_are_on_the_page(review: OpenPortal) -> None:
    annotator = review()
    place = annotator.page.locator(".portal-place")
    assert place.inner_text().splitlines() == ["2026-01-01-a · front", "2026-01-01 00:00:00.250 UTC"]
    annotator.wait_for_next_frame()
    annotator.send()
    annotator.wait_for_frame()
    assert "2026-01-01 00:00:01.250 UTC" in place.inner_text()


def test_filters_hide_boxes_and_never_change_the_answer(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, UNCERTAINTY), (BOXES, UNCERTAINTY)))
    annotator.page.get_by_role("button", name="Hide car").click()
    assert [row.split(",")[0] for row in annotator.rows] == ["truck", "person"]
    annotator.page.locator(".portal-least").fill("0.1")
    assert [row.split(",")[0] for row in annotator.rows] == ["truck"]
    assert annotator.page.get_by_text("3 hidden by filters").is_visible()
    # A hidden box does not take a click, and the keys pass it by. A new box is shown as long as it is selected.
    annotator.click(180, 380)
    assert annotator.selected is None
    annotator.press("Tab", "Tab")
    assert annotator.selected == 0
    annotator.drag((950, 500), (990, 540))
    assert len(annotator.rows) == 2
    assert boxes(annotator.send()) == [*BOXES, ("car", 950, 500, 40, 40)]
    annotator.wait_for_frame()
    assert [row.split(",")[0] for row in annotator.rows] == ["truck"]


def test_a_locked_box_takes_no_change_and_no_click(review: OpenPortal) -> None:
    annotator = review(frames=(([("truck", 100, 100, 400, 300), ("car", 200, 200, 100, 80)], None),))
    annotator.click(110, 110)
    annotator.press("k", "Delete", "ArrowLeft", "3")
    annotator.drag((110, 110), (150, 150))
    assert "locked" in annotator.rows[1]
    annotator.click(250, 240)
    annotator.press("2")
    annotator.press("Shift+K", "Delete", "Shift+K", "o")
    answer = annotator.send()
    assert boxes(answer) == [
        ("truck", 100, 100, 400, 300), ("van", 200, 200, 100, 80), ("car", 110, 110, 40, 40),
    ]  # fmt: skip
    assert review_of(answer)["boxes"] == [{}, {"occluded": True}, {}]


def test_the_class_of_the_next_box_is_at_the_pointer(review: OpenPortal) -> None:
    annotator = review()
    pointer = annotator.page.locator(".portal-pointer")

    def shows(x: int, y: int) -> bool:
        annotator.page.mouse.move(*annotator.on_screen(x, y))
        return pointer.evaluate("it => getComputedStyle(it).opacity === '1' && !it.hidden")

    annotator.press("3")
    assert shows(950, 500)
    assert pointer.inner_text() == "truck"
    assert not shows(180, 380)
    annotator.press("s")
    annotator.page.get_by_label("at the pointer").uncheck()
    annotator.press("Escape")
    assert not shows(950, 500)


def test_enter_warns_of_uncertain_boxes_if_the_reviewer_wants_it(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, UNCERTAINTY), (BOXES, UNCERTAINTY)))
    annotator.press("s")
    annotator.page.get_by_label("Enter warns").check()
    annotator.press("Escape", "Enter")
    assert annotator.page.get_by_text("2 uncertain boxes are not reviewed").is_visible()
    assert annotator.selected == 0
    # The settings are remembered: the next frame warns too, until its uncertain boxes are reviewed.
    annotator.send()
    annotator.wait_for_frame()
    annotator.press("Tab", "Space", "Enter")
    assert annotator.page.get_by_text("1 uncertain box is not reviewed").is_visible()
    annotator.press("Space")
    annotator.send()


def test_tab_can_leave_the_zoom_as_it_is(review: OpenPortal) -> None:
    annotator = review()
    before = annotator.on_screen(0, 0)
    annotator.press("s")
    annotator.page.get_by_label("Tab zooms").uncheck()
    annotator.press("Escape", "Tab")
    assert (annotator.selected, annotator.on_screen(0, 0)) == (0, before)


def test_keys_can_be_changed_and_are_remembered(review: OpenPortal) -> None:
    annotator = review()
    annotator.press("s")
    keys = annotator.page.locator(".portal-key")
    keys.get_by_text("U", exact=True).click()
    # Digits have a meaning of their own. The command that had the key gets the one that becomes free.
    annotator.press("5", "o")
    assert "has a meaning" not in annotator.page.locator(".portal-told").inner_text()
    annotator.press("Escape", "Tab", "u")
    annotator.page.reload()
    annotator.wait_for_frame()
    annotator.page.locator(".portal-row em", has_text="occl").wait_for()
    assert annotator.page.locator("[data-do=unsure] kbd").inner_text() == "O"
    assert annotator.page.locator(".portal-hint").inner_text().count("O unsure") == 1
    annotator.send("o", "Enter")
    annotator.wait_for_frame()
    annotator.press("s")
    keys.get_by_text("Usual keys").click()
    annotator.press("Escape")
    assert review_of(annotator.send("u", "Enter"))["unsure"]


def test_brightness_and_opacity_are_remembered(review: OpenPortal) -> None:
    annotator = review()
    annotator.page.locator(".portal-opacity").fill("0.3")
    annotator.press("=", "=")
    annotator.page.reload()
    annotator.wait_for_frame()
    opacity = annotator.page.locator(".portal-shapes").evaluate("it => getComputedStyle(it).opacity")
    assert (opacity, annotator.page.locator(".portal-gamma").input_value()) == ("0.3", "1.2")


def test_boxes_are_copied_to_other_frames(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, None), (BOXES[:1], None), ([], None)))
    annotator.press("Control+c")
    annotator.click(180, 380)
    annotator.press("ArrowLeft", "Escape")
    annotator.send()
    annotator.wait_for_frame()
    # A box that is there already is not pasted again.
    annotator.press("Control+v", "Control+v", "Control+z", "Tab", "Control+c")
    assert boxes(annotator.send()) == [CAR, TRUCK, PERSON]
    annotator.page.reload()
    annotator.wait_for_frame()
    annotator.press("Control+v", "2")
    answer = annotator.send()
    assert boxes(answer) == [("van", *CAR[1:])]
    assert counts(answer) == {"add": 1, "relabel": 1}


def test_a_drawn_box_is_a_candidate_in_the_next_frame(review: OpenPortal) -> None:
    annotator = review(frames=((BOXES, UNCERTAINTY), (BOXES, UNCERTAINTY), (BOXES, None)))
    annotator.press("7")
    annotator.drag((950, 500), (990, 540))
    annotator.send()
    annotator.wait_for_frame()
    annotator.page.get_by_role("button", name="drawn nearby").wait_for()
    assert ["drawn nearby" in row for row in annotator.candidates] == [True, False]
    annotator.press("Tab", "Space")
    annotator.page.reload()
    annotator.wait_for_frame()
    annotator.page.get_by_role("button", name="drawn nearby").wait_for()
    annotator.press("Escape", "g")
    answer = annotator.send()
    assert boxes(answer) == [*BOXES, ("person", 950, 500, 40, 40)]
    assert counts(answer) == {"accept": 1, "add": 1}
    # Without G, it is left out.
    annotator.wait_for_frame()
    annotator.page.get_by_role("button", name="drawn nearby").wait_for()
    assert boxes(annotator.send()) == list(BOXES)
