"""Drives that two models labelled and a simulated reviewer verified."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import boto3
import msgspec

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer
from autolabel.labels.manifest import BOX_TYPE, PRELABEL, VERIFIED, metadata_of
from autolabel_cli.models.catalogue import add_model
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table
from tests.fakes.answers import DETECTOR, answer

SIZE = 1_000
BETTER = msgspec.structs.replace(DETECTOR, name="better")
LABELS = ("car", "person")
# Seconds of a reviewer: for a look, to draw a box and to delete one.
LOOK, DRAW, DELETE = 2.5, 7.0, 2.0
Box = tuple[int, int, int, int]


class Seen(NamedTuple):
    """A frame: its cars, and what each model sees."""

    cars: Sequence[Box]
    worse: Sequence[Box]
    better: Sequence[Box]

    def seconds(self, shown: Sequence[Box], luck: random.Random) -> dict[str, object]:
        add, delete = len(set(self.cars) - set(shown)), len(set(shown) - set(self.cars))
        edits = {
            "add": {"count": add, "seconds": add * DRAW * luck.uniform(0.7, 1.3)},
            "delete": {"count": delete, "seconds": delete * DELETE * luck.uniform(0.7, 1.3)},
        }
        return {"seconds": LOOK * luck.uniform(0.5, 1.5) + sum(e["seconds"] for e in edits.values()), "edits": edits}


def drive_of(seed: int, frames: int) -> list[Seen]:
    """Frames with cars side by side; the models miss 40 and 10 % of them, and invent as many."""
    luck = random.Random(seed)
    seen = []
    for _ in range(frames):
        places: list[Box] = [(x * 100 + luck.randrange(10), 100, 80, 60) for x in range(10)]
        cars = [place for place in places if luck.random() < 0.5]
        looks = [[p for p in places if (p in cars) != (luck.random() < fault)] for fault in (0.4, 0.1)]
        seen.append(Seen(cars, *looks))
    return seen


def make_stack() -> Stack:
    """A stack with both models in its catalogue, the better one active too."""
    clients = {name: boto3.client(name) for name in ("s3", "dynamodb")}
    create_table("ledger", clients["dynamodb"])
    for name in ("ingest", "labels"):
        create_bucket(name, clients["s3"])
    outputs = {"LedgerName": "ledger", "IngestBucketName": "ingest", "LabelBucketName": "labels"}
    stack = Stack("autolabel", outputs, {}, clients.__getitem__)
    add_model(stack, DETECTOR)
    add_model(stack, BETTER)
    return stack


def publish(
    stack: Stack,
    drive: str,
    frames: Sequence[Seen],
    models: Sequence[str] = (DETECTOR.id, BETTER.id),
    provenance: Mapping[str, str] = {"labelled-by": "model and person"},
    review: bool = True,
) -> None:
    """Store a run: the worse model's boxes were shown, and a reviewer made them right."""
    run = Run(drive, "0001", DriveDocument("v", {"front": Camera()}), "e", tuple(models), "2026.1", LABELS)
    stack.ledger.allocate_run(run)
    stack.ledger.finish_run(run, "published", 1.0)
    listed, lines, luck = [], [], random.Random(1)
    for index, frame in enumerate(frames):
        key = f"drives/{drive}/front/{index * 10**9:019d}.png"
        answers = []
        for model, boxes in zip(models, (frame.worse, frame.better), strict=False):
            answers.append(UnitAnswer(model, f"inference/{model}/{key}"))
            stack.labels.write(answers[-1].key, answer([share(box) for box in boxes]))
        listed.append(msgspec.json.encode(ShardFrame(key, "e", tuple(answers))))
        line: dict[str, object] = {"source-ref": stack.ingest.uri(key)}
        line |= {"provenance": {"drive": drive, **provenance}}
        line |= _label(PRELABEL, frame.worse) | _label(VERIFIED, frame.cars)
        if review:
            line["review"] = frame.seconds(frame.worse, luck)
        lines.append(json.dumps(line).encode())
    shard = Shard(0, "front", len(frames), run.folder.shard(0, "frames.jsonl"))
    stack.labels.write(shard.key, b"\n".join(listed))
    stack.labels.write(run.folder.shard_list, msgspec.json.encode(shard) + b"\n")
    stack.labels.write(run.folder.dataset, b"\n".join(lines))


def share(box: Box) -> tuple[float, float, float, float]:
    left, top, width, height = (side / SIZE for side in box)
    return left, top, left + width, top + height


def _label(name: str, boxes: Sequence[Box]) -> dict[str, object]:
    annotations = [{"class_id": 0, **dict(zip(("left", "top", "width", "height"), box, strict=True))} for box in boxes]
    return {
        name: {"image_size": [{"width": SIZE, "height": SIZE, "depth": 3}], "annotations": annotations},
        metadata_of(name): {
            "objects": [{"confidence": 1}] * len(boxes),
            "class-map": {"0": "car"} if boxes else {},
            "type": BOX_TYPE,
        },
    }
