"""A drive whose reviewers correct segments of a model with masks."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
from PIL import Image

from autolabel.models.decoders import DecoderOptions
from autolabel_cli.models.catalogue import add_model, read_document
from tests.e2e.conftest import SEGMENTING_IMAGE
from tests.e2e.pipeline import Pipeline, image, timestamps
from tools.demo.deployment import PROJECT, deploy_endpoint

pytestmark = pytest.mark.cloud
SEGMENTS = {"policy": "all", "task": "segments"}


@pytest.fixture(scope="module")
def segmenting(pipeline: Pipeline) -> str:
    """Deploy a model with masks for drives that name it; returns its name."""
    model = read_document(PROJECT / "models" / "yolox-nano.json", endpoint="segmenting")
    awake = {"MinInstances": "1"}
    deploy_endpoint(
        pipeline.cloud, pipeline.stack.outputs, endpoint=model.endpoint, image=SEGMENTING_IMAGE, parameters=awake
    )
    masks = DecoderOptions(masks=True)
    model = msgspec.structs.replace(model, name="segmenting", decoder="hf-image-segmentation", options=masks)
    add_model(pipeline.stack, model, active=False)
    return "segmenting"


def test_verified_segments_are_in_the_dataset(pipeline: Pipeline, segmenting: str) -> None:
    well, failing = (f"front/{time}.png" for time in timestamps(2))
    pipeline.upload("painted", {well: image(640), failing: image(643)}, models=[segmenting], verification=SEGMENTS)
    summary = pipeline.succeed("painted")
    assert summary["frames"] == {"uploaded": 2, "labelled": 1, "failed": 1, "rejected": 0}
    assert (summary["task"], summary["agreement"]) == ("segments", None)
    lines = {line["source-ref"].split("/painted/")[1]: line for line in pipeline.lines("painted", "dataset.manifest")}
    pictures = {}
    for name, line in lines.items():
        assert "verified" not in line
        metadata = line["verified-ref-metadata"]
        assert (metadata["type"], metadata["adjustment-status"]) == ("groundtruth/semantic-segmentation", "unadjusted")
        place = line["verified-ref"].removeprefix(pipeline.stack.labels.uri("labels/painted/0001/"))
        assert place.startswith("verification/")
        with Image.open(io.BytesIO(pipeline.read("painted", place))) as picture:
            pictures[name] = np.asarray(picture)
    assert pictures[well].shape == (360, 640)
    assert {name for name, line in lines.items() if "autolabel-segmentation-ref" in line} == {well}
    names = {int(i): one["class-name"] for i, one in lines[well]["verified-ref-metadata"]["internal-color-map"].items()}
    assert (pictures[well] == list(names.values()).index("car")).sum() == 160 * 90
    assert not pictures[failing].any()
    assert [lines[name]["provenance"]["labelled-by"] for name in (well, failing)] == ["model and person", "person"]


def test_segments_without_a_model_with_masks_are_refused(pipeline: Pipeline) -> None:
    pipeline.upload("unpainted", {f"front/{timestamps(1)[0]}.png": image()}, models=["choosy"], verification=SEGMENTS)
    pipeline.told_ops("none of its models returns masks")
