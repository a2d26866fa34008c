"""Labels from reviewers' browsers, and the report's page with text from outside."""

from __future__ import annotations

from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import MAX_LINE
from autolabel.streams.json_depth import MAX_DEPTH
from autolabel.verification.jobs import VerificationJob
from autolabel.verification.rules import MAX_FAILURE
from tests.fakes.answers import answer
from tests.fakes.images import png
from tests.fakes.lines import boxes_of
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key, verified
from tests.fuzz.mutations import HOSTILE_TEXT, fuzz, fuzz_slow, outside

PREFIX = f"labels/{DRIVE}/0001/"
WIDTH, HEIGHT = 64, 48


def assembled(*notes: str) -> tuple[Pipeline, VerificationJob]:
    """A drive of two frames, and the job of verifying them."""
    pipeline = Pipeline()
    for index in range(2):
        pipeline.submit(pipeline.upload(frame_key(index), png(WIDTH, HEIGHT)))
        pipeline.collect(pipeline.endpoints.answer(pipeline.endpoints.taken[index], answer()))
    pipeline.close(drive_document(notes=list(notes)))
    pipeline.reconcile()
    pipeline.plan()
    pipeline.label()
    (job,) = pipeline.assemble().jobs
    return pipeline, job


PIPELINE, JOB = assembled()
REVIEW = {
    "worker": "w1",
    "seconds": 1.5,
    "keys": 4,
    "edits": {"move": {"count": 1, "seconds": 0.5}, "accept": {"count": 2}},
    "boxes": [{"occluded": True}],
}
LINES = [
    msgspec.json.encode(verified(msgspec.json.decode(line)) | {"review": REVIEW})
    for line in PIPELINE.labels.lines(PIPELINE.key_of(JOB.manifest))
]


class Page(HTMLParser):
    """The names of a page's elements and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}


TEMPLATE = Page(
    "".join(
        files("autolabel.reporting").joinpath(f"{name}.html.jinja").read_text("utf-8")
        for name in ("report", "agreement", "figures")
    )
)


def published(*output: bytes) -> list[dict[str, Any]]:
    """Publish what the job left, the same lines in both rounds; returns the dataset."""
    left = b"\n".join(output).split(b"\n")
    publication = PIPELINE.publish([PIPELINE.finish(JOB, lambda lines: left, lambda lines: left)])
    dataset = [msgspec.json.decode(line) for line in PIPELINE.labels.lines(PREFIX + "dataset.manifest")]
    assert [line["source-ref"] for line in dataset] == [f"s3://ingest/{frame_key(i)}" for i in range(2)]
    assert publication.verified == sum("verified" in line for line in dataset)
    return dataset


@fuzz_slow
@given(outside(LINES), outside(LINES))
def test_any_job_output_publishes_every_frame_once_with_valid_boxes(one: bytes, other: bytes) -> None:
    for line in published(one, other):
        for box in boxes_of(line, "verified" if "verified" in line else "prelabel"):
            assert -1 <= box.left <= box.left + box.width <= WIDTH + 1
            assert -1 <= box.top <= box.top + box.height <= HEIGHT + 1
    assert_inert_page(PIPELINE.labels.objects[PREFIX + "report.html"])


def assert_inert_page(html: bytes) -> None:
    """Check that a report has no element, script or event handler that its template does not have."""
    page = Page(html.decode())
    assert set(page.elements) <= set(TEMPLATE.elements)
    assert page.elements.count("script") <= TEMPLATE.elements.count("script")
    assert not any(name.startswith("on") for name in page.attributes)


def changed(**box: Any) -> bytes:
    """The first frame's line with other values in its first box."""
    line = verified(msgspec.json.decode(LINES[0]))
    line["verified"]["annotations"][0] |= box
    return msgspec.json.encode(line)


@pytest.mark.parametrize(
    "box",
    [{"left": -2}, {"top": 1e308}, {"width": -5}, {"width": 1e6}, {"height": 49}, {"left": 10**30}],
    ids=str,
)
def test_a_box_outside_the_frame_is_not_a_label(box: dict[str, float]) -> None:
    first, second = published(changed(**box), LINES[1])
    assert "verified" not in first
    assert first["provenance"]["verification"] == f"box 1 (car) is not inside the frame of {WIDTH} x {HEIGHT}"
    assert "verified" in second


def test_a_box_at_the_edge_is_a_label() -> None:
    first, _ = published(changed(left=0, top=0, width=WIDTH, height=HEIGHT), LINES[1])
    assert first["verified"]["annotations"][0]["width"] == WIDTH


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 985])
def test_a_label_that_is_nested_too_deeply_is_dropped(depth: int) -> None:
    bomb = LINES[0].replace(b'"verified":{', b'"verified":{"more":' + b"[" * depth + b"]" * depth + b",")
    first, second = published(bomb, LINES[1])
    assert "verified" not in first
    assert "verified" in second


def test_a_line_that_is_too_long_is_dropped() -> None:
    first, second = published(changed(more="x" * 5 * MAX_LINE), LINES[1])
    assert "verified" not in first
    assert "verified" in second


@pytest.mark.parametrize("text", HOSTILE_TEXT, ids=lambda text: ascii(text)[:20])
def test_hostile_text_of_a_drive_stays_text_in_its_report(text: str) -> None:
    pipeline, _ = assembled(text)
    assert_inert_page(pipeline.labels.objects[PREFIX + "report.html"])


HOSTILE = st.sampled_from(HOSTILE_TEXT) | st.text(st.sampled_from("<>\"'&/= {}%on-!x"), max_size=40)


@fuzz_slow
@given(HOSTILE, HOSTILE)
def test_class_names_and_failures_stay_text_in_the_report(name: str, reason: str) -> None:
    line = verified(msgspec.json.decode(LINES[0]))
    line["verified-metadata"]["class-map"] = dict.fromkeys(line["verified-metadata"]["class-map"], name)
    published(msgspec.json.encode(line), msgspec.json.encode({**line, "provenance": {"failures": [reason]}}))
    assert_inert_page(PIPELINE.labels.objects[PREFIX + "report.html"])


@fuzz_slow
@given(HOSTILE | outside([b"5", b'{"why": ["too dark"]}', b"[[[]]]"]).map(lambda body: body.decode(errors="replace")))
def test_any_failure_reason_is_told_in_one_short_line(reason: str) -> None:
    lines = [msgspec.json.decode(body) | {"verified-metadata": {"failure-reason": reason}} for body in LINES]
    for line in lines:
        del line["verified"]
    as_text, as_json = map(msgspec.json.encode, lines)
    # In the second line, the text is JSON in the place of the reason.
    as_json = as_json.replace(msgspec.json.encode(reason), reason.encode())
    for line in published(as_text, as_json):
        told = line["provenance"]["verification"]
        assert 0 < len(told) <= MAX_FAILURE
        assert told.isprintable()
    assert_inert_page(PIPELINE.labels.objects[PREFIX + "report.html"])


@fuzz
@given(HOSTILE)
def test_a_bad_key_is_shown_as_text(name: str) -> None:
    pipeline = Pipeline()
    pipeline.upload(f"drives/{DRIVE}/front/{name}", b"x")
    pipeline.close(drive_document())
    pipeline.reconcile()
    pipeline.plan()
    assembly = pipeline.assemble()
    assert (assembly.frames.uploaded, assembly.frames.rejected) == (1, 1)
    assert_inert_page(pipeline.labels.objects[PREFIX + "report.html"])
