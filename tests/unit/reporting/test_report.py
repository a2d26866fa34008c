"""The report is one self-contained page with counts and pictures."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autolabel.labels.reviews import Effort
from autolabel.reporting.edits import ClassEdits
from autolabel.reporting.findings import WORST, Agreement, Group
from autolabel.reporting.label_errors import LabelIssue, PixelBox
from autolabel.reporting.pace import Pace, Seconds
from autolabel.reporting.pictures import (
    PICTURE_WIDTH,
    Album,
    Comparison,
    Outline,
    Pane,
    Picture,
    PictureBox,
    View,
    frames_of,
)
from autolabel.reporting.report import NAMED_ISSUES, PICTURES, Gallery, render_report
from autolabel.reporting.summary import FrameCounts, JobOutcome, Summary
from tests.fakes.bucket import FakeBucket, etag_of
from tests.fakes.images import png, saved
from tests.fakes.lines import parsed
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key
from tests.unit.datasets.test_assembly import PREFIX, labelled
from tests.unit.reporting.test_findings import line as findings_line

HOSTILE = """<script>alert(1)</script>"'&<img src=x onerror=alert(2)>{{ 7 * 7 }}"""


def summary(**changes: Any) -> Summary:
    fields: dict[str, Any] = {
        "drive": "d1",
        "run": "0001",
        "frames": FrameCounts(0, 0, 0, 0),
        "boxes": 0,
        "classes": {},
        "reasons": {},
        "dropped": {},
        "models": ("m.0001",),
        "taxonomy": "2026.1",
        "labels": ("car",),
        "notes": (),
    }
    return Summary(**{**fields, **changes})


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(1 for name, _ in self.elements if name == tag)


