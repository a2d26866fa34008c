"""Answers of each family of models, all with the same car (a quarter of a frame of 200 x 100) and the same person."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from PIL import Image

from autolabel.models.decoders import DecoderOptions
from autolabel.models.decoders.base import Resized
from autolabel.models.decoders.mapping import Mapping
from tests.fakes.images import saved

WIDTH, HEIGHT = 200, 100
CAR_BOX = (50.0, 25.0, 150.0, 75.0)
PERSON_BOX = (0.0, 0.0, 20.0, 50.0)
CAR_SCORE, PERSON_SCORE = 0.75, 1.0
LABELS = ("person", "bicycle", "car")


def rectangle(box: tuple[float, ...], width: int = WIDTH, height: int = HEIGHT) -> list[list[int]]:
    """A mask that covers a box (xyxy), as nested lists."""
    x1, y1, x2, y2 = box
    return [[int(x1 <= x < x2 and y1 <= y < y2) for x in range(width)] for y in range(height)]


def picture(mask: list[list[int]]) -> str:
    """A mask as a base64 PNG in black and white."""
    image = Image.new("L", (len(mask[0]), len(mask)))
    image.putdata([255 * value for row in mask for value in row])
    return base64.b64encode(saved(image, "PNG")).decode()


def encoded(answer: Any) -> bytes:
    return msgspec.json.encode(answer)


def half(box: tuple[float, ...]) -> tuple[float, ...]:
    """The box in a picture of half the frame's size."""
    return tuple(side / 2 for side in box)


CAR_MASK, PERSON_MASK = rectangle(CAR_BOX), rectangle(PERSON_BOX)
HALF_MASKS = [rectangle(half(box), WIDTH // 2, HEIGHT // 2) for box in (CAR_BOX, PERSON_BOX)]
_PEOPLE = {"score": PERSON_SCORE, "label": "person"}
_CARS = {"score": CAR_SCORE, "label": "car"}
_TABLE = {"boxes": [CAR_BOX, PERSON_BOX], "labels": [2, 0], "scores": [CAR_SCORE, PERSON_SCORE]}
_ROWS = [[*CAR_BOX, CAR_SCORE, 2.0], [*PERSON_BOX, PERSON_SCORE, 0.0]]


def _corners(box: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))


def _outline(box: tuple[float, ...]) -> dict[str, list[float]]:
    x1, y1, x2, y2 = box
    return {"x": [x1, x2, x2, x1], "y": [y1, y1, y2, y2]}


def _hf_box(box: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))


