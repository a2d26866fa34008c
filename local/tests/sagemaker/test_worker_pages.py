"""Worker templates rendered with arbitrary values of a manifest."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.taxonomy import current_taxonomy
from autolabel.verification.jobs import worker_template
from local.sagemaker.ground_truth.image_tickets import IMAGES, ImageTickets
from local.sagemaker.ground_truth.labeling_requests import Kind
from local.sagemaker.ground_truth.worker_pages import WorkerPage
from local.sagemaker.ground_truth.worker_templates import BadTemplate, read_template
from local.sagemaker.names import S3Uri

PAGE = WorkerPage(
    """<crowd-form><crowd-bounding-box src="{{ task.input.taskObject | grant_read_access }}"
  header="{{ task.input.header }}" labels="{{ task.input.labels | to_json | escape }}"
  initial-value="{{ task.input.manifestLine | to_json }}"><p>{{ task.input.manifestLine.remark }}</p>
  </crowd-bounding-box></crowd-form>""",
    lambda uri: f"/images/{uri}",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class _Reader(HTMLParser):
    """Reads a page as a browser does: elements with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.lists(st.text()), st.text(), st.dictionaries(st.text(), JSON), st.text())
def test_values_reach_the_browser_unchanged_and_as_text(
    labels: list[str], header: str, line: dict[str, Any], remark: str
) -> None:
    line = {**line, "source-ref": header, "remark": remark}
    page = _Reader(PAGE.render(line, labels, header))
    assert [tag for tag, _ in page.elements] == ["crowd-form", "crowd-bounding-box", "p"]
    attributes = page.elements[1][1]
    assert attributes["header"] == header
    assert attributes["src"] == (f"/images/{header}" if header else "")
    assert json.loads(attributes["labels"] or "") == labels
    assert json.loads(attributes["initial-value"] or "") == line
    assert page.text.strip() == remark.strip()


@pytest.mark.parametrize(
    ("expression", "rendered"),
    [
        ("task.input.nothing.at.all", ""),
        ("task.input.nothing | to_json", "null"),
        ("task.input.nothing | grant_read_access", ""),
        ("task.input.manifestLine.a-b | to_json", "1"),
        ("'a' | to_json", "&#34;a&#34;"),
        ("'a' | to_json | escape", "&#34;a&#34;"),
        ("'<' | escape", "&lt;"),
        ("'<' | escape_once", "&lt;"),
        ("'<' | skip_autoescape", "<"),
        ("'s3://b/k' | s3_presign", "/s3://b/k"),
    ],
)
def test_expressions_render_as_in_ground_truth(expression: str, rendered: str) -> None:
    page = WorkerPage(f"{{{{ {expression} }}}}", lambda uri: f"/{uri}")
    assert page.render({"a-b": 1}, [], "") == rendered


def test_the_products_template_renders_with_and_without_a_prelabel() -> None:
    labels = ["car", "person"]
    text = worker_template(current_taxonomy().colors, labels).decode()
    template = read_template(text, "adjustment")
    assert (template.prelabel, template.images) == ("prelabel", {"review-ref"})
    page = WorkerPage(text, lambda uri: f"/{uri}")
    boxes = {"annotations": [{"class_id": 1, "left": 1, "top": 2, "width": 3, "height": 4}]}
    line = {"review-ref": "s3://b/k.png", "prelabel": boxes, "prelabel-metadata": {"class-map": {"1": "person"}}}
    shown = [
        attributes
        for document in (line, {"review-ref": "s3://b/k.png"})
        for tag, attributes in _Reader(page.render(document, labels, "")).elements
        if tag == "crowd-bounding-box"
    ]
    assert [attributes["initial-value"] for attributes in shown] == [
        '[{label: "person", left: 1, top: 2, width: 3, height: 4},]',
        "[]",
    ]


@pytest.mark.parametrize("kind", ["adjustment", "verification"])
def test_a_template_that_shows_two_labels_is_refused(kind: Kind) -> None:
    element = "crowd-bounding-box" if kind == "adjustment" else "crowd-image-classifier"
    shown = "".join(f"{{{{ task.input.manifestLine.{name}.annotations }}}}" for name in ("first", "second"))
    text = f"<crowd-form><{element} src='{{{{ task.input.taskObject }}}}'>{shown}</{element}></crowd-form>"
    with pytest.raises(BadTemplate, match="first, second"):
        read_template(text, kind)


@given(st.text(), st.text(min_size=1))
def test_a_ticket_grants_exactly_its_image(job: str, key: str) -> None:
    tickets = ImageTickets()
    path = tickets.grant(job, f"s3://bucket/{key}")
    assert tickets.redeem(path.removeprefix(IMAGES)) == (job, S3Uri("bucket", key))


@given(st.text() | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_forged_ticket_is_refused(ticket: str) -> None:
    assert ImageTickets().redeem(ticket) is None


def test_another_portals_ticket_is_refused() -> None:
    path = ImageTickets().grant("job", "s3://bucket/key")
    assert ImageTickets().redeem(path.removeprefix(IMAGES)) is None