def assert_self_contained(html: str) -> None:
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert "src" not in attributes
        for name in ("href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "").startswith(("", "data:image/jpeg;base64,")), (tag, name)
            assert not re.match(r"\s*(https?:)?//", attributes.get(name, ""))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", html)
    assert not re.search(r"https?://(?!www\.w3\.org/)", html)


def test_an_issue_by_time_is_shown_in_three_frames() -> None:
    ingest = FakeBucket("ingest")
    lines = []
    for index in range(3):
        one = findings_line(index, [("car", 300)], [] if index == 1 else [("car", 300)])
        ingest.write(f"drives/d/front/{index:019}.png", png())
        one["provenance"]["etag"] = ingest.etag(f"drives/d/front/{index:019}.png")
        lines.append(parsed(one))
    album = Album(frames_of(ingest, FakeBucket("labels")), 3)
    issue = LabelIssue("missing between", 0.95, expected=PixelBox("car", 300, 0, 100, 100))
    shown = album.in_time(issue, *lines)
    assert [(pane.name, [outline.kind for outline in pane.outlines]) for pane in shown.panes] == [
        ("before", ["kept"]),
        ("here", ["issue"]),
        ("after", ["kept"]),
    ]
    assert len({pane.image for pane in shown.panes}) == 3
    agreement = Agreement(Group(), Group(), Group(), Pace("", 0, 0, 0, None, None, None), issues_by_time=1)
    html = render_report(
        summary(agreement=agreement, labelled_by={"person": 3}), [], {}, out_of_time=[shown], images=album.images
    )
    assert_self_contained(html)
    uses = [found["href"] for tag, found in Page(html).elements if tag == "use"]
    assert uses == [f"#{pane.image}" for pane in shown.panes]
    assert "missing between: car, 0.95" in Page(html).text
    assert len(album.in_time(issue, None, *lines[1:]).panes) == 2


def test_a_run_without_frames_has_a_report() -> None:
    html = render_report(summary(), [], {"Rejected": [], "Failed": []})
    assert_self_contained(html)
    page = Page(html)
    assert "No boxes." in page.text
    assert page.count("svg") == 0
    assert "waiting for verification" in page.text


def test_a_report_shows_counts_classes_and_jobs() -> None:
    outcome = JobOutcome(
        "d1-0001-000-1", "Completed", 1_232, verified=1_200, unadjusted=900, failed=32, rounds=2, unsure=1_017
    )
    html = render_report(
        summary(
            frames=FrameCounts(1_234, 1_200, 32, 2),
            boxes=98_765,
            classes={"car": 9, "person": 1},
            dropped={"on the ego vehicle": 17},
            verification=(outcome,),
            labelled_by={"model and person": 1_200},
            dataset="s3://labels/dataset.manifest",
            notes=("rain",),
        ),
        [],
        {"Rejected": [{"key": "k1", "reason": "rotated", "detail": "why"}], "Failed": []},
    )
    text = Page(html).text
    for shown in (
        "1,234",
        "98,765",
        "on the ego vehicle",
        "d1-0001-000-1",
        "rain",
        "k1",
        "rotated",
        "and 1 more",
        "in 2 rounds",
        "1,017",
    ):
        assert shown in text
    assert "waiting for verification" not in text


def test_the_first_line_says_who_labelled_the_frames() -> None:
    def subtitle(**changes: Any) -> str:
        text = Page(render_report(summary(dataset="s3://labels/dataset.manifest", **changes), [], {})).text
        return next(line for line in text.splitlines() if line.startswith(("labelled by", "verified", "no frame")))

    assert subtitle(labelled_by={"model and person": 2}) == "verified"
    assert subtitle(labelled_by={"script": 2}) == "labelled by a script, not verified by people"
    assert subtitle(labelled_by={"nobody": 2}) == "no frame was verified by a person"
    assert subtitle() == "no frame was verified by a person"


def test_a_scripts_answers_are_counted_also_where_earlier_labels_stand_in() -> None:
    outcome = JobOutcome("d1-0001-000-1", "Completed", 7, verified=0, unadjusted=0, failed=0, scripted=7)
    html = render_report(
        summary(verification=(outcome,), labelled_by={"model and person": 7}, dataset="s3://labels/dataset.manifest"),
        [],
        {},
    )
    assert "labelled by a script" in Page(html).text
    assert "A script answered for" not in Page(html).text


def test_hostile_text_is_escaped() -> None:
    box = PictureBox(HOSTILE, "#000000", 0.5, 1, 2, 3, 4)
    picture = Picture(HOSTILE, 64, 48, "", (box,), (HOSTILE,), False)
    issue = {"key": "k", "reason": "r", "detail": "d", "source": HOSTILE}
    other = {"key": HOSTILE, "reason": HOSTILE, "detail": HOSTILE}
    outline = Outline("added", HOSTILE, 1, 2, 3, 4)
    view = View(0, 0, 64, 48)
    comparison = Comparison(HOSTILE, 64, 48, "", (Pane("verified", view, (outline,)),), (HOSTILE,))
    changes_of_reviewers = Agreement(
        shown=Group(1, 0, 2, 1, {HOSTILE: ClassEdits(kept=1, relabelled=1)}, {HOSTILE: {HOSTILE: 1}}),
        blind=Group(),
        drawn=Group(),
        pace=Pace(frames=1),
        workers=(Pace(worker=HOSTILE, frames=1),),
        efforts={HOSTILE: Effort(1, 1.0)},
    )
    clean = Page(render_report(summary(), [Picture("t", 64, 48, "", (box,), (), False)], {}))
    html = render_report(
        summary(
            agreement=changes_of_reviewers,
            drive=HOSTILE,
            models=(HOSTILE,),
            notes=(HOSTILE,),
            classes={HOSTILE: 1},
            dropped={HOSTILE: 1},
            verification=(JobOutcome(HOSTILE, HOSTILE, 1),),
        ),
        [picture],
        {"Rejected": [issue, other], "Failed": [issue]},
        worst=[comparison],
        contradicted=[comparison],
    )
    page = Page(html)
    assert page.count("script") == clean.count("script") == 2
    assert page.count("img") == 0
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert "{{ 7 * 7 }}" in page.text
    assert HOSTILE in page.text


@given(st.text(max_size=60))
def test_a_name_never_adds_an_element_to_the_page(name: str) -> None:
    issue = {"key": name, "reason": name, "detail": name}
    plain = {"key": "x", "reason": "x", "detail": "x"}
    page = Page(render_report(summary(drive=name, notes=(name,)), [], {"Failed": [issue], "Rejected": []}))
    same = Page(render_report(summary(drive="x", notes=("x",)), [], {"Failed": [plain], "Rejected": []}))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in same.elements]