_BAR = [[0] * WIDTH] * 50
NAMED = DecoderOptions(labels=LABELS)
HALVED = DecoderOptions(resized=Resized(short=HEIGHT // 2, long=1_000))
# Name: the decoder, its options and an answer. All decode to the same two objects, and to the same masks where they
# have masks.
BODIES: dict[str, tuple[str, DecoderOptions, bytes]] = {
    "jumpstart detection": (
        "jumpstart-detection",
        DecoderOptions(),
        encoded(
            {
                "normalized_boxes": [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.5]],
                "classes": [2.0, 0],
                "scores": [CAR_SCORE, PERSON_SCORE],
                "labels": LABELS,
            }
        ),
    ),
    "mask r-cnn": (
        "jumpstart-mask-rcnn",
        HALVED,
        encoded(
            {
                "ids": [[2.0], [-1.0], [0.0]],
                "scores": [[CAR_SCORE], [-1.0], [PERSON_SCORE]],
                "bboxes": [half(CAR_BOX), [-1, -1, -1, -1], half(PERSON_BOX)],
                "masks": [HALF_MASKS[0], [[0, 0], [0, 0]], HALF_MASKS[1]],
                "labels": LABELS,
                "image_with_masks": [[[7, 7, 7]]],
            }
        ),
    ),
    "mask r-cnn, a batch of one": (
        "jumpstart-mask-rcnn",
        HALVED,
        encoded(
            {
                "masks": [[[value + 0.0 for value in row] for row in mask] for mask in HALF_MASKS],
                "ids": [[[2.0], [0.0]]],
                "scores": [[[CAR_SCORE], [PERSON_SCORE]]],
                "bboxes": [[half(CAR_BOX), half(PERSON_BOX)]],
                "labels": LABELS,
            }
        ),
    ),
    "hf object detection": (
        "hf-object-detection",
        DecoderOptions(),
        encoded([{**_CARS, "box": _hf_box(CAR_BOX)}, {**_PEOPLE, "box": _hf_box(PERSON_BOX)}]),
    ),
    "hf image segmentation": (
        "hf-image-segmentation",
        DecoderOptions(masks=True),
        encoded([{**_CARS, "mask": picture(CAR_MASK)}, {**_PEOPLE, "mask": picture(PERSON_MASK)}]),
    ),
    "torchserve": (
        "torchvision",
        DecoderOptions(),
        msgspec.json.format(
            encoded([{"car": CAR_BOX, "score": CAR_SCORE}, {"person": PERSON_BOX, "score": PERSON_SCORE}])
        ),
    ),
    "torchserve without names": (
        "torchvision",
        NAMED,
        encoded([{"2": CAR_BOX, "score": CAR_SCORE}, {"0": PERSON_BOX, "score": PERSON_SCORE}]),
    ),
    "torchvision": ("torchvision", NAMED, encoded({**_TABLE, "masks": [[CAR_MASK], [PERSON_MASK]]})),
    "torchvision, a batch of one": ("torchvision", NAMED, encoded([_TABLE])),
    "yolo summary": (
        "yolo",
        DecoderOptions(),
        encoded(
            [
                {"name": "car", "class": 2, "confidence": CAR_SCORE, "box": _corners(CAR_BOX)},
                {"name": "person", "class": 0, "confidence": PERSON_SCORE, "box": _corners(PERSON_BOX)},
            ]
        ),
    ),
    "yolo summary with outlines": (
        "yolo",
        NAMED,
        encoded(
            [
                {"class": 2, "confidence": CAR_SCORE, "box": _corners(CAR_BOX), "segments": _outline(CAR_BOX)},
                {"class": 0, "confidence": 1, "box": _corners(PERSON_BOX), "segments": _outline(PERSON_BOX)},
            ]
        ),
    ),
    "yolo rows": ("yolo", NAMED, encoded(_ROWS)),
    "yolo, a batch of one with padding": ("yolo", NAMED, encoded([[*_ROWS, [0, 0, 0, 0, 0, -1]]])),
    "yolo tensors": (
        "yolo",
        NAMED,
        # The frame is twice as wide as high, so it has padding above and below.
        encoded({"boxes": _ROWS, "masks": [[*_BAR, *mask, *_BAR] for mask in (CAR_MASK, PERSON_MASK)]}),
    ),
    "tensorflow serving": (
        "jmespath",
        DecoderOptions(
            labels=LABELS,
            mapping=Mapping(
                items="predictions[0]",
                label="detection_classes",
                score="detection_scores",
                box="detection_boxes",
                format="yxyx",
                units="normalised",
            ),
        ),
        encoded(
            {
                "predictions": [
                    {
                        "num_detections": 2.0,
                        "detection_boxes": [[0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 0.5, 0.1]],
                        "detection_classes": [2.0, 0.0],
                        "detection_scores": [CAR_SCORE, PERSON_SCORE],
                    }
                ]
            }
        ),
    ),
    "tensorflow serving by columns": (
        "jmespath",
        DecoderOptions(
            mapping=Mapping(
                items="outputs", label="names", score="scores", box="boxes", format="yxyx", units="normalised"
            )
        ),
        encoded(
            {
                "outputs": {
                    "boxes": [[[0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 0.5, 0.1]]],
                    "names": [["car", "person"]],
                    "scores": [[CAR_SCORE, PERSON_SCORE]],
                }
            }
        ),
    ),
    "mmdetection": (
        "jmespath",
        DecoderOptions(
            labels=LABELS, mapping=Mapping(items="predictions[0]", label="labels", score="scores", box="bboxes")
        ),
        encoded(
            {
                "predictions": [
                    {"labels": [2, 0], "scores": [CAR_SCORE, PERSON_SCORE], "bboxes": [CAR_BOX, PERSON_BOX]}
                ],
                "visualization": [],
            }
        ),
    ),
    "kserve": (
        "jmespath",
        DecoderOptions(
            labels=LABELS,
            mapping=Mapping(
                items="outputs | {label: [?name == 'classes'].data | [0], score: [?name == 'scores'].data | [0],"
                " box: [?name == 'boxes'].data | [0]}",
                label="label",
                score="score",
                box="box",
            ),
        ),
        encoded(
            {
                "model_name": "detector",
                "outputs": [
                    {"name": "boxes", "shape": [1, 2, 4], "datatype": "FP32", "data": [*CAR_BOX, *PERSON_BOX]},
                    {"name": "scores", "shape": [1, 2], "datatype": "FP32", "data": [[CAR_SCORE, PERSON_SCORE]]},
                    {"name": "classes", "shape": [1, 2], "datatype": "INT64", "data": [2, 0]},
                ],
            }
        ),
    ),
    "mapped": (
        "jmespath",
        DecoderOptions(
            labels=LABELS,
            mapping=Mapping(
                items="result.objects[?kind == 'box']",
                label="class.id",
                score="to_number(score)",
                box="[where.x, where.y, where.w, where.h]",
                format="cxcywh",
                units="normalised",
            ),
        ),
        encoded(
            {
                "result": {
                    "objects": [
                        {
                            "kind": "box",
                            "class": {"id": [[2.0]]},
                            "score": "0.75",
                            "where": {"x": 0.5, "y": 0.5, "w": 0.5, "h": 0.5},
                        },
                        {"kind": "line"},
                        {
                            "kind": "box",
                            "class": {"id": "person"},
                            "score": "1",
                            "where": {"x": 0.05, "y": 0.25, "w": 0.1, "h": 0.5},
                        },
                    ]
                }
            }
        ),
    ),
}
