"""The worker page: it uses Ground Truth's elements and describes each class that the job offers."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from liquid import Environment

from autolabel.contracts.verification import BOXES, SEGMENTS, Task
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.verification.jobs import worker_template

COLORS = current_taxonomy().colors
GUIDELINE = Path(__file__).parents[3] / "docs" / "reviewers" / "guideline.md"
# Developer guide, crowd-bounding-box and crowd-form.
DOCUMENTED = {"header", "initial-value", "labels", "name", "src"}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.setdefault(tag, []).append(dict(attrs))


def rendered(labels: tuple[str, ...], line: dict[str, Any], task: Task = BOXES) -> Elements:
    environment = Environment(autoescape=True)
    environment.filters |= {"grant_read_access": lambda uri: f"https://granted/{uri}", "to_json": json.dumps}
    template = environment.from_string(worker_template(COLORS, labels, task).decode())
    return Elements(template.render(task={"input": {"labels": list(labels), "manifestLine": line}}))


LINE = {
    "review-ref": "s3://b/f.png",
    "prelabel": {"annotations": [{"class_id": 1, "left": 3, "top": 4, "width": 5, "height": 6}]},
    "prelabel-metadata": {"class-map": {"1": "traffic light"}},
    "doubt": {"level": 0.5, "boxes": [0.5], "why": ["""</data><script>"'"""], "ghosts": []},
}


def test_a_page_has_only_attributes_that_ground_truth_documents() -> None:
    found = rendered(("car", "traffic light"), LINE).found
    assert set(found["crowd-bounding-box"][0]) == DOCUMENTED
    assert found["crowd-form"] == [{}]
    assert {tag for tag in found if "-" in tag} == {
        "crowd-form", "crowd-bounding-box", "full-instructions", "short-instructions",
    }  # fmt: skip
    assert found["crowd-bounding-box"][0]["src"] == "https://granted/s3://b/f.png"
    assert found["input"] == [{"type": "hidden", "name": "review", "value": "{}"}]


# An initial value is an object of JavaScript with unquoted names, as in AWS's example.
SEGMENTED = {
    "review-ref": "s3://b/f.png",
    "autolabel-segmentation-ref": "s3://l/f.png?a=1&b=2",
    "autolabel-segmentation-ref-metadata": {
        "internal-color-map": {
            "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
            "1": {"class-name": "car", "hex-color": "#ff7f0e", "confidence": 0.9},
            "2": {"class-name": "traffic light", "hex-color": "#2ca02c", "confidence": 0.0},
        }
    },
}


def test_the_page_of_segments_starts_with_the_models_picture() -> None:
    found = rendered(("car", "traffic light"), SEGMENTED, SEGMENTS).found
    (element,) = found["crowd-semantic-segmentation"]
    # Developer guide, crowd-semantic-segmentation.
    assert set(element) == DOCUMENTED
    assert found["crowd-form"] == [{}]
    assert element["src"] == "https://granted/s3://b/f.png"
    value = re.sub(r",\s*}", "}", (element["initial-value"] or "").replace("'", '"'))
    assert json.loads(value) == {
        "src": "https://granted/s3://l/f.png?a=1&b=2",
        "labelMappings": {"car": {"color": "#ff7f0e"}, "traffic light": {"color": "#2ca02c"}},
    }


def test_a_frame_without_segments_opens_empty() -> None:
    (element,) = rendered(("car",), {"review-ref": "s3://b/f.png"}, SEGMENTS).found["crowd-semantic-segmentation"]
    assert set(element) == DOCUMENTED - {"initial-value"}


def test_a_page_hands_over_uncertainty_and_colours_unchanged() -> None:
    handed = {data["data-portal"]: data["value"] for data in rendered(("car", "traffic light"), LINE).found["data"]}
    assert json.loads(handed["doubt"] or "") == LINE["doubt"]
    assert json.loads(handed["colors"] or "") == {name: COLORS[name] for name in ("car", "traffic light")}


@pytest.mark.parametrize("task", [BOXES, SEGMENTS])
@pytest.mark.parametrize("labels", [("car",), ("car", "bus", "ignore"), current_taxonomy().names])
def test_the_instructions_describe_classes_as_the_guideline_does(labels: tuple[str, ...], task: Task) -> None:
    said = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", GUIDELINE.read_text("utf-8"), re.MULTILINE))
    environment = Environment(autoescape=True)
    environment.filters |= {"grant_read_access": str, "to_json": json.dumps}
    page = environment.from_string(worker_template(COLORS, labels, task).decode())
    text = page.render(task={"input": {"labels": list(labels), "manifestLine": LINE}})
    rows = {name: html.unescape(what) for name, what in re.findall(r"<tr><th>(.+?)</th><td>(.+?)</td></tr>", text)}
    assert rows == {name: said[name] for name in labels}