def changes_of_reviewers(**changes: Any) -> Agreement:
    """The changes of reviewers who kept one car and deleted another."""
    fields: dict[str, Any] = {
        "shown": Group(2, 1, 2, 1, {"car": ClassEdits(kept=1, deleted=1)}),
        "blind": Group(),
        "drawn": Group(),
        "pace": Pace(frames=2, untouched=1, changes=1),
    }
    return Agreement(**{**fields, **changes})


def test_a_report_shows_the_reviewers_changes() -> None:
    pace = Pace("0a1b2c3d", 2, 1, 1, Seconds(2, 1.5, 3.5, 5.0), hasty=1, keys_per_change=4.5)
    html = render_report(
        summary(
            agreement=changes_of_reviewers(
                blind=Group(7, classes={"person": ClassEdits(added=12_345)}),
                pace=pace,
                workers=(pace,),
                searched=9,
                issues=3,
            )
        ),
        [],
        {},
    )
    assert_self_contained(html)
    text = " ".join(Page(html).text.split())
    for said in (
        "Reviewers kept 1 of 2 boxes (50 %) and left 1 of 2 frames untouched.",
        "which was compared with their label afterwards): 7 frames",
        "12,345",
        "Median 1.5 s; the slowest tenth of the frames took 3.5 s or more.",
        "Submitted untouched in less than 2 s: 1 of 2 frames.",
        "0a1b2c3d",
    ):
        assert said in text


def test_values_that_the_back_end_does_not_report_are_unknown() -> None:
    worker = Pace("0a1b2c3d", 2, 1, 1)
    text = Page(render_report(summary(agreement=changes_of_reviewers(workers=(worker,))), [], {})).text
    assert "Seconds are unknown" in text
    assert "unknown" in text.split("0a1b2c3d")[1]


def test_a_report_says_that_no_prelabel_was_shown() -> None:
    drawn = changes_of_reviewers(shown=Group(), drawn=Group(3, classes={"car": ClassEdits(added=4)}), pace=Pace())
    text = Page(render_report(summary(agreement=drawn), [], {})).text
    assert "Reviewers saw no pre-label in this run" in text
    assert "because the models failed: 3 frames" in text


def test_boxes_are_drawn_in_the_pixels_of_the_frame() -> None:
    box = PictureBox("car", "#2f7ed8", 0.876, 10, 20, 300, 40.5)
    html = render_report(summary(classes={"car": 1}), [Picture("front 1", 1280, 720, "", (box,), (), True)], {})
    page = Page(html)
    (svg,) = (attributes for tag, attributes in page.elements if tag == "svg")
    assert svg["viewbox"] == "0 0 1280 720"
    (frame,) = (a for tag, a in page.elements if tag == "rect" and a.get("class") == "frame")
    assert [float(frame[name]) for name in ("x", "y", "width", "height")] == [10, 20, 300, 40.5]
    assert frame["stroke"] == "#2f7ed8"
    assert "car 0.88" in page.text


