"""A reviewer at the sequence page, from the strip to the SeqLabel: real keys and a real mouse in a real Chromium."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page

from autolabel.contracts.verification import TRACKS
from autolabel.verification.jobs import label_categories
from local.portal.server import Portal
from local.tests.browser.conftest import apart, chromium, clock, portal, stand_in
from local.tests.sagemaker.jobs import ended_job, output_lines
from local.tests.sagemaker.sequences import Place, seq_label, sequence_line, start_sequences
from local.tests.sagemaker.stand_in import StandIn

__all__ = ["chromium", "clock", "portal", "stand_in"]

FRAMES = 12
SIZE = (640, 360)
LABELS = ("car", "truck", "person")


def moving(
    object_id: str, label: str, frames: range, start: tuple[int, int], size: tuple[int, int], by: int = 0
) -> list[Place]:
    """An object of constant speed, whose uncertainty is high in its last frame."""
    level = {n: "0.9" if n == frames[-1] else "0.1" for n in frames}
    return [(n, object_id, label, start[0] + by * n, start[1], *size, {"uncertainty": level[n]}) for n in frames]


# A car that the models lost for two frames, a lorry that they take for a car, a box on nothing, a person whose box ends
# at the knees, and two cars under one identity.
LEFT = moving("id-a", "car", range(5), (40, 200), (60, 40), by=5)
RIGHT = moving("id-b", "car", range(7, 12), (40, 200), (60, 40), by=5)
LORRY = moving("id-c", "car", range(12), (420, 120), (120, 90))
NOTHING = moving("id-d", "truck", range(3, 6), (300, 20), (50, 30))
PERSON = moving("id-e", "person", range(12), (300, 200), (20, 40), by=1)
SWAPPED = moving("id-f", "car", range(6), (160, 100), (40, 30)) + moving(
    "id-f", "car", range(6, 12), (240, 100), (40, 30)
)
BOXES = [*LEFT, *RIGHT, *LORRY, *NOTHING, *PERSON, *SWAPPED]
# Below the threshold, in one frame: an object that a reviewer will draw.
CANDIDATES = moving("id-x", "person", range(3, 4), (566, 252), (20, 50))


def picture(n: int) -> bytes:
    """Draw a frame as JPEG: a block for each box."""
    image = Image.new("RGB", SIZE, (84, 84, 88))
    draw = ImageDraw.Draw(image)
    for frame, _, _, left, top, width, height, _ in BOXES:
        if frame == n:
            draw.rectangle((left, top, left + width, top + height), fill=(150, 120, 90), outline="black")
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return content.getvalue()


class Reviewer:
    """Points are in pixels of the image, which is shown whole."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.locator(".strip[data-ready]").wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        (x0, y0), (x1, y1) = self.on_screen(*start), self.on_screen(*end)
        mouse = self.page.mouse
        mouse.move(x0, y0)
        mouse.down()
        mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        mouse.move(x1, y1)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.on_screen(x, y))

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        left, top, width, height = self.page.evaluate(
            """() => { const window = document.querySelector(".portal-picture").getBoundingClientRect();
                       return [window.left, window.top, window.width, window.height]; }"""
        )
        scale = min(width / SIZE[0], height / SIZE[1])
        return left + (width - SIZE[0] * scale) / 2 + x * scale, top + (height - SIZE[1] * scale) / 2 + y * scale

    def go(self, frame: int) -> None:
        """Go to a frame, counted from 0."""
        self.press("Escape", "Home", *["ArrowRight"] * frame)
        assert self.frame == frame

    @property
    def frame(self) -> int:
        return int(self.page.locator(".portal-place").inner_text().split()[1]) - 1

    @property
    def track(self) -> str:
        return self.page.locator(".strip-track").inner_text().splitlines()[0]

    @property
    def hint(self) -> str:
        return self.page.locator(".portal-hint").inner_text()

    def send(self) -> dict[str, Any]:
        """Send the strip; return the posted answer after the page has moved on."""
        shown = self.page.url
        with self.page.expect_response(lambda response: response.request.method == "POST") as posted:
            self.press("Enter")
        self.page.wait_for_url(lambda url: url != shown)
        content: dict[str, Any] = posted.value.request.post_data_json["answerContent"]
        return content


@pytest.fixture
def reviewer(chromium: Browser, stand_in: StandIn, portal: Portal) -> Iterator[Reviewer]:
    """Open a job of two equal strips at the first one."""
    images = [picture(n) for n in range(FRAMES)]
    stand_in.objects.put("s3://labels/hint.json", json.dumps(seq_label(CANDIDATES, LABELS)).encode())
    lines = (sequence_line(1, LABELS, **{"candidates-ref": "s3://labels/hint.json"}), sequence_line(2, LABELS))
    told = json.loads(label_categories(LABELS, TRACKS, {"car": "#123456"}))["instructions"]
    apart(start_sequences, stand_in, *lines, boxes=BOXES, images=images, instructions=told)
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    made = Reviewer(context.new_page())
    made.open(f"{portal.url}jobs/Drive-1/")
    yield made
    context.close()
    assert made.errors == []


