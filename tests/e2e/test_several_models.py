"""Two models label a drive, and one fails on some frames."""

from __future__ import annotations

import json

import msgspec
import pytest

from autolabel_cli.models.catalogue import add_model, read_document
from tests.e2e.conftest import STEADY_IMAGE
from tests.e2e.pipeline import Pipeline, image, timestamps
from tools.demo.deployment import PROJECT, deploy_endpoint

pytestmark = pytest.mark.cloud


@pytest.fixture(scope="module")
def steady(pipeline: Pipeline) -> str:
    """Deploy a second model for drives that name it; returns its name."""
    model = read_document(PROJECT / "models" / "yolox-nano.json", endpoint="steady")
    awake = {"MinInstances": "1"}
    deploy_endpoint(
        pipeline.cloud, pipeline.stack.outputs, endpoint=model.endpoint, image=STEADY_IMAGE, parameters=awake
    )
    add_model(pipeline.stack, msgspec.structs.replace(model, name="steady"), active=False)
    return "steady"


def test_a_model_that_fails_on_a_frame_does_not_stop_the_other(pipeline: Pipeline, steady: str) -> None:
    well, failing, unreadable = (f"front/{time}.png" for time in timestamps(3))
    frames = {well: image(640), failing: image(643), unreadable: image(641)}
    pipeline.upload("two", frames, models=["choosy", steady])
    summary = pipeline.succeed("two")
    assert summary["models"] == ["choosy.0001", "steady.0001"]
    assert summary["frames"] == {"uploaded": 3, "labelled": 3, "failed": 0, "rejected": 0}
    lines = {line["source-ref"].split("/two/")[1]: line for line in pipeline.lines("two", "dataset.manifest")}
    failures = {name: line["provenance"].get("failures") for name, line in lines.items()}
    assert failures[well] is None
    assert "inference-failed" in str(failures[failing])
    assert "answer-unreadable" in str(failures[unreadable])
    for name, line in lines.items():
        width = line["prelabel"]["image_size"][0]["width"]
        car = line["prelabel"]["annotations"][0]
        # The frames differ in width by a pixel or more, and the sides of a track are smoothed over its frames.
        assert abs(car["left"] - 0.1 * width) <= 1.5, name
        assert abs(car["width"] - 0.4 * width) <= 1.5, name
        assert line["provenance"]["models"] == ["choosy.0001", "steady.0001"]
        assert line["provenance"]["labelled-by"] == "model and person"
    # Where both models answered, both found the car and only one found the person.
    shard = pipeline.read("two", "shards/000000.detections.jsonl").splitlines()
    seen = {row["key"].split("/two/")[1]: row["detections"]["items"] for row in map(json.loads, shard)}
    assert {(d["name"], tuple(d["models"])) for d in seen[well]} == {
        ("car", ("choosy.0001", "steady.0001")),
        ("person", ("choosy.0001",)),
    }
    assert {(d["name"], tuple(d["models"])) for d in seen[failing]} == {("car", ("steady.0001",))}