def test_pictures_are_small_jpegs_in_the_page(pipeline: Pipeline) -> None:
    for index in range(3):
        pipeline.submit(pipeline.upload(frame_key(20 + index), png(1920, 1080)))
    labelled(pipeline, 2).assemble()
    html = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert_self_contained(html)
    shown = [a["href"] for tag, a in Page(html).elements if tag == "image"]
    assert len(shown) == 5
    for href in shown:
        body = base64.b64decode(href.removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(body)) as image:
            assert image.format == "JPEG"
            assert image.width <= PICTURE_WIDTH
    assert pipeline.labels.content_types[PREFIX + "report.html"].startswith("text/html")


def test_a_page_full_of_pictures_that_compress_badly_stays_small() -> None:
    ingest, most = FakeBucket("ingest"), PICTURES + 2 * WORST
    body = saved(Image.effect_noise((1_280, 720), 120).convert("RGB"), "PNG", compress_level=1)
    ingest.write(frame_key(0), body)
    line = {
        "source-ref": f"s3://ingest/{frame_key(0)}",
        "prelabel": {"image_size": [{"width": 1_280, "height": 720, "depth": 3}], "annotations": []},
        "prelabel-metadata": {"objects": [], "class-map": {}},
        "provenance": {"camera": "front", "timestamp": "0", "etag": etag_of(body), "labelled-by": "model"},
    }
    # The pictures of a page share its room equally.
    album = Album(frames_of(ingest, FakeBucket("labels")), most)
    album.picture(parsed(line))
    (picture,) = album.images.values()
    assert len(picture) * most < 3_000_000


def test_an_unreadable_frame_is_shown_without_its_picture(pipeline: Pipeline) -> None:
    labelled(pipeline, 3)
    pipeline.ingest.write(frame_key(1), b"no image any more")
    del pipeline.ingest.objects[frame_key(2)]
    pipeline.assemble()
    page = Page(pipeline.labels.objects[PREFIX + "report.html"].decode())
    assert page.count("figure") == 3
    assert page.count("image") == page.count("use") == 1


def test_the_first_rejected_frames_are_named_the_rest_counted(pipeline: Pipeline) -> None:
    for index in range(NAMED_ISSUES + 7):
        pipeline.upload(frame_key(100 + index), b"")
    labelled(pipeline, 1).assemble()
    page = Page(pipeline.labels.objects[PREFIX + "report.html"].decode())
    assert page.text.count("empty-object") == NAMED_ISSUES
    assert "and 7 more" in page.text


def test_notes_of_the_drive_document_are_escaped(pipeline: Pipeline) -> None:
    labelled(pipeline, 1, document=drive_document(notes=[HOSTILE])).assemble()
    html = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert HOSTILE not in html
    assert HOSTILE in Page(html).text
    assert DRIVE in html


# The gallery


def test_no_frames_make_an_empty_gallery() -> None:
    gallery = Gallery(0)
    gallery.take([])
    assert gallery.lines == []


@pytest.mark.parametrize("frames", [1, 2, 23, 24, 25, 100, 9_999])
def test_pictures_are_spread_evenly_over_all_frames(frames: int) -> None:
    gallery = Gallery(frames)
    for index in range(frames):
        gallery.take([json.dumps(index).encode()])
    shown = [json.loads(line) for line in gallery.lines]
    assert len(shown) == min(frames, PICTURES)
    assert shown[0] == 0
    assert shown[-1] == frames - 1
    gaps = [b - a for a, b in pairwise(shown)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("piece", [1, 7, 500])
def test_skipping_lines_does_not_change_the_chosen_ones(piece: int) -> None:
    lines = [json.dumps(index).encode() for index in range(1_000)]
    whole, skipping = Gallery(len(lines)), Gallery(len(lines))
    whole.take(lines)
    read = 0
    for first in range(0, len(lines), piece):
        part = lines[first : first + piece]
        if not skipping.skip(len(part)):
            skipping.take(part)
            read += len(part)
    assert skipping.lines == whole.lines
    assert read <= PICTURES * piece
