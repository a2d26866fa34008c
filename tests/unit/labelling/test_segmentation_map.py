"""A frame's masks are written as a document of its objects and a picture of its classes; its line refers to both."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from autolabel.contracts.run_folder import RunFolder
from autolabel.labelling.masks import encode
from autolabel.labelling.segmentation_map import (
    BACKGROUND_COLOR,
    color_map,
    mask_document,
    polygons,
    segmentation_picture,
)
from autolabel.labels.detections import Detection, Detections
from autolabel.labels.manifest import MaskClass
from autolabel.labels.taxonomy import current_taxonomy
from tests.fakes.answers import DETECTOR, answer
from tests.fakes.bodies import BODIES, CAR_BOX, CAR_MASK, HEIGHT, PERSON_BOX, PERSON_MASK, WIDTH, rectangle
from tests.fakes.endpoints import failure, success
from tests.fakes.images import png
from tests.fakes.pipeline import DRIVE, MAX_ERRORS, Pipeline, drive_document, frame_key

LABELS = ("car", "truck", "bicycle", "person")


def counts(mask: Any) -> str:
    return encode(np.asarray(mask, np.uint8)).decode()


def detection(name: str, box: Any, confidence: float, mask: Any = None) -> Detection:
    return Detection(name, box, confidence, confidence, name, ("m.0001",), mask="" if mask is None else counts(mask))


CAR, PERSON = detection("car", CAR_BOX, 0.75, CAR_MASK), detection("person", PERSON_BOX, 0.5, PERSON_MASK)
FRAME = Detections(WIDTH, HEIGHT, (CAR, detection("truck", CAR_BOX, 0.6), PERSON))


def indexes(body: bytes) -> Any:
    with Image.open(io.BytesIO(body)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "P", (WIDTH, HEIGHT))
        return np.asarray(picture)


def test_a_frame_without_masks_is_all_background() -> None:
    empty = Detections(WIDTH, HEIGHT)
    assert (indexes(segmentation_picture(empty, LABELS)) == 0).all()
    assert json.loads(mask_document("k", empty)) == {"frame": "k", "width": WIDTH, "height": HEIGHT, "objects": []}


def test_each_pixel_has_the_class_of_its_object() -> None:
    found = indexes(segmentation_picture(FRAME, LABELS))
    assert (found == np.asarray(CAR_MASK) * 1 + np.asarray(PERSON_MASK) * 4).all()


def test_the_most_confident_of_overlapping_masks_is_visible() -> None:
    for car, person, expected in ((0.9, 0.5, 1), (0.5, 0.9, 4)):
        both = (detection("car", CAR_BOX, car, CAR_MASK), detection("person", CAR_BOX, person, CAR_MASK))
        assert indexes(segmentation_picture(Detections(WIDTH, HEIGHT, both), LABELS))[50, 100] == expected


def test_the_pictures_colours_match_its_metadata() -> None:
    body = segmentation_picture(FRAME, LABELS)
    colors = color_map(FRAME, LABELS)
    with Image.open(io.BytesIO(body)) as picture:
        shown = np.asarray(picture.convert("RGB"))
    for index, one in colors.items():
        where = indexes(body) == int(index)
        assert {"#" + bytes(pixel.tolist()).hex() for pixel in shown[where]} <= {one.hex_color}
    assert colors["0"] == MaskClass("BACKGROUND", BACKGROUND_COLOR, 0.0)
    assert [colors[str(1 + i)].class_name for i in range(len(LABELS))] == list(LABELS)
    assert colors["1"].hex_color == current_taxonomy().colors["car"]
    # The truck has no mask, so it is not in the picture.
    assert [one.confidence for one in colors.values()] == [0.0, 0.75, 0.0, 0.0, 0.5]


def test_a_document_has_class_box_and_mask_of_each_object() -> None:
    document = json.loads(mask_document("k", FRAME))
    car, truck, person = document["objects"]
    assert car["class"] == "car"
    assert (car["score"], car["confidence"], car["box"]) == (0.75, 0.75, list(CAR_BOX))
    assert (coco.decode(car["rle"]) == CAR_MASK).all()
    assert coco.area(person["rle"]) == np.sum(PERSON_MASK)
    assert "rle" not in truck
    assert truck["box"] == list(CAR_BOX)


def drawn(outlines: list[list[float]], width: int, height: int) -> Any:
    return coco.decode(coco.merge(coco.frPyObjects(outlines, height, width)))


def test_outlines_cover_the_same_area_as_their_mask() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for mask in (np.asarray(CAR_MASK), (x - 60) ** 2 + (y - 50) ** 2 < 900, np.ones((HEIGHT, WIDTH))):
        outlines = polygons(counts(mask), WIDTH, HEIGHT)
        assert len(outlines) == 1
        assert (drawn(outlines, WIDTH, HEIGHT) == mask).mean() > 0.995


def test_each_part_of_an_object_has_an_outline_and_holes_have_none() -> None:
    mask = np.asarray(rectangle((10, 10, 60, 60))) + np.asarray(rectangle((100, 10, 160, 60)))
    holed = mask - np.asarray(rectangle((20, 20, 30, 30)))
    outlines = polygons(counts(holed), WIDTH, HEIGHT)
    assert len(outlines) == 2
    assert (drawn(outlines, WIDTH, HEIGHT) == mask).mean() > 0.995


def test_straight_sides_have_no_corners_in_between() -> None:
    (outline,) = polygons(counts(CAR_MASK), WIDTH, HEIGHT)
    # Four corners, each of them cut.
    assert len(outline) == 2 * 8


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 30))
def test_outlines_of_any_mask_are_inside_the_frame(seed: int, width: int, height: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.uint8)
    for outline in polygons(counts(mask), width, height):
        assert len(outline) >= 6
        assert all(0 <= x <= width for x in outline[::2])
        assert all(0 <= y <= height for y in outline[1::2])


# A drive with masks

DECODER, OPTIONS, BODY = BODIES["torchvision"]
SEGMENTER = msgspec.structs.replace(
    DETECTOR,
    name="segmenter",
    endpoint="autolabel-segmenter",
    decoder=DECODER,
    options=msgspec.structs.replace(OPTIONS, masks=True),
)


def labelled(*models: Any, failing: tuple[str, int] = ("", 0)) -> Pipeline:
    """Publish a drive of three frames; the endpoint `failing` fails on this frame."""
    pipeline = Pipeline(*models)
    for index in range(3):
        pipeline.upload(frame_key(index), png(WIDTH, HEIGHT, (index, 0, 0)))
    pipeline.close(drive_document(models=[model.name for model in models]))
    pipeline.reconcile()
    pipeline.submit_asked()
    done = 0
    while done < len(pipeline.endpoints.taken):
        invocation = pipeline.endpoints.taken[done]
        done += 1
        if (invocation.endpoint, invocation.input_location) == (failing[0], f"s3://ingest/{frame_key(failing[1])}"):
            pipeline.collect(failure(invocation, reason="out of memory"))
        else:
            found = BODY if invocation.endpoint == SEGMENTER.endpoint else answer([(0.25, 0.25, 0.75, 0.75)])
            pipeline.labels.write(invocation.output_key, found)
            pipeline.collect(success(invocation))
        pipeline.submit_asked()
    assert pipeline.reconcile().pending == 0
    pipeline.plan()
    pipeline.label()
    pipeline.publish(pipeline.verify(pipeline.assemble()))
    return pipeline


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(f"labels/{DRIVE}/0001/dataset.manifest")]


def test_masks_of_a_drive_are_stored_beside_its_manifest() -> None:
    pipeline = labelled(SEGMENTER)
    lines = dataset(pipeline)
    assert len(lines) == 3
    for index, line in enumerate(lines):
        place = f"labels/{DRIVE}/0001/{{}}/front/{1_700_000_000_000_000_000 + index}"
        assert line["autolabel-masks-ref"] == f"s3://labels/{place.format('masks')}.json"
        assert line["autolabel-segmentation-ref"] == f"s3://labels/{place.format('segmentation')}.png"
        metadata = line["autolabel-segmentation-ref-metadata"]
        assert metadata["type"] == "groundtruth/semantic-segmentation"
        assert metadata["human-annotated"] == "no"
        assert metadata["job-name"] == line["prelabel-metadata"]["job-name"]
        names = {int(i): one["class-name"] for i, one in metadata["internal-color-map"].items()}
        picture = pipeline.labels.objects[place.format("segmentation") + ".png"]
        assert {names[i] for i in np.unique(indexes(picture))} == {"BACKGROUND", "car", "person"}
        assert pipeline.labels.content_types[place.format("segmentation") + ".png"] == "image/png"
        document = json.loads(pipeline.labels.objects[place.format("masks") + ".json"])
        assert document["frame"] == frame_key(index)
        assert [one["class"] for one in document["objects"]] == ["person", "car"]
    shard = pipeline.labels.objects[RunFolder(DRIVE, "0001").shard(0, "detections.jsonl")]
    assert b"person" in shard
    assert b"mask" not in shard


def test_a_drive_without_masks_does_not_mention_masks() -> None:
    pipeline = labelled(DETECTOR)
    assert not any("mask" in name or "segmentation" in name for line in dataset(pipeline) for name in line)
    assert not any("/masks/" in key or "/segmentation/" in key for key in pipeline.labels.objects)


def test_a_frame_has_no_picture_if_the_mask_model_failed() -> None:
    pipeline = labelled(DETECTOR, SEGMENTER, failing=(SEGMENTER.endpoint, 1))
    assert ["autolabel-segmentation-ref" in line for line in dataset(pipeline)] == [True, False, True]
    assert len(pipeline.endpoints.taken) == 6 + MAX_ERRORS - 1


def test_a_merged_object_keeps_the_mask_of_a_less_confident_model() -> None:
    pipeline = labelled(DETECTOR, SEGMENTER)
    document = json.loads(pipeline.labels.objects[f"labels/{DRIVE}/0001/masks/front/{1_700_000_000_000_000_000}.json"])
    car = next(one for one in document["objects"] if one["class"] == "car")
    assert car["score"] == 0.9
    assert (coco.decode(car["rle"]) == CAR_MASK).all()


@pytest.mark.parametrize("models", [(SEGMENTER,), (DETECTOR, SEGMENTER)], ids=["alone", "with another"])
def test_a_repeated_call_writes_the_same_masks(models: Any) -> None:
    pipeline = labelled(*models)
    before = {key: body for key, body in pipeline.labels.objects.items() if "/masks/" in key or "/segmentation/" in key}
    pipeline.label()
    assert len(before) == 6
    assert {key: pipeline.labels.objects[key] for key in before} == before
