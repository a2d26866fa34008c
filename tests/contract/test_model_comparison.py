"""Comparing two models on drives that they labelled and a reviewer verified."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import boto3
import msgspec
import pytest
from click.testing import CliRunner

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer
from autolabel.labels.manifest import BOX_TYPE, PRELABEL, VERIFIED, metadata_of
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model
from autolabel_cli.models.comparison import compare_models
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


@pytest.fixture
def stack(aws: None) -> Stack:
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
            stack.labels.write(answers[-1].key, answer([_share(box) for box in boxes]))
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


def _share(box: Box) -> tuple[float, float, float, float]:
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


A, B, C, D, E = ((x, 100, 80, 60) for x in range(0, 500, 100))


def test_precision_and_edits_are_those_counted_by_hand(stack: Stack) -> None:
    publish(stack, "d1", [Seen([A, B], [A, C], [A, B]), Seen([D, E], [D], [D, E])], review=False)
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    assert (found.frames, found.blocks, found.hidden, found.times, found.seconds) == (2, 1, 0, None, None)
    assert (found.classes["car"].objects, found.ap50.b.value, found.ap50.b.low) == (4, 1.0, None)
    # Two of four cars, and one box on nothing of the same confidence: the first is right, the second may be wrong.
    assert 0.3 < found.ap50.a.value < 0.55
    edits = {kind: (of.a.value, of.b.value, of.difference.value) for kind, of in found.edits.items()}
    assert edits["add"] == (1.0, 0.0, -1.0)
    assert edits["delete"] == (0.5, 0.0, -0.5)
    assert edits["total"] == (1.5, 0.0, -1.5)
    assert any("too few for intervals" in note for note in found.notes)


def test_seconds_of_another_drive_and_model_are_foretold_within_a_tenth(stack: Stack) -> None:
    publish(stack, "known", drive_of(1, 120))
    found = compare_models(stack, ("detector", "better"), ["known"], scripted=False, wage=36)
    assert found.seconds is not None
    assert found.dollars is not None
    luck, unseen = random.Random(3), drive_of(2, 300)
    for side, shown in ((found.seconds.a, "worse"), (found.seconds.b, "better")):
        real = sum(frame.seconds(getattr(frame, shown), luck)["seconds"] for frame in unseen) / len(unseen) * 1_000  # type: ignore[misc]
        assert side.value == pytest.approx(real, rel=0.1)
        assert side.low is not None
        assert side.high is not None
        assert side.low < side.value < side.high
    assert found.ap50.difference.low is not None
    assert found.ap50.difference.low > 0
    assert found.dollars.a.value == pytest.approx(found.seconds.a.value / 100, abs=1e-3)


def test_equal_models_differ_by_nothing(stack: Stack) -> None:
    publish(stack, "d1", [Seen(f.cars, f.worse, f.worse) for f in drive_of(1, 60)])
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    for sides in (found.ap50, found.seconds, *found.edits.values()):
        assert sides is not None
        assert (sides.difference.low, sides.difference.value, sides.difference.high) == (0, 0, 0)


def test_answers_may_come_from_another_run_of_the_drive(stack: Stack) -> None:
    frames = [Seen([A], [], [A])]
    publish(stack, "d1", frames, models=(DETECTOR.id,))
    with pytest.raises(CommandError, match=r"no answers of better.0001: make this model active"):
        compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    second = Run("d1", "0002", DriveDocument("v", {"front": Camera()}), "e", (BETTER.id,), "2026.1", LABELS)
    stack.ledger.allocate_run(second)
    key = f"drives/d1/front/{0:019d}.png"
    stack.labels.write("inference/second", answer([_share(A)]))
    shard = Shard(0, "front", 1, second.folder.shard(0, "frames.jsonl"))
    stack.labels.write(
        shard.key, msgspec.json.encode(ShardFrame(key, "e", (UnitAnswer(BETTER.id, "inference/second"),)))
    )
    stack.labels.write(second.folder.shard_list, msgspec.json.encode(shard))
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    assert (found.ap50.a.value, found.ap50.b.value) == (0, 1)


def test_labels_of_a_script_count_only_when_asked_for_and_are_named(stack: Stack) -> None:
    publish(stack, "d1", [Seen([A], [A], [A])], provenance={"labelled-by": "script"})
    with pytest.raises(CommandError, match=r"no frame that a person verified.*--scripted"):
        compare_models(stack, ("detector", "better"), ["d1"], scripted=False, wage=20)
    found = compare_models(stack, ("detector", "better"), ["d1"], scripted=True, wage=20)
    assert found.by_script == 1
    assert any("a script labelled 1 frame" in note for note in found.notes)


def test_the_command_prints_a_table_and_a_document(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(stack, "d1", drive_of(1, 60))
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    words = ["models", "compare", "detector", "better", "--drive", "d1"]
    printed = CliRunner().invoke(main, words).output
    assert "seconds of review for 1,000 frames" in printed
    assert "its labels favour these" in printed
    told = json.loads(CliRunner().invoke(main, [*words, "--json"]).output)
    assert (told["a"], told["b"], told["frames"]) == ("detector.0001", "better.0001", 60)
