"""Calibrating a model of the catalogue on a drive that it labelled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import boto3
import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.run_folder import RunFolder
from autolabel.labelling.shards import Shard, ShardFrame, UnitAnswer
from autolabel.labels.manifest import BOX_TYPE, VERIFIED, metadata_of
from autolabel_cli.__main__ import main
from autolabel_cli.errors import CommandError
from autolabel_cli.models.catalogue import add_model, find_revision
from autolabel_cli.models.run_calibration import calibrate_model, verified_truth
from autolabel_cli.models.truth import COUNTS, IGNORED, REGION, Truth
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket, create_table
from tests.fakes.answers import CAR, DETECTOR, answer

FRAMES = 40
LABELS = ("car", "person")
RUN = Run("d1", "0001", DriveDocument("v", {"front": Camera()}), "e", (DETECTOR.id,), "2026.1", LABELS)
# What `answer` sees, in a frame of 100 x 100 pixels, and what it sees wrongly.
THERE = {"class_id": 0, "left": 25, "top": 25, "width": 25, "height": 50}
NOTHING = (0.6, 0.1, 0.9, 0.5)


@pytest.fixture
def stack(aws: None) -> Stack:
    """A run whose model sees one car rightly, and with the same score one that is not there."""
    clients = {name: boto3.client(name) for name in ("s3", "dynamodb")}
    create_table("ledger", clients["dynamodb"])
    outputs = {"LedgerName": "ledger", "IngestBucketName": "ingest", "LabelBucketName": "labels"}
    for name in ("ingest", "labels"):
        create_bucket(name, clients["s3"])
    stack = Stack("autolabel", outputs, {}, clients.__getitem__)
    add_model(stack, DETECTOR)
    stack.ledger.allocate_run(RUN)
    keys = [f"drives/d1/front/{index:019d}.png" for index in range(FRAMES)]
    frames = b""
    for key in keys:
        stack.labels.write(f"inference/{key}", answer((CAR, NOTHING), scores=(0.9, 0.9)))
        frames += msgspec.json.encode(ShardFrame(key, "e", (UnitAnswer(DETECTOR.id, f"inference/{key}"),))) + b"\n"
    shard = Shard(0, "front", FRAMES, RunFolder("d1", "0001").shard(0, "frames.jsonl"))
    stack.labels.write(shard.key, frames)
    stack.labels.write(RunFolder("d1", "0001").shard_list, msgspec.json.encode(shard) + b"\n")
    return stack


def publish(stack: Stack, *, verified: bool, there: Mapping[str, int] = THERE, labelled_by: str = "person") -> None:
    lines = []
    for frame in stack.labels.lines(RunFolder("d1", "0001").shard(0, "frames.jsonl")):
        line: dict[str, object] = {"source-ref": stack.ingest.uri(json.loads(frame)["key"])}
        line["provenance"] = {"labelled-by": labelled_by}
        if verified:
            line[VERIFIED] = {"image_size": [{"width": 100, "height": 100, "depth": 3}], "annotations": [there]}
            metadata = {
                "objects": [{"confidence": 1}],
                "class-map": {"0": "car"},
                "type": BOX_TYPE,
            }
            line[metadata_of(VERIFIED)] = metadata
        lines.append(json.dumps(line))
    stack.labels.write(RunFolder("d1", "0001").dataset, "\n".join(lines).encode())


def test_a_model_that_is_right_half_of_the_time_is_believed_half(stack: Stack) -> None:
    publish(stack, verified=True)
    model, frames = calibrate_model(stack, "detector", "d1", None, None)
    assert frames == FRAMES
    assert model.calibration["car"].confidence(0.9) == pytest.approx(0.5, abs=0.1)
    assert model.calibration["car"].recall == 1.0
    assert find_revision(stack, "detector") == model
    assert (model.revision, model.answers_id) == ("0002", "detector.0001")


def test_a_box_that_is_always_off_moves_and_again_only_as_far(stack: Stack) -> None:
    publish(stack, verified=True, there={**THERE, "left": 28, "width": 22})
    (left, *others) = calibrate_model(stack, "detector", "d1", None, None).model.calibration["car"].shift
    # Three of 25 pixels; the prior takes a part of them.
    assert 0.08 < left < 0.12
    assert others == [0.0, 0.0, 0.0]
    # The revision moves boxes by now, and is fitted on those of the model itself.
    again = calibrate_model(stack, "detector", "d1", None, None).model.calibration["car"].shift
    assert again == (left, 0.0, 0.0, 0.0)


def test_thresholds_follow_from_what_deleting_costs_only_when_it_is_said(stack: Stack) -> None:
    publish(stack, verified=True)
    stays, _ = calibrate_model(stack, "detector", "d1", None, None)
    assert stays.thresholds == DETECTOR.thresholds
    alike, _ = calibrate_model(stack, "detector", "d1", None, None, delete_cost=1.0)
    assert (alike.threshold_of("car"), alike.threshold_of("bicycle")) == (0.5, DETECTOR.threshold_of("bicycle"))
    cheap, _ = calibrate_model(stack, "detector", "d1", None, None, delete_cost=0.25)
    assert cheap.threshold_of("car") == pytest.approx(0.2)


@pytest.mark.parametrize("cost", [0.0, -1.0, 101.0, math.inf, math.nan])
def test_a_delete_cost_that_gives_no_threshold_is_refused(stack: Stack, cost: float) -> None:
    publish(stack, verified=True)
    with pytest.raises(CommandError, match="is not above 0 and at most 100"):
        calibrate_model(stack, "detector", "d1", None, None, delete_cost=cost)
    assert find_revision(stack, "detector").revision == "0001"


def test_the_command_tells_what_was_fitted(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(stack, verified=True, there={**THERE, "left": 28, "width": 22})
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    words = ["models", "calibrate", "detector", "--drive", "d1", "--delete-cost"]
    told = json.loads(CliRunner().invoke(main, [*words, "1", "--json"]).output)
    assert told["id"] == "detector.0002"
    assert told["thresholds"]["car"] == 0.5
    assert told["calibration"]["car"]["shift"][0] > 0.08
    table = CliRunner().invoke(main, [*words, "0.25"]).output
    assert "0.20" in table
    assert "detector.0003, fitted to 40 frames" in table


def test_calibrating_again_starts_from_the_raw_scores_and_the_same_answers(stack: Stack) -> None:
    publish(stack, verified=True)
    first, _ = calibrate_model(stack, "detector", "d1", None, None)
    second, _ = calibrate_model(stack, "detector", "d1", None, None)
    assert second.calibration == first.calibration
    assert (second.revision, second.answers_id) == ("0003", "detector.0001")


def test_a_labelled_folder_takes_the_place_of_verified_labels(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "image_2").mkdir()
    (tmp_path / "label_2").mkdir()
    for index in range(FRAMES):
        Image.new("RGB", (100, 100)).save(tmp_path / "image_2" / f"{index:06d}.png")
        (tmp_path / "label_2" / f"{index:06d}.txt").write_text("Car 0 0 0 25 25 50 75 1 1 1 1 1 1 1\n")
    model, _ = calibrate_model(stack, "detector", "d1", None, tmp_path)
    assert model.calibration["car"].confidence(0.9) == pytest.approx(0.5, abs=0.1)
    (tmp_path / "image_2" / "000000.png").unlink()
    with pytest.raises(CommandError, match="39 frames and run 0001 of drive d1 has 40: give the folder"):
        calibrate_model(stack, "detector", "d1", None, tmp_path)


def test_a_drive_that_nobody_verified_teaches_nothing(stack: Stack) -> None:
    with pytest.raises(CommandError, match="run 0001 of drive d1 has no dataset yet"):
        calibrate_model(stack, "detector", "d1", None, None)
    publish(stack, verified=False)
    with pytest.raises(CommandError, match="run 0001 of drive d1 has no verified frame"):
        calibrate_model(stack, "detector", "d1", None, None)
    publish(stack, verified=True, labelled_by="script")
    with pytest.raises(CommandError, match="labels of a script do not count"):
        calibrate_model(stack, "detector", "d1", None, None)
    assert find_revision(stack, "detector").revision == "0001"


def test_a_run_of_other_models_is_refused_with_theirs(stack: Stack) -> None:
    add_model(stack, msgspec.structs.replace(DETECTOR, name="other"))
    with pytest.raises(CommandError, match=r"did not ask other\.0001, but detector\.0001"):
        calibrate_model(stack, "other", "d1", None, None)
    with pytest.raises(CommandError, match="drive d2 has no run 0001"):
        calibrate_model(stack, "detector", "d2", None, None)


def test_what_a_model_has_no_name_for_is_no_false_alarm_of_its_group() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    boxes = [("car", box), ("van", box), ("person", box), ("rider", box), ("ignore", box)]
    truth = verified_truth(boxes, DETECTOR, ("car", "person", "van"))
    assert truth["car"] == [Truth(box, COUNTS), Truth(box, IGNORED), Truth(box, REGION)]
    assert truth["person"] == [Truth(box, COUNTS), Truth(box, IGNORED), Truth(box, REGION)]
    assert set(truth) == {"car", "person"}
