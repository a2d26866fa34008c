"""A drive through the embedded cloud whose frames a person verifies in a real Chromium, up to its dataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.stack import Stack
from local import PEOPLE, CloudSettings, EmbeddedCloud
from local.tests.browser.annotator import Annotator
from local.tests.browser.conftest import LABELS, apart
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack

pytestmark = pytest.mark.cloud

# What the model sees in every frame of 640 x 360 pixels, as left, top, width, height: all except the last are certain.
SEEN = {
    "car": (64, 72, 128, 108),
    "person": (320, 90, 64, 180),
    "bus": (448, 36, 128, 144),
    "bicycle": (64, 216, 128, 108),
}
MODEL = (
    "env",
    "STUB_BOXES="
    + json.dumps(
        [
            [name, 0.9 - place / 10, left / 640, top / 360, (left + width) / 640, (top + height) / 360]
            for place, (name, (left, top, width, height)) in enumerate(SEEN.items())
        ]
    ),
    *(sys.executable, "-m", "models.servers.stub", "--port", "{port}"),
)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder: Path = tmp_path_factory.mktemp("cloud")
    settings = CloudSettings(images={"stub": MODEL}, annotator=PEOPLE, enforce_iam=True)
    with EmbeddedCloud(folder, settings=settings) as cloud:
        deploy_stack(cloud, folder, {})
        stack = Stack.find(STACK, cloud.client)
        model = read_document(PROJECT / "models" / "yolox-nano.json", endpoint="stub")
        deploy_endpoint(cloud, stack.outputs, endpoint="stub", image="stub", parameters={"MinInstances": "1"})
        add_model(stack, msgspec.structs.replace(model, name="stub"))
        pipeline = Pipeline(cloud, stack, "")
        yield pipeline
        assert pipeline.refusals() == []


def job_of(pipeline: Pipeline, before: str = "") -> str | None:
    """The job that waits for people, if it is not the one before, which may be about to end."""
    jobs = pipeline.cloud.client("sagemaker").list_labeling_jobs()["LabelingJobSummaryList"]
    waiting = (job["LabelingJobName"] for job in jobs if job["LabelingJobStatus"] == "InProgress")
    return next((name for name in waiting if name != before), None)


def labels(line: dict[str, Any], attribute: str = "verified") -> list[tuple[str, int, int, int, int]]:
    names = line[f"{attribute}-metadata"]["class-map"]
    return [
        (names[str(box["class_id"])], *(box[side] for side in ("left", "top", "width", "height")))
        for box in line[attribute]["annotations"]
    ]


def test_what_a_person_does_at_the_portal_is_what_the_dataset_holds(pipeline: Pipeline, chromium: Browser) -> None:
    times = timestamps(3)
    apart(pipeline.upload, "reviewed", {f"front/{time}.png": image() for time in times})
    job = apart(eventually, lambda: job_of(pipeline), "the labelling job")
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    page = context.new_page()
    annotator = Annotator(page, f"{pipeline.cloud.portal_url}jobs/{job}/")
    # The first frame: one box is moved, one deleted, one given another class, and one is added.
    annotator.open(0)
    annotator.click(128, 126)
    annotator.press("Shift+ArrowRight", "ArrowDown")
    annotator.click(352, 180)
    annotator.press("Delete")
    annotator.click(512, 108)
    annotator.press(str(LABELS.index("truck") + 1))
    annotator.press("Escape")
    annotator.drag((220, 20), (260, 60))
    annotator.press(str(LABELS.index("traffic light") + 1))
    annotator.send()
    # The second one is right, which costs one key; the reviewer is unsure of the third.
    annotator.send()
    annotator.send("u", "Enter")
    # And so it comes again, and is right.
    again = apart(eventually, lambda: job_of(pipeline, job), "the second round")
    assert again.startswith(f"{job.removesuffix('-1')}-again")
    url = f"{pipeline.cloud.portal_url}jobs/{again}/"
    page.goto(url)
    page.get_by_text("another person gives them the second one").wait_for()
    page.get_by_role("button", name="Let one person give both looks").click()
    page.wait_for_url("**/tasks/0")
    second = Annotator(page, url)
    second.open(0)
    second.send()
    context.close()
    summary = apart(pipeline.succeed, "reviewed")
    first, kept, looked_at_twice = pipeline.lines("reviewed", "dataset.manifest")
    seen = [(name, *place) for name, place in SEEN.items()]
    assert sorted(labels(first)) == sorted(
        [
            ("car", 74, 73, 128, 108),
            ("truck", *SEEN["bus"]),
            ("bicycle", *SEEN["bicycle"]),
            ("traffic light", 220, 20, 40, 40),
        ]
    )
    assert first["verified-metadata"]["adjustment-status"] == "adjusted"
    assert labels(first, "prelabel") == labels(kept) == labels(looked_at_twice) == seen
    assert kept["verified-metadata"]["adjustment-status"] == "unadjusted"
    assert [line["provenance"]["job"] for line in (first, kept, looked_at_twice)] == [job, job, again]
    assert kept["review"]["keys"] == 1
    assert {kind: effort["count"] for kind, effort in first["review"]["edits"].items()} == {
        "move": 1,
        "delete": 1,
        "relabel": 2,
        "add": 1,
    }
    told = summary["agreement"]["shown"]["classes"]["person"]
    assert {kind: count for kind, count in told.items() if count} == {"kept": 2, "deleted": 1}
