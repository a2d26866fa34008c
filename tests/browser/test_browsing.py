"""The page of a dataset in a real Chromium: filters, order, keys, tracks."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from autolabel_cli.browsing.page import write_page
from autolabel_cli.drives.frame_copies import fetch_frames
from tests.datasets.drives import Labelled, Shelf, as_manifest, boxes_of, key_of
from tests.fakes.images import png

FRAMES = 40
TENTH = 100_000_000


def dataset(folder: Path) -> Path:
    """A car in every frame, and a bus in every fourth; a reviewer added the bus of frame 8."""
    shelf, lines = Shelf(), []
    for n in range(FRAMES):
        boxes = [Labelled("car", n % 20, 3, 20, 10), *([Labelled("bus", 30, 5, 30, 40)] if n % 4 == 0 else [])]
        line = shelf.frame(key_of(index=n * TENTH), boxes)
        shelf.ingest.write(key_of(index=n * TENTH).key, png(64, 48))
        line["provenance"]["etag"] = shelf.ingest.etag(key_of(index=n * TENTH).key)
        line["prelabel"], line["prelabel-metadata"] = boxes_of(boxes[:1] if n == 8 else boxes, 64, 48)
        line["doubt"] = {"level": n / FRAMES, "boxes": [n / FRAMES] * len(boxes), "why": [], "ghosts": []}
        line["tracks"] = ["a" * 12, "b" * 12][: len(boxes)]
        lines.append(line)
    path = folder / "dataset.manifest"
    path.write_bytes(as_manifest(lines))
    fetch_frames(folder, shelf.ingest, lambda _: None)
    return path


def shown(page: Page) -> str:
    return page.locator("#caption b").inner_text()


def test_frames_are_filtered_sorted_and_walked_through_by_keys(chromium: Browser, tmp_path: Path) -> None:
    with chromium.new_page() as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(write_page(dataset(tmp_path)).as_uri())
        expect(page.locator("#count")).to_have_text("40 of 40 frames")
        page.get_by_label("bus").check()
        expect(page.locator("#count")).to_have_text("10 of 40 frames")
        # The boxes of other classes are left out.
        assert page.locator("#picture rect").count() == 1
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert shown(page) == "3 of 10"
        assert "1 added" in page.locator("#caption").inner_text()
        page.get_by_label("Sort by").select_option("uncertainty")
        # The frame that is shown stays.
        assert shown(page) == "8 of 10"
        page.keyboard.press("Home")
        assert "uncertainty 0.90" in page.locator("#caption").inner_text()
        page.get_by_label("added").check()
        expect(page.locator("#count")).to_have_text("1 of 40 frames")
        page.get_by_role("button", name="Show all frames").click()
        page.get_by_label("Uncertainty from").fill("0.5")
        expect(page.locator("#count")).to_have_text("20 of 40 frames")
        page.keyboard.press("b")
        assert page.locator("#picture rect").count() == 0
        assert page.evaluate("document.querySelector('#cells img').naturalWidth") == 64
        assert errors == []


def test_a_crop_of_a_track_opens_its_frame(chromium: Browser, tmp_path: Path) -> None:
    with chromium.new_page() as page:
        page.goto(write_page(dataset(tmp_path)).as_uri())
        page.get_by_role("button", name="Tracks").click()
        first = page.locator(".track").first
        expect(first.locator("p")).to_contain_text("car aaaaaaaaaaaa · 40 frames, 3.9 s")
        first.locator("div button").last.click()
        assert shown(page) == "40 of 40"
        page.get_by_role("button", name="Figures").click()
        expect(page.locator("#figures p")).to_have_text("40 frames with 50 boxes")