def written(stand_in: StandIn, number: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata and the SeqLabel of a line of the ended job."""
    line = output_lines(stand_in, apart(ended_job, stand_in))[number]
    return line["verified-ref-metadata"], json.loads(stand_in.objects.contents[line["verified-ref"]][0])


def boxes(label: dict[str, Any]) -> dict[str, dict[int, tuple[str, int, int, int, int]]]:
    """Return the boxes of a SeqLabel as name → frame → class, left, top, width, height."""
    found: dict[str, dict[int, tuple[str, int, int, int, int]]] = {}
    for frame in label["tracking-annotations"]:
        for box in frame["annotations"]:
            place = (LABELS[int(box["class-id"])], box["left"], box["top"], box["width"], box["height"])
            found.setdefault(box["object-name"], {})[int(frame["frame"][:4])] = place
    return found


def places(boxes: list[Place], label: str | None = None) -> dict[int, tuple[str, int, int, int, int]]:
    return {box[0]: (label or box[2], *box[3:7]) for box in boxes}


def test_an_untouched_strip_comes_back_unadjusted(reviewer: Reviewer, stand_in: StandIn) -> None:
    reviewer.send()
    reviewer.page.locator(".strip[data-ready]").wait_for()
    reviewer.send()
    reviewer.page.get_by_text("All done").or_(reviewer.page.get_by_text("This job has ended")).first.wait_for()
    metadata, label = written(stand_in)
    assert "adjustment-status" not in metadata
    assert boxes(label) == boxes(seq_label(BOXES, LABELS))


def test_every_kind_of_edit_reaches_the_sequence_label(reviewer: Reviewer, stand_in: StandIn) -> None:
    # The lorry gets its class as a whole, and the box on nothing goes.
    reviewer.click(480, 160)
    reviewer.press("2")
    reviewer.go(3)
    reviewer.click(325, 35)
    reviewer.press("Delete")
    # The lost car is one object: the page proposes the right one.
    reviewer.go(2)
    reviewer.click(75, 220)
    assert "Perhaps one object with car:b" in reviewer.page.locator(".strip-track").inner_text()
    reviewer.press("m")
    assert "Enter for car:b (frames 8 to 12)" in reviewer.hint
    reviewer.press("Enter")
    # The person's box is corrected once, down to the feet.
    reviewer.go(0)
    reviewer.click(310, 220)
    reviewer.drag((310, 240), (310, 260))
    # Two cars have one identity; the first is seen one frame longer.
    reviewer.go(6)
    reviewer.click(260, 115)
    reviewer.press("s")
    reviewer.go(5)
    reviewer.click(180, 115)
    reviewer.press("ArrowRight", "]")
    # An object that the models did not find.
    reviewer.go(1)
    reviewer.press("3")
    reviewer.drag((560, 250), (580, 300))
    reviewer.press(*["ArrowRight"] * 4)
    assert "frames between are filled" in reviewer.hint
    reviewer.drag((568, 254), (588, 304))
    assert "In 1 frame between, person:1 follows" in reviewer.hint
    reviewer.press("a")
    content = reviewer.send()
    efforts = json.loads(content["review"])["edits"]
    assert {kind: one["count"] for kind, one in efforts.items()} == {
        "rename": 1,
        "delete": 1,
        "merge": 1,
        "place": 1,
        "split": 1,
        "end": 1,
        "draw": 1,
        "reach": 1,
        "accept": 1,
    }
    reviewer.page.locator(".strip[data-ready]").wait_for()
    reviewer.send()
    metadata, label = written(stand_in)
    assert metadata["adjustment-status"] == "adjusted"
    assert metadata["class-map"] == {"0": "car", "1": "truck", "2": "person"}
    found = boxes(label)
    lefts = {1: 560, 2: 563, 3: 566, 4: 567, 5: 568}
    new = {n: ("person", left, 249 + n, 20, 50) for n, left in lefts.items()}
    assert found.pop("person:1") == new
    assert found.pop("truck:1") == places(LORRY, "truck")
    assert found.pop("car:a") == {n: ("car", 40 + 5 * n, 200, 60, 40) for n in range(12)}
    assert found.pop("person:e") == {n: (one[0], *one[1:4], 60) for n, one in places(PERSON).items()}
    assert found.pop("car:f") == {**places(SWAPPED[:6]), 6: ("car", 160, 100, 40, 30)}
    assert found.pop("car:1") == places(SWAPPED[6:])
    assert found == {}
    objects = {box["object-name"]: box["object-id"] for f in label["tracking-annotations"] for box in f["annotations"]}
    assert (objects["car:a"], objects["truck:1"], objects["person:e"]) == ("id-a", "id-c", "id-e")
    assert len(set(objects.values())) == 6


def test_a_reviewer_can_be_unsure_of_a_strip(reviewer: Reviewer) -> None:
    reviewer.press("u")
    reviewer.page.get_by_role("dialog", name="Unsure about this strip").wait_for()
    reviewer.page.keyboard.type("two cars?")
    review = json.loads(reviewer.send()["review"])
    assert (review["unsure"], review["comment"]) == (True, "two cars?")
    reviewer.page.locator(".strip[data-ready]").wait_for()
    reviewer.press("l")
    reviewer.page.get_by_role("dialog", name="Strips of this job").get_by_text("Unsure 1").wait_for()


def test_classes_have_the_colours_that_the_job_tells(reviewer: Reviewer) -> None:
    swatch = reviewer.page.locator("[data-class='0'] .strip-swatch")
    assert swatch.evaluate("(one) => getComputedStyle(one).backgroundColor") == "rgb(18, 52, 86)"


def test_undo_takes_back_every_edit_and_redo_makes_it_again(reviewer: Reviewer, stand_in: StandIn) -> None:
    edits = 4
    reviewer.click(480, 160)
    reviewer.press("2", "Alt+ArrowLeft", "k", "Delete")
    reviewer.press(*["Control+z"] * edits, *["Control+Shift+z"] * 2)
    content = reviewer.send()
    (lorry,) = (track for track in content["tracks"] if track["id"] == "id-c")
    assert (lorry["label"], lorry["boxes"][7][1]) == ("truck", 419)
    assert len(content["tracks"]) == 6


def test_a_reload_finds_the_work_where_it_was_left(reviewer: Reviewer) -> None:
    reviewer.go(4)
    reviewer.click(480, 160)
    with reviewer.page.expect_response("**/draft"):
        reviewer.press("2")
    reviewer.page.reload()
    reviewer.page.locator(".strip[data-ready]").wait_for()
    assert (reviewer.frame, reviewer.track) == (4, "truck:1")
    reviewer.press("Control+z")
    assert reviewer.track == "car:c"


def test_one_key_goes_from_one_uncertain_place_to_the_next(reviewer: Reviewer) -> None:
    seen = []
    for _ in range(4):
        reviewer.press("Tab")
        seen.append((reviewer.track, reviewer.frame))
    assert seen == [("car:a", 4), ("car:f", 5), ("truck:d", 5), ("car:c", 11)]
    reviewer.press("Shift+Tab")
    assert reviewer.track == "truck:d"


def test_an_accepted_track_is_left_out_of_the_walk(reviewer: Reviewer) -> None:
    reviewer.press("Tab", "a")
    assert reviewer.track == "car:f"
    assert "1 of 6 tracks accepted" in reviewer.page.locator(".strip-accepted").inner_text()
    reviewer.press("Shift+Tab")
    assert reviewer.track != "car:a"


def test_a_strip_plays_to_its_end_and_stops(reviewer: Reviewer) -> None:
    reviewer.press(">", ">", "Space")
    reviewer.page.get_by_text("Frame 12 of 12").wait_for()
    reviewer.page.get_by_role("button", name="Play").wait_for()


def test_a_click_in_a_lane_selects_its_track_and_goes_to_its_frame(reviewer: Reviewer) -> None:
    lanes = reviewer.page.locator(".strip-lanes").bounding_box()
    assert lanes
    # The third lane, at the middle of the sixth of twelve frames.
    left, width = lanes["x"] + 132, lanes["width"] - 142
    reviewer.page.mouse.click(left + width * 5.5 / 12, lanes["y"] + 22 + 2.5 * 22)
    assert (reviewer.track, reviewer.frame) == ("person:e", 5)


def test_the_next_strip_is_fetched_while_this_one_is_reviewed(reviewer: Reviewer) -> None:
    reviewer.page.wait_for_function("""() => performance.getEntriesByName("autolabel:ready").length""")
    fetched = reviewer.page.evaluate("""() => performance.getEntriesByType("resource").map(({ name }) => name)""")
    assert sum("/images/" in name for name in fetched) == 2 * FRAMES
    assert any(name.endswith("/tasks/1/sequence") for name in fetched)


def test_help_lists_the_keys(reviewer: Reviewer) -> None:
    reviewer.press("?")
    dialog = reviewer.page.get_by_role("dialog", name="Keys of the sequence page")
    dialog.get_by_text("split: from this frame on").wait_for()
    reviewer.press("Escape")
    dialog.wait_for(state="detached")
